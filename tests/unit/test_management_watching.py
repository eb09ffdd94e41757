"""What is noted of an address while somebody watches it."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer

from tests.unit.core.fakes import Stage, WatchingPolicy
from tests.unit.timing import Timer
from txrouter.core.outcomes import ACCEPTED
from txrouter.interfaces import IDistributionPolicy, IExplains
from txrouter.management import watching
from txrouter.management.watching import Tally, Watch, rounded
from txrouter.policies import round_robin
from txrouter.policies.pull import Pull


def watch_of(stage: Stage, samples: int = 5, seconds: float = 10.0, timer: Timer | None = None) -> Watch:
    return Watch(stage.router, stage.address(), samples, seconds, (timer or Timer(stage)).later)


def test_who_was_sent_what_and_how_long_it_took() -> None:
    stage = Stage()
    consumer = stage.consumer(credit=3)
    producer = stage.producer("q")
    watch = watch_of(stage)
    for seconds in (1, 3):
        message = producer.sends()
        stage.later(seconds)
        consumer.settles(message, ACCEPTED)
    producer.sends()
    tally = watch.tallies[consumer]
    assert (watch.seen, tally.sent, tally.settled, tally.mean, tally.high) == (3, 3, 2, 2, 3)
    assert (watch.end(), watch.times) == (4, 1)
    assert stage.address().select == stage.address().policy.select


def test_a_high_time_is_what_95_of_100_do_not_exceed() -> None:
    assert Tally(kept=[float(each) for each in range(100, 0, -1)]).high == 95
    assert Tally().high is None


def test_of_very_many_times_only_the_first_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "KEPT", 3)
    monkeypatch.setattr(watching, "KEPT_IN_ALL", 5)
    stage = Stage(round_robin.factory)
    consumers = [stage.consumer(credit=100) for _ in range(3)]
    producer = stage.producer("q")
    watch = watch_of(stage)
    for number in range(12):
        consumers[number % 3].settles(producer.sends(), ACCEPTED)
    assert [len(watch.tallies[each].kept) for each in consumers] == [2, 2, 1]
    assert [watch.tallies[each].settled for each in consumers] == [4, 4, 4]


def test_decisions_are_spread_over_the_time() -> None:
    stage = Stage()
    stage.consumer(credit=100)
    producer = stage.producer("q")
    watch = watch_of(stage, samples=3, seconds=6)
    for _ in range(12):
        producer.sends()
        producer.sends()
        stage.later(0.5)
    assert [decision["at"] for decision in watch.decisions] == [0, 2, 4]


class Busy:
    """An address with so many messages in each turn of the reactor, which takes a millisecond. All are accepted."""

    def __init__(self, in_a_turn: int) -> None:
        self.stage = Stage()
        self.timer = Timer(self.stage)
        self.in_a_turn = in_a_turn
        self.consumer = self.stage.consumer(credit=1_000_000)
        self.producer = self.stage.producer("q")
        self.looked_at = 0

    def runs(self, seconds: float) -> int:
        """Returns how many messages there were."""
        address, turns = self.stage.address(), round(seconds * 1_000)
        for _ in range(turns):
            self.looked_at += self.in_a_turn * (address.select != address.policy.select)
            for _ in range(self.in_a_turn):
                self.consumer.settles(self.producer.sends(), ACCEPTED)
            self.stage.turn()
            self.stage.router.now += 0.001
            self.timer.passes(0.0)
        return turns * self.in_a_turn


def test_of_many_messages_one_in_twenty_is_looked_at() -> None:
    busy = Busy(in_a_turn=100)
    watch = watch_of(busy.stage, seconds=1, timer=busy.timer)
    sent = busy.runs(1)
    watch.end()
    assert sent / 21 <= busy.looked_at <= sent / 19
    assert watch.seen == busy.looked_at


def test_how_many_there_were_is_told_from_those_that_were_looked_at() -> None:
    busy = Busy(in_a_turn=100)
    watch = watch_of(busy.stage, seconds=1, timer=busy.timer)
    sent = busy.runs(1)
    watch.end()
    assert watch.seen * watch.times == pytest.approx(sent, rel=0.05)


def test_where_they_are_few_all_are_looked_at() -> None:
    busy = Busy(in_a_turn=1)
    watch = watch_of(busy.stage, seconds=1, timer=busy.timer)
    sent = busy.runs(1)
    watch.end()
    assert (watch.seen, watch.times) == (sent, 1)


def test_it_is_never_looked_away_for_long() -> None:
    busy = Busy(in_a_turn=3)
    watch = watch_of(busy.stage, seconds=1, timer=busy.timer)
    busy.runs(0.03)
    busy.looked_at = 0
    busy.runs(0.25)
    watch.end()
    assert busy.looked_at >= 3 * 30


def test_after_its_end_it_looks_no_more() -> None:
    busy = Busy(in_a_turn=100)
    watch = watch_of(busy.stage, seconds=1, timer=busy.timer)
    busy.runs(0.01)
    watch.end()
    busy.looked_at = 0
    busy.runs(0.1)
    assert (busy.looked_at, busy.timer.waits) == (0, False)


def test_a_decision_has_whom_it_was_among_and_what_spoke_for_them() -> None:
    stage = Stage()
    first, second = stage.consumer(credit=2), stage.consumer(credit=2)
    producer = stage.producer("q")
    producer.sends()
    watch = watch_of(stage)
    producer.sends()
    assert watch.decisions == [
        {
            "at": 0,
            "chosen": second.id,
            "why": Pull.by,
            "candidates": [
                {"consumer": second.id, "score": 1, "credit": 2, "in_flight": 0},
                {"consumer": first.id, "score": 2, "credit": 1, "in_flight": 1},
            ],
        }
    ]


def test_a_policy_that_says_nothing_is_shown_with_the_consumers_numbers() -> None:
    stage = Stage(WatchingPolicy)
    consumers = [stage.consumer(credit=1) for _ in range(20)]
    producer = stage.producer("q")
    watch = watch_of(stage)
    producer.sends()
    [decision] = watch.decisions
    candidates: Any = decision["candidates"]
    assert decision["why"] == "the policy does not say why"
    assert [each["consumer"] for each in candidates] == [each.id for each in consumers[:8]]
    assert {each["score"] for each in candidates} == {None}


@implementer(IDistributionPolicy, IExplains)
class Speechless(WatchingPolicy):
    """Raises when it is asked whom it is about to choose among."""

    by = "nothing"

    def candidates(self, delivery: Any) -> Any:
        raise RuntimeError("nobody knows")


def test_a_policy_that_raises_when_it_is_asked_is_counted_and_the_message_goes() -> None:
    stage = Stage(Speechless)
    consumer = stage.consumer(credit=1)
    producer = stage.producer("q")
    watch = watch_of(stage)
    producer.sends()
    assert consumer.in_flight == 1
    assert stage.counters["policy_errors"] == 1
    assert len(watch.decisions) == 1


def test_a_message_that_is_held_is_a_decision_too() -> None:
    stage = Stage()
    consumer = stage.consumer(credit=1)
    producer = stage.producer("q")
    stage.consumer()
    consumer.drains()
    watch = watch_of(stage)
    producer.sends_anyway()
    assert watch.decisions[0]["chosen"] is None
    assert watch.decisions[0]["why"] == "nobody has credit: it is held"


@pytest.mark.parametrize(
    ("number", "shown"), [(0.1 + 0.2, 0.3), (1234567.0, 1234570.0), (float("inf"), "inf"), (float("nan"), "nan")]
)
def test_numbers_are_told_as_json_has_them(number: float, shown: object) -> None:
    assert rounded(number) == shown
