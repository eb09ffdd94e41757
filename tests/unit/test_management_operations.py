"""`explain` and `record` without sockets: how they go on while time passes, and who asks takes what it can."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from zope.interface import implementer

from tests.unit.core.fakes import Stage, WatchingPolicy
from tests.unit.timing import Timer
from txrouter.amqp.management import Refused, Request
from txrouter.interfaces import IDescribed, IDistributionPolicy
from txrouter.management.explain import Explain
from txrouter.management.record import AT_ONCE, EVERY, Record


class Asked(Request):
    """A request of somebody who has so much room for answers."""

    def __init__(self, room: int = 1_000_000, **arguments: object) -> None:
        self.arguments = {"address": "q", **arguments}
        self.left = room
        self.gone = False
        self.heard: list[Any] = []
        """All answers but the last."""
        self.last: Any = None
        self.stop = lambda: None

    def argument(self, name: str, default: object = None) -> Any:
        return self.arguments.get(name, default)

    @property
    def room(self) -> int:
        return self.left

    @property
    def abandoned(self) -> bool:
        return self.gone

    def more(self, body: Any) -> bool:
        assert self.last is None
        self.left -= 1
        self.heard.append(body)
        return True

    def answer(self, body: Any, status: int = 200, description: str = "OK") -> bool:
        assert self.last is None
        self.last = body
        return self.left > 0

    @property
    def over(self) -> bool:
        """Whether the last answer has come."""
        return self.last is not None

    @property
    def trace(self) -> list[Any]:
        """All lines of a trace that have come."""
        answers = [*self.heard, self.last] if self.last is not None else self.heard
        return [line for answer in answers for line in answer["trace"]]


@pytest.fixture
def stage() -> Stage:
    """A router with a consumer that can take much."""
    stage = Stage()
    stage.consumer(credit=100_000)
    return stage


@pytest.fixture
def timer(stage: Stage) -> Timer:
    """Its clock."""
    return Timer(stage)


# -- explain ---------------------------------------------------------------------------------------


def test_an_explanation_comes_when_the_time_is_over(stage: Stage, timer: Timer) -> None:
    asked = Asked(seconds=2)
    Explain(stage.router, timer.later)(asked)
    producer = stage.producer("q")
    producer.sends()
    timer.passes(1.9)
    assert not asked.over
    timer.passes(0.1)
    assert (asked.last["sent"], asked.last["seconds"]) == (1, 2)


def test_an_explanation_that_is_stopped_comes_at_once_and_once(stage: Stage, timer: Timer) -> None:
    asked = Asked(seconds=2)
    Explain(stage.router, timer.later)(asked)
    timer.passes(1)
    asked.stop()
    assert asked.last["seconds"] == 1
    timer.passes(5)


@implementer(IDistributionPolicy, IDescribed)
class Wordy(WatchingPolicy):
    """Says a lot of itself."""

    def describe(self) -> dict[str, object]:
        deep: object = "bottom"
        for _ in range(20):
            deep = {"deeper": deep}
        return {
            "list": list(range(100)),
            "deep": deep,
            "text": "x" * 1000,
            "number": 0.1 + 0.2,
            "odd": {1, 2},
            "far": inf,
        }


def test_what_a_policy_says_of_itself_is_cut() -> None:
    stage = Stage(Wordy)
    stage.consumer(credit=1)
    asked, timer = Asked(seconds=0), Timer(stage)
    Explain(stage.router, timer.later)(asked)
    timer.passes(0)
    state = asked.last["state"]
    assert state["list"] == [*range(20), "… 80 more"]
    assert state["text"] == "x" * 200 + "…"
    assert (state["number"], state["odd"], state["far"]) == (0.3, [1, 2], "inf")
    assert state["deep"] == {"deeper": {"deeper": {"deeper": "…"}}}


def test_a_policy_that_cannot_say_what_it_does_is_counted() -> None:
    stage = Stage(Wordy)
    stage.consumer(credit=1)
    stage.address().policy.describe = lambda: 1 / 0
    asked, timer = Asked(seconds=0), Timer(stage)
    Explain(stage.router, timer.later)(asked)
    timer.passes(0)
    assert asked.last["state"] is None
    assert stage.counters["policy_errors"] == 1


# -- record ----------------------------------------------------------------------------------------


def test_a_trace_comes_as_it_is_written(stage: Stage, timer: Timer) -> None:
    asked = Asked()
    Record(stage.router, timer.later)(asked)
    producer = stage.producer("q")
    producer.sends_many(2, presettled=True)
    timer.passes(2 * EVERY)
    assert [line.get("sent") is not None for line in asked.trace] == [False, True, True]
    assert not asked.over


def test_a_trace_waits_for_room_and_loses_nothing_meanwhile(stage: Stage, timer: Timer) -> None:
    asked = Asked(room=1)
    Record(stage.router, timer.later)(asked)
    producer = stage.producer("q")
    for _ in range(3):
        for _ in range(AT_ONCE):
            producer.sends_anyway(presettled=True)
        timer.passes(1)
    assert len(asked.trace) == 1
    asked.left = 100
    timer.passes(1)
    assert len(asked.trace) == 1 + 3 * AT_ONCE
    assert max(len(answer["trace"]) for answer in asked.heard) == AT_ONCE


def test_the_end_waits_for_room_too(stage: Stage, timer: Timer) -> None:
    asked = Asked(room=0, seconds=1)
    Record(stage.router, timer.later)(asked)
    timer.passes(5)
    assert not asked.trace
    asked.left = 1
    timer.passes(1)
    assert [line.get("why") for line in asked.trace] == [None, "seconds"]
    assert asked.trace[-1]["end"] == pytest.approx(1, abs=EVERY)
    assert not timer.waits


def test_a_recording_ends_where_nobody_is_left(stage: Stage, timer: Timer) -> None:
    asked = Asked()
    Record(stage.router, timer.later)(asked)
    asked.gone = True
    timer.passes(1)
    assert asked.over
    assert not timer.waits
    assert stage.address().select == stage.address().policy.select


def test_a_recording_that_is_stopped_says_so_at_once(stage: Stage, timer: Timer) -> None:
    asked = Asked()
    Record(stage.router, timer.later)(asked)
    timer.passes(1)
    asked.stop()
    assert asked.trace[-1]["why"] == "stopped"
    assert not timer.waits


def test_there_is_room_for_another_recording_when_one_is_over(stage: Stage, timer: Timer) -> None:
    record = Record(stage.router, timer.later)
    requests = [Asked(seconds=1 + number) for number in range(4)]
    for request in requests:
        record(request)
    with pytest.raises(Refused, match="4 recordings are under way already"):
        record(Asked())
    timer.passes(1.5)
    record(Asked())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"address": "nobody"}, "nobody is attached to nobody"),
        ({"messages": 0}, "messages is not a number from 1 to 1e[+]12"),
        ({"messages": "many"}, "messages is not a number"),
        ({"seconds": -1}, "seconds is not a number from 0"),
    ],
)
def test_what_makes_no_sense_is_not_begun(stage: Stage, timer: Timer, arguments: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        Record(stage.router, timer.later)(Asked(**arguments))
    assert not stage.router.observations._observed
