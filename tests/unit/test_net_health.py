"""When health addresses are asked, how often, how many at a time, and what is an answer: without a socket."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from tests.unit.core.fakes import FakeConsumer, Stage
from txrouter.core.capacities import Capacities
from txrouter.core.capacity_rules import CapacityRule
from txrouter.core.health import JITTER, Target
from txrouter.core.users import User
from txrouter.net.health import AT_ONCE, SOON, HealthChecks, NoAnswer, read


class Scene:
    """A router that asks its consumers at `http://<host>/`, of which each answers when a test says so."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.clock = Clock()
        self.open: dict[str, Deferred[object]] = {}
        """The questions that are not answered, by their URLs."""
        self.asked: list[tuple[float, str]] = []
        """When each was asked."""
        self.always: object = None
        """What every question is answered with at once."""
        rule = CapacityRule(url="http://{host}/", every=10.0, expires=30.0)
        self.capacities = self.stage.router.capacities = Capacities(self.stage.router, [rule])
        self.checks = HealthChecks(self.capacities, self.clock, self._call, self._ask, random.Random(1))

    def _call(self, call: Callable[[], None]) -> None:
        self.stage.router.now = self.clock.seconds()
        call()
        self.stage.turn()

    def _ask(self, reactor: object, target: Target) -> Deferred[object]:
        assert target.url not in self.open
        self.asked.append((self.clock.seconds(), target.url))
        if self.always is not None:
            return succeed(self.always)
        asked = self.open[target.url] = Deferred()
        return asked

    def consumer(self, host: str = "a") -> FakeConsumer:
        """One attaches."""
        id = self.stage._id("consumer")
        return FakeConsumer(self.stage, "q", id, {}, user=User("alice", "PLAIN", host))

    def answer(self, said: object, host: str = "a") -> None:
        """The one who is asked there answers."""
        self.open.pop(f"http://{host}/").callback(said)

    def pass_by(self, seconds: float) -> None:
        """Time passes."""
        self.clock.pump([0.05] * round(seconds / 0.05))


def test_an_address_is_asked_soon_but_not_at_once() -> None:
    scene = Scene()
    consumer = scene.consumer()
    assert scene.asked == []
    scene.pass_by(SOON)
    assert [url for _, url in scene.asked] == ["http://a/"]
    scene.answer("drain")
    assert consumer.barred


def test_it_is_asked_again_and_again_though_not_in_step() -> None:
    scene = Scene()
    scene.consumer()
    scene.always = 3
    scene.pass_by(200)
    times = [when for when, _ in scene.asked]
    waits = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert len({round(wait, 2) for wait in waits}) > 5
    assert all(10 * (1 - JITTER) <= wait <= 10 * (1 + JITTER) + 0.1 for wait in waits)


def test_it_is_not_asked_while_it_thinks() -> None:
    scene = Scene()
    scene.consumer()
    scene.pass_by(60)
    assert len(scene.asked) == 1


def test_one_question_is_asked_for_all_who_share_an_address() -> None:
    scene = Scene()
    consumers = [scene.consumer() for _ in range(5)]
    scene.pass_by(1)
    scene.answer(7)
    assert ([each.capacity for each in consumers], len(scene.asked)) == ([7.0] * 5, 1)


def test_it_is_asked_again_after_it_did_not_answer() -> None:
    scene = Scene()
    scene.consumer()
    scene.pass_by(1)
    scene.open.pop("http://a/").errback(NoAnswer("nobody there"))
    assert scene.stage.reports[0][1]["error"] == "nobody there"
    scene.pass_by(12)
    assert len(scene.asked) == 2


def test_a_question_that_cannot_be_asked_is_one_without_an_answer() -> None:
    scene = Scene()
    scene.checks._ask = lambda target: fail(NoAnswer("no socket left"))  # type: ignore[assignment]
    scene.consumer()
    scene.pass_by(1)
    assert scene.stage.counters["failed_health_checks"] == 1


def test_only_some_are_asked_at_a_time() -> None:
    scene = Scene()
    for host in range(AT_ONCE + 2):
        scene.consumer(f"host{host}")
    scene.pass_by(1)
    assert len(scene.asked) == AT_ONCE
    scene.answer(1, scene.asked[0][1].removeprefix("http://").removesuffix("/"))
    assert len(scene.asked) == AT_ONCE + 1


def test_when_its_consumers_have_left_an_address_is_not_asked() -> None:
    scene = Scene()
    scene.consumer().leaves()
    scene.pass_by(60)
    assert (scene.asked, scene.clock.getDelayedCalls()) == ([], [])


def test_a_question_that_nobody_asks_any_more_is_cancelled() -> None:
    scene = Scene()
    cancelled: list[object] = []
    consumer = scene.consumer()
    scene.pass_by(1)
    scene.open["http://a/"]._canceller = cancelled.append
    consumer.leaves()
    assert len(cancelled) == 1
    assert scene.clock.getDelayedCalls() == []
    assert scene.stage.counters["failed_health_checks"] == 0


def test_one_that_comes_back_is_asked_anew() -> None:
    scene = Scene()
    scene.consumer().leaves()
    scene.consumer()
    scene.pass_by(1)
    assert len(scene.asked) == 1


def test_after_the_end_nothing_is_asked() -> None:
    scene = Scene()
    scene.consumer("a")
    scene.consumer("b")
    scene.pass_by(1)
    scene.answer(1, "a")
    scene.checks.stop()
    assert scene.clock.getDelayedCalls() == []
    assert scene.checks._questions == {}


@pytest.mark.parametrize(
    ("body", "field", "answer"),
    [
        (b"75%\n", (), "75%\n"),
        (b"", (), ""),
        (b'{"free": 3}', ("free",), 3),
        (b'[{"state": "drain"}]', (0, "state"), "drain"),
        (b'{"free": null}', ("free",), None),
    ],
)
def test_what_an_answer_says(body: bytes, field: tuple[str | int, ...], answer: object) -> None:
    assert read(body, field) == answer


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "not UTF-8"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 4_000, "nested too deep|not JSON"),
        (b"[]", "it has no 'free'"),
        (b'{"free": 1' + b"0" * 4_400 + b"}", "in its answer: "),
    ],
)
def test_what_is_no_answer_is_said(body: bytes, why: str) -> None:
    with pytest.raises(NoAnswer, match=why):
        read(body, ("free",))
