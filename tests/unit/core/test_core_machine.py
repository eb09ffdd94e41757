"""Whatever clients do, in whatever order: no message is lost or doubled, no credit invented, and nothing stays behind.

A state machine drives a router with random clients and compares it, after every step, with a model that keeps its own
books. `TXROUTER_TEST_EFFORT=20` tries twenty times as many histories, and other ones every time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from tests.unit.core.fakes import FakeConsumer, FakeProducer, Message, Stage, StickyAndChoosy, WatchingPolicy
from txrouter.core.deliveries import Malformed
from txrouter.core.links import Address
from txrouter.core.outcomes import ACCEPTED, LOST, RELEASED, SETTLED, Outcome, modified
from txrouter.interfaces import IDelivery
from txrouter.policies import pull, round_robin, weighted

EFFORT = int(os.environ.get("TXROUTER_TEST_EFFORT", "1"))

OUTCOMES = [
    ACCEPTED,
    RELEASED,
    Outcome("rejected", origin="an error"),
    modified(delivery_failed=False),
    modified(delivery_failed=True),
    modified(delivery_failed=False, undeliverable_here=True),
    modified(delivery_failed=True, undeliverable_here=True),
    SETTLED,
]
LIMITS = {"link_capacity": 12, "max_in_flight": 4, "max_unsettled": 16}
ADDRESSES = st.sampled_from(["q", "r"])


class Book:
    """What the model knows of a message, beside the message itself."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.sender = message.producer
        self.came = 0
        """Its place in the order of arrival; it has another when it is adopted."""
        self.released_by: set[FakeConsumer] = set()
        self.failed = False
        """A consumer said delivery-failed, and another was to have it."""
        self.lost = False
        """Its consumer was lost after it was sent."""


