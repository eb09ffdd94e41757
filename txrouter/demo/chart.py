"""The demo's chart: that of the simulator, of what really happened."""

from __future__ import annotations

from collections.abc import Sequence

from txrouter.demo.results import PhaseResult
from txrouter.simulation.chart import as_svg
from txrouter.simulation.outcome import Run

__all__ = ["drawn"]

TITLE = "The same messages, a different choice of consumer"


def drawn(results: Sequence[PhaseResult], best: Run, subtitle: str) -> str:
    """The chart, as SVG.

    :param best: what the ideal central queue made of the same messages and consumers.
    :param subtitle: one line about the work.
    """
    runs = [
        Run(
            title=result.policy,
            times=result.times,
            unfinished=0,
            sent_again=0,
            policy_errors=0,
            seconds=result.seconds,
            servers=best.servers,
            done=result.done,
            samples=[],
        )
        for result in results
    ]
    return as_svg(runs, best, TITLE, subtitle)
