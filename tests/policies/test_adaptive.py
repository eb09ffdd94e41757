"""`adaptive`: what it learns of consumers, and how many it sends them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.routers import router_of
from txrouter.policies import adaptive
from txrouter.simulation.clients import ADDRESS
from txrouter.simulation.scenario import Scenario
from txrouter.simulation.world import World
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter


def of(router: FakeRouter, name: str = "a") -> dict[str, Any]:
    """What the policy says of a consumer."""
    described: Any = router.policy.describe()
    found: dict[str, Any] = described[name]
    return found


def works(router: FakeRouter, consumer: FakeConsumer, slots: int, rounds: int = 100) -> None:
    """It is sent four, if it may have them, and works on so many at a time, a second for each; then it is idle."""
    for _ in range(rounds):
        sent = [router.send() for _ in range(4)].count(consumer)
        router.held.clear()
        for number in range(sent):
            router.settle(consumer, "accepted", 1.0 + number // slots)
            router.held.clear()


def test_as_long_as_nothing_is_known_it_gets_what_it_has_credit_for() -> None:
    router = router_of(adaptive)
    consumer = router.attach("a", credit=7)
    assert [router.send() for _ in range(8)] == [consumer] * 7 + [None]


@pytest.mark.parametrize("kind", ["constant", "exponential", "mixed"])
@pytest.mark.parametrize("slots", [1, 2, 5, 16])
def test_it_is_learned_how_many_a_consumer_works_on_at_a_time(slots: int, kind: str) -> None:
    consumers = [{"name": "worker", "count": 4, "slots": slots, "credit": 200}]
    load = {"load": 1.02 if kind == "constant" else 0.95}
    data = {"messages": 5_000 * slots, "arrivals": load, "cost": {"kind": kind}, "consumer": consumers}
    scenario = Scenario.from_dict(data, ["adaptive"])
    world = World(scenario, scenario.policies[0], scenario.jobs())
    world.run()
    described: Any = world.router.addresses[ADDRESS].policy.describe()
    known = [each["known"] for each in described.values()]
    assert all(slots <= each <= 2 * slots for each in known), known


def test_one_that_works_on_less_than_before_is_sent_less() -> None:
    router = router_of(adaptive)
    consumer = router.attach("a", credit=1_000_000)
    works(router, consumer, slots=4)
    assert of(router)["limit"] is None
    works(router, consumer, slots=1)
    assert of(router)["known"] == 1


def test_one_that_works_on_more_than_before_is_sent_more() -> None:
    router = router_of(adaptive)
    consumer = router.attach("a", credit=1_000_000)
    works(router, consumer, slots=1)
    works(router, consumer, slots=4, rounds=3_000)
    assert of(router)["known"] >= 4


def test_what_exceeds_its_limit_is_held() -> None:
    router = router_of(adaptive)
    consumer = router.attach("a", credit=1_000_000)
    works(router, consumer, slots=1)
    for _ in range(5):
        router.send()
    assert consumer.in_flight == of(router)["limit"]
    assert len(router.held) == 5 - consumer.in_flight


def test_who_comes_later_begins_with_twice_what_others_are_good_for() -> None:
    router = router_of(adaptive)
    works(router, router.attach("a", credit=1_000_000), slots=1)
    router.attach("b", credit=100)
    newcomer = of(router, "b")
    assert newcomer["limit"] == 2 * newcomer["known"] <= 6


def test_who_comes_later_and_is_good_for_less_is_sent_less() -> None:
    router = router_of(adaptive)
    first = router.attach("a", credit=1_000_000)
    works(router, first, slots=4)
    works(router, first, slots=3)
    second = router.attach("b", credit=1_000_000)
    router.set_credit(first, 0)
    works(router, second, slots=1)
    assert of(router, "b")["known"] == 1


def is_full(slots: int) -> FakeRouter:
    """A consumer has ten messages when the policy takes over, and always ten, as there are always more."""
    router = router_of(adaptive)
    consumer = router.attach("a", credit=0, in_flight=10)
    for _ in range(100):
        router.send()
    for _ in range(2_000):
        takes = (consumer.in_flight + slots - 1) // slots
        router.settle(consumer, "accepted", float(takes))
        if consumer.in_flight + consumer.credit < 10:
            router.grant(consumer, 1)
        router.send()
    return router


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_how_many_a_consumer_works_on_is_learned_though_it_always_has_ten(slots: int) -> None:
    assert of(is_full(slots))["known"] == slots


def test_a_consumer_that_works_on_all_that_it_always_has_goes_on_getting_as_many() -> None:
    described = of(is_full(slots=10))
    assert (described["limit"], described["in_flight"]) == (None, 10)


def test_what_is_not_worked_on_says_nothing() -> None:
    router = router_of(adaptive)
    consumer = router.attach("a", credit=1_000_000)
    for _ in range(50):
        router.send()
        router.send()
        router.settle(consumer, "modified", 1.0)
        router.settle(consumer, "modified", 9.0)
    assert of(router)["limit"] is None


def test_pre_settled_messages_are_limited_by_credit_alone() -> None:
    router = router_of(adaptive)
    router.attach("a", credit=7)
    taken = [router.send(FakeDelivery(presettled=True)) for _ in range(8)]
    assert taken.count(None) == 1


def test_the_idle_go_before_the_busy() -> None:
    router = router_of(adaptive)
    router.attach("a", credit=100, in_flight=1)
    idle = router.attach("b", credit=100)
    assert router.send() is idle