class RouterMachine(RuleBasedStateMachine):
    """Random clients of a router whose policy is `policy`."""

    policy: ClassVar[object] = pull.factory
    always_willing: ClassVar[bool] = True
    """Whether the policy selects a consumer with credit whenever there is one."""

    producers = Bundle("producers")
    consumers = Bundle("consumers")

    @initialize(few=st.booleans())
    def begin(self, few: bool) -> None:
        self.stage = Stage(self.policy, **(LIMITS if few else {}))
        self.stage.turns_by_itself = False
        self.router = self.stage.router
        self.limits = self.router.limits
        self.books: dict[Message, Book] = {}
        self.arrivals = 0
        self.turned = True
        self.all_producers: list[FakeProducer] = []
        self.all_consumers: list[FakeConsumer] = []
        self.first_sends: dict[Address, list[Book]] = {}

    # -- links -------------------------------------------------------------------------------------

    @rule(target=producers, name=ADDRESSES | st.none())
    def a_producer_attaches(self, name: str | None) -> FakeProducer:
        producer = self.stage.producer(name)
        self.all_producers.append(producer)
        return producer

    @rule(target=consumers, name=ADDRESSES, credit=st.integers(0, 6), capacity=st.sampled_from([1, 1, 3]))
    def a_consumer_attaches(self, name: str, credit: int, capacity: int) -> FakeConsumer:
        consumer = self.stage.consumer(name, credit, capacity=capacity)
        self.all_consumers.append(consumer)
        return consumer

    @rule(producer=consumes(producers))
    def a_producer_leaves(self, producer: FakeProducer) -> None:
        if producer.gone:
            return
        for message in self.stage.messages:
            if message.producer is producer and message.presettled and message.is_held:
                self._came(self.books[message])
        producer.leaves()

    @rule(consumer=consumes(consumers), seen=st.booleans())
    def a_consumer_is_lost(self, consumer: FakeConsumer, seen: bool) -> None:
        for message in consumer.unsettled:
            assert isinstance(message, Message)
            self.books[message].lost = seen or not message.kept
        consumer.leaves(seen)

    # -- messages ----------------------------------------------------------------------------------

    @rule(
        producer=producers,
        count=st.integers(1, 5),
        presettled=st.booleans(),
        kept=st.booleans(),
        to=ADDRESSES,
        more=st.fixed_dictionaries(
            {},
            optional={
                "ttl": st.sampled_from([0, 1_000, 3_000, Malformed]),
                "group_id": st.sampled_from(["consumer-1", "consumer-2", "consumer-3"]),
                "subject": st.sampled_from(["x", Malformed]),
            },
        ),
    )
    def a_producer_sends(self, producer: FakeProducer, count: int, to: str, kept: bool, **more: Any) -> None:
        for _ in range(min(count, producer.may_send)):
            self._sends(producer, kept, more["presettled"], {"to": to, **more["more"]})

    @precondition(lambda self: self.limits.link_capacity < 20)
    @rule(producer=producers)
    def a_producer_sends_more_than_it_may(self, producer: FakeProducer) -> None:
        while producer.may_send >= 0 and not producer.gone:
            self._sends(producer, True, False, {"to": "q"})

    def _sends(self, producer: FakeProducer, kept: bool, presettled: bool, fields: dict[str, object]) -> None:
        router = self.router
        producer.sent += 1
        message = Message(producer, producer.target, presettled, router.now, fields)
        message.kept = kept
        self._came(self.books.setdefault(message, Book(message)))
        if not presettled:
            producer.unsettled[message] = message
        self.stage.messages.append(message)
        left = router.route(message) if producer.target is not None else router.route_by_name(message)
        assert left is not message.is_held

    def _came(self, book: Book) -> None:
        self.arrivals += 1
        book.came = self.arrivals

    @rule(consumer=consumers, index=st.integers(0, 9), outcome=st.sampled_from(OUTCOMES))
    def a_consumer_settles(self, consumer: FakeConsumer, index: int, outcome: Outcome) -> None:
        if not consumer.unsettled:
            return
        message = list(consumer.unsettled)[index % len(consumer.unsettled)]
        assert isinstance(message, Message)
        book = self.books[message]
        others = self._others(message, book, consumer)
        consumer.settles(message, outcome)
        if not outcome.asks_for_another:
            assert message.outcome is outcome
            return
        book.released_by.add(consumer)
        if others and message.kept and not self.router.stopping:
            book.failed |= outcome.delivery_failed
            in_time = self.router.now < message.arrived + (self._ttl(message) or 1e9)
            assert message.is_held or message.sent_to[-1] in others or not in_time or self._unreadable(message)
        elif book.failed and not outcome.delivery_failed:
            assert message.outcome is not None
            assert (message.outcome.state, message.outcome.delivery_failed) == ("modified", True)
        else:
            assert message.outcome is outcome

    def _others(self, message: Message, book: Book, consumer: FakeConsumer) -> set[Any]:
        return set(message.destination.consumers) - book.released_by - {consumer}

    def _ttl(self, message: Message) -> float | None:
        ttl = message.fields.get("ttl")
        return ttl / 1000 if isinstance(ttl, int) else None

    def _unreadable(self, message: Message) -> bool:
        return Malformed in message.fields.values()

    @rule(producer=producers, index=st.integers(0, 9))
    def a_producer_settles(self, producer: FakeProducer, index: int) -> None:
        if producer.unsettled:
            message = list(producer.unsettled)[index % len(producer.unsettled)]
            assert isinstance(message, Message)
            producer.settles(message)
            assert message.outcome is SETTLED

    # -- credit ------------------------------------------------------------------------------------

    @rule(consumer=consumers, credit=st.integers(1, 6))
    def a_consumer_grants(self, consumer: FakeConsumer, credit: int) -> None:
        consumer.grants(credit)

    @rule(consumer=consumers, credit=st.integers(0, 3))
    def a_consumer_sets_its_credit(self, consumer: FakeConsumer, credit: int) -> None:
        consumer.sets_credit(credit)

    @rule(consumer=consumers)
    def a_consumer_drains(self, consumer: FakeConsumer) -> None:
        consumer.drains()
        assert consumer.credit == 0

    @rule(consumer=consumers)
    def a_connection_is_blocked(self, consumer: FakeConsumer) -> None:
        self.router.suspend(consumer)

    @rule(consumer=consumers)
    def a_connection_is_free_again(self, consumer: FakeConsumer) -> None:
        self.router.resume(consumer)

    @rule(consumer=consumers, capacity=st.sampled_from([0.5, 2.0]))
    def a_capacity_changes(self, consumer: FakeConsumer, capacity: float) -> None:
        self.router.set_capacity(consumer, capacity)

    @rule(producer=producers, part=st.integers(1, 3))
    def a_producer_gives_credit_back(self, producer: FakeProducer, part: int) -> None:
        if producer.may_send > 0 and not producer.gone:
            producer.gives_back((producer.may_send + part - 1) // part)

    # -- time --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.later(seconds)
        for message in self.stage.messages:
            ttl = self._ttl(message)
            assert not message.is_held or ttl is None or message.arrived + ttl > self.router.now

    @rule()
    def a_turn_ends(self) -> None:
        self.stage.turn()
        self._check_turn()

    @precondition(lambda self: len(self.stage.messages) > 20)
    @rule()
    def the_router_is_stopped(self) -> None:
        self.router.stop()

    # -- what has to be so at the end of a turn ------------------------------------------------------

    def _check_turn(self) -> None:
        for address in self.router.addresses.values():
            assert not address.changed
            if self.always_willing and address.free > 0:
                assert not address.held, "a message waits although there is credit"
            for consumer in address.consumers:
                assert not consumer.queue or consumer.credit == 0, "a message waits for a consumer that has credit"
            for message in address.returned:
                assert isinstance(message, Message)
                able = {each for each in address.consumers if each.credit > 0}
                assert able <= self.books[message].released_by, "a returned message waits although there is credit"
        for producer in self._attached(self.all_producers):
            self._check_fed(producer)
        if self.router.stopping:
            assert not any(message.is_held for message in self.stage.messages)

    def _check_fed(self, producer: FakeProducer) -> None:
        """Where consumers have credit, so has every producer; and who has none is remembered for when they do."""
        address = producer.target
        if address is not None:
            assert producer.credit > 0 or producer in address.wanting
        throttled = len(producer.unsettled) + producer.credit >= self.limits.max_unsettled
        if not self.router.stopping and not throttled and (address is None or address.free > 0):
            assert producer.credit > 0

    # -- what has to be so at all times ------------------------------------------------------------

    @invariant()
    def every_message_is_somewhere_and_only_there(self) -> None:
        for message in self.stage.messages:
            consumer = message.consumer
            in_flight = isinstance(consumer, FakeConsumer) and message in consumer.unsettled
            assert message.over + message.is_held + in_flight == 1
            assert len(message.outcomes) == (message.over and not self._went_quietly(message))
            assert len(set(message.sent_to)) == len(message.sent_to), "sent twice to the same consumer"
            assert not message.is_held or message in (message.shelf or ())

    def _went_quietly(self, message: Message) -> bool:
        """Pre-settled, and delivered; or dropped, when its producer had left."""
        return message.presettled and (bool(message.sent_to) or message.producer is None)

    @invariant()
    def a_failure_is_told_exactly_where_a_consumer_may_have_seen_the_message(self) -> None:
        for message, book in self.books.items():
            if message.outcome is not None and message.outcome.state == "released":
                assert not book.failed
                assert not book.lost
            if book.lost and not message.presettled:
                assert message.outcome is LOST

    @invariant()
    def the_books_of_each_producer_balance(self) -> None:
        left: dict[Any, int] = dict.fromkeys(self.all_producers, 0)
        held: dict[Any, int] = dict.fromkeys(self.all_producers, 0)
        for message, book in self.books.items():
            assert book.sender is not None
            left[book.sender] += bool(message.sent_to or message.over)
            held[book.sender] += message.is_held and message.producer is book.sender
        for producer in self._attached(self.all_producers):
            assert producer.credit == producer.granted - producer.given_back - left[producer]
            assert producer.credit <= self.limits.link_capacity
            assert producer.held == held[producer]
            assert set(producer.unsettled) == {
                message for message in self._sent_by(producer) if not message.presettled and not message.over
            }

    def _sent_by(self, producer: FakeProducer) -> Iterator[Message]:
        return (message for message in self.stage.messages if message.producer is producer)

    @invariant()
    def the_books_of_each_consumer_balance(self) -> None:
        for consumer in self._attached(self.all_consumers):
            assert consumer.credit >= 0
            assert consumer.credit + consumer.withheld == consumer.granted
            assert consumer.in_flight == len(consumer.unsettled)
            assert consumer.credit + consumer.in_flight <= self.limits.max_in_flight
            assert not (consumer.suspended and consumer.credit)

    @invariant()
    def the_free_credit_of_an_address_is_that_of_its_consumers(self) -> None:
        for address in self.router.addresses.values():
            assert address.producers or address.consumers
            assert address.wanting.keys() <= address.producers.keys()
            assert address.free == sum(consumer.credit for consumer in address.consumers)
            assert address.window == sum(consumer.window for consumer in address.consumers)

    @invariant()
    def the_order_is_kept(self) -> None:
        """For every producer and consumer; and for an address as a whole, where the policy lets nobody pass."""
        for consumer in self.all_consumers:
            last: dict[object, int] = {}
            for message in consumer.got:
                book = self.books[message]
                if message.sent_to[0] is consumer:
                    assert last.get(book.sender, 0) < book.came
                    last[book.sender] = book.came
        if self.always_willing:
            for address in self.router.addresses.values():
                held = [self.books[message].came for message in address.held if isinstance(message, Message)]
                assert held == sorted(held)

    @invariant()
    def what_is_dropped_is_counted(self) -> None:
        dropped = [message for message in self.stage.messages if message.presettled and message.over]
        assert self.stage.counters["dropped"] == sum(not message.sent_to for message in dropped)

    def _attached(self, links: list[Any]) -> Iterator[Any]:
        return (link for link in links if not link.gone)

    # -- the end -----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """When all have left, nothing is left of them, and everything is over."""
        if not hasattr(self, "stage"):
            return
        for link in [*self._attached(self.all_consumers), *self._attached(self.all_producers)]:
            link.leaves()
        self.stage.turn()
        assert all(message.over for message in self.stage.messages)
        assert self.router.addresses == {}
        assert self.router.feeding._hungry == []
        assert not self.router.holding._changed
        assert not self.router.holding._served
        assert self.router.holding.next_deadline() is None
        self.every_message_is_somewhere_and_only_there()
        self.what_is_dropped_is_counted()


class RoundRobinMachine(RouterMachine):
    policy = round_robin.factory


class WeightedMachine(RouterMachine):
    policy = weighted.factory


class StickyAndChoosyMachine(RouterMachine):
    policy = StickyAndChoosy
    always_willing = False


class Mad(WatchingPolicy):
    """Chooses anybody, nobody or nonsense, and raises wherever it can."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(1)
        self.left: list[Any] = []

    def _raises(self) -> None:
        if self.random.random() < 0.1:
            raise RuntimeError("mad")

    def add(self, consumer: Any) -> None:
        super().add(consumer)
        self._raises()

    def remove(self, consumer: Any) -> None:
        super().remove(consumer)
        self.left.append(consumer)
        self._raises()

    def select(self, delivery: IDelivery) -> Any:
        self._raises()
        return self.random.choice([*self.consumers, *self.left[-1:], None, "nonsense", []])

    def credit_changed(self, consumer: Any, delta: int) -> None:
        self._raises()

    def sent(self, consumer: Any, delivery: IDelivery) -> None:
        self._raises()

    def settled(self, consumer: Any, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self._raises()


class MadMachine(RouterMachine):
    policy = Mad
    always_willing = False


def _with_effort(case: Any, share: int) -> Any:
    case.settings = settings(
        derandomize=EFFORT == 1,
        database=None,
        max_examples=20 * share * EFFORT,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return case


TestPull = _with_effort(RouterMachine.TestCase, 3)
TestRoundRobin = _with_effort(RoundRobinMachine.TestCase, 1)
TestWeighted = _with_effort(WeightedMachine.TestCase, 1)
TestStickyAndChoosy = _with_effort(StickyAndChoosyMachine.TestCase, 3)
TestMad = _with_effort(MadMachine.TestCase, 2)
