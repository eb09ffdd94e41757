"""One phase of the demo: a router with one policy, its clients, and all the jobs through it, each exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait

from txrouter.demo.group import run_consumers, run_producers
from txrouter.demo.processes import ClientProcess, RouterProcess
from txrouter.demo.progress import Progress
from txrouter.demo.reports import ConsumerState, DemoError
from txrouter.demo.results import PhaseResult
from txrouter.demo.work import CONSUMERS, PRODUCERS, Job

__all__ = ["PREFETCH", "consumer_credit", "run_phase"]

PREFETCH = 10
"""What a client on python-qpid-proton's own API lets come if its author says nothing."""
READY_TIMEOUT = 20.0
STALL_TIMEOUT = 10.0
"""Nothing finished for so long, though all was sent: what is missing is lost. The longest job takes 1.2 s."""

Show = Callable[[Sequence[ConsumerState], float], None]


def consumer_credit(policy: str) -> int:
    """The credit each consumer keeps outstanding: under `pull` a credit says "I am idle", so there is just one."""
    return 1 if policy == "pull" else PREFETCH


def run_phase(policy: str, jobs: Sequence[Job], show: Show) -> PhaseResult:
    """Run all the jobs, at least one, under one policy.

    :param show: told about every 0.1 s where the consumers are and how many seconds have passed.
    :raise DemoError: the router did not start or died, a client failed, a message was lost or came twice.
    """
    credit = consumer_credit(policy)
    progress = Progress(jobs)
    with (
        RouterProcess(policy) as router,
        ClientProcess(run_consumers, router.url, CONSUMERS, credit) as consumers,
        ClientProcess(run_producers, router.url, jobs, PRODUCERS) as producers,
    ):
        pipes = [consumers.pipe, producers.pipe]
        deadline = time.monotonic() + READY_TIMEOUT
        while progress.ready < len(pipes):
            take_reports(pipes, router, progress)
            if time.monotonic() > deadline:
                raise DemoError(f"the clients were not attached within {READY_TIMEOUT:.0f} s")
        start = time.monotonic() + 0.2  # more than the producers take to hear of it
        producers.pipe.send(start)
        progress.moved = start + jobs[-1].due
        while not progress.complete:
            take_reports(pipes, router, progress)
            now = time.monotonic()
            show(progress.states, max(0.0, now - start))
            if now - progress.moved > STALL_TIMEOUT:
                raise DemoError(f"{policy}: {progress.missing()}")
    progress.check(policy)
    return progress.result(policy, credit, start)


def take_reports(pipes: Sequence[Pipe], router: RouterProcess, progress: Progress) -> None:
    """Wait for the next reports, half a second at most.

    :raise DemoError: the router or a client has failed.
    """
    try:
        for pipe in wait(list(pipes), timeout=0.5):
            assert isinstance(pipe, Pipe)
            progress.take(pipe.recv())
    except (DemoError, EOFError, OSError) as error:
        time.sleep(0.2)
        router.check()  # if it has just died, that is the reason to name
        raise (error if isinstance(error, DemoError) else DemoError("a process of clients ended")) from None
    router.check()
