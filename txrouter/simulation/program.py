"""What `txrouter simulate` does."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from txrouter.simulation.arguments import SCENARIOS
from txrouter.simulation.ideal import ideal
from txrouter.simulation.outcome import Run
from txrouter.simulation.recorded import as_recorded
from txrouter.simulation.report import as_data, as_lines, spans, work
from txrouter.simulation.scenario import Scenario, ScenarioError
from txrouter.simulation.world import simulate

__all__ = ["run"]


def run(given: argparse.Namespace) -> int:
    """Do it. Returns the exit status."""
    if given.scenario is None and given.trace is None:
        print("there is nothing to simulate: name a SCENARIO, or a --trace", file=sys.stderr)
        return 1
    file = _file(given.scenario)
    more = {name: getattr(given, name) for name in ("messages", "seed") if getattr(given, name) is not None}
    try:
        scenario = Scenario.load(file, given.distribution, more, trace=given.trace)
    except ScenarioError as error:
        place = f"{given.scenario}: " if file is not None else ""
        print("\n".join(f"{place}{line}" for line in str(error).splitlines()), file=sys.stderr)
        return 1
    if given.show and file is not None:
        _print(file.read_text(encoding="utf-8").removesuffix("\n"))
        return 0
    chart = Path(given.chart) if given.chart else None
    if chart is not None and chart.suffix not in (".svg", ".html"):
        print(f"{chart}: a chart is written to a file that ends in .svg or .html", file=sys.stderr)
        return 1
    with ProcessPoolExecutor() as pool:
        coming = pool.map(partial(simulate, scenario), scenario.policies)
        jobs = scenario.jobs()
        best = ideal(jobs, scenario.servers(), scenario.event, scenario.latest(jobs))
        runs = list(coming)
    if scenario.passages:
        runs.insert(0, as_recorded(scenario.passages, scenario.servers()))
    lines = as_lines(scenario, runs, best)
    _print(json.dumps(as_data(scenario, runs, best)) if given.json else "\n".join(lines))
    if chart is not None:
        try:
            chart.write_text(_drawn(scenario, runs, best, lines if chart.suffix == ".html" else ()), encoding="utf-8")
        except OSError as error:
            print(f"{chart}: cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    return 0


def _file(scenario: str | None) -> Path | None:
    """The file of a scenario, which may be one that txrouter comes with."""
    if scenario is None:
        return None
    shipped = SCENARIOS / f"{scenario}.toml"
    return shipped if shipped.is_file() else Path(scenario)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # nobody reads it; nor is Python to try again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _drawn(scenario: Scenario, runs: Sequence[Run], best: Run, figures: Sequence[str]) -> str:
    """The chart as SVG or, with figures, as a page."""
    from txrouter.simulation.chart import as_html, as_svg

    summary = work(scenario)
    title = scenario.title or summary
    svg = as_svg(runs, best, title, summary if scenario.title else "", spans(scenario))
    return as_html(svg, title, "\n".join(figures)) if figures else svg
