"""What `txrouter simulate` does."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from txrouter.simulation.arguments import SCENARIOS
from txrouter.simulation.ideal import ideal
from txrouter.simulation.report import as_data, as_lines
from txrouter.simulation.scenario import Scenario, ScenarioError
from txrouter.simulation.world import simulate

__all__ = ["run"]


def run(given: argparse.Namespace) -> int:
    """Do it. Returns the exit status."""
    shipped = SCENARIOS / f"{given.scenario}.toml"
    file = shipped if shipped.is_file() else Path(given.scenario)
    more = {name: getattr(given, name) for name in ("messages", "seed") if getattr(given, name) is not None}
    try:
        scenario = Scenario.load(file, given.distribution, more=more)
    except ScenarioError as error:
        print("\n".join(f"{given.scenario}: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 1
    if given.show:
        print(file.read_text(encoding="utf-8"), end="")
        return 0
    with ProcessPoolExecutor() as pool:
        coming = pool.map(partial(simulate, scenario), scenario.policies)
        best = ideal(scenario.jobs(), scenario.servers(), scenario.event)
        runs = list(coming)
    if given.json:
        print(json.dumps(as_data(scenario, runs, best)))
    else:
        print("\n".join(as_lines(scenario, runs, best)))
    return 0
