"""What the demo makes of its clients' reports: complete, lost, refused, or delivered twice."""

from __future__ import annotations

import pytest

from txrouter.demo.progress import Progress
from txrouter.demo.reports import (
    ClientFailure,
    ConsumerReport,
    ConsumerState,
    DemoError,
    Finished,
    ProducerReport,
    Ready,
)
from txrouter.demo.run import PREFETCH, consumer_credit
from txrouter.demo.work import CONSUMERS, Job

JOBS = [Job(0, 0.5, 1.0, 0), Job(1, 1.0, 1.0, 1)]


def report(*finished: Finished) -> ConsumerReport:
    return ConsumerReport([ConsumerState()] * len(CONSUMERS), list(finished))


def test_it_is_complete_when_all_is_done_and_the_producers_know() -> None:
    progress = Progress(JOBS)
    progress.take(report(Finished(0, 3, 101.0, 0.001), Finished(1, 0, 103.0, 0.001)))
    assert not progress.complete
    progress.take(ProducerReport(accepted=2))
    assert progress.complete
    progress.check("pull")
    result = progress.result("pull", 1, start=100.0)
    assert result.times == [0.5, 2.0]
    assert result.done == [1, 0, 0, 1, 0, 0, 0, 0]
    assert result.seconds == 3.0
    assert result.late == 0.001


def test_what_is_missing_is_counted() -> None:
    progress = Progress(JOBS)
    progress.take(report(Finished(1, 0, 101.0, 0.001)))
    progress.take(ProducerReport(accepted=1))
    assert not progress.complete
    assert progress.missing() == "1 of 2 messages were not completed, 1 have no outcome"


def test_an_accepted_message_that_nobody_consumed_is_not_complete() -> None:
    progress = Progress(JOBS)
    progress.take(report(Finished(1, 0, 101.0, 0.001)))
    progress.take(ProducerReport(accepted=2))
    assert not progress.complete


def test_a_message_that_was_not_accepted_is_an_error() -> None:
    progress = Progress(JOBS)
    progress.take(report(Finished(1, 0, 101.0, 0.001)))
    progress.take(ProducerReport(accepted=1, failed={0: "released"}))
    assert progress.complete
    with pytest.raises(DemoError, match=r"pull: 1 of 2 messages were not accepted but released"):
        progress.check("pull")


def test_a_message_that_came_twice_is_an_error() -> None:
    progress = Progress(JOBS)
    progress.take(report(Finished(0, 0, 101.0, 0.001), Finished(1, 0, 102.0, 0.001)))
    progress.take(report(Finished(0, 1, 103.0, 0.001)))
    progress.take(ProducerReport(accepted=2))
    with pytest.raises(DemoError, match="1 of 2 messages were delivered more than once"):
        progress.check("pull")


def test_a_client_that_failed_is_an_error() -> None:
    progress = Progress(JOBS)
    progress.take(Ready())
    assert progress.ready == 1
    with pytest.raises(DemoError, match="fast 1: gone"):
        progress.take(ClientFailure("fast 1: gone"))


def test_only_under_pull_does_a_credit_say_that_one_is_idle() -> None:
    assert consumer_credit("pull") == 1
    assert consumer_credit("weighted") == consumer_credit("someone.else:policy") == PREFETCH
