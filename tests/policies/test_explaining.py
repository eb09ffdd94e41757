"""What shipped policies say of whom they are about to choose among."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import Any

import pytest

from txrouter.interfaces import IExplains
from txrouter.registry import Registry
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter

EXPLAIN = [
    "adaptive",
    "closest",
    "deadline",
    "exclusive",
    "join-idle",
    "least-in-flight",
    "least-work",
    "peak-ewma",
    "power-of-two",
    "priority",
    "pull",
    "reply-aware",
    "round-robin",
    "sticky",
    "weighted",
]


class ExplainingRouter(FakeRouter):
    """Asks for the first candidates before each choice, and notes them, and what was chosen.

    :param asks: whether it does.
    """

    def __init__(self, policy: Any, asks: bool) -> None:
        super().__init__(policy)
        self.asks = asks
        self.told: list[list[Any]] = []
        self.chosen: list[Any] = []

    def choose(self, delivery: FakeDelivery) -> FakeConsumer | None:
        if self.asks:
            self.told.append([consumer.id for consumer, _score in islice(self.policy.candidates(delivery), 3)])
        consumer = super().choose(delivery)
        self.chosen.append(consumer and consumer.id)
        return consumer


def play(name: str, asks: bool) -> ExplainingRouter:
    """The same busy time, whoever asks."""
    factory = Registry().factory(name)
    router = ExplainingRouter(factory.build(factory.options(), Random(7)), asks)
    random = Random(5)
    for each in range(12):
        capacity = random.choice([1.0, 1.0, 3.0])
        router.attach(f"c{each}", credit=random.randrange(4), capacity=capacity, cost=random.randrange(2))
    consumers = list(router.consumers.values())
    for number in range(2_000):
        router.later(0.01)
        consumer = random.choice(consumers)
        match random.randrange(10):
            case 0:
                router.grant(consumer, random.randrange(1, 4))
            case 1:
                router.set_credit(consumer, 0)
            case 2 | 3 | 4 | 5 if consumer.in_flight:
                router.settle(consumer, seconds=random.random())
                router.grant(consumer, 1)
            case _:
                router.send(FakeDelivery({"group_id": number % 7 or None}))
    return router


@pytest.mark.parametrize("name", EXPLAIN)
def test_to_ask_changes_no_choice(name: str) -> None:
    assert play(name, asks=True).chosen == play(name, asks=False).chosen


@pytest.mark.parametrize("name", EXPLAIN)
def test_the_first_is_the_one_that_is_chosen(name: str) -> None:
    router = play(name, asks=True)
    pairs = [(told, chosen) for told, chosen in zip(router.told, router.chosen, strict=True) if chosen is not None]
    assert len(pairs) > 50
    assert all(told[0] == chosen for told, chosen in pairs)
    assert any(len(told) > 1 for told, _chosen in pairs)


@pytest.mark.parametrize("name", EXPLAIN)
def test_it_says_what_it_goes_by(name: str) -> None:
    factory = Registry().factory(name)
    built: Any = factory.build(factory.options(), Random(1))
    policy = FakeRouter(built).policy
    assert IExplains.providedBy(policy)
    assert isinstance(policy.by, str)
    assert list(policy.candidates(FakeDelivery())) == []
