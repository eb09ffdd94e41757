"""`slow-start`: who is new gets a share that grows, with any policy inside."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.policies.chance import as_likely
from tests.policies.inside import sticky
from tests.policies.routers import sent_to
from txrouter.chains import chain
from txrouter.policies import join_idle, peak_ewma, power_of_two, pull, round_robin, slow_start, weighted
from txrouter.testing import FakeDelivery, FakeRouter

PLENTY = 1_000_000
ANY = pytest.mark.parametrize(
    "policy",
    [each.factory for each in (join_idle, peak_ewma, power_of_two, pull, round_robin, weighted)],
    ids=lambda policy: policy.name,
)


def around(policy: Any, **options: float) -> FakeRouter:
    """A router with that policy, and slow start around it."""
    factory = chain((slow_start.wrapper,), policy)
    built = factory.build(factory.options(slow_start=slow_start.Options(**options)), random.Random(1))
    return FakeRouter(built)


def grown_up(policy: Any, ids: str, **options: float) -> FakeRouter:
    """One with consumers that are not new."""
    router = around(policy, **options)
    for id in ids:
        router.attach(id, credit=PLENTY)
    router.later(1_000)
    router.send(FakeDelivery(presettled=True))
    return router


def shares(router: FakeRouter, messages: int, seconds: float = 0.0) -> Counter[str]:
    """Who gets messages that are settled at once, and come so many seconds apart."""
    takers: Counter[str] = Counter()
    for _ in range(messages):
        consumer = router.send()
        assert consumer is not None
        takers[consumer.id] += 1
        router.settle(consumer, seconds=0.01)
        router.grant(consumer, 1)
        router.later(seconds)
    return takers


# -- shares ------------------------------------------------------------------------------------------------------------


@ANY
@pytest.mark.parametrize(("age", "part"), [(0.0, 0.1), (10.0, 0.4), (20.0, 0.7)])
def test_a_newcomer_gets_a_part_of_what_it_would_get_otherwise(policy: Any, age: float, part: float) -> None:
    """A part of a quarter, where another is drawn instead; or where its turn is passed over, the part beside three
    whole ones."""
    router = grown_up(policy, "abc")
    router.attach("new", credit=PLENTY)
    router.later(age)
    got = shares(router, 4_000)
    assert 0.95 * part / 4 < got["new"] / 4_000 < 1.05 * part / (3 + part)
    assert max(got.values()) - min(got[id] for id in "abc") < 150


def test_where_chance_decides_a_newcomer_is_chosen_for_a_part_of_the_times() -> None:
    router = grown_up(power_of_two.factory, "abc")
    router.attach("n", credit=PLENTY)
    router.later(10.0)
    got = Counter(sent_to(router, 20_000, presettled=True))
    assert as_likely(got, {"a": 0.3, "b": 0.3, "c": 0.3, "n": 0.1})


@ANY
def test_after_its_time_it_is_like_any_other(policy: Any) -> None:
    router = grown_up(policy, "abc")
    router.attach("new", credit=PLENTY)
    router.later(30.0)
    got = shares(router, 4_000)
    assert got["new"] == pytest.approx(1_000, rel=0.1)


def test_its_part_grows_as_time_passes() -> None:
    router = grown_up(round_robin.factory, "abc")
    router.attach("new", credit=PLENTY)
    parts = [shares(router, 400, 10 / 400)["new"] for _ in range(4)]
    assert parts == sorted(parts)
    # on average 0.25, 0.55, 0.85 and 1 of a share, of 3.25, 3.55, 3.85 and 4
    assert parts == pytest.approx([31, 62, 88, 100], rel=0.1)


def test_several_newcomers_get_a_part_each() -> None:
    router = grown_up(round_robin.factory, "ab")
    router.attach("m", credit=PLENTY)
    router.later(20.0)
    router.attach("n", credit=PLENTY)
    got = shares(router, 2_800)  # of 1, 1, 0.7 and 0.1
    assert got["m"] / got["a"] == pytest.approx(0.7, rel=0.1)
    assert got["n"] / got["a"] == pytest.approx(0.1, rel=0.1)


def test_a_burst_does_not_all_go_to_who_has_nothing_in_flight() -> None:
    """With the least loaded policy alone, the newcomer would get every one of these."""
    router = grown_up(pull.factory, "abc")
    for consumer in router.consumers.values():
        consumer.in_flight += 100
        router.policy.sent(consumer, FakeDelivery())
    router.attach("new", credit=PLENTY)
    assert Counter(sent_to(router, 31))["n"] <= 1 + 31 // 10


# -- nobody starves ----------------------------------------------------------------------------------------------------


@ANY
def test_where_all_are_new_they_are_equals(policy: Any) -> None:
    router = around(policy)
    for id in "abcd":
        router.attach(id, credit=PLENTY)
    got = shares(router, 2_000)
    assert min(got.values()) > 400


def test_where_all_are_new_the_policy_inside_decides() -> None:
    router = around(pull.factory)
    busy = router.attach("b", credit=PLENTY, in_flight=50)
    router.attach("a", credit=PLENTY)
    assert set(sent_to(router, 20)) == {"a"}
    assert busy.in_flight == 50


def test_who_was_there_a_moment_before_is_no_more_than_that_ahead() -> None:
    router = around(pull.factory)
    router.attach("b", credit=PLENTY, in_flight=50)
    router.later(0.5)
    router.attach("a", credit=PLENTY)
    assert Counter(sent_to(router, 100))["a"] >= 70


@ANY
def test_if_nobody_else_can_take_it_a_newcomer_does(policy: Any) -> None:
    router = grown_up(policy, "ab")
    new = router.attach("new", credit=PLENTY)
    for id in "ab":
        router.set_credit(router.consumers[id], 0)
    assert [router.send() for _ in range(10)] == [new] * 10


def test_who_leaves_while_it_waits_gets_nothing_more() -> None:
    router = grown_up(pull.factory, "a")
    new = router.attach("new", credit=PLENTY)
    while router.send() is not new:
        pass
    router.detach(new)
    router.set_credit(router.consumers["a"], 0)
    assert router.send() is None


def test_credit_that_comes_while_it_waits_is_there_afterwards() -> None:
    router = grown_up(round_robin.factory, "a")
    new = router.attach("new", credit=1)
    while router.send() is not new:
        pass
    router.grant(new, 5)
    assert "n" in "".join(consumer.id[0] for consumer in (router.send() for _ in range(30)) if consumer)


def test_what_another_has_released_can_go_to_one_that_waits() -> None:
    router = grown_up(weighted.factory, "ab")
    new = router.attach("new", credit=PLENTY)
    while router.send() is not new:
        pass
    first, second = router.consumers["a"], router.consumers["b"]
    router.send()
    for consumer in (first, second):
        router.set_credit(consumer, 0)
    router.settle(first, "released")
    assert new.in_flight == 2


# -- what is inside ----------------------------------------------------------------------------------------------------


def test_the_policy_inside_forgets_a_consumer_only_when_it_is_new_no_more() -> None:
    router = grown_up(peak_ewma.factory, "a")
    router.attach("new", credit=PLENTY)
    shares(router, 50)
    assert router.policy.apart[router.consumers["new"]].place.seconds == 0.01


def test_one_that_messages_wait_for_is_not_held_back() -> None:
    router = around(sticky)
    for id in "ab":
        router.attach(id, credit=PLENTY)
    router.later(1_000)
    router.send()
    new = router.attach("new", credit=PLENTY)
    assert [router.send(FakeDelivery({"subject": "z"})) for _ in range(5)] == [new] * 5


def test_what_it_says_of_itself() -> None:
    router = grown_up(round_robin.factory, "ab")
    router.attach("new")
    router.later(15.0)
    assert router.policy.describe() == {
        "new": {"new": pytest.approx(0.55)},
        "others": 2,
        "inner": {"next": ["b", "a"]},
    }


@pytest.mark.parametrize(("option", "value"), [("seconds", 0.0), ("seconds", 1e9), ("initial", 0.0), ("initial", 1.1)])
def test_wrong_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^slow_start\.{option}: {value} is not above 0 and at most"):
        around(pull.factory, **{option: value})
