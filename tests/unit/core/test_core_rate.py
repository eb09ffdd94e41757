"""A rate: how many tokens there are for whom, and when."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.unit.core.fakes import FakeConsumer, FakeProducer, Stage
from txrouter.core.links import Producer
from txrouter.core.rate import STEP, Rate


def emptied(rate: int) -> Rate[str]:
    """A rate of which nothing is left, at time 0, and that `a` has a share in."""
    made: Rate[str] = Rate(rate, 0.0)
    made.join()
    assert made.take("a", 1_000_000, 0.0) == 1 + rate // 2
    made._tokens = 0.0
    return made


def test_at_first_there_is_half_a_seconds_worth_and_one() -> None:
    rate: Rate[str] = Rate(100, 0.0)
    assert rate.take("a", 1000, 0.0) == 51
    assert rate.take("a", 1000, 0.0) == 0


def test_no_more_is_given_than_is_wanted() -> None:
    rate: Rate[str] = Rate(100, 0.0)
    assert [rate.take("a", wanted, 0.0) for wanted in (20, 30, 40)] == [20, 30, 0]


@pytest.mark.parametrize("seconds", [10, 1000])
def test_no_more_is_saved_up_than_at_first(seconds: float) -> None:
    assert emptied(100).take("a", 1000, seconds) == 51


@pytest.mark.parametrize(("rate", "seconds"), [(1, 1.0), (10, 0.1), (50, 0.02), (1_000, 0.02), (10_000, 0.02)])
def test_who_waits_is_called_when_there_is_enough_to_be_worth_it(rate: int, seconds: float) -> None:
    made = emptied(rate)
    assert made.take("a", 1000, 0.0) == 0
    assert made.next_call() == pytest.approx(seconds)
    assert made.called(seconds) == ["a"]
    assert made.take("a", 1000, seconds) == max(1, rate * STEP)


def test_who_wants_little_is_called_as_soon_as_there_is_so_much() -> None:
    made = emptied(1000)
    assert made.take("a", 5, 0.0) == 0
    assert made.next_call() == pytest.approx(0.005)


def test_those_that_wait_are_served_in_turn() -> None:
    made = emptied(10)
    assert [made.take(each, 1, 0.0) for each in "abc"] == [0, 0, 0]
    assert made.take("b", 1, 0.1) == 0
    assert made.take("a", 1, 0.1) == 1
    assert made.take("a", 1, 0.2) == 0
    assert [made.take(each, 1, 0.4) for each in "bca"] == [1, 1, 1]


def test_as_many_are_called_as_there_are_tokens_for() -> None:
    made = emptied(10)
    for each in "abc":
        made.take(each, 1, 0.0)
    assert made.called(0.2) == ["a", "b"]


def test_who_wants_no_more_is_in_nobodys_way() -> None:
    made = emptied(10)
    for each in "abc":
        made.take(each, 1, 0.0)
    made.take("a", 0, 0.0)
    made.leave("b", 0)
    assert [made.is_waiting(each) for each in "abc"] == [False, False, True]
    assert made.take("c", 1, 0.1) == 1
    assert made.next_call() is None


def test_what_was_not_used_is_there_for_others() -> None:
    made = emptied(10)
    made.give_back(2)
    assert made.take("b", 5, 0.0) == 2
    made.leave("b", 1)
    assert made.take("a", 5, 0.0) == 1


@pytest.mark.parametrize(("rate", "members", "share"), [(1, 1, 1), (100, 1, 50), (100, 5, 10), (100, 1000, 1)])
def test_what_each_may_have_in_hand_is_a_share_of_half_a_seconds_worth(rate: int, members: int, share: int) -> None:
    made: Rate[int] = Rate(rate, 0.0)
    for _ in range(members):
        made.join()
    assert made.share == share


class RateMachine(RuleBasedStateMachine):
    """Some who take, give back and wait, in any order; and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.per_second = 7
        self.rate: Rate[int] = Rate(self.per_second, 0.0)
        self.taken: list[tuple[float, int]] = []
        """When, and how many; those that were given back below 0."""
        self.line: deque[int] = deque()
        self.hand = [0] * 4
        for _ in self.hand:
            self.rate.join()

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(who=st.integers(0, 3), wanted=st.integers(0, 20))
    def somebody_wants_some(self, who: int, wanted: int) -> None:
        first = self.line[0] if self.line else who
        got = self.rate.take(who, wanted, self.now)
        assert 0 <= got <= wanted
        assert not got or first == who, "somebody was served out of turn"
        if got or not wanted:
            if who in self.line:
                self.line.remove(who)
        elif who not in self.line:
            self.line.append(who)
        self.hand[who] += got
        self.taken.append((self.now, got))

    @rule(who=st.integers(0, 3), count=st.integers(0, 20))
    def somebody_uses_some(self, who: int, count: int) -> None:
        self.hand[who] -= min(self.hand[who], count)

    @rule(who=st.integers(0, 3))
    def somebody_gives_back_what_is_left(self, who: int) -> None:
        self.rate.give_back(self.hand[who])
        self.taken.append((self.now, -self.hand[who]))
        self.hand[who] = 0

    @rule()
    def the_first_is_called(self) -> None:
        due = self.rate.next_call()
        assert (due is None) == (not self.line)
        if due is not None:
            assert due - self.now <= 1, "somebody waits for longer than a token takes"
            self.now = max(self.now, due)
            assert self.rate.called(self.now)[0] == self.line[0]
            first, wanted = self.line[0], 20
            got = self.rate.take(first, self.rate._waiting[first], self.now)
            assert 0 < got <= wanted, "somebody was called for nothing"
            self.line.popleft()
            self.hand[first] += got
            self.taken.append((self.now, got))

    @invariant()
    def never_more_than_the_rate_and_half_a_seconds_worth(self) -> None:
        burst = 1 + self.per_second / 2
        total, lowest = 0.0, math.inf
        for at, count in self.taken:
            # `lowest` is over all earlier beginnings of a span of time: what it holds, less what the rate allows
            lowest = min(lowest, total - self.per_second * at)
            total += count
            assert total - self.per_second * at - lowest <= burst + 1e-6

    @invariant()
    def the_line_is_as_it_should_be(self) -> None:
        assert list(self.rate._waiting) == list(self.line)


