"""`FakeRouter` asks and tells a policy what the router itself does, in the same order, with the same numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from itertools import count
from operator import attrgetter
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from zope.interface import directlyProvides, implementer, providedBy

from tests.unit.core import fakes
from txrouter.core.addresses import AddressTable, Distribution
from txrouter.core.outcomes import ACCEPTED, RELEASED, Outcome, modified, rejected
from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDistributionPolicy,
    IExpiring,
    IReassigning,
)
from txrouter.policies import pull
from txrouter.policies.pull import Pull
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter

OUTCOMES = [ACCEPTED, rejected("x", "y"), modified(delivery_failed=True), RELEASED]
ANSWERS = "answers"
"""Where replies are sent."""


def of_the_policy(name: str) -> property:
    """What the router sets on a policy, or reads of it."""
    return property(attrgetter(f"policy.{name}"), lambda noting, given: setattr(noting.policy, name, given))


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher)
class Noting:
    """Does as another policy does, and notes what it is asked and told."""

    clock = of_the_policy("clock")
    wake_at = of_the_policy("wake_at")
    reassign = of_the_policy("reassign")
    reply_seconds = of_the_policy("reply_seconds")

    def __init__(self, policy: Any, told: list[tuple[object, ...]]) -> None:
        self.policy = policy
        self.told = told
        directlyProvides(self, providedBy(policy), providedBy(self))

    def _note(self, what: str, consumer: IConsumer, *more: object) -> None:
        numbers = (consumer.credit, consumer.in_flight, consumer.waiting, consumer.capacity)
        self.told.append((what, consumer.id, *numbers, *more))

    def _tell(self, what: str, *arguments: object) -> None:
        if hasattr(self.policy, what):
            getattr(self.policy, what)(*arguments)

    def add(self, consumer: IConsumer) -> None:
        self._note("add", consumer, consumer.place)
        self.policy.add(consumer)

    def remove(self, consumer: IConsumer) -> None:
        self._note("remove", consumer)
        self.policy.remove(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        choice: IConsumer | None = self.policy.select(delivery)
        self.told.append(("select", delivery.field("message_id"), None if choice is None else choice.id))
        return choice

    def kind(self, delivery: IDelivery) -> Hashable:
        kind: Hashable = self.policy.kind(delivery)
        self.told.append(("kind", delivery.field("message_id"), kind))
        return kind

    def rank(self, delivery: IDelivery) -> float:
        rank: float = self.policy.rank(delivery)
        self.told.append(("rank", delivery.field("message_id"), rank))
        return rank

    def deadline(self, delivery: IDelivery) -> float | None:
        return self.policy.deadline(delivery)  # type: ignore[no-any-return]

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        self._note("sent", consumer, delivery.field("message_id"), delivery.presettled)
        self._tell("sent", consumer, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self._note("settled", consumer, delivery.field("message_id"), outcome, seconds)
        self._tell("settled", consumer, delivery, outcome, seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        self._note("credit", consumer, delta)
        self._tell("credit_changed", consumer, delta)

    def capacity_changed(self, consumer: IConsumer) -> None:
        self._note("capacity", consumer)
        self._tell("capacity_changed", consumer)

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        self._note("asked", consumer, delivery.field("message_id"))
        self.policy.asked(consumer, delivery, request)

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        self._note("answered", consumer, seconds)
        self.policy.answered(consumer, request, seconds)


class Waiting(Pull):
    """Everything waits for whoever came first."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return next(iter(self._consumers), None)


class Choosy(fakes.Choosy):
    """A message of subject A or B is for nobody while more than one is in flight."""

    def select(self, delivery: IDelivery) -> Any:
        self.open = set() if sum(each.in_flight for each in self.consumers) > 1 else {"A", "B"}
        return super().select(delivery)


class StickyAndChoosy(Choosy, fakes.Sticky):
    """Both."""


class FullAndAlphabetic(fakes.Full, fakes.Alphabetic):
    """Both."""


class StickyAndAlphabetic(fakes.Sticky, fakes.Alphabetic):
    """Both."""


@implementer(IExpiring)
class Impatient(fakes.Sticky):
    """It is too late for a message of subject A after a second, and of B after five."""

    def deadline(self, delivery: IDelivery) -> float | None:
        seconds = {"A": 1.0, "B": 5.0}.get(str(delivery.field("subject")))
        return None if seconds is None else delivery.arrived + seconds


