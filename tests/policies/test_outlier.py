"""`outlier`: who fails sits out for a while, never too many at a time."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count
from typing import Any

import pytest

from tests.policies.inside import asking
from tests.policies.inside import sticky as first_for_each
from tests.policies.routers import sent_to
from txrouter.chains import chain
from txrouter.policies import closest, outlier, pull, round_robin, slow_start, subset
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter

PLENTY = 1_000_000
NUMBERS = count()


def around(policy: Any = round_robin.factory, ids: str = "abcd", **options: Any) -> FakeRouter:
    """A router with consumers, that policy, and what sends them out around it."""
    factory = chain((outlier.wrapper,), policy)
    built = factory.build(factory.options(outlier=outlier.Options(**options)), random.Random(1))
    router = FakeRouter(built)
    for id in ids:
        router.attach(id, credit=PLENTY)
    return router


def settle(router: FakeRouter, id: str, *outcomes: str, seconds: float = 0.0) -> None:
    """Messages that were sent to it end like this."""
    consumer = router.consumers[id]
    for outcome in outcomes:
        while not consumer.in_flight:
            router.send()
        router.settle(consumer, outcome, seconds)


def out(router: FakeRouter) -> set[str]:
    """Who sits out, as it says and as it is."""
    described: Any = router.policy.describe()
    sitting_out = set(described["sitting_out"])
    assert sitting_out.isdisjoint(sent_to(router, 20, presettled=True))
    return sitting_out


# -- who sits out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["rejected", "modified"])
def test_who_fails_so_often_in_a_row_sits_out(outcome: str) -> None:
    router = around(failures=3)
    settle(router, "a", outcome, outcome)
    assert out(router) == set()
    settle(router, "a", outcome)
    assert out(router) == {"a"}


@pytest.mark.parametrize("good", ["accepted", "settled"])
def test_a_success_in_between_begins_the_row_anew(good: str) -> None:
    router = around(failures=3)
    settle(router, "a", "rejected", "modified", good, "rejected", "modified")
    assert out(router) == set()


def test_what_is_released_is_neither_good_nor_bad() -> None:
    router = around(failures=2)
    settle(router, "a", "released", "released", "rejected", "released")
    assert out(router) == set()
    settle(router, "a", "rejected")
    assert out(router) == {"a"}


def test_which_outcomes_are_failures_can_be_said() -> None:
    router = around(failures=2, outcomes=("released",))
    settle(router, "a", "rejected", "rejected")
    assert out(router) == set()
    settle(router, "a", "released", "released")
    assert out(router) == {"a"}


def test_who_fails_too_large_a_share_sits_out() -> None:
    router = around(failures=0, failure_rate=0.5, window_messages=6)
    settle(router, "a", "rejected", "accepted", "rejected", "accepted", "rejected")
    assert out(router) == set()
    settle(router, "a", "rejected")
    assert out(router) == {"a"}


def test_a_share_is_of_a_window_of_time() -> None:
    router = around(failures=0, failure_rate=0.5, window_messages=4, window_seconds=10.0)
    settle(router, "a", "rejected", "rejected", "rejected")
    router.later(10.0)
    settle(router, "a", "rejected")
    assert out(router) == set()


def test_few_failures_of_many_are_borne() -> None:
    router = around(failures=0, failure_rate=0.5, window_messages=4)
    settle(router, "a", *(["accepted", "accepted", "rejected"] * 20))
    assert out(router) == set()


def test_it_works_with_any_policy_inside() -> None:
    router = around(pull.factory, failures=2)
    settle(router, "a", "rejected", "rejected")
    assert out(router) == {"a"}
    assert Counter(sent_to(router, 300)).keys() == set("bcd")


@pytest.mark.parametrize("outside", [None, closest, slow_start, subset], ids=lambda each: each and each.wrapper.name)
def test_what_waits_for_it_alone_goes_to_others_in_order(outside: Any) -> None:
    """Also where wrappers outside have the policies know consumers by stand-ins."""
    wrappers = (outlier.wrapper,) if outside is None else (outside.wrapper, outlier.wrapper)
    factory = chain(wrappers, first_for_each)
    router = FakeRouter(factory.build(factory.options(outlier=outlier.Options(failures=1)), random.Random(1)))
    stuck = router.attach("a", credit=1, properties={"subset": "a"})
    other = router.attach("b", credit=PLENTY, properties={"subset": "b"})
    messages = [FakeDelivery({"subject": "x"}) for _ in range(4)]
    assert [router.send(message) for message in messages] == [stuck, None, None, None]
    router.settle(stuck, "rejected")
    assert (stuck.waiting, router._unsettled[other]) == (0, messages[1:])
    router.grant(stuck, 5)
    assert stuck.in_flight == 0


def test_what_waited_goes_before_the_message_that_comes_when_time_is_up() -> None:
    router = around(first_for_each, "", failures=1, timeout_seconds=10.0)
    stuck, other = router.attach("a", credit=1), router.attach("b", credit=PLENTY)
    messages = [FakeDelivery({"subject": "x"}) for _ in range(4)]
    assert [router.send(message) for message in messages[:3]] == [stuck, None, None]
    router.later(10.0)
    assert router.send(messages[3]) is other
    assert router._unsettled[other] == messages[1:]


def test_what_it_has_in_flight_goes_on() -> None:
    router = around(failures=1)
    sent_to(router, 8)
    settle(router, "a", "rejected")
    settle(router, "a", "accepted")
    assert out(router) == {"a"}
    assert router.consumers["a"].in_flight == 0


# -- coming back -------------------------------------------------------------------------------------------------------


def test_it_comes_back_after_a_while() -> None:
    router = around(failures=1, seconds=30.0)
    settle(router, "a", "rejected")
    router.later(29.9)
    assert out(router) == {"a"}
    router.later(0.2)
    assert "a" in sent_to(router, 8)
    assert out(router) == set()


def test_what_is_held_is_offered_when_it_comes_back() -> None:
    router = around(ids="ab", failures=1, seconds=30.0)
    settle(router, "a", "rejected")
    router.set_credit(router.consumers["b"], 0)
    assert sent_to(router, 1) == "-"
    router.later(30.0)
    assert router.held == []
    assert router.consumers["a"].in_flight == 1


def test_it_sits_out_longer_each_time() -> None:
    router = around(failures=1, seconds=10.0, longest_seconds=25.0)
    for seconds in 10.0, 20.0, 25.0:
        settle(router, "a", "rejected")
        router.later(seconds - 0.1)
        assert out(router) == {"a"}
        router.later(0.2)
        sent_to(router, 1)
        assert out(router) == set()


def test_who_was_back_for_long_begins_anew() -> None:
    router = around(failures=1, seconds=10.0)
    for _ in range(2):
        settle(router, "a", "rejected")
        router.later(1_000.0)
        sent_to(router, 1)
    settle(router, "a", "rejected")
    assert router.policy.describe()["sitting_out"]["a"]["times"] == 1


def test_who_comes_back_has_a_clean_record() -> None:
    router = around(failures=3, seconds=10.0)
    settle(router, "a", "rejected", "rejected", "rejected")
    router.later(10.0)
    settle(router, "a", "rejected", "rejected")
    assert out(router) == set()


# -- never too many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("consumers", "share", "most"), [(1, 0.5, 0), (2, 0.5, 1), (2, 0.4, 0), (10, 0.3, 3), (9, 0.5, 4)]
)
def test_never_more_than_a_share_sit_out(consumers: int, share: float, most: int) -> None:
    router = around(ids="abcdefghij"[:consumers], failures=1, most_share=share)
    for id in list(router.consumers):
        if len(out(router)) < most:
            settle(router, id, "rejected")
    for id in set(router.consumers) - out(router):
        settle(router, id, "rejected")
    assert len(out(router)) == most


def test_when_others_leave_those_come_back_that_are_too_many() -> None:
    router = around(ids="abcd", failures=1, most_share=0.5)
    settle(router, "a", "rejected")
    router.later(1.0)
    settle(router, "b", "rejected")
    router.detach(router.consumers["c"])
    assert out(router) == {"b"}
    router.detach(router.consumers["d"])
    assert out(router) == {"b"}


def test_who_leaves_and_comes_again_begins_anew() -> None:
    router = around(failures=1)
    settle(router, "a", "rejected")
    router.detach(router.consumers["a"])
    router.attach("a", credit=PLENTY)
    assert out(router) == set()


# -- time-outs ---------------------------------------------------------------------------------------------------------


def test_what_is_in_flight_for_too_long_has_failed() -> None:
    router = around(failures=2, timeout_seconds=5.0)
    sent_to(router, 8)
    router.later(1.0)
    for id in "bcd":
        settle(router, id, "accepted", "accepted", seconds=1.0)
    router.later(4.5)
    sent_to(router, 1)
    assert out(router) == {"a"}


def test_what_was_counted_as_too_long_is_not_counted_again() -> None:
    router = around(failures=3, timeout_seconds=5.0)
    sent_to(router, 4)
    router.later(6.0)
    settle(router, "a", "rejected", seconds=6.0)
    sent_to(router, 1)
    assert router.policy.describe()["failures"] == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_late_success_is_a_failure() -> None:
    router = around(failures=2, timeout_seconds=5.0)
    settle(router, "a", "accepted", "accepted", seconds=5.5)
    assert out(router) == {"a"}


def test_nothing_is_kept_of_what_was_in_flight_to_who_has_left() -> None:
    router = around(timeout_seconds=5.0)
    sent_to(router, 40)
    for consumer in list(router.consumers.values()):
        router.detach(consumer)
    policy = router.policy
    assert (policy._due, policy._watched, policy._records, policy._out, policy.apart) == ({}, {}, {}, [], {})


# -- replies -----------------------------------------------------------------------------------------------------------


def ask(router: FakeRouter, id: str) -> FakeConsumer:
    """Requests are sent until this one has had one."""
    consumer = router.consumers[id]
    while router.send(FakeDelivery({"reply_to": "r", "message_id": next(NUMBERS)})) is not consumer:
        pass
    return consumer


def test_who_accepts_and_does_not_reply_sits_out() -> None:
    router = around(ids="ab", failures=2, reply_seconds=5.0)
    for _ in range(2):
        router.settle(ask(router, "a"))
        router.give_up(router.requests - 1)
    assert out(router) == {"a"}


def test_a_reply_is_a_success_and_to_accept_is_none() -> None:
    router = around(ids="ab", failures=2, reply_seconds=5.0)
    router.settle(ask(router, "a"))
    router.give_up(router.requests - 1)
    router.settle(ask(router, "a"))
    router.reply(router.requests - 1)
    router.settle(ask(router, "a"))
    router.give_up(router.requests - 1)
    assert out(router) == set()


def test_a_request_that_is_rejected_is_one_failure() -> None:
    router = around(ids="ab", failures=9, reply_seconds=5.0)
    router.settle(ask(router, "a"), "rejected")
    assert router.policy.describe()["failures"] == {"a": 1}


def test_the_policy_inside_says_how_long_replies_are_awaited() -> None:
    assert around(reply_seconds=5.0).policy.reply_seconds == 5.0
    assert around(asking, reply_seconds=5.0).policy.reply_seconds == 7.0


def test_the_policy_inside_hears_of_no_reply_to_what_it_forgot() -> None:
    router = around(asking, ids="ab", failures=1, seconds=10.0, reply_seconds=5.0)
    old = ask(router, "a")
    router.settle(old, "rejected")
    router.later(10.0)
    router.set_credit(router.consumers["b"], 0)
    ask(router, "a")
    while router.requests:
        router.reply()
    assert router.policy.describe()["inner"]["awaited"]["a"] == 0


# -- describing, and wrong options -------------------------------------------------------------------------------------


def test_what_it_says_of_itself() -> None:
    router = around(ids="abc", failures=2, seconds=30.0)
    settle(router, "a", "rejected", "rejected")
    settle(router, "b", "rejected")
    router.later(10.0)
    described = router.policy.describe()
    assert described.pop("inner").keys() == {"next"}
    assert described == {
        "sitting_out": {"a": {"seconds": 20.0, "times": 1}},
        "failures": {"b": 1},
        "sat_out": 1,
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("failures", -1),
        ("failure_rate", 1.1),
        ("failure_rate", float("nan")),
        ("window_seconds", 0.0),
        ("window_messages", 0),
        ("timeout_seconds", -1.0),
        ("reply_seconds", 1e9),
        ("seconds", 0.0),
        ("longest_seconds", 29.0),
        ("most_share", 2.0),
    ],
)
def test_wrong_options_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^outlier\.{option}: {value} is not between"):
        around(**{option: value})
