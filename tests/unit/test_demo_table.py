"""What the demo prints."""

from __future__ import annotations

import io

import pytest

from txrouter.demo.reports import ConsumerState
from txrouter.demo.results import PhaseResult
from txrouter.demo.table import LiveTable, figures
from txrouter.demo.work import ConsumerSpec

SPECS = [ConsumerSpec("fast", 4.0), ConsumerSpec("slow", 1.0)]
STATES = [ConsumerState(credit=9, in_flight=1, done=30), ConsumerState(credit=0, in_flight=10, done=10)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _a_terminal_that_can_move_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_rows_show_each_consumer() -> None:
    lines = LiveTable(io.StringIO(), "pull", SPECS, 100).rows(STATES, 2.5)
    assert lines[0] == "pull:  2.5 s, 40 of 100 done"
    assert lines[1].split() == ["consumer", "speed", "credit", "in", "flight", "done", "share"]
    assert lines[2].split()[:6] == ["fast", "4", "9", "1", "30", "75.0%"]
    assert lines[3].split()[:6] == ["slow", "1", "0", "10", "10", "25.0%"]


def test_a_terminal_is_redrawn_in_place() -> None:
    terminal = Terminal()
    table = LiveTable(terminal, "pull", SPECS, 100)
    table.show(STATES, 1.0)
    first = terminal.getvalue()
    assert "\x1b[4A" not in first
    table.finish()
    assert terminal.getvalue()[len(first) :].startswith("\x1b[4A")


def test_elsewhere_a_line_is_written_now_and_then() -> None:
    log = io.StringIO()
    table = LiveTable(log, "pull", SPECS, 100)
    for tenth in range(10):
        table.show(STATES, tenth / 10)
    table.finish()
    assert log.getvalue().splitlines() == [
        "pull:    0 s     40 of 100 done   11 in flight  shares 75% 25%",
        "pull:    1 s     40 of 100 done   11 in flight  shares 75% 25%",
    ]


def test_nothing_is_written_if_nothing_was_ever_shown() -> None:
    log = io.StringIO()
    LiveTable(log, "pull", SPECS, 100).finish()
    assert log.getvalue() == ""


def test_figures_relate_each_policy_to_the_ideal() -> None:
    results = [PhaseResult("pull", 1, [0.1] * 98 + [0.3] * 2, [100], 4.0, 0.0)]
    lines = figures(results, ideal=[0.1] * 98 + [0.2] * 2)
    assert lines[1].split() == ["pull", "1", "25.0", "msg/s", "100", "ms", "300", "ms", "1.50"]
    assert lines[2].split() == ["ideal", "central", "queue", "100", "ms", "200", "ms", "1.00"]
