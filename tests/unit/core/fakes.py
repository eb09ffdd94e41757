"""A router's clients without a wire: they do what the router asks, and remember it.

A test is a scene on a `Stage`::

    stage = Stage()
    producer = stage.producer("q")
    consumer = stage.consumer("q", credit=1)
    message = producer.sends()
    consumer.settles(message, RELEASED)
    assert message.outcome is RELEASED

Methods whose names are in the third person are what a client does. Nothing else happens by itself: time stands still
until `stage.later`; and what the router puts off to the end of a turn is done by `stage.turn`, or at the end of the
methods that say so, as long as `stage.turns_by_itself`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from zope.interface import implementer

from txrouter.core.addresses import AddressTable, Distribution
from txrouter.core.deliveries import Delivery, Malformed
from txrouter.core.limits import Limits
from txrouter.core.links import Address, Consumer, Producer
from txrouter.core.multicast import Copy
from txrouter.core.outcomes import Outcome
from txrouter.core.rate import Rate
from txrouter.core.router import Router
from txrouter.core.users import NOBODY, User
from txrouter.interfaces import (
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IRanking,
    IReplyWatcher,
    ISelective,
    IWoken,
)
from txrouter.policies import closest, pull, round_robin, weighted

__all__ = [
    "SHIPPED",
    "Alphabetic",
    "Asking",
    "Choosy",
    "FakeConsumer",
    "FakeProducer",
    "Full",
    "Late",
    "Message",
    "NoOptions",
    "Stage",
    "Sticky",
    "StickyAndChoosy",
    "WatchingPolicy",
    "distribution",
]


SHIPPED = pytest.mark.parametrize(
    "factory", [pull.factory, round_robin.factory, weighted.factory, closest.factory], ids=lambda factory: factory.name
)
"""A test of each policy that txrouter comes with."""


class Message(Delivery):
    """A message and what became of it.

    `sent_to` are the consumers that were sent it, in turn; `outcomes` what its producer was told, which is one at the
    most if all is well.
    """

    def __init__(
        self,
        producer: FakeProducer | None,
        destination: Any,
        presettled: bool,
        arrived: float,
        fields: Mapping[str, object],
    ) -> None:
        super().__init__(producer, destination, presettled, arrived)
        self.fields = fields
        self.sent_to: list[FakeConsumer] = []
        self.outcomes: list[Outcome] = []
        self.over = False
        self.aborted = False
        """Whether its producer has aborted it before it went on."""
        self.told: list[Outcome] = []
        """What its producer heard of it without settling."""
        self.kept = True
        """Whether the wire still has all of it."""
        self.seen = True
        """Whether its consumer may have seen some of it."""

    @property
    def outcome(self) -> Outcome | None:
        """What its producer has been told."""
        assert len(self.outcomes) <= 1
        return self.outcomes[0] if self.outcomes else None

    @property
    def is_held(self) -> bool:
        """Whether it waits in the router."""
        return self.shelf is not None

    def field(self, name: str) -> object:
        if name in self.fields and self.fields[name] is Malformed:
            raise Malformed(f"no {name} can be read")
        return self.fields.get(name)

    def application_property(self, name: str) -> object:
        return self.field(name)

    def finish(self, outcome: Outcome) -> None:
        assert not self.over, f"{self!r} is over already, and finished with {outcome!r}"
        self.over = True
        assert self.shelf is None, f"{self!r} is finished while it is held"
        if self.producer is not None:
            if not self.presettled:
                del self.producer.unsettled[self]
            self.outcomes.append(outcome)
        if isinstance(self.consumer, FakeConsumer):
            self.consumer.let_go(self)

    def can_be_resent(self) -> bool:
        return self.kept

    def was_sent(self) -> bool:
        return self.seen

    def recall(self) -> None:
        assert self.consumer is not None
        del self.consumer.unsettled[self]

    def send_copies(self, consumers: Sequence[Consumer]) -> bool:
        if self.aborted:
            return False
        assert self.copies is not None
        for consumer in consumers:
            assert isinstance(consumer, FakeConsumer)
            copy = FakeCopy(self, consumer)
            consumer.send(copy)
            if not self.presettled or not self.kept:
                self.copies.live[copy] = None
        return True

    def keep(self, outcome: Outcome) -> Outcome:
        return outcome

    def tell(self, outcome: Outcome) -> None:
        self.told.append(outcome)


class FakeCopy(Copy):
    """One consumer's copy of a message."""

    def __init__(self, original: Message, consumer: FakeConsumer) -> None:
        super().__init__(None, original.destination, original.presettled, original.arrived)
        self.original = original
        self.consumer = consumer
        self.over = False
        self.seen = True

    def finish(self, outcome: Outcome) -> None:
        assert not self.over, f"a copy of {self.original!r} is over already, and finished with {outcome!r}"
        self.over = True
        assert isinstance(self.consumer, FakeConsumer)
        self.consumer.let_go(self)
        assert self.original.copies is not None
        self.original.copies.ended(self, outcome)

    def was_sent(self) -> bool:
        return self.seen

    def recall(self) -> None:
        raise AssertionError("a copy is never sent again")


