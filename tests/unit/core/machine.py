"""A state machine of a router's clients: they do anything in any order, and a model with books of its own is held
against the router after every step.

The model knows what each consumer said of each message, and who was there when; from that alone it says what every
producer must have been told, and what credit everybody has.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.core.fakes import FakeCopy, Stage, distribution
from tests.unit.core.lively import TOO_LARGE, LiveConsumer, LiveMessage, LiveProducer, copies_say
from txrouter.core.deliveries import Malformed
from txrouter.core.links import Producer
from txrouter.core.outcomes import ACCEPTED, RELEASED, SETTLED, Outcome, modified
from txrouter.core.rate import Rate
from txrouter.policies import closest, multicast, pull, round_robin, weighted

__all__ = ["STEPS", "RouterMachine"]

STEPS = Counter[str]()
"""How many steps each machine has taken in this process."""

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
SHIPPED = [pull.factory, round_robin.factory, weighted.factory, closest.factory]
LIMITS = {"link_capacity": 12, "max_in_flight": 4, "max_unsettled": 16}
MULTICAST = {
    "m.auto": multicast.Options(block_seconds=2.0, drop_seconds=0.0),
    "m.block": multicast.Options("block", block_seconds=3.0),
    "m.drop": multicast.Options("drop", drop_seconds=1.0),
    "m.detach": multicast.Options("detach", drop_seconds=0.5),
}
PLACES = st.integers(0, 11)
"""Which one of several."""
SIZES = st.sampled_from(["small", "small", "large", "long"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "ttl": st.sampled_from([0, 1_000, 3_000, Malformed]),
        "group_id": st.sampled_from(["consumer-1", "consumer-2", "consumer-3"]),
        "subject": st.sampled_from(["x", Malformed]),
    },
)


class RouterMachine(RuleBasedStateMachine):
    """Random clients of a router whose policy is `policy`."""

    policy: ClassVar[object] = pull.factory
    always_willing: ClassVar[bool] = True
    """Whether the policy selects a consumer with credit whenever there is one."""
    sane: ClassVar[bool] = True
    """Whether the policy makes no mistakes."""
    switches: ClassVar[bool] = False
    """Whether addresses are given other policies."""
    names: ClassVar[tuple[str, ...]] = ("q", "r")

    @initialize(few=st.booleans(), credits=st.lists(st.integers(0, 6), min_size=6, max_size=6))
    def begin(self, few: bool, credits: list[int]) -> None:
        self.stage = Stage(self.policy, **(LIMITS if few else {}))
        self.stage.turns_by_itself = False
        self.router = self.stage.router
        for name, options in MULTICAST.items():
            self.router.policies.table.add_pattern(name, distribution(multicast.factory, options))
        self.limits = self.router.limits
        self.rate: Rate[Producer] = Rate(3, 0.0)
        """How fast every other producer may send."""
        self.messages: list[LiveMessage] = self.stage.messages  # type: ignore[assignment]
        self.arrivals = 0
        self.all_producers: list[LiveProducer] = []
        self.all_consumers: list[LiveConsumer] = []
        for place, credit in enumerate(credits):
            self.a_consumer_attaches(place, credit, 1)
        for place in range(3):
            self.a_producer_attaches(place)
        self.a_producer_attaches(None)
        self.a_turn_ends()

    @property
    def producers(self) -> list[LiveProducer]:
        """Those that are attached."""
        return [producer for producer in self.all_producers if not producer.gone]

    @property
    def consumers(self) -> list[LiveConsumer]:
        """Those that are attached."""
        return [consumer for consumer in self.all_consumers if not consumer.gone]

    # -- links -------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.producers) < 8)
    @rule(place=PLACES | st.none())
    def a_producer_attaches(self, place: int | None) -> None:
        name, id = None if place is None else self._name(place), f"producer-{len(self.all_producers) + 1}"
        rate = self.rate if len(self.all_producers) % 2 else None
        self.all_producers.append(LiveProducer(self.stage, name, id, rate))

    @precondition(lambda self: len(self.consumers) < 10)
    @rule(place=PLACES, credit=st.integers(0, 6), capacity=st.sampled_from([1, 1, 3]))
    def a_consumer_attaches(self, place: int, credit: int, capacity: int) -> None:
        id = f"consumer-{len(self.all_consumers) + 1}"
        consumer = LiveConsumer(self.stage, self._name(place), id, {"capacity": capacity})
        self.all_consumers.append(consumer)
        if credit:
            consumer.grants(credit)

    def _name(self, place: int) -> str:
        return self.names[place % len(self.names)]

    @precondition(lambda self: len(self.producers) > 4)
    @rule(place=PLACES)
    def a_producer_leaves(self, place: int) -> None:
        self._producer_leaves(self._one(self.producers, place))

    def _producer_leaves(self, producer: LiveProducer) -> None:
        for message in self.messages:
            if message.producer is producer and message.presettled and message.is_held and not message.long:
                self._came(message)
        producer.leaves()

    @precondition(lambda self: len(self.consumers) > 3)
    @rule(place=PLACES, written=st.integers(0, 4) | st.just(1_000))
    def a_consumer_leaves(self, place: int, written: int) -> None:
        self._consumer_leaves(self._one(self.consumers, place), written)

    def _consumer_leaves(self, consumer: LiveConsumer, written: int) -> None:
        self._goes_astray(consumer)
        consumer.leaves(written=written)

    def _goes_astray(self, consumer: LiveConsumer) -> None:
        """What waits for it will wait for any."""
        for message in consumer.queue or ():
            assert isinstance(message, LiveMessage)
            message.astray = True

    @precondition(lambda self: len(self.consumers) > 5)
    @rule(lost=st.sets(PLACES, max_size=2), also=st.sets(PLACES, max_size=3), written=st.integers(0, 4))
    def a_connection_is_lost(self, lost: set[int], also: set[int], written: int) -> None:
        """With all its links, one after the other; what comes of it is seen to when the turn ends."""
        consumers = [each for place, each in enumerate(self.consumers) if place in also]
        for consumer in consumers[:1]:
            self._consumer_leaves(consumer, written)
        for producer in [each for place, each in enumerate(self.producers) if place in lost]:
            self._producer_leaves(producer)
        for consumer in consumers[1:]:
            self._consumer_leaves(consumer, written)

    def _one(self, things: Any, place: int) -> Any:
        return things[place % len(things)] if things else None

    # -- messages ----------------------------------------------------------------------------------

    @rule(place=PLACES, count=st.integers(1, 5), presettled=st.booleans(), size=SIZES, to=PLACES, more=FIELDS)
    def a_producer_sends(
        self, place: int, count: int, presettled: bool, size: str, to: int, more: dict[str, object]
    ) -> None:
        producer = self._one(self.producers, place)
        for _ in range(count if producer is not None else 0):
            self._sends(producer, presettled, size, {"to": self._name(to), **more})

    @rule(count=st.integers(1, 5), presettled=st.booleans(), size=SIZES, to=PLACES)
    def every_producer_sends(self, count: int, presettled: bool, size: str, to: int) -> None:
        for producer in self.producers * count:
            self._sends(producer, presettled, size, {"to": self._name(to)})

    def _sends(self, producer: LiveProducer, presettled: bool, size: str, fields: dict[str, object]) -> None:
        if producer.may_send > 0 and not producer.is_busy:
            self._sends_anyway(producer, presettled, size, fields)

    def _sends_anyway(self, producer: LiveProducer, presettled: bool, size: str, fields: dict[str, object]) -> None:
        message = LiveMessage(producer, presettled, size, fields)
        self._came(message)
        producer.sends_this(message)

    def _came(self, message: LiveMessage) -> None:
        self.arrivals += 1
        message.came = self.arrivals
        message.waits_since = self.router.now

    @precondition(lambda self: self.limits.link_capacity < 20 and self.producers)
    @rule(place=PLACES)
    def a_producer_sends_more_than_it_may(self, place: int) -> None:
        producer = self._one(self.producers, place)
        while producer.may_send >= 0 and not producer.gone and not producer.is_busy:
            self._sends_anyway(producer, False, "small", {"to": "q"})

    @precondition(lambda self: any(consumer.streaming for consumer in self.consumers))
    @rule(place=PLACES, settled=st.booleans())
    def the_rest_of_a_long_message_comes(self, place: int, settled: bool) -> None:
        self._one([consumer for consumer in self.consumers if consumer.streaming], place).gets_the_rest(settled)

    @precondition(lambda self: self._coming())
    @rule(place=PLACES)
    def a_producer_aborts_a_long_message(self, place: int) -> None:
        self._one(self._coming(), place).abandoned()

    @precondition(lambda self: self._coming())
    @rule(place=PLACES)
    def a_long_message_turns_out_to_be_too_large(self, place: int) -> None:
        """It is refused, and its link is ended."""
        message = self._one(self._coming(), place)
        message.abandoned(TOO_LARGE)
        self._producer_leaves(message.sender)

    def _coming(self) -> list[LiveMessage]:
        return [message for message in self.messages if not message.complete and not message.over]

    @precondition(lambda self: self._deliveries())
    @rule(place=st.integers(0, 99), outcome=st.sampled_from(OUTCOMES))
    def a_consumer_settles(self, place: int, outcome: Outcome) -> None:
        consumer, delivery = self._one(self._deliveries(), place)
        self._settles(consumer, delivery, outcome)

    @rule(outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=5))
    def every_consumer_settles_all_that_it_has(self, outcomes: list[Outcome]) -> None:
        for place, (consumer, delivery) in enumerate(self._deliveries()):
            self._settles(consumer, delivery, self._one(outcomes, place))

    def _settles(self, consumer: LiveConsumer, delivery: Any, outcome: Outcome) -> None:
        message: Any = delivery.original if isinstance(delivery, FakeCopy) else delivery
        others = self._others(message, consumer)
        consumer.says_of(delivery, outcome)
        if outcome.asks_for_another and others and message.kept:
            late = not message.is_held and message.outcome is not None
            assert message.is_held or message.sent_to[-1] in others or late

    @precondition(lambda self: self._deliveries())
    @rule(place=st.integers(0, 99), outcome=st.sampled_from(OUTCOMES[:-1]))
    def a_consumer_says_something(self, place: int, outcome: Outcome) -> None:
        """And leaves it to the producer to settle."""
        consumer, delivery = self._one(self._deliveries(), place)
        if not delivery.presettled:
            consumer.updates(delivery, outcome)

    def _deliveries(self) -> list[tuple[LiveConsumer, Any]]:
        return [(consumer, delivery) for consumer in self.consumers for delivery in consumer.unsettled.values()]

    def _others(self, message: LiveMessage, consumer: LiveConsumer) -> set[Any]:
        """Who else may have a message that this consumer gives back."""
        if message.copies is not None or self.router.stopping:
            return set()
        return set(message.destination.consumers) - {each for each, _ in message.said} - {consumer}

    @precondition(lambda self: self._settleable())
    @rule(place=st.integers(0, 99))
    def a_producer_settles(self, place: int) -> None:
        self._one(self._settleable(), place).abandoned()

    def _settleable(self) -> list[LiveMessage]:
        unsettled = [message for producer in self.producers for message in producer.unsettled]
        return [message for message in unsettled if isinstance(message, LiveMessage) and message.complete]

    # -- credit ------------------------------------------------------------------------------------

    @precondition(lambda self: self.consumers)
    @rule(place=PLACES, credit=st.integers(1, 6))
    def a_consumer_grants(self, place: int, credit: int) -> None:
        self._one(self.consumers, place).grants(credit)

    @rule(credit=st.integers(1, 3))
    def every_consumer_grants(self, credit: int) -> None:
        for consumer in self.consumers:
            consumer.grants(credit)
        self.a_turn_ends()

    @precondition(lambda self: self.consumers)
    @rule(place=PLACES, credit=st.integers(0, 3))
    def a_consumer_sets_its_credit(self, place: int, credit: int) -> None:
        self._one(self.consumers, place).sets_credit(credit)

    @precondition(lambda self: self.consumers)
    @rule(place=PLACES)
    def a_consumer_drains(self, place: int) -> None:
        consumer = self._one(self.consumers, place)
        consumer.drains()
        assert consumer.gone or consumer.credit == consumer.granted == 0

    @precondition(lambda self: self.consumers)
    @rule(place=PLACES, blocked=st.booleans())
    def a_connection_is_blocked_or_free_again(self, place: int, blocked: bool) -> None:
        self._one(self.consumers, place).blocks(blocked)

    @precondition(lambda self: self.consumers)
    @rule(place=PLACES, capacity=st.sampled_from([0.5, 2.0]))
    def a_capacity_changes(self, place: int, capacity: float) -> None:
        self.router.set_capacity(self._one(self.consumers, place), capacity)

    @precondition(lambda self: self.consumers)
    @rule(place=PLACES, said=st.sampled_from(["drain", "drain", "ready", "50%", 3, None]))
    def an_operator_says_how_it_is_with_a_consumer(self, place: int, said: object) -> None:
        consumer = self._one(self.consumers, place)
        if said == "drain":
            self._goes_astray(consumer)
        self.router.capacities.tell(consumer, said)
        assert consumer.barred == (said == "drain")

    @rule()
    def every_consumer_may_have_something_new(self) -> None:
        for consumer in self.consumers:
            self.router.capacities.tell(consumer, None)
        self.a_turn_ends()

    @rule(place=PLACES, part=st.integers(1, 3))
    def a_producer_gives_credit_back(self, place: int, part: int) -> None:
        producer = self._one(self.producers, place)
        if producer is not None and producer.may_send > 0:
            producer.gives_back((producer.may_send + part - 1) // part)

    # -- time, and the router ----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.later(seconds)
        for message in self.messages:
            ttl = message.fields.get("ttl")
            assert not (message.is_held and isinstance(ttl, int)) or message.arrived + ttl / 1000 > self.router.now

    @rule()
    def a_turn_ends(self) -> None:
        self.stage.turn()
        self.stage.later(0.0)  # a timer may be due already
        self.stage.turn()
        self._check_turn()

    @precondition(lambda self: self.switches)
    @rule(place=PLACES, policy=st.sampled_from(SHIPPED))
    def an_address_is_given_another_policy(self, place: int, policy: Any) -> None:
        address = self.router.addresses.get(self._name(place))
        if address is not None:
            self.stage.switches(address, policy)

    @precondition(lambda self: len(self.messages) > 60)
    @rule()
    def the_router_is_stopped(self) -> None:
        self.router.stop()

    # -- what has to be so at the end of a turn ------------------------------------------------------

    def _check_turn(self) -> None:
        for address in self.router.addresses.values():
            assert not address.changed
            able = {consumer for consumer in address.consumers if consumer.credit > 0}
            if address.multicast is not None:
                all_able = bool(able) and len(able) == address.on_duty
                assert not address.held or not all_able, "all have credit, and a message waits"
                for message in list(address.held)[:1] if address.on_duty else []:
                    assert isinstance(message, LiveMessage)
                    assert self._longest_wait(message) > self.router.now, "a message waits for ever"
            elif self.always_willing and able:
                assert not address.held, "a message waits although there is credit"
            for consumer in address.consumers:
                assert not consumer.queue or consumer.credit == 0, "a message waits for a consumer that has credit"
            for message in address.returned:
                assert isinstance(message, LiveMessage)
                given_back = {consumer for consumer, _ in message.said}
                assert able <= given_back, "a returned message waits although there is credit"
                assert given_back < set(address.consumers) | given_back, "a returned message waits for nobody"
        for producer in self.producers:
            self._check_fed(producer)
        if self.router.stopping:
            assert not any(message.is_held for message in self.messages)

    def _longest_wait(self, message: LiveMessage) -> float:
        """Until when a message may wait for its consumers."""
        rule: Any = multicast.factory.build(MULTICAST[message.address], None)
        return float(message.waits_since + rule.seconds(message.presettled))

    def _check_fed(self, producer: LiveProducer) -> None:
        """Where consumers have credit, so has every producer; and who has none is remembered for when they do, or waits
        for its rate to let it have some."""
        if producer.rate is not None and producer.rate.is_waiting(producer):
            assert self.router.next_deadline() is not None, "a producer waits for ever"
            return
        address = producer.target
        if address is not None:
            assert producer.credit > 0 or producer in address.wanting
        throttled = len(producer.unsettled) + producer.credit >= self.limits.max_unsettled
        if not self.router.stopping and not throttled and (address is None or address.free > 0):
            assert producer.credit > 0

    # -- what has to be so at all times ------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        STEPS[type(self).__name__] += 1
        self.every_message_is_somewhere_and_only_there()
        self.every_producer_was_told_what_consumers_said()
        self.nobody_goes_without_a_copy_before_a_message_has_waited_for_that()
        self.an_acceptance_is_of_one_consumer()
        self.the_books_of_each_producer_balance()
        self.the_books_of_each_consumer_balance()
        self.the_free_credit_of_an_address_is_that_of_its_consumers()
        self.the_order_is_kept()
        self.what_is_dropped_or_fails_is_counted()

    def every_message_is_somewhere_and_only_there(self) -> None:
        for message in self.messages:
            assert message.over + message.is_held + message.in_flight == 1
            assert len(message.outcomes) == (message.over and not self._went_quietly(message))
            assert len(set(message.sent_to)) == len(message.sent_to), "sent twice to the same consumer"
            assert not message.is_held or message in (message.shelf or ())

    def _went_quietly(self, message: LiveMessage) -> bool:
        """Pre-settled, and delivered; or dropped, when its producer had left."""
        return message.presettled and (bool(message.sent_to) or message.producer is None)

    def every_producer_was_told_what_consumers_said(self) -> None:
        for message in self.messages:
            outcome = message.outcome
            if outcome is None or message.presettled:
                continue
            if message.copies is not None:
                assert len(message.said) == len(message.sent_to), "a copy ended twice, or never"
                flags = outcome.delivery_failed, outcome.undeliverable_here
                assert (outcome.state, *flags) == copies_say(message.said)
                continue
            last = [said for _, said in message.said if not said.asks_for_another]
            if last:
                assert last == [outcome], "more than one has decided, or the producer was told something else"
            else:
                failed = any(said.delivery_failed for _, said in message.said)
                assert outcome.state not in ("accepted", "modified") or failed or message.said
                assert outcome.delivery_failed == (failed and outcome.state == "modified")
                assert not failed or outcome.state != "released"

    def nobody_goes_without_a_copy_before_a_message_has_waited_for_that(self) -> None:
        for message in self.messages:
            if message.missed:
                address = message.destination
                others = [each for each in self.messages if each.destination is address]
                assert any(self._longest_wait(each) <= message.sent_at_last for each in others)

    def an_acceptance_is_of_one_consumer(self) -> None:
        for message in self.messages:
            accepted = [said for _, said in message.said if said.state == "accepted"]
            if message.outcome is not None and message.outcome.state == "accepted":
                assert accepted
            assert message.copies is not None or len(accepted) <= 1

    def the_books_of_each_producer_balance(self) -> None:
        left: Counter[Any] = Counter()
        held: Counter[Any] = Counter()
        unsettled: dict[Any, set[Any]] = {}
        away: Counter[Any] = Counter()
        for message in self.messages:
            left[message.sender] += bool(message.sent_to or message.over)
            if message.producer is not None:
                held[message.producer] += message.is_held
                if not message.presettled and not message.over:
                    unsettled.setdefault(message.producer, set()).add(message)
                    away[message.producer] += not message.is_held
        for producer in self.producers:
            assert producer.credit == producer.granted - producer.given_back - left[producer]
            assert producer.credit <= self.limits.link_capacity
            assert producer.credit + away[producer] <= self.limits.max_unsettled
            assert producer.held == held[producer]
            assert set(producer.unsettled) == unsettled.get(producer, set())

    def the_books_of_each_consumer_balance(self) -> None:
        for consumer in self.consumers:
            assert consumer.credit >= 0
            assert consumer.credit + consumer.withheld == consumer.granted
            assert consumer.in_flight == sum(not each.presettled for each in consumer.unsettled.values())
            assert consumer.credit + consumer.in_flight <= self.limits.max_in_flight
            assert consumer.suspended == (consumer.blocked or consumer.streaming is not None)
            out = consumer.suspended or consumer.barred
            usable = 0 if out else self.limits.max_in_flight - consumer.in_flight
            assert consumer.credit == min(consumer.granted, usable), "credit is withheld for no reason"

    def the_free_credit_of_an_address_is_that_of_its_consumers(self) -> None:
        for address in self.router.addresses.values():
            assert address.producers or address.consumers
            assert address.wanting.keys() <= address.producers.keys()
            assert address.on_duty == sum(not consumer.barred for consumer in address.consumers)
            assert address.free == sum(consumer.credit for consumer in address.consumers)
            assert address.window == sum(consumer.window for consumer in address.consumers)

    def the_order_is_kept(self) -> None:
        """For every producer and consumer; and for an address as a whole, where the policy lets nobody pass."""
        for consumer in self.all_consumers:
            last: dict[object, int] = {}
            for message in consumer.got:
                assert isinstance(message, LiveMessage)
                first = message.copies is not None or message.sent_to[0] is consumer
                if first and not message.astray:
                    assert last.get(message.sender, 0) < message.came
                    last[message.sender] = message.came
        if self.always_willing:
            for address in self.router.addresses.values():
                held = [message.came for message in address.held if isinstance(message, LiveMessage)]
                assert held == sorted(held)

    def what_is_dropped_or_fails_is_counted(self) -> None:
        assert not self.sane or not self.stage.counters["policy_errors"]
        dropped = sum(message.presettled and message.over and not message.sent_to for message in self.messages)
        assert self.stage.counters["dropped"] == dropped + sum(consumer.cut for consumer in self.all_consumers)
        # more of them where nobody at all had credit: then the message goes back
        assert self.stage.counters["multicast_dropped"] >= sum(len(message.missed) for message in self.messages)

    # -- the end -----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """When all have left, nothing is left of them, and everything is over."""
        if not hasattr(self, "stage"):
            return
        for consumer in self.consumers:
            self._consumer_leaves(consumer, 1_000)
        for producer in self.producers:
            self._producer_leaves(producer)
        self.stage.turn()
        assert all(message.over for message in self.messages)
        assert self.router.addresses == {}
        assert self.router.feeding._hungry == []
        assert not self.router.holding._changed
        assert not self.router.holding._served
        assert self.router.holding.next_deadline() is None
        assert not self.router.capacities.consumers()
        self.all_is_well()
