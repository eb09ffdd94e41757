"""`least-work`: the least work for the capacity, by what messages cost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import costs, least_work
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter


@pytest.fixture
def router() -> FakeRouter:
    return router_of(least_work)


def costing(cost: object, **more: Any) -> FakeDelivery:
    return FakeDelivery({}, {"cost": cost}, **more)


def about(subject: object) -> FakeDelivery:
    return FakeDelivery({"subject": subject})


def takers(router: FakeRouter, *costs: object) -> str:
    """Who gets messages of these costs."""
    return "".join(getattr(router.send(costing(cost)), "id", "-") for cost in costs)


def work(router: FakeRouter, consumer: FakeConsumer) -> float:
    place: Any = consumer.place
    return float(place.work)


# -- choosing ----------------------------------------------------------------------------------------------------------


def test_whoever_has_the_least_work_is_next(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=10)
    assert takers(router, 5, 1, 1, 1, 3, 1) == "abbbba"


def test_among_equals_whoever_has_waited_longest_is_next(router: FakeRouter) -> None:
    a, b, c = (router.attach(id, credit=10) for id in "abc")
    assert takers(router, 1, 1, 1) == "abc"
    for consumer in c, a, b:
        router.settle(consumer)
    assert takers(router, 1, 1, 1) == "cab"


def test_work_is_divided_by_the_capacity(router: FakeRouter) -> None:
    router.attach("a", credit=99)
    router.attach("b", credit=99, capacity=3.0)
    gets = takers(router, *[1] * 40)
    assert (gets.count("a"), gets.count("b")) == (10, 30)


def test_of_the_idle_the_one_with_the_larger_capacity_is_next(router: FakeRouter) -> None:
    for id, capacity in ("a", 1.0), ("b", 2.0), ("c", 1.5):
        router.attach(id, credit=9, capacity=capacity)
    assert takers(router, 9, 9, 9) == "bca"


def test_a_capacity_that_changes_counts_at_once(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=9) for id in "ab")
    assert takers(router, 4, 3) == "ab"
    router.set_capacity(a, 2.0)
    assert takers(router, 2) == "a"
    router.set_capacity(b, 100.0)
    assert takers(router, 1) == "b"


def test_work_that_is_settled_counts_no_more(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=9) for id in "ab")
    assert takers(router, 5, 2, 2) == "abb"
    router.settle(b)
    assert work(router, b) == 2.0
    router.settle(a)
    assert takers(router, 1) == "a"


def test_nothing_is_left_of_sums_that_were_rounded(router: FakeRouter) -> None:
    a = router.attach("a", credit=99)
    takers(router, 1e9, *[0.1] * 9)
    for index in range(10):
        router.settle(a, index=-1)
        assert work(router, a) >= 1e9 - 1 or index == 9
    assert work(router, a) == 0.0


def test_nobody_without_credit_is_selected(router: FakeRouter) -> None:
    router.attach("a", credit=0)
    b = router.attach("b", credit=1)
    assert takers(router, 9, 1) == "b-"
    router.grant(b, 1)
    assert b.in_flight == 2


def test_pre_settled_messages_go_round(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    assert sent_to(router, 6, presettled=True) == "abcabc"
    assert takers(router, 1) == "a"


def test_what_is_released_is_work_for_whoever_gets_it_then(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=9) for id in "ab")
    assert takers(router, 7) == "a"
    assert router.settle(a, "released") is b
    assert (work(router, a), work(router, b)) == (0.0, 7.0)


def test_what_was_in_flight_when_it_took_over_costs_one_each(router: FakeRouter) -> None:
    a = router.attach("a", credit=9, in_flight=2)
    router.attach("b", credit=9)
    assert takers(router, 2, 1) == "ba"
    for _ in range(3):
        router.settle(a)
    assert work(router, a) == 0.0


def test_who_has_left_is_not_selected(router: FakeRouter) -> None:
    a, _b = (router.attach(id, credit=9) for id in "ab")
    router.detach(a)
    assert takers(router, 1, 1) == "bb"


# -- costs -------------------------------------------------------------------------------------------------------------

NONE = [0, -1, 1e10, 1e-9, float("nan"), float("inf"), True, "5", b"5", [5]]


@pytest.mark.parametrize("cost", NONE, ids=str)
def test_what_is_no_cost_counts_as_one_and_is_counted(router: FakeRouter, cost: object) -> None:
    a = router.attach("a", credit=9)
    takers(router, cost)
    assert work(router, a) == 1.0
    assert router.policy.describe()["ignored"] == 1


def test_a_message_that_says_nothing_costs_one(router: FakeRouter) -> None:
    a = router.attach("a", credit=9)
    router.send()
    assert work(router, a) == 1.0
    assert router.policy.describe()["ignored"] == 0


def test_the_property_can_have_any_name() -> None:
    router = router_of(least_work, cost="property:pixels")
    a = router.attach("a", credit=9)
    router.send(FakeDelivery({}, {"pixels": 640, "cost": 1}))
    assert work(router, a) == 640.0


@pytest.mark.parametrize("cost", ["", "cost", "property:", "learnt"])
def test_options_that_make_no_sense_are_refused(cost: str) -> None:
    with pytest.raises(ValueError, match="is neither `property:NAME` nor `learned`"):
        router_of(least_work, cost=cost)


# -- learned costs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def learning() -> FakeRouter:
    return router_of(least_work, cost="learned")


def settle_after(router: FakeRouter, consumer: FakeConsumer, seconds: float, outcome: str = "accepted") -> None:
    """A consumer settles its oldest message, so long after it settled the one before."""
    router.later(seconds)
    router.settle(consumer, outcome, 1e9)  # it was sent long ago


def learned(router: FakeRouter) -> dict[str, float]:
    seconds: dict[str, float] = router.policy.describe()["seconds"]
    return seconds


def test_it_learns_what_messages_of_each_subject_take(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=999)
    for _ in range(50):
        for subject, seconds in ("resize", 0.5), ("render", 8.0):
            learning.send(about(subject))
            settle_after(learning, a, seconds)
    assert learned(learning) == pytest.approx({"resize": 0.5, "render": 8.0})
    b = learning.attach("b", credit=999)
    learning.send(about("render"))
    learning.send(about("resize"))
    assert sorted([work(learning, a), work(learning, b)]) == pytest.approx([0.5, 8.0])


def test_a_message_takes_no_longer_than_since_it_was_sent(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=9)
    learning.later(100.0)  # it was idle
    learning.send(about("resize"))
    learning.settle(a, seconds=0.25)
    assert learned(learning) == {"resize": 0.25}


def test_messages_that_wait_at_a_consumer_are_not_taken_to_be_long(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=99)
    for _ in range(10):
        learning.send(about("resize"))
    for _ in range(10):
        settle_after(learning, a, 1.0)
    assert learned(learning) == {"resize": 1.0}


def test_a_fast_consumer_has_done_more_in_that_time(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=9, capacity=4.0)
    learning.send(about("resize"))
    settle_after(learning, a, 1.0)
    assert learned(learning) == {"resize": 4.0}


def test_what_was_not_worked_on_says_nothing(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=9)
    for outcome in "released", "modified":
        learning.send(about("resize"))
        settle_after(learning, a, 1.0, outcome)
    assert learned(learning) == {}


def test_what_is_not_known_costs_as_much_as_usual(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=99)
    learning.send(about("new"))
    assert work(learning, a) == 1.0
    settle_after(learning, a, 3.0)
    learning.send(about("newer"))
    assert work(learning, a) == 3.0


def test_what_was_learned_follows_what_changes(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=9)
    for seconds in [1.0] * 50 + [2.0] * 50:
        learning.send(about("resize"))
        settle_after(learning, a, seconds)
        learning.grant(a, 1)
    assert 1.9 < learned(learning)["resize"] < 2.0


def test_only_so_many_subjects_are_remembered(learning: FakeRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "MOST_SUBJECTS", 2)
    a = learning.attach("a", credit=99)
    for subject in "one", "two", "one", "three":
        learning.send(about(subject))
        settle_after(learning, a, 1.0)
    assert list(learned(learning)) == ["one", "three"]


@pytest.mark.parametrize("subject", [None, 5, b"x"])
def test_those_without_a_subject_are_of_a_kind(learning: FakeRouter, subject: object) -> None:
    a = learning.attach("a", credit=9)
    learning.send(about(subject))
    settle_after(learning, a, 1.0)
    assert learned(learning) == {"": 1.0}


def test_a_long_subject_is_cut(learning: FakeRouter) -> None:
    a = learning.attach("a", credit=9)
    learning.send(about("x" * 60_000))
    settle_after(learning, a, 1.0)
    assert learned(learning) == {"x" * costs.LONGEST_SUBJECT: 1.0}


# -- what it says ------------------------------------------------------------------------------------------------------


def test_it_says_what_each_has_to_do(router: FakeRouter) -> None:
    for id, capacity in ("a", 1.0), ("b", 2.0):
        router.attach(id, credit=9, capacity=capacity)
    takers(router, 5)
    assert router.policy.describe() == {
        "next": "a",
        "consumers": {"a": {"work": 0.0, "capacity": 1.0}, "b": {"work": 5.0, "capacity": 2.0}},
        "ignored": 0,
    }
