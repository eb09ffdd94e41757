"""`closest`: who is near goes first, and captures nothing."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.policies.inside import asking, choosy
from tests.policies.routers import router_of, sent_to
from txrouter.chains import chain
from txrouter.policies import closest, pull, weighted
from txrouter.testing import FakeDelivery, FakeRouter


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


# -- as a wrapper ------------------------------------------------------------------------------------------------------


def around(policy: Any, **options: Any) -> FakeRouter:
    factory = chain((closest.wrapper,), policy)
    return FakeRouter(factory.build(factory.options(**options), random.Random(1)))


def test_any_policy_can_choose_among_those_that_cost_as_much() -> None:
    router = around(pull.factory)
    router.attach("a", credit=10, in_flight=3)
    router.attach("b", credit=10)
    router.attach("z", credit=10, cost=1)
    assert sent_to(router, 3) == "bbb"


def test_those_that_cost_as_much_get_shares() -> None:
    router = around(weighted.factory)
    router.attach("a", credit=100, capacity=3.0)
    router.attach("b", credit=100)
    router.attach("z", credit=100, cost=1, capacity=50.0)
    assert Counter(sent_to(router, 40)) == {"a": 30, "b": 10}


def test_those_further_away_are_ranked_as_the_nearest() -> None:
    router = around(choosy)
    assert router.policy.rank(FakeDelivery({"priority": 3})) == -3.0
    router.attach("z", credit=0, cost=1)
    assert router.policy.rank(FakeDelivery({"priority": 2})) == -2.0


def test_the_policies_know_the_time_also_those_of_consumers_that_come_later() -> None:
    router = around(asking)
    router.later(5.0)
    router.attach("a", credit=1)
    router.attach("z", credit=1, cost=1)
    assert router.policy.describe() == {"0": {"awaited": {}, "at": 5.0}, "1": {"awaited": {}, "at": 5.0}}
    assert router.policy.reply_seconds == 7.0
