"""`round-robin`: whose turn it is."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import round_robin
from txrouter.testing import FakeRouter


@pytest.fixture
def router() -> FakeRouter:
    return router_of(round_robin)


def test_each_consumer_has_its_turn(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    assert sent_to(router, 7) == "abcabca"


def test_shares_are_equal_however_much_credit_each_has(router: FakeRouter) -> None:
    for number, id in enumerate("abc", 1):
        router.attach(id, credit=100 * number)
    assert Counter(sent_to(router, 300)) == {"a": 100, "b": 100, "c": 100}


def test_a_consumer_without_credit_is_passed_over(router: FakeRouter) -> None:
    for id, credit in ("a", 10), ("b", 0), ("c", 10):
        router.attach(id, credit=credit)
    assert sent_to(router, 4) == "acac"


def test_a_message_is_held_while_nobody_has_credit(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    assert sent_to(router, 2) == "a-"
    router.grant(a, 2)
    assert a.in_flight == 2
    assert not router.held


def test_credit_that_comes_late_joins_at_the_back(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    for id in "bcd":
        router.attach(id, credit=10)
    assert sent_to(router, 6) == "abcdbc"  # after d, a had no credit and dropped out
    router.grant(a, 10)
    assert sent_to(router, 6) == "dbcadb"


def test_credit_that_goes_and_comes_back_in_time_costs_no_turn(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    b = router.consumers["b"]
    router.set_credit(b, 0)
    assert sent_to(router, 1) == "a"
    router.set_credit(b, 10)
    assert sent_to(router, 3) == "bca"


def test_more_credit_gains_no_turn(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    assert sent_to(router, 1) == "a"
    router.grant(router.consumers["a"], 90)
    assert sent_to(router, 3) == "bca"


def test_a_newcomer_is_last(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=10)
    assert sent_to(router, 1) == "a"
    router.attach("c", credit=10)
    assert sent_to(router, 4) == "bacb"


def test_who_has_left_has_no_turn(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    router.detach(router.consumers["b"])
    assert sent_to(router, 4) == "acac"


def test_being_passed_over_for_a_message_it_released_costs_no_turn(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=10) for id in "ab")
    assert sent_to(router, 2) == "ab"
    assert router.settle(a, "released") is b
    assert sent_to(router, 3) == "aba"


def test_it_says_who_is_next(router: FakeRouter) -> None:
    for id, credit in ("a", 10), ("b", 0), ("c", 10):
        router.attach(id, credit=credit)
    router.send()
    assert router.policy.describe() == {"next": ["c", "a"]}
