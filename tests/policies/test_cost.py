"""What a message costs does not depend on how many consumers there are. Counted in bytecode instructions, not timed."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import pytest

from tests.policies.shipped import AROUND, CHOOSING
from txrouter.chains import chain
from txrouter.interfaces import ICreditWatcher, IDistributionPolicyFactory, ISendWatcher, ISettlementWatcher, ITimed
from txrouter.policies import exclusive, pull
from txrouter.testing import FakeConsumer, FakeDelivery

FACTORIES = [
    *(each.factory for each in CHOOSING if each is not exclusive),  # which sends to one, until that leaves
    *(chain((each.wrapper,), pull.factory) for each in AROUND),
]
POLICIES = pytest.mark.parametrize("factory", FACTORIES, ids=lambda f: f.name)
MESSAGES = 300


def instructions(function: Callable[[], object]) -> int:
    """How many bytecode instructions it takes."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


class Bench:
    """Consumers in numbers, and the calls that a router makes for a message; nothing else, which would count too."""

    def __init__(self, factory: IDistributionPolicyFactory, credits: list[int]) -> None:
        self.policy = cast(Any, factory.build(factory.options(), random.Random(1)))
        assert all(facet.providedBy(self.policy) for facet in (ICreditWatcher,))
        if ITimed.providedBy(self.policy):
            self.policy.clock = lambda: 0.0
        self.consumers = [FakeConsumer(str(number), credit) for number, credit in enumerate(credits)]
        for consumer in self.consumers:
            self.policy.add(consumer)
        self.delivery = FakeDelivery()

    def send(self) -> FakeConsumer:
        """A message is sent."""
        consumer = self.policy.select(self.delivery)
        assert isinstance(consumer, FakeConsumer)
        consumer.credit -= 1
        consumer.in_flight += 1
        if ISendWatcher.providedBy(self.policy):
            self.policy.sent(consumer, self.delivery)
        return consumer

    def settle(self, consumer: FakeConsumer) -> None:
        """It is settled, and its credit given again."""
        consumer.in_flight -= 1
        if ISettlementWatcher.providedBy(self.policy):
            self.policy.settled(consumer, self.delivery, "accepted", 0.1)
        consumer.credit += 1
        self.policy.credit_changed(consumer, 1)

    def cost(self) -> float:
        """The instructions a message takes when consumers are busy with a few each, once it goes steadily."""
        for _ in range(MESSAGES):
            self.settle(self.send())

        def batches() -> None:
            for _ in range(MESSAGES // 10):
                for consumer in [self.send() for _ in range(10)]:
                    self.settle(consumer)

        return instructions(batches) / MESSAGES


@POLICIES
def test_a_message_costs_the_same_with_10_and_with_10_000_consumers(factory: IDistributionPolicyFactory) -> None:
    assert Bench(factory, [20] * 10_000).cost() < 1.1 * Bench(factory, [20] * 10).cost()


@POLICIES
def test_consumers_without_credit_cost_nothing(factory: IDistributionPolicyFactory) -> None:
    assert Bench(factory, [0] * 5_000 + [20] + [0] * 4_999).cost() < 1.1 * Bench(factory, [20, 0]).cost()


@POLICIES
def test_consumers_that_run_out_of_credit_cost_little(factory: IDistributionPolicyFactory) -> None:
    """One credit each: a consumer is out after every message, and in again when that is settled."""
    assert Bench(factory, [1] * 10_000).cost() < 1.1 * Bench(factory, [1] * 20).cost()


@POLICIES
def test_running_out_of_credit_all_at_once_costs_the_next_message_no_more_than_once(
    factory: IDistributionPolicyFactory,
) -> None:
    bench = Bench(factory, [20] * 10_000)
    for consumer in bench.consumers[:-1]:
        consumer.credit, delta = 0, -consumer.credit
        bench.policy.credit_changed(consumer, delta)
    bench.settle(bench.send())
    assert bench.cost() < 1.1 * Bench(factory, [20, 0]).cost()


def test_it_does_not_matter_to_pull_how_far_apart_consumers_are() -> None:
    """One that prefetches hundreds, and a quick one that takes one at a time: each message is a jump up or down."""

    def cost(in_flight: int) -> int:
        bench = Bench(pull.factory, [0, 1])
        slow, quick = bench.consumers
        slow.in_flight, slow.credit = in_flight, 1
        bench.policy.credit_changed(slow, 1)

        def jumps() -> None:
            for _ in range(MESSAGES // 2):
                both = bench.send(), bench.send()
                assert both == (quick, slow)
                for consumer in both:
                    bench.settle(consumer)

        jumps()
        return instructions(jumps)

    assert cost(900) < 1.1 * cost(2)
