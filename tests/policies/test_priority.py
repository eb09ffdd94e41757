"""`priority`: tiers of consumers; and `exclusive`: one at a time."""

from __future__ import annotations

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import exclusive, priority
from txrouter.testing import FakeConsumer, FakeRouter


def attach(router: FakeRouter, name: str, rank: object, credit: int = 10, key: str = "priority") -> FakeConsumer:
    return router.attach(name, credit=credit, properties={} if rank is None else {key: rank})


# -- priority ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["priority", "rabbitmq:priority"])
def test_the_highest_go_first_and_the_next_only_when_they_are_full(key: str) -> None:
    router = router_of(priority)
    attach(router, "a", 1, credit=2, key=key)
    attach(router, "b", 5, credit=2, key=key)
    attach(router, "c", -3, credit=2, key=key)
    assert sent_to(router, 7) == "bbaacc-"


def test_among_equals_the_fewest_in_flight_go_first() -> None:
    router = router_of(priority)
    first, second = attach(router, "a", 1), attach(router, "b", 1)
    assert sent_to(router, 2) == "ab"
    router.settle(second)
    assert sent_to(router, 1) == "b"
    assert first.in_flight == second.in_flight == 1


def test_a_better_one_that_gives_credit_again_goes_first_again() -> None:
    router = router_of(priority)
    best = attach(router, "a", 1, credit=1)
    attach(router, "b", 0)
    assert sent_to(router, 2) == "ab"
    router.grant(best, 1)
    assert sent_to(router, 2) == "ab"


@pytest.mark.parametrize("rank", [None, "high", 1.5, True, 1 << 40])
def test_who_says_no_priority_has_0(rank: object) -> None:
    router = router_of(priority)
    attach(router, "a", -1, credit=1)
    attach(router, "b", rank, credit=1)
    attach(router, "c", 1, credit=1)
    assert sent_to(router, 3) == "cba"


@pytest.mark.parametrize(("rank", "ignored"), [(None, 0), (5, 0), ("high", 1)])
def test_what_is_no_priority_is_counted(rank: object, ignored: int) -> None:
    router = router_of(priority)
    attach(router, "a", rank)
    assert router.policy.describe()["ignored"] == ignored


def test_a_tier_whose_last_one_leaves_is_forgotten() -> None:
    router = router_of(priority)
    router.detach(attach(router, "a", 7))
    assert router.policy.describe()["tiers"] == {}


# -- exclusive ---------------------------------------------------------------------------------------------------------


def test_the_first_gets_everything() -> None:
    router = router_of(exclusive)
    for name in "abc":
        attach(router, name, None)
    assert sent_to(router, 5) == "aaaaa"


def test_while_the_active_one_has_no_credit_messages_are_held() -> None:
    router = router_of(exclusive)
    active = attach(router, "a", None, credit=1)
    attach(router, "b", None)
    assert sent_to(router, 2) == "a-"
    router.grant(active, 1)
    assert (active.in_flight, router.held) == (2, [])


def test_when_it_leaves_the_next_takes_over_with_what_is_held() -> None:
    router = router_of(exclusive)
    active = attach(router, "a", None, credit=0)
    second = attach(router, "b", None)
    assert sent_to(router, 1) == "-"
    router.detach(active)
    assert second.in_flight == 1


def test_the_next_is_the_one_with_the_highest_priority_and_of_these_the_first() -> None:
    router = router_of(exclusive)
    active = attach(router, "a", None)
    for name, rank in (("b", 0), ("c", 2), ("d", 2), ("e", None)):
        attach(router, name, rank)
    assert router.policy.describe() == {"active": "a", "standby": ["c", "d", "b", "e"]}
    router.detach(active)
    assert sent_to(router, 1) == "c"


def test_who_is_active_is_not_interrupted() -> None:
    router = router_of(exclusive)
    attach(router, "a", 0)
    attach(router, "b", 9)
    assert sent_to(router, 2) == "aa"


def test_one_that_stood_by_and_has_left_does_not_take_over() -> None:
    router = router_of(exclusive)
    active, second = attach(router, "a", None), attach(router, "b", None)
    attach(router, "c", None)
    router.detach(second)
    router.detach(active)
    assert sent_to(router, 1) == "c"


def test_those_that_have_left_are_not_kept() -> None:
    router = router_of(exclusive)
    attach(router, "a", None)
    for _ in range(1_000):
        router.detach(attach(router, "b", None))
    assert len(router.policy._standby) < 10


def test_when_all_have_left_nobody_is_active() -> None:
    router = router_of(exclusive)
    router.detach(attach(router, "a", None))
    assert router.policy.describe() == {"active": None, "standby": []}
