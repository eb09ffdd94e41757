"""What the clients of a phase have reported so far, and whether that is everything. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from txrouter.demo.reports import (
    ClientFailure,
    ConsumerReport,
    ConsumerState,
    DemoError,
    Finished,
    ProducerReport,
    Ready,
    Report,
)
from txrouter.demo.results import PhaseResult
from txrouter.demo.work import CONSUMERS, Job
from txrouter.simulation.figures import percentile

__all__ = ["Progress"]


class Progress:
    """One phase. `moved` is when it last came further, on the monotonic clock."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.ready = 0
        self.states: Sequence[ConsumerState] = [ConsumerState()] * len(CONSUMERS)
        self.finished: dict[int, Finished] = {}
        self.twice: set[int] = set()
        self.produced = ProducerReport()
        self.moved = 0.0

    def take(self, report: Report) -> None:
        """:raise DemoError: a client failed."""
        match report:
            case Ready():
                self.ready += 1
            case ClientFailure(reason):
                raise DemoError(reason)
            case ConsumerReport(states, finished):
                self.states = states
                for one in finished:
                    self._take_finished(one)
            case ProducerReport():
                self.produced = report

    def _take_finished(self, one: Finished) -> None:
        if one.job in self.finished:
            self.twice.add(one.job)
        self.finished[one.job] = one
        self.moved = max(self.moved, one.when)

    @property
    def complete(self) -> bool:
        """Every job is done or has an outcome that says it will not be, and its producer knows."""
        settled = self.produced.accepted + len(self.produced.failed)
        return settled == len(self.jobs) and len(self.finished.keys() | self.produced.failed.keys()) == len(self.jobs)

    def missing(self) -> str:
        settled = self.produced.accepted + len(self.produced.failed)
        return (
            f"{len(self.jobs) - len(self.finished)} of {len(self.jobs)} messages were not completed, "
            f"{len(self.jobs) - settled} have no outcome"
        )

    def check(self, policy: str) -> None:
        """:raise DemoError: not every message was consumed once and accepted."""
        if self.produced.failed:
            count = len(self.produced.failed)
            outcomes = ", ".join(sorted(set(self.produced.failed.values())))
            raise DemoError(f"{policy}: {count} of {len(self.jobs)} messages were not accepted but {outcomes}")
        if self.twice:
            raise DemoError(f"{policy}: {len(self.twice)} of {len(self.jobs)} messages were delivered more than once")

    def result(self, policy: str, credit: int, start: float) -> PhaseResult:
        times = [self.finished[job.id].when - start - job.due for job in self.jobs]
        done = [0] * len(CONSUMERS)
        for one in self.finished.values():
            done[one.consumer] += 1
        last = max((one.when for one in self.finished.values()), default=start)
        late = percentile([one.late for one in self.finished.values()], 0.99)
        return PhaseResult(policy, credit, times, done, last - start, late)
