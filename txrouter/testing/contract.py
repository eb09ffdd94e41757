"""What every policy must keep to, as a state machine of Hypothesis."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from itertools import chain
from math import isnan
from typing import Any, ClassVar

from zope.interface.verify import verifyObject

from txrouter.interfaces import (
    ICapacityWatcher,
    ICreditWatcher,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IExpiring,
    IRanking,
    IReassigning,
    IReplyWatcher,
    ISelective,
    ISendWatcher,
    ISettlementWatcher,
    ITimed,
    IWoken,
)
from txrouter.testing.fakes import FakeConsumer, FakeDelivery
from txrouter.testing.router import FakeRouter

try:
    from hypothesis import stateful
    from hypothesis import strategies as st
    from hypothesis.stateful import precondition, rule
except ImportError as error:
    raise ImportError("txrouter.testing needs hypothesis: pip install hypothesis") from error

__all__ = ["PolicyContract"]

FACETS = (
    IDistributionPolicy,
    ICapacityWatcher,
    ICreditWatcher,
    IDescribed,
    IExpiring,
    IRanking,
    IReassigning,
    IReplyWatcher,
    ISelective,
    ISendWatcher,
    ISettlementWatcher,
    ITimed,
    IWoken,
)


LATER = (0.01, 1.0, 60.0, 3600.0)
"""Seconds: in each round of `all_goes_well` these pass."""


def _build(factory: Any, options: Any, seed: int) -> Any:
    return factory.build(options, random.Random(seed))


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:  # a tuple of lists, for one
        return False
    return True


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

    def rank(self, delivery: FakeDelivery) -> float:
        if not IRanking.providedBy(self.policy):
            return 0.0
        before = self._numbers()
        rank: object = self.policy.rank(delivery)
        is_number = isinstance(rank, int | float) and not isnan(rank)
        assert is_number, f"rank returned {rank!r}, which is no number"
        assert self._numbers() == before, "rank changed a consumer"
        return float(rank)  # type: ignore[arg-type]

    def kind(self, delivery: FakeDelivery) -> Hashable:
        before = self._numbers()
        kind = super().kind(delivery)
        assert _is_hashable(kind), f"kind returned {kind!r}, which is not hashable"
        assert self._numbers() == before, "kind changed a consumer"
        return kind

    def all_goes_well(self) -> None:
        """Everything in flight is accepted, all replies come, everybody has credit for whatever is there, and a good
        deal of time passes."""
        for consumer in self.consumers.values():
            while consumer.in_flight:
                self.settle(consumer)
        while self.requests:
            self.reply()
        credit = self.unsent + 1
        for consumer in self.consumers.values():
            self.set_credit(consumer, max(consumer.credit, credit))
        for seconds in LATER:
            self.later(seconds)

    @property
    def unsent(self) -> int:
        """How many messages are held, returned, or wait for one consumer."""
        return len(self.held) + len(self.returned) + sum(each.waiting for each in self.consumers.values())

    def _numbers(self) -> list[tuple[object, ...]]:
        """What a policy may read and not write. What waits for a consumer goes if the policy reassigns it."""
        return [
            (each.credit, each.in_flight, each.waiting - len(self._queues[each]), each.capacity)
            for each in self.consumers.values()
        ]


class PolicyContract(stateful.RuleBasedStateMachine):
    """What every policy must keep to, whatever happens. Subclass it, name your factory, and let pytest find `TestCase`.

    Random events are put to two instances that were built alike, one of which is also asked to describe itself:

    - a selected consumer is attached, and selecting changes no consumer's numbers;
    - the same events and the same seed lead to the same choices, and describing changes nothing;
    - as long as anybody has credit, a consumer with credit is selected, and None otherwise (`work_conserving`);
    - nothing is held for ever: all of it goes when what is in flight is settled, replies have come, there is credit for
      everything, and time has passed (`live`);
    - a policy that is put in the place of another, with messages in flight and held, does as well as any;
    - a rank is a number, a kind can be hashed, and a description can be written as JSON;
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
    live: ClassVar[bool] = True
    """Set it to False for a policy that may hold a message until another consumer comes, or for good."""
    properties: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.just({})
    """Link properties of consumers: draw those that your policy reads, with good values and bad ones."""
    fields: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.just({})
    """Fields of messages; likewise."""
    application_properties: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.just({})
    """Application properties of messages; likewise."""

    consumers = stateful.Bundle("consumers")
    routers: tuple[_StrictRouter, ...] = ()
    raised = False
    """The last event was not gone through with."""

    @stateful.initialize(target=consumers, seed=st.integers(0, 99), credits=st.lists(st.integers(0, 5), max_size=3))
    def build(self, seed: int, credits: list[int]) -> stateful.MultipleResults[str]:
        """Two policies are built alike, and the first consumers attach."""
        factory = self.factory
        verifyObject(IDistributionPolicyFactory, factory)
        name = factory.name
        assert re.fullmatch(r"[a-z0-9]+((-| \+ )[a-z0-9]+)*", name), f"not lower case with hyphens: {name!r}"
        assert re.fullmatch(".+", factory.summary), f"not one line: {factory.summary!r}"
        assert dataclasses.is_dataclass(factory.options), f"its options are no dataclass: {factory.options!r}"
        options = self.factory.options() if self.options is None else self.options
        self.build_policy = partial(_build, factory, options, seed)
        policies = [self.build_policy() for _ in range(2)]
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

    def _each(self) -> Iterator[_StrictRouter]:
        self.raised = True
        yield from self.routers
        self.raised = False

    def _both(self, event: Callable[[_StrictRouter], object]) -> None:
        for router in self._each():
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
        """A consumer attaches. If it was there before the policy, it may have credit, and messages in flight."""
        return self._attach(**more)

    @rule(consumer=stateful.consumes(consumers))
    def detach(self, consumer: str) -> None:
        """A consumer leaves."""
        self._both(lambda router: router.detach(router.consumers[consumer]))

    @rule(consumer=consumers, settles=st.integers(0, 3))
    def bar(self, consumer: str, settles: int) -> None:
        """A consumer gets nothing for a while: to the policy it leaves, and comes with what it has in flight."""
        self._both(lambda router: router.bar(router.consumers[consumer], settles))

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
        for router in chain.from_iterable(self._each() for _ in range(count)):
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
        for router in self._each():
            each = router.consumers[consumer]
            if each.in_flight:
                router.settle(each, outcome, seconds, index % each.in_flight)

    @precondition(lambda self: self.routers[0].requests)
    @rule(index=st.integers(0, 9), comes=st.booleans())
    def reply(self, index: int, comes: bool) -> None:
        """The reply to a request comes, or is awaited no more. A message with a `reply_to` is one: see `fields`."""
        for router in self._each():
            end = router.reply if comes else router.give_up
            end(index % router.requests)

    @rule(seconds=st.floats(0, 1e4))
    def later(self, seconds: float) -> None:
        """Time passes."""
        self._both(lambda router: router.later(seconds))

    @rule()
    def replace(self) -> None:
        """The policy is put in the place of another, with these consumers and messages."""
        self._both(lambda router: router.replace(self.build_policy()))

    @rule()
    def describe(self) -> None:
        """The policy is asked what it does."""
        policy = self.routers[0].policy
        if IDescribed.providedBy(policy):
            self.raised = True
            state = policy.describe()
            assert isinstance(state, dict), f"describe returned {state!r}, which is no dict"
            json.dumps(state, allow_nan=False)
            self.raised = False

    def teardown(self) -> None:
        """At the end the two have chosen alike, and nothing is held for ever. It is not looked at sooner, as what is
        drawn must not depend on what differs by chance."""
        pairs = zip(*(router.choices for router in self.routers), strict=False)  # one is ahead if it raised
        assert all(first == second for first, second in pairs), "two policies that were built alike chose differently"
        if self.live and not self.raised:
            for router in self.routers:
                self._see_that_all_goes(router)

    def _see_that_all_goes(self, router: _StrictRouter) -> None:
        while router.unsent:
            before = router.unsent
            router.all_goes_well()
            assert router.unsent < before, (
                f"{before} messages would be held for ever: everything in flight is settled, all replies have "
                f"come, there is credit for all of them, and {sum(LATER):.0f} seconds have passed"
            )
