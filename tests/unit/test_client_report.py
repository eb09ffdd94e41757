"""What `txrouter send` and `receive` say at the end, and the bar they draw meanwhile."""

from __future__ import annotations

import io

import pytest

from txrouter.client.bar import Bar, line, wants_bar
from txrouter.client.report import Outcome, Report, Times

ACCEPTED = Outcome("accepted")
REJECTED = Outcome("rejected", "amqp:not-allowed", "too late")


def sent(count: int, *, every: float = 0.5) -> Report:
    report = Report("sent", "jobs")
    for number in range(count):
        report.moved(100.0 + number * every, 50)
    return report


# -- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0, 1e4])
def test_percentiles_are_right_to_a_hundredth(scale: float) -> None:
    times = Times()
    for number in range(1, 1001):
        times.add(number * scale)
    assert times.percentile(0.5) == pytest.approx(500 * scale, rel=0.011)
    assert times.percentile(0.99) == pytest.approx(990 * scale, rel=0.011)
    assert times.percentile(1) == times.longest == 1000 * scale


def test_a_percentile_is_never_more_than_the_longest() -> None:
    times = Times()
    times.add(0.0123)
    assert times.percentile(0.5) == times.percentile(0.99) == 0.0123


def test_no_times_and_times_of_nothing_are_nothing() -> None:
    times = Times()
    assert times.percentile(0.99) == 0.0
    times.add(0.0)
    times.add(-1.0)  # the clock was set back
    assert times.percentile(0.99) == 0.0


def test_a_million_times_take_no_more_memory_than_their_spread() -> None:
    times = Times()
    for number in range(100_000):
        times.add(0.001 + number % 100 * 1e-5)
    assert len(times._buckets) < 100


# -- reports -------------------------------------------------------------------------------------------------------


def test_outcomes_are_reported_by_kind_the_most_frequent_first() -> None:
    report = sent(5)
    for outcome in (REJECTED, ACCEPTED, ACCEPTED, Outcome("modified", failed=True, undeliverable=True)):
        report.settled(104.0, outcome)
    report.times.add(0.25)
    assert report.text().splitlines() == [
        "sent 5 to jobs, 250 bytes in 4 s, 1.25 messages/s",
        "  accepted            2",
        "  rejected            1  amqp:not-allowed: too late",
        "  modified            1  delivery-failed, undeliverable-here",
        "  unknown             1",
        "  latency     p50 250 ms, p99 250 ms, longest 250 ms",
    ]


def test_the_json_of_a_report_has_all_of_it() -> None:
    report = sent(4)
    report.presettled = 1
    report.replies = 1
    for outcome in (ACCEPTED, REJECTED, Outcome("modified")):
        report.settled(104.0, outcome)
    report.times.add(0.25)
    assert report.as_json() == {
        "address": "jobs",
        "sent": 4,
        "bytes": 200,
        "seconds": 4.0,
        "messages_per_second": 1.0,
        "presettled": 1,
        "outcomes": [
            {"outcome": "accepted", "count": 1},
            {"outcome": "rejected", "condition": "amqp:not-allowed", "description": "too late", "count": 1},
            {"outcome": "modified", "delivery_failed": False, "undeliverable_here": False, "count": 1},
        ],
        "replies": 1,
        "latency": {"p50": 0.25, "p99": 0.25, "longest": 0.25},
    }


def test_a_report_of_nothing_is_a_line() -> None:
    assert Report("received", "jobs").text() == "received 0 from jobs"


def test_a_description_for_every_message_does_not_take_memory_for_every_message() -> None:
    report = sent(1000)
    for number in range(1000):
        report.settled(104.0, Outcome("rejected", "app:no", f"message {number}"))
    assert len(report.outcomes) <= 51
    assert report.outcomes.total() == 1000
    assert report.outcomes[Outcome("rejected")] == 950


@pytest.mark.parametrize(
    ("size", "words"),
    [(999, "999 bytes"), (1000, "1 kB"), (999_999, "1,000 kB"), (1_234_000, "1.23 MB"), (5 * 10**9, "5 GB")],
)
def test_sizes_are_in_words(size: int, words: str) -> None:
    report = Report("sent", "jobs")
    report.moved(1.0, size)
    assert report.text().splitlines()[0] == f"sent 1 to jobs, {words}"


def test_an_outcome_in_words() -> None:
    assert str(ACCEPTED) == "accepted"
    assert str(REJECTED) == "rejected amqp:not-allowed: too late"


# -- the bar -------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_filled_as_far_as_it_got() -> None:
    assert line("send jobs", 25, 100, 10.0, 60) == "send jobs [" + "#" * 7 + " " * 24 + "]  25 of 100  10/s"


@pytest.mark.parametrize("width", [10, 30, 40, 80, 200])
@pytest.mark.parametrize("total", [None, 1000])
def test_a_bar_fits_the_terminal(width: int, total: int | None) -> None:
    assert len(line("receive some/long/address", 500, total, 12_345.6, width)) <= width


def test_without_a_total_there_are_only_figures() -> None:
    assert line("receive jobs", 1234, None, 0.0, 80) == "receive jobs  1,234"


def test_a_bar_is_drawn_in_its_place_and_taken_away() -> None:
    terminal = Terminal()
    bar = Bar(terminal, "send jobs", None)
    bar.clear()
    assert terminal.getvalue() == ""
    bar.show(1, 0.0)
    bar.clear()
    assert terminal.getvalue() == "\r\x1b[Ksend jobs  1\r\x1b[K"


def test_only_a_terminal_that_can_draw_wants_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert wants_bar(Terminal())
    assert not wants_bar(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_bar(Terminal())
