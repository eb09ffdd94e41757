"""The demo from beginning to end: the phases, then the figures, in print, as a chart and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from txrouter.demo import chart
from txrouter.demo.reports import DemoError
from txrouter.demo.results import PhaseResult
from txrouter.demo.run import PREFETCH, run_phase
from txrouter.demo.table import LiveTable, figures
from txrouter.demo.work import CONSUMERS, LONG_FACTOR, LONG_SHARE, PRODUCERS, Job, make_jobs
from txrouter.simulation.figures import percentile
from txrouter.simulation.ideal import ideal
from txrouter.simulation.outcome import Run
from txrouter.simulation.scenario import Server

__all__ = ["demonstrate"]

TOLERABLE = 0.01
"""How late timers may be, in seconds, before it shows: half of what an ordinary job takes a fast consumer."""
EXPLANATION = (
    f"round-robin, weighted: each consumer lets {PREFETCH} messages come, python-qpid-proton's default, so the router\n"
    'must choose a consumer before one is free. pull: it lets 1 come; there, a credit says "I am idle".'
)


def demonstrate(options: argparse.Namespace) -> None:
    """Run the phases, print the figures, write the files.

    :raise DemoError: a message was lost, the router or a client failed, or a file cannot be written.
    """
    speeds = [spec.speed for spec in CONSUMERS]
    jobs = make_jobs(speeds, load=options.load, duration=options.duration, seed=options.seed)
    if not jobs:
        raise DemoError(f"no message arrives in {options.duration:g} s at load {options.load:g}")
    work = describe(jobs, options)
    print(work, end="\n\n", flush=True)
    results = [show_phase(policy, jobs) for policy in options.policies]
    best = ideal_run(jobs)
    print("\n".join(figures(results, best.times)), EXPLANATION, sep="\n\n", end="\n\n", flush=True)
    late = max(result.late for result in results)
    if late > TOLERABLE:
        print(f"This machine was busy: timers were {late * 1000:.0f} ms late (p99), so all times are too long.\n")
    try:
        write(options, results, best, work)
    except OSError as error:
        raise DemoError(f"cannot write {error.filename}: {error.strerror}") from None


def show_phase(policy: str, jobs: Sequence[Job]) -> PhaseResult:
    table = LiveTable(sys.stdout, policy, CONSUMERS, len(jobs))
    result = run_phase(policy, jobs, table.show)
    table.finish()
    print(flush=True)
    return result


def describe(jobs: Sequence[Job], options: argparse.Namespace) -> str:
    """The work in one line."""
    return (
        f"{len(jobs):,} messages in {options.duration:g} s, load {options.load:g}, from {PRODUCERS} producers "
        f"to {len(CONSUMERS)} consumers of unequal speed; {LONG_SHARE:.0%} cost {LONG_FACTOR} times more"
    )


def ideal_run(jobs: Sequence[Job]) -> Run:
    """What the ideal central queue makes of it."""
    servers = [Server(spec.name, spec.name, spec.speed, 1, 1, False, {}) for spec in CONSUMERS]
    return ideal(jobs, servers)


def write(options: argparse.Namespace, results: Sequence[PhaseResult], best: Run, work: str) -> None:
    """:raise OSError: a file cannot be written."""
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(as_json(options, results, best.times), file, indent=2)
            file.write("\n")
        print(f"figures: {options.json}")
    with open(options.chart, "w", encoding="utf-8") as file:
        file.write(chart.drawn(results, best, work))
    print(f"chart: {options.chart}")


def as_json(options: argparse.Namespace, results: Sequence[PhaseResult], ideal: Sequence[float]) -> dict[str, object]:
    """All figures, times in seconds."""
    best = percentile(ideal, 0.99)
    return {
        "duration": options.duration,
        "load": options.load,
        "seed": options.seed,
        "messages": len(ideal),
        "consumers": [{"name": spec.name, "speed": spec.speed} for spec in CONSUMERS],
        "ideal": {"p50": round(percentile(ideal, 0.5), 6), "p99": round(best, 6)},
        "policies": [result.summary(best) for result in results],
    }