@implementer(IReassigning)
class Fickle(fakes.Sticky):
    """Nothing waits for a consumer that has rejected a message; nor for any, from when a message of subject C comes."""

    reassign: Callable[[IConsumer], None]

    def __init__(self) -> None:
        super().__init__()
        self.avoided: set[Any] = set()

    def remove(self, consumer: Any) -> None:
        super().remove(consumer)
        self.avoided.discard(consumer)

    def settled(self, consumer: Any, delivery: IDelivery, outcome: str, seconds: float) -> None:
        super().settled(consumer, delivery, outcome, seconds)
        if outcome == "rejected":
            self._avoid(consumer)

    def select(self, delivery: IDelivery) -> Any:
        waited_for = [each for each in self.consumers if each.waiting]
        if waited_for and delivery.field("subject") == "C":
            for consumer in waited_for:
                self._avoid(consumer)
            return None
        chosen = super().select(delivery)
        return fakes.WatchingPolicy.select(self, delivery) if chosen in self.avoided else chosen

    def _avoid(self, consumer: Any) -> None:
        self.avoided.add(consumer)
        self.reassign(consumer)


class FullAndImpatient(fakes.Full, Impatient):
    """Both."""


class FullAndAsking(fakes.Full, fakes.Asking):
    """Both."""


