"""`sticky`: the same consumer for the same key, and nobody who has much more than the others."""

from __future__ import annotations

import itertools
import math
import uuid
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.chance import as_likely
from tests.policies.routers import router_of, sent_to
from tests.policies.test_cost import MESSAGES, instructions
from txrouter.policies import sticky
from txrouter.testing import FakeConsumer, FakeDelivery, FakeProducer, FakeRouter

UNBOUNDED: dict[str, Any] = {"load": 0.0}


def of_group(group: object, **more: Any) -> FakeDelivery:
    return FakeDelivery({"group_id": group}, **more)


def attach(router: FakeRouter, *names: str, credit: int = 1_000, **more: Any) -> list[FakeConsumer]:
    return [router.attach(name, container=name, credit=credit, **more) for name in names]


def owner(router: FakeRouter, delivery: FakeDelivery) -> str:
    """Who gets it; it is settled at once."""
    consumer = router.send(delivery)
    assert consumer is not None
    router.settle(consumer)
    router.grant(consumer, 1)
    return consumer.container


def owners(router: FakeRouter, count: int = 1_000) -> list[str]:
    """Who gets so many groups."""
    return [owner(router, of_group(f"group-{number}")) for number in range(count)]


# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_key_stays_with_its_consumer() -> None:
    router = router_of(sticky, **UNBOUNDED)
    attach(router, *"abcd")
    first = owners(router, 100)
    assert owners(router, 100) == first
    assert set(first) == set("abcd")


@pytest.mark.parametrize("load", [0.0, 1.25])
def test_each_consumer_gets_keys_by_its_capacity(load: float) -> None:
    router = router_of(sticky, load=load)
    capacities = {"a": 1.0, "b": 2.0, "c": 0.5, "d": 1.0}
    for name, capacity in capacities.items():
        attach(router, name, capacity=capacity)
    assert as_likely(Counter(owners(router)), capacities)


def test_a_capacity_that_changes_moves_keys() -> None:
    router = router_of(sticky)
    a, _b = attach(router, *"ab")
    before = owners(router)
    router.set_capacity(a, 3.0)
    after = owners(router)
    assert as_likely(Counter(after), {"a": 3.0, "b": 1.0})
    assert {new for old, new in zip(before, after, strict=True) if old != new} == {"a"}


def test_a_consumer_that_comes_back_has_its_keys_again() -> None:
    router = router_of(sticky)
    _a, b, _c = attach(router, *"abc")
    before = owners(router)
    router.detach(b)
    without = owners(router)
    attach(router, "b")
    assert owners(router) == before
    assert "b" not in without
    assert all(old in ("b", new) for old, new in zip(before, without, strict=True))


def test_several_links_of_a_container_share_what_is_its() -> None:
    router = router_of(sticky)
    one, _two = (router.attach(id, container="host", credit=1_000) for id in ("one", "two"))
    attach(router, "other")
    before = owners(router)
    assert as_likely(Counter(before), {"host": 2.0, "other": 1.0})
    router.detach(one)
    router.attach("one", container="host", credit=1_000)
    assert owners(router) == before


def test_a_consumer_that_comes_back_before_it_was_seen_to_be_gone_has_its_keys_again() -> None:
    router = router_of(sticky)
    _a, gone, _c = attach(router, *"abc")
    before = owners(router)
    router.attach("again", container="b", credit=1_000)
    assert owners(router) != before
    router.detach(gone)
    assert owners(router) == before


def test_of_many_links_of_a_container_each_has_its_share_whoever_goes() -> None:
    router = router_of(sticky)
    links = [router.attach(f"{number}", container="host", credit=1_000) for number in range(10)]
    for index in (3, 0, 9, 5):
        router.detach(links[index])
    numbers = sorted(each.place.number for each in router.consumers.values())
    assert numbers == list(range(6))


@pytest.mark.parametrize(
    ("key", "delivery"),
    [
        ("group-id", lambda text: FakeDelivery({"group_id": text})),
        ("subject", lambda text: FakeDelivery({"subject": text})),
        ("property:customer", lambda text: FakeDelivery({}, {"customer": text})),
        ("producer", lambda text: FakeDelivery(producer=FakeProducer("link", container=text))),
        ("producer", lambda text: FakeDelivery(producer=FakeProducer(text))),
    ],
    ids=["group-id", "subject", "property", "container", "producer without a container"],
)
def test_the_key_can_be_any_of_these(key: str, delivery: Any) -> None:
    router = router_of(sticky, key=key)
    attach(router, *"abcd")
    texts = [f"{number}" for number in range(40)]
    first = [owner(router, delivery(text)) for text in texts]
    assert [owner(router, delivery(text)) for text in texts] == first
    assert len(set(first)) == 4


KEYS = ["x", b"x", 1, True, 1.5, uuid.UUID(int=7), "x" * 200, b"x" * 200, "\ud800", [1, 2], {"a": 1}]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key)[:20])
def test_a_key_can_be_any_value(key: object) -> None:
    router = router_of(sticky, key="property:key")
    attach(router, *"abcd")
    assert len({owner(router, FakeDelivery({}, {"key": key})) for _ in range(3)}) == 1
    assert router.policy.describe()["keys"] == 1


def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sticky, "MOST_KEYS", 10)
    router = router_of(sticky)
    attach(router, *"ab")
    first = owners(router, 35)
    assert router.policy.describe()["keys"] == 5
    assert owners(router, 35) == first


# -- without a key, or credit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [None, "", b""])
def test_without_a_key_the_fewest_in_flight_are_next(group: object) -> None:
    router = router_of(sticky)
    for id, in_flight in ("a", 3), ("b", 1), ("c", 2):
        router.attach(id, credit=10, in_flight=in_flight)
    assert [getattr(router.send(of_group(group)), "id", None) for _ in range(4)] == ["b", "c", "b", "a"]