class FakeProducer(Producer):
    """A client that sends."""

    def __init__(self, stage: Stage, name: str | None, id: str, rate: Rate[Producer] | None = None) -> None:
        super().__init__(id, "container", {}, stage.router.limits)
        self.rate = rate
        self.stage = stage
        self.granted = 0
        self.sent = 0
        self.given_back = 0
        self.drains_asked = 0
        self.ended = False
        self.gone = False
        stage.router.attach_producer(self, name)

    @property
    def may_send(self) -> int:
        """Its credit, as it counts it itself."""
        return self.granted - self.sent - self.given_back

    # -- what the router asks ----------------------------------------------------------------------

    def grant(self, credit: int) -> None:
        assert credit > 0
        assert not self.gone, "credit for a producer that has left"
        self.granted += credit

    def drain(self) -> None:
        assert not self.gone, "a drain of a producer that has left"
        self.drains_asked += 1

    def overdrawn(self) -> None:
        if not self.gone:
            self.ended = True
            self.leaves()

    # -- what it does ------------------------------------------------------------------------------

    def sends(self, presettled: bool = False, **fields: object) -> Message:
        """It sends a message."""
        assert self.may_send > 0, "a message without credit"
        return self.sends_anyway(presettled, **fields)

    def sends_anyway(self, presettled: bool = False, **fields: object) -> Message:
        """It sends a message, whether it has credit or not."""
        assert not self.gone
        self.sent += 1
        router = self.stage.router
        message = Message(self, self.target, presettled, router.now, fields)
        if not presettled:
            self.unsettled[message] = message
        self.stage.messages.append(message)
        left = router.route_by_name(message) if self.target is None else router.route(message)
        assert left is not message.is_held
        return message

    def sends_many(self, count: int, presettled: bool = False, **fields: object) -> list[Message]:
        """It sends some, one after the other."""
        return [self.sends(presettled, **fields) for _ in range(count)]

    def settles(self, message: Message) -> None:
        """It settles a message before it has heard of an outcome."""
        self.stage.router.abandon(message)

    def gives_back(self, credit: int | None = None) -> None:
        """It answers a drain: it has no more to send. The turn ends."""
        credit = self.may_send if credit is None else credit
        self.given_back += credit
        self.stage.router.feeding.drained(self, credit)
        self.stage.turns()

    def leaves(self) -> None:
        """Its link is gone, and the turn ends. What it sent pre-settled, the wire has the router adopt before that."""
        self.gone = True
        for message in self.stage.messages:
            if message.producer is self and message.presettled and message.is_held:
                self.stage.router.holding.adopt(message)
        self.stage.router.detach_producer(self)
        self.stage.turns()


