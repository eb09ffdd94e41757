"""`weighted`: shares in proportion to capacity."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import weighted
from txrouter.testing import FakeConsumer, FakeRouter

PLENTY = 1_000_000


def of_capacities(*capacities: float) -> FakeRouter:
    """A router with consumers of these capacities, with credit for anything, and ids from `a` on."""
    router = router_of(weighted)
    for id, capacity in zip("abcdefghijklmnopqrstuvwxyz", capacities, strict=False):
        router.attach(id, credit=PLENTY, capacity=capacity)
    return router


def shares_in_any(window: int, order: str) -> set[tuple[tuple[str, int], ...]]:
    """Who got how many, in each run of that many messages."""
    return {tuple(sorted(Counter(order[i : i + window]).items())) for i in range(len(order) - window + 1)}


@pytest.mark.parametrize(
    ("capacities", "window", "shares"),
    [
        ((1, 2, 5), 800, (100, 200, 500)),
        ((1, 2, 5), 8, (1, 2, 5)),
        ((99, 1), 800, (792, 8)),
        ((99, 1), 100, (99, 1)),
        ((0.1, 0.2, 0.5), 800, (100, 200, 500)),
        ((0.1, 0.3), 4, (1, 3)),
        ((1, 1, 2, 2, 2), 8, (1, 1, 2, 2, 2)),
        ((7, 7, 7), 3, (1, 1, 1)),
        ((1e-9, 3e-9), 4, (1, 3)),
        ((1e12, 3e12), 4, (1, 3)),
    ],
)
def test_shares_are_exact_in_any_run_of_messages(
    capacities: tuple[float, ...], window: int, shares: tuple[int, ...]
) -> None:
    order = sent_to(of_capacities(*capacities), 3 * window)
    assert shares_in_any(window, order) == {tuple(zip("abcde", shares, strict=False))}


def test_shares_are_still_exact_after_very_many_messages() -> None:
    router = of_capacities(1, 2, 5)
    for group in router.policy._groups.values():
        group.had += 10**12 * group.parts
        group.due += 10**12 * weighted.TICKS
    assert shares_in_any(8, sent_to(router, 80)) == {(("a", 1), ("b", 2), ("c", 5))}


def test_shares_are_exact_from_when_the_last_one_came() -> None:
    router = of_capacities(2, 5)
    sent_to(router, 13)
    router.attach("c", credit=PLENTY, properties={"capacity": 1})
    assert shares_in_any(8, sent_to(router, 800)) == {(("a", 2), ("b", 5), ("c", 1))}


def test_messages_of_one_consumer_are_spread() -> None:
    order = sent_to(of_capacities(1, 2, 5), 800)
    assert max(len(list(run)) for _, run in itertools.groupby(order)) <= 3
    assert max(len(gap) for gap in order.split("b")) <= 4
    assert max(len(gap) for gap in order.split("a")) <= 7


def test_many_small_ones_alternate_with_a_large_one() -> None:
    order = sent_to(of_capacities(10, *[1] * 10), 200)
    assert order[::2] == "a" * 100 or order[1::2] == "a" * 100
    assert shares_in_any(20, order) == {(("a", 10), *((id, 1) for id in "bcdefghijk"))}


def test_who_has_no_credit_is_passed_over_and_has_no_claim_afterwards() -> None:
    router = of_capacities(1, 2, 5)
    c = router.consumers["c"]
    router.set_credit(c, 0)
    assert Counter(sent_to(router, 300)) == {"a": 100, "b": 200}
    router.set_credit(c, PLENTY)
    assert shares_in_any(8, sent_to(router, 800)) == {(("a", 1), ("b", 2), ("c", 5))}


def test_equals_without_credit_have_no_claim_either() -> None:
    router = of_capacities(1, 1, 1, 1)
    for id in "cd":
        router.set_credit(router.consumers[id], 0)
    assert Counter(sent_to(router, 100)) == {"a": 50, "b": 50}
    for id in "cd":
        router.set_credit(router.consumers[id], PLENTY)
    assert shares_in_any(4, sent_to(router, 100)) == {(("a", 1), ("b", 1), ("c", 1), ("d", 1))}


def test_shares_hold_as_far_as_credit_allows() -> None:
    router = of_capacities(1, 5)
    router.set_credit(router.consumers["b"], 10)
    assert Counter(sent_to(router, 100)) == {"a": 90, "b": 10}


def test_a_message_is_held_while_nobody_has_credit() -> None:
    router = of_capacities(1, 2)
    for consumer in router.consumers.values():
        router.set_credit(consumer, 0)
    assert sent_to(router, 1) == "-"
    router.grant(router.consumers["a"], 1)
    assert router.consumers["a"].in_flight == 1


def test_leaving_and_coming_back_gains_nothing() -> None:
    router = of_capacities(1, 9)
    for _ in range(100):
        sent_to(router, 1)
        router.detach(router.consumers["a"])
        router.attach("a", credit=PLENTY, properties={"capacity": 1})
    assert router.consumers["b"].in_flight >= 89


def test_who_has_left_gets_nothing() -> None:
    router = of_capacities(1, 2, 5)
    router.detach(router.consumers["c"])
    assert shares_in_any(3, sent_to(router, 300)) == {(("a", 1), ("b", 2))}


def test_what_another_is_sent_instead_counts_for_that_one() -> None:
    router = of_capacities(1, 1)
    a, b = router.consumers.values()
    assert sent_to(router, 2) == "ab"
    assert router.settle(a, "released") is b
    assert Counter(sent_to(router, 2)) == {"a": 1, "b": 1}


def test_consumers_of_many_capacities_that_come_and_go_leave_nothing_behind() -> None:
    router = of_capacities(1)
    for number in range(2, 1000):
        consumer = router.attach("x", credit=1, properties={"capacity": number})
        router.detach(consumer)
    assert len(router.policy._turns) == len(router.policy._groups) <= 3


# -- where capacity comes from -----------------------------------------------------------------------------------------


def capacities(router: FakeRouter) -> list[object]:
    return list(router.policy.describe()["capacities"].values())


def test_capacity_is_what_the_router_knows_unless_said_otherwise() -> None:
    router = router_of(weighted)
    router.attach("a", credit=PLENTY, capacity=3.0, properties={"capacity": 9})
    router.attach("b", credit=PLENTY)
    assert capacities(router) == [3, 1]
    assert shares_in_any(4, sent_to(router, 40)) == {(("a", 3), ("b", 1))}


def test_another_link_property_can_be_named() -> None:
    router = router_of(weighted, capacity="property:cpus")
    router.attach("a", properties={"cpus": 8, "capacity": 2}, capacity=2.0)
    router.attach("b", properties={"capacity": 2}, capacity=2.0)
    assert capacities(router) == [8, 1]


@pytest.mark.parametrize("bad", [0, -1, 0.0, math.nan, math.inf, -math.inf, True, "5", None, b"5", [5], 10**400])
def test_a_property_that_is_no_number_above_0_counts_as_1_and_is_told(bad: object) -> None:
    router = router_of(weighted, capacity="property:cpus")
    for id, cpus in ("a", bad), ("b", 2):
        router.attach(id, properties={"cpus": cpus})
    assert router.policy.describe() == {"capacities": {"a": 1, "b": 2}, "ignored": 1}


def work(router: FakeRouter, count: int) -> Counter[str]:
    """Send, and let the consumer settle and grant one credit again at once."""
    takers: list[FakeConsumer] = []
    for _ in range(count):
        consumer = router.send()
        assert consumer is not None
        takers.append(consumer)
        router.settle(consumer)
        router.grant(consumer, 1)
    return Counter(consumer.id for consumer in takers)


def test_capacity_can_be_what_a_consumer_lets_be_in_flight() -> None:
    router = router_of(weighted, capacity="credit")
    for id, credit in ("a", 10), ("b", 30):
        router.grant(router.attach(id), credit)
    assert work(router, 400) == {"a": 100, "b": 300}
    assert capacities(router) == [10, 30]


def test_capacity_follows_what_a_consumer_lets_be_in_flight() -> None:
    router = router_of(weighted, capacity="credit")
    a, _b = (router.attach(id, credit=10) for id in "ab")
    assert work(router, 100) == {"a": 50, "b": 50}
    router.grant(a, 30)
    assert work(router, 100) == {"a": 80, "b": 20}


def test_a_drained_or_blocked_consumer_keeps_the_capacity_it_had() -> None:
    router = router_of(weighted, capacity="credit")
    a = router.attach("a", credit=10)
    router.set_credit(a, 0)
    assert capacities(router) == [10]
    assert capacities(router_without_credit()) == [1]


def router_without_credit() -> FakeRouter:
    router = router_of(weighted, capacity="credit")
    router.attach("a", credit=0)
    return router


def test_a_capacity_that_changes_counts_from_then_on() -> None:
    router = router_of(weighted)
    a, _b = (router.attach(id, credit=PLENTY) for id in "ab")
    assert shares_in_any(2, sent_to(router, 20)) == {(("a", 1), ("b", 1))}
    router.set_capacity(a, 4.0)
    assert shares_in_any(5, sent_to(router, 50)) == {(("a", 4), ("b", 1))}


def test_a_change_of_the_routers_number_is_no_matter_if_capacity_comes_from_elsewhere() -> None:
    router = router_of(weighted, capacity="property:cpus")
    router.set_capacity(router.attach("a", properties={"cpus": 2}), 4.0)
    assert capacities(router) == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity": "property"}, "capacity: 'property' is neither"),
        ({"capacity": "property:"}, "capacity: 'property:' is neither"),
        ({"capacity": "Credit"}, "capacity: 'Credit' is neither"),
        ({"capacity": "config"}, "capacity: 'config' is neither"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        router_of(weighted, **options)