def test_a_producer_that_has_gone_is_no_key() -> None:
    router = router_of(sticky, key="producer")
    attach(router, *"ab")
    assert sent_to(router, 4) == "abab"


def test_a_message_waits_for_its_consumer() -> None:
    router = router_of(sticky, **UNBOUNDED)
    a, _b = attach(router, *"ab")
    group = of_group(next(key for key in itertools.count() if owner(router, of_group(key)) == "a"))
    router.set_credit(a, 0)
    assert router.send(group) is None
    assert (a.waiting, len(router.held)) == (1, 0)
    router.grant(a, 1)
    assert (a.waiting, a.in_flight) == (0, 1)


def test_what_waited_for_a_consumer_that_leaves_goes_to_another() -> None:
    router = router_of(sticky, **UNBOUNDED)
    a, b = attach(router, *"ab")
    group = of_group(next(key for key in itertools.count() if owner(router, of_group(key)) == "a"))
    router.set_credit(a, 0)
    router.send(group)
    router.detach(a)
    assert b.in_flight == 1


def test_what_comes_while_nobody_has_credit_goes_in_the_order_it_came() -> None:
    router = router_of(sticky, **UNBOUNDED)
    (a,) = attach(router, "a", credit=0)
    messages = [FakeDelivery(), of_group("x"), FakeDelivery()]
    for message in messages:
        router.send(message)
    sent: list[FakeDelivery] = []
    router.policy.sent = lambda _consumer, delivery: sent.append(delivery)
    router.grant(a, 3)
    assert sent == messages


# -- bounded load ------------------------------------------------------------------------------------------------------


def test_a_key_in_demand_goes_to_the_next_consumer_of_it_when_the_first_has_too_much() -> None:
    router = router_of(sticky, load=1.5)
    attach(router, *"abcd")
    takers = [getattr(router.send(of_group("hot")), "id", "") for _ in range(400)]
    counts = Counter(takers).most_common()
    assert [count for _, count in counts[:2]] == [150, 150]
    for consumer in router.consumers.values():
        while consumer.in_flight:
            router.settle(consumer)
    again = [getattr(router.send(of_group("hot")), "id", "") for _ in range(400)]
    assert again == takers
    assert router.policy.describe()["passed_on"] > 200


@given(
    capacities=st.lists(st.sampled_from([1.0, 1.0, 2.0, 0.25]), min_size=1, max_size=40),
    load=st.sampled_from([1.0, 1.25, 2.0]),
    credit=st.sampled_from([0, 1, 3, 1_000]),
    events=st.lists(st.integers(-20, 12), max_size=80),
)
def test_nobody_is_given_more_than_its_share_times_the_load(
    capacities: list[float], load: float, credit: int, events: list[int]
) -> None:
    router = router_of(sticky, load=load)
    for number, capacity in enumerate(capacities):
        attach(router, f"{number}", credit=credit, capacity=capacity)
    policy, consumers = router.policy, list(router.consumers.values())
    for event in events:
        if event < 0:
            consumer = consumers[event % len(consumers)]
            if consumer.in_flight:
                router.settle(consumer)
                router.grant(consumer, 1)
            continue
        delivery = of_group(event)
        chosen = policy.select(delivery)
        have = sum(each.in_flight + each.waiting for each in consumers)
        bound = math.ceil(load * (have + 1) * chosen.capacity / sum(capacities) - 1e-9)
        assert chosen.in_flight + chosen.waiting + 1 <= bound
        router._give(chosen, delivery)


def test_without_a_bound_a_key_in_demand_is_at_one_consumer_only() -> None:
    router = router_of(sticky, **UNBOUNDED)
    attach(router, *"abcd")
    assert len({getattr(router.send(of_group("hot")), "id", "") for _ in range(400)}) == 1


# -- cost --------------------------------------------------------------------------------------------------------------


def test_a_key_that_is_known_costs_the_same_with_10_and_with_10_000_consumers() -> None:
    def cost(consumers: int) -> int:
        router = router_of(sticky)
        policy = router.policy
        for number in range(consumers):
            policy.add(FakeConsumer(f"{number}", credit=9, container=f"{number}"))
        deliveries = [of_group(number) for number in range(MESSAGES)]

        def select() -> None:
            for delivery in deliveries:
                policy.select(delivery)

        select()
        return instructions(select)

    assert cost(10_000) < 1.1 * cost(10)


def test_a_key_that_is_not_known_costs_little_more_with_many_consumers() -> None:
    def cost(consumers: int) -> int:
        policy = router_of(sticky).policy
        for number in range(consumers):
            policy.add(FakeConsumer(f"{number}", credit=9, container=f"{number}"))
        return instructions(lambda: [policy.select(of_group(number)) for number in range(50)])

    assert cost(10_000) < 2 * cost(64)


# -- options, and what it says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"key": "customer"}, "key: 'customer' is not `group-id`"),
        ({"key": "property:"}, "key: 'property:' is not"),
        ({"load": 0.5}, "load: 0.5 is neither 0 nor between 1 and"),
        ({"load": float("nan")}, "load: nan is neither"),
        ({"load": -1.0}, "load: -1.0 is neither"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        router_of(sticky, **options)


def test_it_says_what_each_has() -> None:
    router = router_of(sticky)
    attach(router, "a", credit=2, in_flight=1, capacity=2.0)
    router.send(of_group("x"))
    assert router.policy.describe() == {
        "keys": 1,
        "passed_on": 0,
        "consumers": {"a": {"capacity": 2.0, "has": 2}},
    }
