"""`reply-aware`: the fewest requests that are not replied to, and no more than the consumer wants at a time."""

from __future__ import annotations

import itertools

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import reply_aware
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter

IDS = itertools.count()


@pytest.fixture
def router() -> FakeRouter:
    return router_of(reply_aware)


def ask(router: FakeRouter, *, presettled: bool = False) -> FakeConsumer | None:
    """A request is sent. Returns who gets it at once."""
    return router.send(FakeDelivery({"reply_to": "answers", "message_id": next(IDS)}, presettled=presettled))


def accept(router: FakeRouter, consumer: FakeConsumer) -> None:
    """It accepts what it has in flight, and gives its credit again."""
    router.settle(consumer)
    router.grant(consumer, 1)


def test_whoever_owes_the_fewest_replies_is_next(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=9) for id in "ab")
    assert [ask(router), ask(router), ask(router)] == [a, b, a]
    for consumer in a, a, b:
        accept(router, consumer)
    assert ask(router) is b
    router.reply()  # of a, to its first
    router.reply(1)  # and to its second
    assert ask(router) is a


def test_a_consumer_that_accepts_first_is_busy_until_it_replies(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    assert ask(router) is a
    accept(router, a)
    assert a.credit == 1
    assert ask(router) is None
    router.reply()
    assert (a.in_flight, len(router.held)) == (1, 0)


def test_with_one_credit_each_it_is_a_central_queue(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=1) for id in "ab")
    assert [ask(router), ask(router)] == [a, b]
    accept(router, b)
    accept(router, a)
    assert [ask(router), ask(router)] == [None, None]
    router.reply(1)
    assert (a.in_flight, b.in_flight) == (0, 1)
    router.reply(0)
    assert (a.in_flight, b.in_flight) == (1, 1)


def test_it_has_no_more_than_the_most_credit_that_it_had_at_once(router: FakeRouter) -> None:
    a = router.attach("a", credit=3)
    for _ in range(3):
        assert ask(router) is a
        accept(router, a)
    assert ask(router) is None
    router.reply()
    assert a.in_flight == 1


def test_more_credit_is_believed(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    ask(router)
    accept(router, a)
    router.grant(a, 1)
    assert ask(router) is a


def test_who_settles_when_it_is_done_is_sent_what_it_gives_credit_for(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    for _ in range(5):
        assert ask(router) is a
        router.grant(a, 1)
    assert a.in_flight == 5


def test_it_can_be_told_how_many_a_consumer_is_to_have() -> None:
    router = router_of(reply_aware, most=2)
    a, b = (router.attach(id, credit=100) for id in "ab")
    assert [ask(router) for _ in range(5)] == [a, b, a, b, None]
    router.settle(a)
    assert len(router.held) == 1
    router.reply()
    assert len(router.held) == 0
    assert sent_to(router, 1) == "-"


def test_what_it_is_told_counts_for_more_than_credit() -> None:
    router = router_of(reply_aware, most=3)
    a = router.attach("a", credit=1)
    for _ in range(3):
        assert ask(router) is a
        accept(router, a)
    assert ask(router) is None


def test_a_reply_that_comes_before_its_request_is_settled_counts(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=9) for id in "ab")
    assert [ask(router), ask(router)] == [a, b]
    router.reply()
    assert [ask(router), ask(router)] == [a, b]
    router.settle(a)
    assert ask(router) is a


def test_a_pre_settled_request_counts_until_its_reply(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=9) for id in "ab")
    assert [ask(router, presettled=True) for _ in range(2)] == [a, b]
    router.reply(1)
    assert [ask(router, presettled=True) for _ in range(2)] == [b, a]


def test_what_is_no_request_counts_until_it_is_settled(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=9) for id in "ab")
    assert sent_to(router, 2) == "ab"
    router.settle(b)
    assert sent_to(router, 2) == "ba"
    router.settle(a)
    router.settle(a)
    assert ask(router) is a


