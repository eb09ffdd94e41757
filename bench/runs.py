"""One measurement: a fresh router, the workers that load it, and what was read while they did."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from bench import consumers, greed, measure, modest, producers, replies, workers
from bench.routers import Candidate, RouterError, RunningRouter
from bench.shapes import MODEST, Huge, Idle, Isolation, Shape, Traffic
from bench.workers import (
    ACCEPTED,
    CROWDED,
    DAMAGED,
    RECEIVED_BYTES,
    REFUSED,
    SENT,
    STOPPED,
    Counters,
    Run,
    Worker,
    WorkerError,
)

Reading: TypeAlias = dict[str, float]

_READY_SECONDS = 90.0
_WARM_SECONDS = 30.0
_SETTLE_SECONDS = 15.0
_MIB = 1 << 20


class RunError(Exception):
    """Something is wrong with the router: messages were lost, refused or changed, or none moved at all."""


@dataclass(frozen=True)
class Times:
    """How long traffic runs before the measurement, and during it, in seconds."""

    warm_up: float
    window: float


@dataclass(frozen=True)
class _Usage:
    """CPU time used so far, clients' and machine's in seconds."""

    router: measure.Cpu
    clients: float
    machine: float


class _Session:
    """A running router, its workers, and the numbers they share."""

    def __init__(self, stack: ExitStack, candidate: Candidate) -> None:
        self.router = stack.enter_context(RunningRouter(candidate))
        self.counters = Counters()
        self._stack = stack
        self._workers: list[Worker] = []

    def start(self, name: str, run: Run, counters: Counters | None = None) -> Worker:
        """Start a worker and wait until it is ready. ``counters``: its own, if what it does is not to be counted."""
        worker = Worker(name, run, counters or self.counters)
        self._stack.callback(worker.stop)
        self._workers.append(worker)
        worker.wait_ready(_READY_SECONDS)
        return worker

    def usage(self) -> _Usage:
        """What everyone has used so far."""
        clients = sum(measure.cpu(worker.pid).total for worker in self._workers)
        return _Usage(measure.cpu(self.router.pid), clients, measure.machine_seconds())

    def check(self) -> None:
        """Raise what went wrong with the router, or else with a worker."""
        self.router.check()
        for worker in self._workers:
            worker.check()

    def sleep(self, seconds: float) -> None:
        """Let them run, and see that they do."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            self.check()

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``done()``, at most ``seconds``; says whether it is."""
        deadline = time.monotonic() + seconds
        while not done() and time.monotonic() < deadline:
            time.sleep(0.005)
            self.check()
        return done()


def run(shape: Shape, candidate: Candidate, times: Times) -> Reading:
    """Measure ``candidate`` once under ``shape``.

    Raises one of RunFailures: StartError if it did not start, RouterError if it died, WorkerError if a client failed,
    RunError if messages did not arrive, OSError if something happened to its process while it was looked at.
    """
    with ExitStack() as stack:
        session = _Session(stack, candidate)
        try:
            if isinstance(shape, Traffic):
                return _run_traffic(session, shape, times)
            if isinstance(shape, Idle):
                return _run_idle(session, shape)
            if isinstance(shape, Isolation):
                return _run_isolation(session, shape, times)
            return _run_huge(session, shape)
        except (WorkerError, OSError):
            time.sleep(0.2)  # a router that dies takes its clients and its /proc with it: blame the router
            session.router.check()
            raise


def _run_traffic(session: _Session, shape: Traffic, times: Times) -> Reading:
    router, counters = session.router, session.counters
    consumer = session.start("consumers", _consumer(router, shape))
    producer = session.start("producers", _producer(router, shape))
    links = max(shape.producers, shape.consumers)
    session.sleep(times.warm_up)
    if not session.wait(lambda: counters.arrived > 2 * links, _WARM_SECONDS):
        raise RunError(f"only {counters.arrived} messages arrived within {_WARM_SECONDS:.0f} s")

    counters.phase = workers.MEASURE
    reading = _window(session, partial(session.sleep, times.window))
    counters.phase = workers.STOP
    session.wait(lambda: _all_arrived(counters, shape), _SETTLE_SECONDS)
    counters.phase = workers.CLOSE
    sent = producer.result(_SETTLE_SECONDS)
    counters.phase = workers.END
    received = consumer.result(_SETTLE_SECONDS)
    session.router.check()
    _expect_all_arrived(counters, shape)
    timed = sent if shape.one_at_a_time or shape.answered else received
    return reading | timed | {"total": float(counters.arrived)}


def _consumer(router: RunningRouter, shape: Traffic) -> Run:
    if router.candidate.forwards:
        return consumers.listen(router.peer_port, shape)
    if shape.answered:
        return replies.answer(router.port, shape)
    return consumers.consume(router.port, shape)


def _producer(router: RunningRouter, shape: Traffic) -> Run:
    return (replies.ask if shape.answered else producers.produce)(router.port, shape)


def _window(session: _Session, wait: Callable[[], object]) -> Reading:
    """What the router used, and how many messages arrived, while ``wait()`` ran."""
    before, received, started = (
        session.usage(),
        session.counters.arrived,
        time.monotonic(),
    )
    wait()
    after, messages, seconds = (
        session.usage(),
        session.counters.arrived - received,
        time.monotonic() - started,
    )
    if not messages:
        raise RunError(f"no message arrived in {seconds:.1f} s")
    used = after.router.since(before.router)
    clients = after.clients - before.clients
    others = max(0.0, after.machine - before.machine - used.total - clients)
    return {
        "cpu_us": used.total / messages * 1e6,
        "user_us": used.user / messages * 1e6,
        "system_us": used.system / messages * 1e6,
        "per_second": messages / seconds,
        "busy": used.total / seconds,
        "clients_us": clients / messages * 1e6,
        "others": others / seconds / (os.cpu_count() or 1),
        "messages": float(messages),
        "seconds": seconds,
    }


def _all_arrived(counters: Counters, shape: Traffic) -> bool:
    sent = counters[SENT]
    outcomes = sent if shape.settled else counters[ACCEPTED] + counters[REFUSED]
    return bool(counters[STOPPED]) and sent == outcomes and counters.arrived == sent * shape.copies


def _expect_all_arrived(counters: Counters, shape: Traffic) -> None:
    sent, received, accepted = counters[SENT], counters.arrived, counters[ACCEPTED]
    problems = []
    if received != sent * shape.copies:
        problems.append(f"{sent} messages were sent and {received} arrived, where {shape.copies} of each should")
    if not shape.settled and accepted != sent:
        problems.append(f"of {sent} messages {accepted} were accepted and {counters[REFUSED]} had another outcome")
    if counters[DAMAGED]:
        problems.append(f"{counters[DAMAGED]} messages were not as long as sent")
    if problems:
        raise RunError("; ".join(problems))


def _run_idle(session: _Session, shape: Idle) -> Reading:
    pid, counters = session.router.pid, session.counters
    worker = session.start("idle clients", consumers.idle(session.router.port, shape))
    session.sleep(0.5)
    before = measure.resident(pid)
    counters.phase = workers.MEASURE
    worker.wait_ready(max(_READY_SECONDS, shape.clients / 50))
    session.sleep(1.0)
    growth = measure.resident(pid) - before
    cpu = measure.cpu(pid)
    session.sleep(2.0)
    used = measure.cpu(pid).since(cpu)
    counters.phase = workers.END
    worker.result(60)
    session.router.check()
    return {
        "kib_per_client": growth / 1024 / shape.clients,
        "growth_mib": growth / _MIB,
        "base_mib": before / _MIB,
        "busy": used.total / 2.0,
        "clients": float(shape.clients),
    }


def _run_isolation(session: _Session, shape: Isolation, times: Times) -> Reading:
    """The router has a core of its own, where there is more than one: what is waited for is the router, not a core."""
    router, counters = session.router, session.counters
    cores = sorted(os.sched_getaffinity(0))
    others = set(cores[1:]) or set(cores)
    os.sched_setaffinity(router.pid, {cores[0]})
    os.sched_setaffinity(0, others)  # the workers inherit it
    try:
        clients = session.start("modest clients", modest.be_modest(router.port, shape.modest))
        measure.put_first(router.pid, clients.pid)
        session.sleep(times.warm_up)
        alone = _modest_window(session, times)
        greedy_counters = Counters()
        greedy = session.start("greedy client", greed.be_greedy(router.port, shape.greed), greedy_counters)
        session.wait(lambda: _done(greedy_counters) > 0, _WARM_SECONDS)
        session.sleep(times.warm_up)
        counters.values[CROWDED] = 1
        before = _done(greedy_counters)
        beside = _modest_window(session, times)
        greedy_per_second = (_done(greedy_counters) - before) / beside["seconds"]
        greedy_counters.phase = workers.CLOSE
        greedy.result(_SETTLE_SECONDS)
        counters.phase = workers.STOP
        session.wait(lambda: counters[ACCEPTED] + counters[REFUSED] == counters[SENT], _SETTLE_SECONDS)
        counters.phase = workers.CLOSE
        timed = clients.result(_SETTLE_SECONDS)
    finally:
        os.sched_setaffinity(0, cores)
    session.router.check()
    if counters[ACCEPTED] != counters[SENT]:
        raise RunError(f"of {counters[SENT]} modest messages {counters[ACCEPTED]} were accepted")
    if not greedy_per_second:
        raise RunError("the greedy client did nothing")
    return timed | {
        "alone_per_second": alone["per_second"] / MODEST,
        "alone_busy": alone["busy"],
        "per_second": beside["per_second"] / MODEST,
        "busy": beside["busy"],
        "others": beside["others"],
        "greedy_per_second": greedy_per_second,
        "kept": beside["per_second"] / alone["per_second"],
        "p50_ratio": timed["p50_us"] / timed["alone_p50_us"],
        "p99_ratio": timed["p99_us"] / timed["alone_p99_us"],
    }


def _done(greedy: Counters) -> int:
    """How many of its messages have arrived, or KiB of a long one; if it sends none, how much else it has sent."""
    return greedy.arrived or greedy[RECEIVED_BYTES] >> 10 or greedy[SENT]


def _modest_window(session: _Session, times: Times) -> Reading:
    session.counters.phase = workers.MEASURE
    try:
        return _window(session, partial(session.sleep, times.window))
    finally:
        session.counters.phase = workers.WARM_UP


def _run_huge(session: _Session, shape: Huge) -> Reading:
    pid, counters = session.router.pid, session.counters
    consumer = session.start("sink", consumers.sink(session.router.port, shape))
    producer = session.start("streamer", producers.stream(session.router.port, shape))
    session.sleep(0.3)
    before = measure.resident(pid)
    measure.reset_peak(pid)
    counters.phase = workers.MEASURE
    reading = _window(session, lambda: _wait_for_stream(session, shape))
    growth = max(measure.peak_resident(pid), measure.resident(pid)) - before
    counters.phase = workers.CLOSE
    seconds = producer.result(_SETTLE_SECONDS)["seconds"]
    counters.phase = workers.END
    consumer.result(_SETTLE_SECONDS)
    session.router.check()
    missing = shape.size - counters[RECEIVED_BYTES]
    if counters[ACCEPTED] != 1 or not -100 < missing <= 0:
        raise RunError(f"{missing} bytes are missing of the message, accepted: {counters[ACCEPTED] == 1}")
    return {
        "growth_mib": growth / _MIB,
        "base_mib": before / _MIB,
        "mib_per_second": shape.size / _MIB / seconds,
        "busy": reading["busy"],
        "others": reading["others"],
        "seconds": seconds,
    }


def _wait_for_stream(session: _Session, shape: Huge) -> None:
    """Wait for the outcome, as long as bytes keep arriving."""
    counters = session.counters
    seen, deadline = -1, time.monotonic() + _WARM_SECONDS
    while not counters[ACCEPTED] + counters[REFUSED]:
        session.sleep(0.01)
        if counters[RECEIVED_BYTES] != seen:
            seen, deadline = counters[RECEIVED_BYTES], time.monotonic() + _WARM_SECONDS
        elif time.monotonic() > deadline:
            raise RunError(f"stuck after {seen} of {shape.size} bytes")


RunFailures = (RouterError, WorkerError, RunError, OSError)
