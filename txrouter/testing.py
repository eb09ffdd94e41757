"""For those who write a distribution policy: consumers, deliveries and a router to try it with, and a contract.

`FakeRouter` calls a policy exactly as the router does, in one line per event::

    router = FakeRouter(factory.build(factory.options(), random.Random(1)))
    a, b = router.attach("a", credit=2), router.attach("b", credit=1)
    assert [router.send(), router.send()] == [a, b]

`PolicyContract` throws random events at a policy and checks what every policy must keep to. With pytest::

    class FirstComeContract(PolicyContract):
        factory = first_come.factory

    TestFirstCome = FirstComeContract.TestCase

It needs hypothesis, which txrouter itself does not: `pip install hypothesis`.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from zope.interface import implementer
from zope.interface.verify import verifyObject

from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IProducer,
    ISendWatcher,
    ISettlementWatcher,
    ITimed,
)

try:
    from hypothesis import stateful
    from hypothesis import strategies as st
    from hypothesis.stateful import rule
except ImportError as error:
    raise ImportError("txrouter.testing needs hypothesis: pip install hypothesis") from error

__all__ = ["FakeConsumer", "FakeDelivery", "FakeProducer", "FakeRouter", "PolicyContract"]

FIELD = re.compile(
    "durable|priority|ttl|first_acquirer|delivery_count|message_id|user_id|to|subject|reply_to|correlation_id|content_type"
    "|content_encoding|absolute_expiry_time|creation_time|group_id|group_sequence|reply_to_group_id"
)
FACETS = (IDistributionPolicy, ICapacityWatcher, ICreditWatcher, ISendWatcher, ISettlementWatcher, ITimed, IDescribed)


@implementer(IProducer)
@dataclasses.dataclass(eq=False, slots=True)
class FakeProducer:
    """A client that sends."""

    id: str
    container: str = ""
    properties: Mapping[str, object] = dataclasses.field(default_factory=dict)


@implementer(IConsumer)
@dataclasses.dataclass(eq=False, slots=True)
class FakeConsumer:
    """A client that receives. The numbers are plain attributes; `FakeRouter` changes them as the router does."""

    id: str
    credit: int = 0
    in_flight: int = 0
    container: str = ""
    properties: Mapping[str, object] = dataclasses.field(default_factory=dict)
    capacity: float = 1.0
    cost: int = 0
    waiting: int = 0
    place: Any = None


@implementer(IDelivery)
@dataclasses.dataclass(eq=False, slots=True)
class FakeDelivery:
    """A message. `fields` and `application_properties` are what can be read of it."""

    fields: Mapping[str, object] = dataclasses.field(default_factory=dict)
    application_properties: Mapping[str, object] = dataclasses.field(default_factory=dict)
    presettled: bool = False
    address: str = "test"
    producer: FakeProducer | None = None

    def field(self, name: str) -> object:
        """As IDelivery says.

        :raise KeyError: there is no field of that name in AMQP 1.0.
        """
        if not FIELD.fullmatch(name):
            raise KeyError(name)
        return self.fields.get(name)

    def application_property(self, name: str) -> object:
        """As IDelivery says."""
        return self.application_properties.get(name)


class FakeRouter:
    """One address of a router, without the rest of it: keeps the numbers, and tells the policy as the router does.

    `consumers` are those attached, by id; `held` the deliveries that have no consumer yet, oldest first; `returned` the
    deliveries that a consumer has released and that wait for another.
    """

    def __init__(self, policy: IDistributionPolicy) -> None:
        self.policy: Any = policy
        self.now = 0.0
        if ITimed.providedBy(policy):
            timed: Any = policy
            timed.clock = self._clock
        self.consumers: dict[str, FakeConsumer] = {}
        self.held: list[FakeDelivery] = []
        self.returned: list[FakeDelivery] = []
        self._queues: dict[FakeConsumer, list[FakeDelivery]] = {}
        self._unsettled: dict[FakeConsumer, list[FakeDelivery]] = {}
        self._released: dict[FakeDelivery, set[FakeConsumer]] = {}

    def attach(self, id: str, **more: Any) -> FakeConsumer:
        """A consumer attaches. `more` is what `FakeConsumer` takes; with `credit` or `in_flight` it is one that was
        there already when the policy was put in the place of another."""
        consumer = self.consumers[id] = FakeConsumer(id, **more)
        self._queues[consumer] = []
        self._unsettled[consumer] = [FakeDelivery() for _ in range(consumer.in_flight)]
        self.policy.add(consumer)
        self._offer_held()
        return consumer

    def _clock(self) -> float:
        return self.now

    def later(self, seconds: float) -> None:
        """Time passes. It stands still otherwise."""
        self.now += seconds

    def detach(self, consumer: FakeConsumer) -> None:
        """A consumer leaves. What it had in flight is lost, untold; what waited for it is offered to others."""
        del self.consumers[consumer.id]
        self.policy.remove(consumer)
        del self._unsettled[consumer]
        self.held[:0] = self._queues.pop(consumer)
        consumer.waiting = 0
        if not self.consumers:
            self.held.clear()
        self._offer_held()

    def grant(self, consumer: FakeConsumer, credit: int) -> None:
        """A consumer gives `credit` more."""
        self.set_credit(consumer, consumer.credit + credit)

    def set_credit(self, consumer: FakeConsumer, credit: int) -> None:
        """A consumer's credit becomes `credit`: 0 where it drained, or its connection can take no more for now."""
        delta = credit - consumer.credit
        if not delta:
            return
        consumer.credit = credit
        if ICreditWatcher.providedBy(self.policy):
            self.policy.credit_changed(consumer, delta)
        if delta < 0:
            return
        queue = self._queues[consumer]
        while queue and consumer.credit > 0:
            consumer.waiting -= 1
            self._send(consumer, queue.pop(0))
        self._offer_held()

    def set_capacity(self, consumer: FakeConsumer, capacity: float) -> None:
        """A consumer's capacity changes."""
        consumer.capacity = capacity
        if ICapacityWatcher.providedBy(self.policy):
            self.policy.capacity_changed(consumer)

    def send(self, delivery: FakeDelivery | None = None) -> FakeConsumer | None:
        """A message arrives. Returns who it is sent to at once; None if it is held, or waits for a consumer."""
        delivery = delivery or FakeDelivery()
        if self.held and not self._any_credit():
            self.held.append(delivery)
            return None
        return self._place(delivery)

    def settle(
        self, consumer: FakeConsumer, outcome: str = "accepted", seconds: float = 0.0, index: int = 0
    ) -> FakeConsumer | None:
        """A consumer settles a delivery: its oldest, or the one after `index` others.

        Returns who else gets it, if it is released and there is somebody who can take it.

        :raise IndexError: it has no such delivery.
        """
        delivery = self._unsettled[consumer].pop(index)
        consumer.in_flight -= 1
        if ISettlementWatcher.providedBy(self.policy):
            self.policy.settled(consumer, delivery, outcome, seconds)
        taker = None
        if outcome == "released":
            self._released.setdefault(delivery, set()).add(consumer)
            taker = self._place(delivery)
        self._offer_held()
        return taker

    def choose(self, delivery: FakeDelivery) -> FakeConsumer | None:
        """Ask the policy.

        :raise AssertionError: it selects what is no consumer of the address.
        """
        choice: object = self.policy.select(delivery)
        if choice is None:
            return None
        consumer = self.consumers.get(getattr(choice, "id", ""))
        assert choice is consumer, f"select returned {choice!r}, which is not attached"
        return consumer

    def _place(self, delivery: FakeDelivery) -> FakeConsumer | None:
        if delivery in self._released:
            return self._place_returned(delivery, self._released[delivery])
        choice = self.choose(delivery)
        if choice is None:
            self.held.append(delivery)
        elif choice.credit > 0 and not self._queues[choice]:
            self._send(choice, delivery)
            return choice
        else:
            choice.waiting += 1
            self._queues[choice].append(delivery)
        return None

    def _place_returned(self, delivery: FakeDelivery, released: set[FakeConsumer]) -> FakeConsumer | None:
        others = [consumer for consumer in self.consumers.values() if consumer not in released]
        if not others:
            return None  # it goes back to its producer
        able = [consumer for consumer in others if consumer.credit > 0]
        choice = self.choose(delivery)
        if choice not in able:
            choice = able[0] if able else None
        if choice is None:
            self.returned.append(delivery)
        else:
            self._send(choice, delivery)
        return choice

    def _offer_held(self) -> None:
        returned, self.returned = self.returned, []
        for delivery in returned:
            self._place_returned(delivery, self._released[delivery])
        held, self.held = self.held, []
        for delivery in held:
            if self._any_credit():
                self._place(delivery)
            else:
                self.held.append(delivery)

    def _any_credit(self) -> bool:
        return any(consumer.credit > 0 for consumer in self.consumers.values())

    def _send(self, consumer: FakeConsumer, delivery: FakeDelivery) -> None:
        consumer.credit -= 1
        if not delivery.presettled:
            consumer.in_flight += 1
            self._unsettled[consumer].append(delivery)
        if ISendWatcher.providedBy(self.policy):
            self.policy.sent(consumer, delivery)