TestRate = RateMachine.TestCase


# -- producers that have one -------------------------------------------------------------------------------------------


def stage_with(per_second: int, producers: int = 1, **limits: int) -> tuple[Stage, FakeConsumer, list[FakeProducer]]:
    """A consumer that takes everything, and producers that share a rate."""
    stage = Stage(**limits)
    consumer = stage.consumer("q", credit=1_000_000)
    rate: Rate[Producer] = Rate(per_second, stage.router.now)
    stage.turns_by_itself = False
    made = [stage.producer("q", rate=rate) for _ in range(producers)]
    stage.turns_by_itself = True
    stage.turn()
    return stage, consumer, made


def send_all(stage: Stage, producers: list[FakeProducer]) -> int:
    """Each sends all it may, again and again, until none may."""
    sent = 0
    while any(producer.may_send for producer in producers):
        for producer in producers:
            sent += len(producer.sends_many(producer.may_send, presettled=True))
        stage.turn()
    return sent


def until(stage: Stage, end: float, producers: list[FakeProducer]) -> int:
    """They send all they may until that time, whenever the router lets them. Returns how many."""
    sent = send_all(stage, producers)
    while (due := stage.router.next_deadline()) is not None and due <= end:
        stage.later(max(0.0, due - stage.router.now))
        sent += send_all(stage, producers)
    return sent


@pytest.mark.parametrize("per_second", [1, 2, 3, 10, 100, 1_000, 10_000])
@pytest.mark.parametrize("producers", [1, 7])
def test_producers_that_send_all_they_may_send_at_the_rate(per_second: int, producers: int) -> None:
    stage, consumer, all_of_them = stage_with(per_second, producers, link_capacity=250, max_in_flight=1_000_000)
    first = until(stage, 0.0, all_of_them)
    assert first <= per_second + 1 + producers
    sent = until(stage, 10.0, all_of_them)
    assert sent == pytest.approx(10 * per_second, abs=max(1, per_second * STEP))
    assert len(consumer.got) == first + sent


def test_who_sends_less_than_the_rate_never_waits() -> None:
    stage, _, (producer,) = stage_with(10)
    for _ in range(100):
        producer.sends(presettled=True)
        stage.later(0.11)
        assert producer.may_send
    assert stage.counters["rate_limited"] == 0


def test_how_often_somebody_had_to_wait_is_counted() -> None:
    stage, _, producers = stage_with(10)
    send_all(stage, producers)
    assert stage.counters["rate_limited"] == 1
    until(stage, 0.05, producers)
    assert stage.counters["rate_limited"] == 1
    until(stage, 0.5, producers)
    assert stage.counters["rate_limited"] > 1


