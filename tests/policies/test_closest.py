"""`closest`: who is near goes first, and captures nothing."""

from __future__ import annotations

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import closest
from txrouter.testing import FakeRouter


@pytest.fixture
def router() -> FakeRouter:
    return router_of(closest)


def test_those_that_cost_as_much_have_their_turns(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    assert sent_to(router, 7) == "abcabca"


def test_one_that_costs_more_gets_nothing_while_a_nearer_one_has_credit(router: FakeRouter) -> None:
    router.attach("z", credit=10, cost=2)
    router.attach("m", credit=2, cost=1)
    router.attach("a", credit=3)
    assert sent_to(router, 6) == "aaammz"


def test_a_near_one_that_gives_credit_again_goes_first_again(router: FakeRouter) -> None:
    near = router.attach("a", credit=1)
    router.attach("z", credit=10, cost=1)
    assert sent_to(router, 2) == "az"
    router.grant(near, 1)
    assert sent_to(router, 2) == "az"


def test_one_without_credit_captures_nothing(router: FakeRouter) -> None:
    router.attach("a", credit=0)
    router.attach("z", credit=10, cost=1)
    assert sent_to(router, 2) == "zz"


def test_one_that_has_left_gets_nothing(router: FakeRouter) -> None:
    near = router.attach("a", credit=9)
    router.attach("z", credit=1, cost=1)
    router.detach(near)
    assert sent_to(router, 2) == "z-"


def test_it_describes_who_is_next_by_cost(router: FakeRouter) -> None:
    router.attach("a", credit=9)
    router.attach("b", credit=9)
    router.attach("z", credit=0, cost=1)
    sent_to(router, 1)
    assert router.policy.describe() == {"0": {"next": ["b", "a"]}, "1": {"next": []}}
