"""`pull`: the fewest in flight, for how long each takes; and among equals who has waited longest."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import pytest
from zope.interface import implementer

from tests.policies.routers import router_of, sent_to
from txrouter.interfaces import (
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDistributionPolicy,
    IDistributionPolicyFactory,
)
from txrouter.policies import least_in_flight, pull
from txrouter.policies.pace import SHORT, Pace, Usual
from txrouter.testing import FakeRouter, PolicyContract

BOTH = pytest.mark.parametrize("module", [pull, least_in_flight], ids=lambda module: module.factory.name)


@pytest.fixture
def router() -> FakeRouter:
    return router_of(pull)


@BOTH
def test_whoever_has_the_fewest_in_flight_is_next(module: Any) -> None:
    router = router_of(module)
    for id, in_flight in ("a", 3), ("b", 1), ("c", 2):
        router.attach(id, credit=10, in_flight=in_flight)
    assert sent_to(router, 4) == "bcba"  # b has 2 then, behind c; then both have 3, behind a


@BOTH
def test_among_equals_whoever_has_waited_longest_is_next(module: Any) -> None:
    router = router_of(module)
    a, b, c = (router.attach(id, credit=10) for id in "abc")
    assert sent_to(router, 3) == "abc"
    for consumer in c, a, b:
        router.settle(consumer)
    assert sent_to(router, 3) == "cab"


def test_with_one_credit_each_it_is_a_central_queue(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=1) for id in "ab")
    assert sent_to(router, 5) == "ab---"
    for consumer in b, b, a:
        router.settle(consumer)
        router.grant(consumer, 1)
        assert consumer.in_flight == 1
    assert not router.held


def test_nobody_without_credit_is_selected(router: FakeRouter) -> None:
    router.attach("a", credit=0)
    b = router.attach("b", credit=2, in_flight=5)
    assert sent_to(router, 3) == "bb-"
    for _ in range(7):
        router.settle(b)
    assert len(router.held) == 1


def test_a_stuck_consumer_takes_what_it_has_credit_for_and_no_more(router: FakeRouter) -> None:
    router.attach("stuck", credit=1)
    healthy = router.attach("healthy", credit=250)
    for _ in range(20):
        if router.send() is healthy:
            router.settle(healthy)
    assert router.consumers["stuck"].in_flight == 1
    assert healthy.credit == 250 - 19


def test_presettled_messages_go_round(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    assert sent_to(router, 6, presettled=True) == "abcabc"


def test_credit_that_returns_waits_anew(router: FakeRouter) -> None:
    a, _b, _c = (router.attach(id, credit=10) for id in "abc")
    router.set_credit(a, 0)
    router.set_credit(a, 10)
    assert sent_to(router, 3) == "bca"


def test_more_credit_changes_nothing(router: FakeRouter) -> None:
    a, _b = (router.attach(id, credit=10) for id in "ab")
    router.grant(a, 90)
    assert sent_to(router, 2) == "ab"


def test_a_settlement_counts_only_once_there_is_credit(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=1) for id in "ab")
    assert sent_to(router, 2) == "ab"
    router.grant(b, 1)
    router.settle(a)
    assert sent_to(router, 1) == "b"
    router.grant(a, 1)
    assert sent_to(router, 1) == "a"


def test_who_is_far_behind_is_found_again_and_again(router: FakeRouter) -> None:
    router.attach("prefetching", credit=100, in_flight=900)
    quick = router.attach("quick", credit=1)
    for _ in range(3):
        assert [consumer.id for consumer in (router.send(), router.send()) if consumer] == ["quick", "prefetching"]
        router.settle(quick)
        router.grant(quick, 1)


def test_who_has_left_is_not_selected(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=10) for id in "ab")
    assert sent_to(router, 3) == "aba"
    router.detach(a)
    assert sent_to(router, 2) == "bb"
    router.detach(b)
    assert sent_to(router, 1) == "-"


def test_a_message_that_its_choice_has_released_goes_to_another(router: FakeRouter) -> None:
    a, b = (router.attach(id, credit=10) for id in "ab")
    assert router.send() is a
    assert router.settle(a, "released") is b
    assert (a.in_flight, b.in_flight) == (0, 1)
    assert sent_to(router, 3) == "aba"


def test_it_says_who_is_next_and_how_many_wait(router: FakeRouter) -> None:
    for id, credit, in_flight in (("a", 5, 2), ("b", 5, 0), ("c", 0, 0), ("d", 5, 2), ("e", 5, 11)):
        router.attach(id, credit=credit, in_flight=in_flight)
    assert router.policy.describe() == {"next": "b", "waiting": {"0": 1, "2": 2, "11": 1}, "times_as_long": {}}


def test_it_says_that_nobody_is_next() -> None:
    assert pull.Pull().describe() == {"next": None, "waiting": {}, "times_as_long": {}}


def learned(router: FakeRouter, outcome: str = "accepted", **seconds: float) -> None:
    """Each of the consumers, which have nothing in flight, settles 40 messages that take it so long, in turn. They wait
    in that order afterwards."""
    credits = {router.consumers[id]: router.consumers[id].credit for id in seconds}
    for consumer in credits:
        router.set_credit(consumer, 0)
    for _ in range(40):
        for consumer in credits:
            router.grant(consumer, 1)
            assert router.send() is consumer
            router.settle(consumer, outcome, seconds[consumer.id])
    for consumer, credit in credits.items():
        router.set_credit(consumer, credit)


def test_among_the_idle_the_fastest_is_next(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=1)
    learned(router, a=4.0, b=1.0, c=2.0)
    assert sent_to(router, 4) == "bca-"


def test_the_faster_is_sent_more(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=10)
    learned(router, a=4.0, b=1.0)
    assert sorted(sent_to(router, 10)) == sorted("a" * 2 + "b" * 8)


def test_it_says_who_is_not_as_fast_as_usual(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=1)
    learned(router, a=4.0, b=1.0)
    assert router.policy.describe()["times_as_long"] == {"a": 2.0, "b": 0.5}


def test_a_little_faster_is_as_fast(router: FakeRouter) -> None:
    for id in "abc":
        router.attach(id, credit=10)
    learned(router, a=1.2, b=1.0, c=1.4)
    assert sent_to(router, 6) == "abcabc"


def test_chance_does_not_make_equal_consumers_unequal(router: FakeRouter) -> None:
    ids = "abcdefgh"
    for id in ids:
        router.attach(id, credit=1)
    chance = random.Random(1)
    counts: Counter[str] = Counter()
    for _ in range(20_000):
        consumer = router.send()
        assert consumer is not None
        counts[consumer.id] += 1
        router.settle(consumer, "accepted", chance.expovariate(1.0))
        router.grant(consumer, 1)
    assert max(counts.values()) < 1.1 * min(counts.values())


def test_work_of_a_few_milliseconds_is_not_compared(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=10)
    learned(router, a=0.002, b=0.0002)
    assert sent_to(router, 4) == "abab"


def test_one_that_refuses_quickly_is_not_fast(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=10)
    for outcome in "rejected", "modified", "settled":
        learned(router, outcome, a=0.0, b=1.0)
    assert sent_to(router, 4) == "abab"


def test_of_many_settlements_at_once_the_first_tells(router: FakeRouter) -> None:
    a, _b = (router.attach(id, credit=100) for id in "ab")
    learned(router, a=1.0, b=1.0)
    assert sent_to(router, 100) == "ab" * 50
    for _ in range(50):
        router.settle(a, "accepted", 60.0)
    assert router.policy.describe()["times_as_long"] == {}


def test_one_that_was_slow_for_a_while_has_its_share_again(router: FakeRouter) -> None:
    """Though it is passed over while another is idle."""
    a, _b = (router.attach(id, credit=1) for id in "ab")
    learned(router, a=100.0, b=1.0)
    latest: deque[str] = deque(maxlen=100)
    for _ in range(128 * 20):
        consumer = router.send()
        assert consumer is not None
        latest.append(consumer.id)
        router.settle(consumer, "accepted", 1.0)
        router.grant(consumer, 1)
    assert latest.count(a.id) == 50


def test_one_that_is_slow_is_hardly_ever_tried_again(router: FakeRouter) -> None:
    a, _b = (router.attach(id, credit=1) for id in "ab")
    learned(router, a=100.0, b=1.0)
    tried = 0
    for _ in range(128 * 20):
        consumer = router.send()
        assert consumer is not None
        tried += consumer is a
        router.settle(consumer, "accepted", 100.0 if consumer is a else 1.0)
        router.grant(consumer, 1)
    assert tried == 20


@implementer(IDistributionPolicy, ICreditWatcher, IDeliveryWatcher)
class ObviousPull:
    """What `pull` is to do, said as plainly as can be: note when each consumer came to where it is; look at all. It
    tries nobody again, for which the contract is too short."""

    def __init__(self) -> None:
        self._since: dict[IConsumer, int] = {}
        self._paces: dict[IConsumer, Pace] = {}
        self._usual = Usual()
        self._clock = itertools.count()
        self._many = itertools.count(1)
        self._settling: IConsumer | None = None
        """The one that has settled something, and nothing else has happened since."""

    def add(self, consumer: IConsumer) -> None:
        self._paces[consumer] = Pace()
        self._moved(consumer)

    def remove(self, consumer: IConsumer) -> None:
        del self._since[consumer], self._paces[consumer]
        if consumer is self._settling:
            self._settling = None

    def select(self, delivery: IDelivery) -> IConsumer | None:
        if len(self._since) > 1:
            self._settling = None
        able = [consumer for consumer in self._since if consumer.credit > 0]
        return min(able, key=lambda each: (self._expected(each), self._since[each]), default=None)

    def _expected(self, consumer: IConsumer) -> int:
        expected: int = (consumer.in_flight + 1) * self._paces[consumer].pace
        return expected

    def _moved(self, consumer: IConsumer) -> None:
        self._since[consumer] = next(self._clock)
        if len(self._since) > 1:
            self._settling = None

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        self._moved(consumer)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        again = consumer is self._settling
        self._moved(consumer)
        self._settling = consumer
        if outcome != "accepted" or again or len(self._since) == 1:
            return
        are_many = seconds < SHORT or consumer.in_flight >= pull.ONE_OF
        if not are_many or next(self._many) % pull.ONE_OF == 0:
            self._usual.learn(self._paces[consumer], seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        if consumer.credit == delta or not consumer.credit:
            self._moved(consumer)


@implementer(IDistributionPolicyFactory)
class Alternately:
    """Builds the real and the obvious one in turn, so that the contract compares them."""

    name = "alternately"
    summary = "pull, or what it should be"
    options = pull.Options

    def __init__(self) -> None:
        self._kinds: Iterator[Any] = itertools.cycle([pull.Pull, ObviousPull])

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        policy: IDistributionPolicy = next(self._kinds)()
        return policy


class SameAsObviousPull(PolicyContract):
    factory = Alternately()


TestSameAsObviousPull = SameAsObviousPull.TestCase
