"""The best that could be: one queue that costs nothing and knows everything about the consumers. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

from txrouter.simulation.outcome import SAMPLES, Run, Sample
from txrouter.simulation.scenario import Event, Server

__all__ = ["IDEAL", "Work", "ideal", "ideal_times"]

IDEAL = "ideal central queue"
"""What it is called in the figures."""


class Work(Protocol):
    """A job: when it is due, and what it costs, in seconds at speed 1."""

    @property
    def due(self) -> float: ...

    @property
    def cost(self) -> float: ...


def ideal(
    jobs: Sequence[Work], servers: Sequence[Server], events: Sequence[Event] = (), latest: Sequence[float] = ()
) -> Run:
    """What it comes to if the oldest job always goes to the fastest idle consumer, at once.

    It knows no more of the future than a router, but at once when a consumer begins to fail. What a consumer works on
    when it leaves, or fails, is begun anew by another, or lost, where that one had settled it.

    :param jobs: in the order they arrive.
    :param latest: until when each may wait. One that has waited for longer is never done.
    """
    queue = _CentralQueue(jobs, servers, events, latest)
    queue.run()
    return queue.outcome()


def ideal_times(jobs: Iterable[Work], speeds: Sequence[float]) -> list[float]:
    """Seconds from arrival to completion of each job, for consumers that take one at a time.

    :param jobs: in the order they arrive.
    :param speeds: of the consumers; at least one.
    """
    return ideal(list(jobs), [Server(str(n), "", speed, 1, 1, False, {}) for n, speed in enumerate(speeds)]).times


class _Worker:
    """A consumer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.speed = server.speed
        self.here = True
        self.stalled = self.failing = False
        self.slots = [_Slot(self) for _ in range(server.slots)]
        self.done = 0

    @property
    def can_work(self) -> bool:
        return self.here and not self.stalled and not self.failing

    @property
    def has(self) -> int:
        return sum(slot.job is not None for slot in self.slots)


class _Slot:
    """Where a consumer works on one job at a time."""

    __slots__ = ("ends", "job", "left", "worker")

    def __init__(self, worker: _Worker) -> None:
        self.worker = worker
        self.job: int | None = None
        self.ends = inf
        """When it is done with its job; never, if it has none or stands still."""
        self.left = 0.0
        """How many seconds the job takes yet, where it stands still."""


class _CentralQueue:
    def __init__(
        self, jobs: Sequence[Work], servers: Sequence[Server], events: Sequence[Event], latest: Sequence[float]
    ) -> None:
        self.jobs = jobs
        self.latest = latest
        self.workers = [_Worker(server) for server in servers]
        self.times: list[float | None] = [None] * len(jobs)
        self.sent_again = 0
        self.samples: list[Sample] = []
        self.now = 0.0
        self._order = count()
        self._waiting: list[int] = []
        """A heap of the jobs that nobody works on."""
        self._busy: list[tuple[float, int, _Slot]] = []
        """A heap of when jobs end. One that does not end then any more stays in it, and is passed over."""
        self._idle: list[tuple[float, int, _Slot]] = []
        """A heap of slots without a job, the fastest first. One that is not like that any more is passed over."""
        for worker in self.workers:
            self._is_idle(worker)
        end = jobs[-1].due if jobs else 0.0
        looks: list[tuple[float, Event | None]] = [(end * number / SAMPLES, None) for number in range(1, SAMPLES + 1)]
        planned = sorted([*((event.at, event) for event in events), *looks], key=lambda each: each[0])
        self._planned = iter(planned)
        self._next = next(self._planned, (inf, None))

    def run(self) -> None:
        """Have it all happen."""
        waiting = self._waiting
        for number, job in enumerate(self.jobs):
            self._until(job.due)
            self.now = job.due
            heappush(waiting, number)
            self._give()
        self._until(sys.float_info.max)

    def _until(self, when: float) -> None:
        """All that happens until then, other than that jobs come."""
        busy = self._busy
        while True:
            ends = busy[0][0] if busy else inf
            at = self._next[0]
            if ends <= at:
                if ends > when:
                    return
                slot = heappop(busy)[2]
                if slot.ends == ends:
                    self.now = ends
                    self._done(slot)
                if self._waiting and (not busy or busy[0][0] > ends):
                    self._give()  # now that all are idle that become so at this moment
            else:
                if at > when:
                    return
                self.now, event = self._next
                self._next = next(self._planned, (inf, None))
                if event is None:
                    self._look()
                else:
                    self._happens(event)

    def _done(self, slot: _Slot) -> None:
        number, worker = slot.job, slot.worker
        assert number is not None
        self.times[number] = self.now - self.jobs[number].due
        worker.done += 1
        slot.job, slot.ends = None, inf
        heappush(self._idle, (-worker.speed, next(self._order), slot))

    def _give(self) -> None:
        """The oldest jobs to the fastest that are idle."""
        waiting, idle = self._waiting, self._idle
        while waiting and idle:
            if self.latest and self.latest[waiting[0]] <= self.now:
                heappop(waiting)
                continue
            speed, _, slot = heappop(idle)
            worker = slot.worker
            if slot.job is None and worker.can_work and worker.speed == -speed:
                slot.job = heappop(waiting)
                self._ends(slot, self.jobs[slot.job].cost / worker.speed)

    def _ends(self, slot: _Slot, seconds: float) -> None:
        slot.ends = self.now + seconds
        heappush(self._busy, (slot.ends, next(self._order), slot))

    def _is_idle(self, worker: _Worker) -> None:
        for slot in worker.slots:
            if slot.job is None and worker.can_work:
                heappush(self._idle, (-worker.speed, next(self._order), slot))

    def _look(self) -> None:
        self.samples.append(Sample(self.now, len(self._waiting), [worker.has for worker in self.workers]))

    def _happens(self, event: Event) -> None:
        for worker in self.workers:
            if event.consumers in (worker.server.name, worker.server.group):
                if event.does == "leave":
                    worker.here = False
                    self._loses(worker)
                elif event.does == "fail":
                    worker.failing = True
                    self._loses(worker)
                elif event.does == "come":
                    worker.here = True
                elif event.does == "speed":
                    self._changes(worker, event.speed or worker.speed, worker.stalled)
                else:
                    worker.failing = worker.failing and event.does == "stall"
                    self._changes(worker, worker.speed, event.does == "stall")
                self._is_idle(worker)
        self._give()

    def _loses(self, worker: _Worker) -> None:
        for slot in worker.slots:
            if slot.job is not None and not worker.server.settles_first:
                heappush(self._waiting, slot.job)
                self.sent_again += 1
            slot.job, slot.ends = None, inf

    def _changes(self, worker: _Worker, speed: float, stalled: bool) -> None:
        for slot in worker.slots:
            if slot.job is not None:
                left = slot.left if worker.stalled else slot.ends - self.now
                slot.left, slot.ends = left * worker.speed / speed, inf
                if not stalled:
                    self._ends(slot, slot.left)
        worker.speed, worker.stalled = speed, stalled

    def outcome(self) -> Run:
        """What has come of it."""
        return Run(
            title=IDEAL,
            times=[time for time in self.times if time is not None],
            unfinished=self.times.count(None),
            sent_again=self.sent_again,
            policy_errors=0,
            seconds=self.now,
            servers=[worker.server for worker in self.workers],
            done=[worker.done for worker in self.workers],
            samples=self.samples,
        )