class _StrictRouter(FakeRouter):
    """Checks every choice, and notes it."""

    def __init__(self, policy: IDistributionPolicy, work_conserving: bool) -> None:
        super().__init__(policy)
        self.work_conserving = work_conserving
        self.choices: list[str | None] = []

    def choose(self, delivery: FakeDelivery) -> FakeConsumer | None:
        before = self._numbers()
        choice = super().choose(delivery)
        name = None if choice is None else choice.id
        self.choices.append(name)
        assert self._numbers() == before, "select changed a consumer"
        if self.work_conserving:
            able = [each.id for each in self.consumers.values() if each.credit > 0]
            assert name in able if able else name is None, f"select returned {name}; there is credit of {able}"
        return choice

    def _numbers(self) -> list[tuple[object, ...]]:
        return [(each.credit, each.in_flight, each.waiting, each.capacity) for each in self.consumers.values()]


class PolicyContract(stateful.RuleBasedStateMachine):
    """What every policy must keep to, whatever happens. Subclass it, name your factory, and let pytest find `TestCase`.

    Random events are put to two instances that were built alike, one of which is also asked to describe itself:

    - a selected consumer is attached, and selecting changes no consumer's numbers;
    - the same events and the same seed lead to the same choices, and describing changes nothing;
    - as long as anybody has credit, a consumer with credit is selected, and None otherwise (`work_conserving`);
    - the factory, the policy and each facet that it declares have the methods that the interfaces ask for;
    - no call raises.
    """

    factory: ClassVar[Any]
    """Your `IDistributionPolicyFactory`."""
    options: ClassVar[Any] = None
    """An instance of the factory's options; None for their defaults."""
    work_conserving: ClassVar[bool] = True
    """Set it to False for a policy that may hold a message although there is credit, or may let it wait for a consumer
    that has none."""
    properties: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.just({})
    """Link properties of consumers: draw those that your policy reads, with good values and bad ones."""
    fields: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.just({})
    """Fields of messages; likewise."""
    application_properties: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.just({})
    """Application properties of messages; likewise."""

    consumers = stateful.Bundle("consumers")
    routers: tuple[_StrictRouter, ...] = ()

    @stateful.initialize(target=consumers, seed=st.integers(0, 99), credits=st.lists(st.integers(0, 5), max_size=3))
    def build(self, seed: int, credits: list[int]) -> stateful.MultipleResults[str]:
        """Two policies are built alike, and the first consumers attach."""
        factory = self.factory
        verifyObject(IDistributionPolicyFactory, factory)
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", factory.name), f"not lower case with hyphens: {factory.name!r}"
        assert re.fullmatch(".+", factory.summary), f"not one line: {factory.summary!r}"
        assert dataclasses.is_dataclass(factory.options), f"its options are no dataclass: {factory.options!r}"
        options = self.factory.options() if self.options is None else self.options
        policies = [factory.build(options, random.Random(seed)) for _ in range(2)]
        self.routers = tuple(_StrictRouter(policy, self.work_conserving) for policy in policies)
        for facet in FACETS:
            if facet is IDistributionPolicy or facet.providedBy(policies[0]):
                verifyObject(facet, policies[0])
        self.attached = 0
        return stateful.multiple(*[self._attach(credit=credit) for credit in credits])

    def _attach(self, **more: Any) -> str:
        self.attached += 1
        id = f"consumer-{self.attached}"
        self._both(lambda router: router.attach(id, **more))
        return id

    def _both(self, event: Callable[[_StrictRouter], object]) -> None:
        for router in self.routers:
            event(router)

    @rule(
        target=consumers,
        container=st.sampled_from(["x", "y"]),
        properties=st.runner().flatmap(lambda self: self.properties),
        credit=st.integers(0, 3),
        in_flight=st.integers(0, 2),
        cost=st.integers(0, 1),
    )
    def attach(self, **more: Any) -> str:
        """A consumer attaches, or was attached when the policy was put in the place of another."""
        return self._attach(**more)

    @rule(consumer=stateful.consumes(consumers))
    def detach(self, consumer: str) -> None:
        """A consumer leaves."""
        self._both(lambda router: router.detach(router.consumers[consumer]))

    @rule(consumer=consumers, credit=st.integers(1, 5))
    def grant(self, consumer: str, credit: int) -> None:
        """A consumer gives more credit."""
        self._both(lambda router: router.grant(router.consumers[consumer], credit))

    @rule(consumer=consumers, credit=st.integers(0, 3))
    def set_credit(self, consumer: str, credit: int) -> None:
        """A consumer drains, or its connection is blocked or free again."""
        self._both(lambda router: router.set_credit(router.consumers[consumer], credit))

    @rule(consumer=consumers, capacity=st.sampled_from([0.5, 1.0, 3.0]))
    def set_capacity(self, consumer: str, capacity: float) -> None:
        """A consumer's capacity changes."""
        self._both(lambda router: router.set_capacity(router.consumers[consumer], capacity))

    @rule(
        fields=st.runner().flatmap(lambda self: self.fields),
        application_properties=st.runner().flatmap(lambda self: self.application_properties),
        presettled=st.booleans(),
        count=st.integers(1, 3),
        outcome=st.sampled_from([None, None, "accepted", "released"]),
    )
    def send(self, count: int, outcome: str | None, **more: Any) -> None:
        """Messages arrive. Whoever they are sent to may settle them at once."""
        for router in self.routers * count:
            consumer = router.send(FakeDelivery(**more))
            if consumer is not None and outcome is not None and not more["presettled"]:
                router.settle(consumer, outcome, 0.0, consumer.in_flight - 1)

    @rule(
        consumer=consumers,
        index=st.integers(0, 9),
        outcome=st.sampled_from(["accepted", "rejected", "modified", "settled", "released", "released"]),
        seconds=st.floats(0, 1e6),
    )
    def settle(self, consumer: str, index: int, outcome: str, seconds: float) -> None:
        """A delivery in flight is over, or offered to another consumer."""
        for router in self.routers:
            each = router.consumers[consumer]
            if each.in_flight:
                router.settle(each, outcome, seconds, index % each.in_flight)

    @rule(seconds=st.floats(0, 1e4))
    def later(self, seconds: float) -> None:
        """Time passes."""
        self._both(lambda router: router.later(seconds))

    @rule()
    def describe(self) -> None:
        """The policy is asked what it does."""
        policy = self.routers[0].policy
        if IDescribed.providedBy(policy):
            state = policy.describe()
            assert isinstance(state, dict), f"describe returned {state!r}, which is no dict"
            json.dumps(state, allow_nan=False)

    def teardown(self) -> None:
        """At the end the two have chosen alike. Not sooner: what is drawn must not depend on what differs by chance."""
        pairs = zip(*(router.choices for router in self.routers), strict=False)  # one is ahead if it raised
        assert all(first == second for first, second in pairs), "two policies that were built alike chose differently"
