"""`deadline`: the least slack first among those held, and nothing that is too late."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import deadline
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter


@pytest.fixture
def router() -> FakeRouter:
    return router_of(deadline)


def living(milliseconds: int | None = None, subject: object = None, **more: Any) -> FakeDelivery:
    return FakeDelivery({"ttl": milliseconds, "subject": subject}, **more)


def within(seconds: object, **more: Any) -> FakeDelivery:
    return FakeDelivery({"ttl": more.get("ttl")}, {"within": seconds})


def hold(router: FakeRouter, *deliveries: FakeDelivery) -> FakeConsumer:
    """A consumer that has no credit, for which these are held."""
    consumer = router.consumers.get("a") or router.attach("a", credit=0)
    assert [router.send(delivery) for delivery in deliveries] == [None] * len(deliveries)
    return consumer


def leave(router: FakeRouter) -> list[FakeDelivery]:
    """What is held, in the order it goes when there is credit."""
    sent: list[FakeDelivery] = []
    router.policy.sent = lambda _consumer, delivery: sent.append(delivery)
    router.grant(router.consumers["a"], 99)
    return sent


# -- order -------------------------------------------------------------------------------------------------------------


def test_what_has_to_go_sooner_goes_first(router: FakeRouter) -> None:
    slow, urgent, quick = living(9_000), living(1_000), living(3_000)
    hold(router, slow, urgent, quick)
    assert leave(router) == [urgent, quick, slow]


def test_what_came_earlier_has_less_time_left(router: FakeRouter) -> None:
    first, second = living(5_000), living(4_000)
    hold(router, first)
    router.later(2.0)
    hold(router, second)
    assert leave(router) == [first, second]


def test_among_equals_the_first_goes_first(router: FakeRouter) -> None:
    messages = [living(5_000) for _ in range(5)]
    hold(router, *messages)
    assert leave(router) == messages


def test_what_has_no_deadline_goes_last(router: FakeRouter) -> None:
    none, late, nothing = living(), living(4_000_000_000), living()
    hold(router, none, late, nothing)
    assert leave(router) == [late, none, nothing]


def test_what_has_no_deadline_can_be_given_a_place() -> None:
    router = router_of(deadline, default_seconds=5.0)
    none, before, after = living(), living(4_000), living(6_000)
    hold(router, none, before, after)
    router.later(5.5)
    assert leave(router) == [none, after]
    assert router.expired == [before]


def test_what_takes_longer_goes_sooner() -> None:
    router = router_of(deadline, cost="property:seconds")
    quick, slow = FakeDelivery({"ttl": 8_000}, {"seconds": 1}), FakeDelivery({"ttl": 9_000}, {"seconds": 5})
    hold(router, quick, slow)
    assert leave(router) == [slow, quick]


def test_how_long_messages_take_is_learned(router: FakeRouter) -> None:
    a = router.attach("a", credit=2)
    for subject, seconds in ("render", 6.0), ("resize", 1.0):
        router.send(living(subject=subject))
        router.later(seconds)
        router.settle(a, seconds=seconds)
    quick, slow = living(8_000, "resize"), living(9_000, "render")
    hold(router, quick, slow)
    assert router.policy.describe()["seconds"] == {"render": 6.0, "resize": 1.0}
    assert leave(router) == [slow, quick]


# -- too late ----------------------------------------------------------------------------------------------------------


def test_what_is_too_late_is_never_sent(router: FakeRouter) -> None:
    late, good = living(1_000), living(3_000)
    hold(router, late, good)
    router.later(1.0)
    assert (router.held, router.expired) == ([good], [late])
    assert leave(router) == [good]


def test_a_property_can_say_how_many_seconds_it_has() -> None:
    router = router_of(deadline, deadline="property:within")
    late, good = within(0.5), within(2)
    hold(router, good, late)
    assert router.held == [late, good]
    router.later(0.5)
    assert (router.held, router.expired) == ([good], [late])


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
def test_what_is_too_late_when_it_comes_is_sent_to_nobody(seconds: float) -> None:
    router = router_of(deadline, deadline="property:within")
    router.attach("a", credit=9)
    late = within(seconds)
    assert router.send(late) is None
    assert (router.held, router.expired) == ([], [late])
    assert sent_to(router, 1) == "a"


def test_what_is_released_too_late_goes_to_nobody_else() -> None:
    router = router_of(deadline, deadline="property:within")
    a, _b = (router.attach(id, credit=9) for id in "ab")
    late = within(1)
    assert router.send(late) is a
    router.later(1.0)
    assert router.settle(a, "released") is None
    assert router.expired == [late]


def test_without_that_property_the_time_to_live_counts() -> None:
    router = router_of(deadline, deadline="property:within")
    lives, has = within(None, ttl=1_000), within(3)
    hold(router, has, lives)
    assert router.held == [lives, has]
    router.later(1.0)
    assert router.expired == [lives]


@pytest.mark.parametrize("seconds", ["5", True, float("nan"), float("inf"), 1e10, b"1"], ids=str)
def test_what_is_no_number_of_seconds_is_no_deadline(seconds: object) -> None:
    router = router_of(deadline, deadline="property:within")
    odd, good = within(seconds), within(5)
    hold(router, odd, good)
    assert leave(router) == [good, odd]


# -- consumers, options, and what it says ------------------------------------------------------------------------------


def test_the_consumer_is_chosen_as_by_pull(router: FakeRouter) -> None:
    for id, in_flight in ("a", 3), ("b", 1), ("c", 2):
        router.attach(id, credit=10, in_flight=in_flight)
    assert sent_to(router, 4) == "bcba"
    router.detach(router.consumers["b"])
    assert "b" not in sent_to(router, 9)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"deadline": "soon"}, "deadline: 'soon' is neither `ttl` nor `property:NAME`"),
        ({"default_seconds": -1.0}, "default_seconds: -1.0 is not between 0 and 1000000000"),
        ({"cost": "much"}, "cost: 'much' is neither"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        router_of(deadline, **options)