def test_one_that_does_not_send_does_not_starve_another() -> None:
    stage, _, producers = stage_with(10, 20)
    busy = producers[-1:]
    assert until(stage, 10.0, busy) >= 100 - len(producers)


def test_producers_that_wait_get_the_same() -> None:
    stage, consumer, producers = stage_with(10, 4)
    until(stage, 20.0, producers)
    counts = [sum(message.producer is each for message in consumer.got) for each in producers]
    assert max(counts) - min(counts) <= 2


def test_credit_that_is_given_back_is_for_another() -> None:
    stage, _, (one, other) = stage_with(100, 2)
    send_all(stage, [other])
    held = one.may_send
    stage.router.feeding._ask_back(one)
    one.gives_back()
    assert held > 20
    assert len(other.sends_many(other.may_send)) > 0


def test_a_producer_that_comes_and_goes_does_not_use_up_the_rate() -> None:
    stage = Stage()
    stage.consumer("q", credit=1000)
    rate: Rate[Producer] = Rate(100, 0.0)
    for _ in range(50):
        producer = stage.producer("q", rate=rate)
        producer.sends(presettled=True)
        producer.leaves()


def test_what_stays_when_its_producer_leaves_has_used_its_credit() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=10)
    rate: Rate[Producer] = Rate(10, 0.0)
    consumer.sets_credit(0)
    producer = stage.producer("q", rate=rate)
    before = rate._tokens + producer.may_send
    producer.sends_many(3, presettled=True)
    producer.leaves()
    assert rate._tokens == pytest.approx(before - 3)


def test_who_sends_more_than_it_may_and_leaves_has_others_wait_for_that() -> None:
    stage, consumer, (producer,) = stage_with(10)
    rate, may_send = producer.rate, producer.may_send
    for _ in range(may_send + 30):
        producer.sends_anyway(presettled=True)
    stage.turn()
    assert producer.ended
    other = stage.producer("q", rate=rate)
    assert until(stage, 2.0, [other]) == 0
    assert until(stage, 4.0, [other]) > 0
    assert len(consumer.got) <= 10 * 4 + 11


def test_those_that_nobody_waits_for_any_more_are_forgotten() -> None:
    stage = Stage()
    stage.consumer("q", credit=1_000_000)
    for _ in range(1_000):
        rate: Rate[Producer] = Rate(1, stage.router.now)
        producers = [stage.producer("q", rate=rate) for _ in range(3)]
        for each in producers:
            each.leaves()
    assert len(stage.router.feeding._due) < 100


def test_when_the_first_that_waits_leaves_the_next_is_called() -> None:
    stage, _, producers = stage_with(1, 3)
    send_all(stage, producers)
    producers[0].leaves()
    producers[1].leaves()
    assert until(stage, 3.0, producers[2:]) >= 2


def test_nobody_is_called_for_producers_that_are_gone() -> None:
    stage, _, producers = stage_with(10, 3)
    send_all(stage, producers)
    for each in producers:
        each.leaves()
    stage.later(1.0)
    assert stage.router.next_deadline() is None


def test_who_waits_and_has_nobody_to_send_to_any_more_waits_no_more() -> None:
    stage, consumer, producers = stage_with(10, 2)
    other = stage.consumer("r", credit=1000)
    third = stage.producer("r", rate=producers[0].rate)
    send_all(stage, [*producers, third])
    consumer.leaves()
    assert until(stage, 2.0, [third]) >= 15
    assert len(other.got) >= 15


@given(per_second=st.integers(1, 300), pauses=st.lists(st.floats(0, 2), max_size=20), count=st.integers(1, 5))
def test_in_no_time_do_more_come_than_the_rate_allows(per_second: int, pauses: list[float], count: int) -> None:
    stage, _, producers = stage_with(per_second, count, max_in_flight=1_000_000)
    came: list[tuple[float, int]] = []
    for pause in pauses:
        end = stage.router.now + pause
        while (due := stage.router.next_deadline()) is not None and due <= end:
            stage.later(max(0.0, due - stage.router.now))
        stage.later(max(0.0, end - stage.router.now))
        came.append((stage.router.now, send_all(stage, producers)))
    burst = per_second + 1 + count
    for first in range(len(came)):
        total = 0
        for at, number in came[first:]:
            total += number
            assert total <= burst + per_second * (at - came[first][0]) + 1e-6