def test_pre_settled_messages_go_round(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    assert sent_to(router, 6, presettled=True) == "abcabc"


def test_a_reply_that_is_given_up_counts_no_more(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    ask(router)
    accept(router, a)
    assert ask(router) is None
    router.give_up()
    assert a.in_flight == 1


def test_who_releases_a_request_owes_no_reply(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    ask(router)
    router.settle(a, "released")
    router.grant(a, 1)
    assert ask(router) is a


def test_credit_that_returns_waits_anew(router: FakeRouter) -> None:
    a, _b, _c = (router.attach(id, credit=10) for id in "abc")
    router.set_credit(a, 0)
    router.set_credit(a, 10)
    assert sent_to(router, 3) == "bca"


def test_more_credit_and_settled_requests_change_nobodys_turn(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=10) for id in "ab")
    assert [ask(router), ask(router)] == [a, b]
    accept(router, a)
    assert [ask(router), ask(router)] == [a, b]


def test_who_has_left_is_not_selected_and_owes_nothing(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=1) for id in "ab")
    assert [ask(router), ask(router), ask(router)] == [a, b, None]
    router.detach(a)
    assert router.requests == 1
    accept(router, b)
    router.reply()
    assert b.in_flight == 1


def test_what_was_in_flight_when_it_took_over_counts(router: FakeRouter) -> None:
    a, b = router.attach("a", credit=5, in_flight=3), router.attach("b", credit=5, in_flight=1)
    assert sent_to(router, 3) == "bba"
    for _ in range(4):
        router.settle(a)
    assert sent_to(router, 1) == "a"
    assert b.in_flight == 3


def work(router: FakeRouter, rounds: int, **seconds: float) -> str:
    """Requests come one by one, each when the one before is replied to. Returns who got them."""
    takers = ""
    for _ in range(rounds):
        consumer = ask(router)
        assert consumer is not None
        takers += consumer.id
        accept(router, consumer)
        router.later(seconds[consumer.id])
        router.reply()
    return takers


def test_the_faster_of_the_idle_is_next_once_that_is_known(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=1)
    work(router, 40, a=4.0, b=1.0)
    assert work(router, 40, a=4.0, b=1.0).count("b") == 40


def test_a_slow_one_is_tried_again_and_believed_when_it_is_faster(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=1)
    work(router, 40, a=4.0, b=1.0)
    assert 1 <= work(router, 300, a=4.0, b=1.0).count("a") <= 5
    work(router, 4_000, a=1.0, b=1.0)
    assert work(router, 40, a=1.0, b=1.0).count("a") == 20


def test_one_that_is_much_faster_gets_a_second_request_before_a_slow_one_gets_its_first(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=2)
    work(router, 2_000, a=8.0, b=1.0)
    assert [each and each.id for each in (ask(router), ask(router), ask(router))] == ["b", "b", "a"]


def test_it_is_learned_that_a_consumer_works_on_one_request_at_a_time(router: FakeRouter) -> None:
    a = router.attach("a", credit=1_000)
    for _ in range(40):
        asked = [ask(router) for _ in range(4)].count(a)
        for _ in range(asked):
            accept(router, a)
        for _ in range(asked):
            router.later(1.0)
            router.reply()
    assert router.policy.describe()["a"]["known"] == 1


def test_it_is_learned_that_a_consumer_works_on_several_requests_at_a_time(router: FakeRouter) -> None:
    a = router.attach("a", credit=1_000)
    for _ in range(40):
        for _ in range(4):
            assert ask(router) is a
            accept(router, a)
        router.later(1.0)
        for _ in range(4):
            router.reply()
    assert [ask(router) for _ in range(4)] == [a] * 4


def test_it_says_who_is_busy(router: FakeRouter) -> None:
    a, _b = (router.attach(id, credit=1) for id in "ab")
    ask(router)
    accept(router, a)
    assert router.policy.describe() == {
        "a": {"has": 1, "owes": 1, "in_flight": 0, "known": None, "limit": None},
        "b": {"has": 0, "owes": 0, "in_flight": 0, "known": None, "limit": None},
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"reply_seconds": 0.0}, "reply_seconds: 0.0 is not above 0, and 86400 at most"),
        ({"reply_seconds": float("nan")}, "reply_seconds: nan is not"),
        ({"most": -1}, "most: -1 is below 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        router_of(reply_aware, **options)