class Busy(fakes.Asking):
    """Nobody has a request while another's reply is awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = 0

    def select(self, delivery: IDelivery) -> Any:
        return None if self.busy else super().select(delivery)

    def remove(self, consumer: Any) -> None:
        super().remove(consumer)
        self.busy = 0

    def asked(self, consumer: Any, delivery: IDelivery, request: int) -> None:
        self.busy += 1

    def answered(self, consumer: Any, request: int, seconds: float | None) -> None:
        self.busy -= self.busy > 0


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher)
class Raises:
    """Can do nothing."""

    def __getattr__(self, name: str) -> Any:
        return self._fail

    def _fail(self, *_arguments: object) -> None:
        raise RuntimeError("can do nothing")


class Alike(RuleBasedStateMachine):
    """The same events at the router's core and at the fake one."""

    policy: ClassVar[type]
    shadows: ClassVar[tuple[type, ...]] = ()
    """What may run beside it, in the router."""
    consumers = Bundle("consumers")

    @initialize()
    def build(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.told_by_fake: list[tuple[object, ...]] = []
        self.stage = fakes.Stage()
        self.stage.producer()
        self.stage.consumer(ANSWERS, credit=1_000_000)
        self.producer_of_answers = self.stage.producer(None)
        self.fake = FakeRouter(Noting(self.policy(), self.told_by_fake))
        self._use(self._distribution())
        self.pairs: dict[str, tuple[fakes.FakeConsumer, FakeConsumer]] = {}
        self.ids = count(1)

    def _distribution(self) -> Distribution:
        return fakes.distribution(fakes._FactoryOf(lambda: Noting(self.policy(), self.told)))

    def _use(self, distribution: Distribution) -> None:
        self.distribution = distribution
        table = AddressTable(fakes.distribution(pull.factory))
        table.add_pattern("q", distribution)
        self.stage.router.policies.use(table)
        self.stage.turn()

    @rule(target=consumers, credit=st.integers(0, 3))
    def attaches(self, credit: int) -> str:
        real = self.stage.consumer()
        fake = self.fake.attach(real.id)
        self.pairs[real.id] = real, fake
        self.grants(real.id, credit)
        return real.id

    @rule(consumer=consumers, credit=st.integers(1, 3))
    def grants(self, consumer: str, credit: int) -> None:
        real, fake = self.pairs[consumer]
        real.grants(credit)
        self.fake.grant(fake, credit)

    @rule(consumer=consumers)
    def drains(self, consumer: str) -> None:
        real, fake = self.pairs[consumer]
        real.drains()
        self.fake.set_credit(fake, 0)

    @rule(consumer=consumers, capacity=st.sampled_from([1.0, 2.0]))
    def changes_capacity(self, consumer: str, capacity: float) -> None:
        real, fake = self.pairs[consumer]
        self.stage.router.set_capacity(real, capacity)
        self.fake.set_capacity(fake, capacity)

    @rule(
        presettled=st.booleans(),
        subject=st.sampled_from("ABC"),
        group=st.none() | consumers,
        reply_to=st.sampled_from([None, ANSWERS]),
    )
    def message_arrives(self, presettled: bool, subject: str, group: str | None, reply_to: str | None) -> None:
        producer = self.stage.producer()
        if producer.may_send:
            fields = {"subject": subject, "group_id": group, "reply_to": reply_to, "message_id": next(self.ids) // 2}
            # two by two they have the same id: which of them is replied to nobody can tell
            producer.sends(presettled, **fields)
            self.stage.turn()
            self.fake.send(FakeDelivery(fields, presettled=presettled))

    @rule(consumer=consumers, index=st.integers(0, 9), outcome=st.sampled_from(OUTCOMES))
    def settles(self, consumer: str, index: int, outcome: Outcome) -> None:
        real, fake = self.pairs[consumer]
        if fake.in_flight:
            index %= fake.in_flight
            delivery: Any = list(real.unsettled.values())[index]
            seconds = self.stage.router.now - delivery.sent_at
            real.settles(delivery, outcome)
            self.stage.turn()
            self.fake.settle(fake, outcome.state, seconds, index)

    @rule(index=st.integers(0, 9))
    def replies(self, index: int) -> None:
        if self.fake.requests:
            index %= self.fake.requests
            id = self.fake._replies.awaited[index].delivery.field("message_id")
            self.producer_of_answers.sends(to=ANSWERS, correlation_id=id)
            self.stage.turn()
            self.fake.reply(index)

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0, 16.0]))
    def later(self, seconds: float) -> None:
        self.stage.later(seconds)
        self.fake.later(seconds)

    @rule()
    def policy_is_replaced(self) -> None:
        self._use(self._distribution())
        self.fake.replace(Noting(self.policy(), self.told_by_fake))

    @rule(index=st.integers(0, 9))
    def shadow_is_replaced(self, index: int) -> None:
        if self.shadows:
            shadow = [None, *map(fakes.distribution, self.shadows)][index % (1 + len(self.shadows))]
            self._use(dataclasses.replace(self.distribution, shadow=shadow))

    @rule(consumer=consumers, settles=st.integers(0, 2))
    def is_barred_for_a_while(self, consumer: str, settles: int) -> None:
        real, fake = self.pairs[consumer]
        self.stage.router.rota.bar(real)
        self.stage.turn()
        for message in list(real.unsettled.values())[:settles]:
            real.settles(message, ACCEPTED)  # type: ignore[arg-type]
        self.stage.turn()
        self.stage.router.rota.unbar(real)
        self.stage.turn()
        self.fake.bar(fake, settles)

    @rule(consumer=consumes(consumers))
    def leaves(self, consumer: str) -> None:
        real, fake = self.pairs.pop(consumer)
        real.leaves()
        self.fake.detach(fake)

    @invariant()
    def policies_are_asked_and_told_alike(self) -> None:
        assert self.told_by_fake == self.told

    @invariant()
    def as_much_is_held(self) -> None:
        address = self.stage.address()
        assert (len(self.fake.held), len(self.fake.returned)) == (len(address.held), len(address.returned))
        assert len(self.fake.expired) == self.stage.counters["expired"]


POLICIES = pytest.mark.parametrize(
    "policy",
    [
        Pull,
        Waiting,
        Choosy,
        fakes.Full,
        fakes.Late,
        fakes.Sticky,
        StickyAndChoosy,
        FullAndAlphabetic,
        StickyAndAlphabetic,
        FullAndImpatient,
        Impatient,
        Fickle,
        FullAndAsking,
        Busy,
    ],
    ids=lambda policy: policy.__name__,
)


@POLICIES
def test_the_fake_router_does_as_the_router_does(policy: type) -> None:
    run({"policy": policy})


@POLICIES
def test_a_policy_does_not_notice_its_shadow(policy: type) -> None:
    run({"policy": policy, "shadows": (Pull, StickyAndChoosy, fakes.Late, Fickle, Raises)})


def run(attributes: dict[str, object]) -> None:
    """Try it with some policies."""
    machine: Any = type("AlikeFor", (Alike,), attributes)
    run_state_machine_as_test(machine, settings=settings(machine.TestCase.settings, max_examples=30))