class FakeConsumer(Consumer):
    """A client that receives. `got` is every message it was sent, in order."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        id: str,
        properties: Mapping[str, object],
        container: str = "container",
        link: str = "link",
        user: User = NOBODY,
    ) -> None:
        super().__init__(id, container, properties)
        self.name = link
        self._user = user
        self.max_in_flight = stage.router.limits.max_in_flight
        self.stage = stage
        self.granted = 0
        """The credit that is on its link, whatever the router makes of it."""
        self.got: list[Message] = []
        self.gone = False
        stage.router.attach_consumer(self, name)

    @property
    def user(self) -> User:
        return self._user

    def send(self, delivery: Delivery) -> None:
        assert isinstance(delivery, Message | FakeCopy)
        assert not self.gone, "a message for a consumer that has left"
        assert self.granted > 0, "a message for a consumer without credit"
        assert not self.suspended, "a message for a consumer that is suspended"
        assert not self.barred, "a message for a consumer that is to get nothing new"
        self.granted -= 1
        message = delivery if isinstance(delivery, Message) else delivery.original
        assert isinstance(message, Message)
        self.got.append(message)
        message.sent_to.append(self)
        if delivery.presettled:
            delivery.over = True
        else:
            self.unsettled[delivery] = delivery

    def let_go(self, delivery: Delivery) -> None:
        """It is over for this consumer."""
        self.unsettled.pop(delivery, None)

    # -- what it does ------------------------------------------------------------------------------

    def grants(self, credit: int) -> None:
        """It gives more credit, and the turn ends."""
        self.sets_credit(self.granted + credit)
        self.stage.turns()

    def sets_credit(self, credit: int) -> None:
        """It makes its credit what it says."""
        self.granted = credit
        self.stage.router.credit(self, credit)

    def drains(self) -> None:
        """It wants what there is, and to be left with no credit. The turn ends."""
        self.stage.turn()
        if not self.gone:
            self.sets_credit(0)
        self.stage.turns()

    def settles(self, message: Message, outcome: Outcome) -> None:
        """It settles a message it was sent."""
        self.stage.router.settle(self._its(message), outcome)

    def says(self, message: Message, outcome: Outcome) -> None:
        """It says what becomes of its copy of a message, and leaves it to the producer to settle."""
        copy = self._its(message)
        assert isinstance(copy, FakeCopy)
        assert message.copies is not None
        message.copies.said(copy, outcome)

    def _its(self, message: Message) -> Message | FakeCopy:
        """What it was sent of this message, and has not settled."""
        for delivery in self.unsettled.values():
            assert isinstance(delivery, Message | FakeCopy)
            if delivery is message or (isinstance(delivery, FakeCopy) and delivery.original is message):
                return delivery
        raise AssertionError(f"{message!r} is not its to settle")

    def overrun(self) -> None:
        if not self.gone:
            self.leaves()

    def leaves(self, seen: bool = True) -> None:
        """Its link or connection is gone: when all had been written to it, or nothing had (`seen`). The turn ends."""
        self.gone = True
        for delivery in self.unsettled.values():
            assert isinstance(delivery, Message | FakeCopy)
            delivery.seen = seen
        self.stage.router.detach_consumer(self)
        self.stage.turns()


class Stage:
    """A router and its clients."""

    def __init__(
        self, factory: object = pull.factory, options: object = None, by_priority: int = False, **limits: Any
    ) -> None:
        self.reports: list[tuple[str, dict[str, object]]] = []
        table = AddressTable(distribution(factory, options, bool(by_priority)))
        self.router = Router("here", table, Limits(**limits), report=lambda *report: self.reports.append(report))
        self.messages: list[Message] = []
        self.turns_by_itself = True
        self._count = Counter[str]()

    @property
    def counters(self) -> Counter[str]:
        """What the router counted."""
        return self.router.counters

    def address(self, name: str = "q") -> Address:
        """An address that somebody is attached to."""
        return self.router.addresses[name]

    def producer(self, name: str | None = "q", id: str = "", rate: Rate[Producer] | None = None) -> FakeProducer:
        """A producer attaches; with None, an anonymous one. The turn ends."""
        producer = FakeProducer(self, name, id or self._id("producer"), rate)
        self.turns()
        return producer

    def consumer(self, name: str = "q", credit: int = 0, id: str = "", **properties: object) -> FakeConsumer:
        """A consumer attaches, and grants credit. The turn ends."""
        consumer = FakeConsumer(self, name, id or self._id("consumer"), properties)
        self.turns()
        if credit:
            consumer.grants(credit)
        return consumer

    def _id(self, kind: str) -> str:
        self._count[kind] += 1
        return f"{kind}-{self._count[kind]}"

    def turn(self) -> None:
        """What the router put off is done; and what comes of it, if a link was ended, as a wire's turn goes on too."""
        router = self.router
        for _ in range(20):
            router.turn()
            if not router.feeding._hungry and not router.holding._changed:
                return
        raise AssertionError("the turn never ends")

    def turns(self) -> None:
        """A turn is over, unless a test wants to say so itself."""
        if self.turns_by_itself:
            self.turn()

    def switches(self, address: Address, factory: object) -> None:
        """The address is given another policy."""
        self.router.policies.replace(address, distribution(factory))

    def later(self, seconds: float) -> None:
        """Time passes. What is due then is done, as a timer would, and the turn ends."""
        self.router.now += seconds
        deadline = self.router.next_deadline()
        if deadline is not None and deadline <= self.router.now:
            self.router.wake()
        self.turns()


