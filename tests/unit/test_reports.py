"""What the router reports, in the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from txrouter.net.reports import BURST, LONGEST, PERIOD, Reporter


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    logged: list[str] = []

    def observe(event: LogEvent) -> None:
        logged.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield logged
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


def test_a_report_is_a_line(lines: list[str]) -> None:
    Reporter(lambda: 0.0)("link refused", {"name": "x", "number": 7, "error": ValueError("no")})
    assert lines == ["link refused: name x, number 7, error ValueError: no"]


@pytest.mark.parametrize("said", ["x\r\n[error] forged", "\x1b[2J", "\u2028", "\0"])
def test_what_a_client_said_makes_no_line_of_its_own(lines: list[str], said: str) -> None:
    Reporter(lambda: 0.0)("attach failed", {"address": said, "error": ValueError(said)})
    assert len(lines) == 1
    assert lines[0].isprintable()


def test_what_a_client_said_is_cut(lines: list[str]) -> None:
    Reporter(lambda: 0.0)("attach failed", {"address": "x" * 100_000})
    assert len(lines[0]) < LONGEST + 100


def test_of_a_kind_only_some_are_logged_and_the_rest_is_counted(lines: list[str]) -> None:
    now = 0.0
    report = Reporter(lambda: now)
    for _ in range(BURST + 5):
        report("link refused", {})
    assert len(lines) == BURST
    now = PERIOD
    report("link refused", {})
    assert lines[BURST] == "link refused: 5 more in the last minute were not logged"