# -- policies --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoOptions:
    """A policy without options."""


def distribution(factory: object, options: object = None, by_priority: bool = False) -> Distribution:
    """What is configured for an address: a policy's factory; or a policy's class, for which one is made."""
    if isinstance(factory, type):
        factory = _FactoryOf(factory)
    options = options if options is not None else factory.options()  # type: ignore[attr-defined]
    return Distribution(factory, options, by_priority)


@implementer(IDistributionPolicyFactory)
class _FactoryOf:
    name = "of-a-class"
    summary = "builds instances of a class"
    options = NoOptions

    def __init__(self, policy: Callable[[], IDistributionPolicy]) -> None:
        self._policy = policy

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return self._policy()


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher)
class WatchingPolicy:
    """The first consumer with credit; and `heard` is what it was told, in order. For others to build on."""

    def __init__(self) -> None:
        self.consumers: list[FakeConsumer] = []
        self.heard: list[tuple[object, ...]] = []

    def add(self, consumer: Any) -> None:
        self.consumers.append(consumer)
        self.heard.append(("add", consumer))

    def remove(self, consumer: Any) -> None:
        self.consumers.remove(consumer)
        self.heard.append(("remove", consumer))

    def select(self, delivery: IDelivery) -> Any:
        return next((each for each in self.consumers if each.credit > 0), None)

    def credit_changed(self, consumer: Any, delta: int) -> None:
        self.heard.append(("credit_changed", consumer, delta))

    def sent(self, consumer: Any, delivery: IDelivery) -> None:
        self.heard.append(("sent", consumer, delivery))

    def settled(self, consumer: Any, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self.heard.append(("settled", consumer, delivery, outcome, seconds))


class Sticky(WatchingPolicy):
    """By the message's group: the consumer of that id, with credit or without; otherwise any with credit."""

    def select(self, delivery: IDelivery) -> Any:
        group = delivery.field("group_id")
        chosen = None if group is None else next((each for each in self.consumers if each.id == group), None)
        return chosen or super().select(delivery)


@implementer(ISelective)
class Choosy(WatchingPolicy):
    """A message with a subject is for nobody until `open` has that subject."""

    def __init__(self) -> None:
        super().__init__()
        self.open: set[object] = set()

    def select(self, delivery: IDelivery) -> Any:
        subject = delivery.field("subject")
        return super().select(delivery) if subject is None or subject in self.open else None

    def kind(self, delivery: IDelivery) -> object:
        return delivery.field("subject")


class StickyAndChoosy(Choosy, Sticky):
    """Both."""


class Full(WatchingPolicy):
    """One message at a time, however much credit there is."""

    def select(self, delivery: IDelivery) -> Any:
        return None if any(each.in_flight for each in self.consumers) else super().select(delivery)


@implementer(IWoken)
class Late(WatchingPolicy):
    """Nobody gets anything before two seconds are over."""

    clock: Callable[[], float]
    wake_at: Callable[[float], None]

    def select(self, delivery: IDelivery) -> Any:
        self.wake_at(2.0)
        return super().select(delivery) if self.clock() >= 2.0 else None


@implementer(IRanking)
class Alphabetic(WatchingPolicy):
    """What is held goes by the first letter of its subject."""

    def rank(self, delivery: IDelivery) -> float:
        subject: Any = delivery.field("subject")
        return subject if isinstance(subject, float) else float(ord(subject))


@implementer(IReplyWatcher)
class Asking(WatchingPolicy):
    """Hears of requests and replies."""

    reply_seconds = 10.0

    def asked(self, consumer: Any, delivery: IDelivery, request: int) -> None:
        self.heard.append(("asked", consumer, delivery))

    def answered(self, consumer: Any, request: int, seconds: float | None) -> None:
        self.heard.append(("answered", consumer, seconds))
