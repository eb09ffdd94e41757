"""docs/simulation.md says what is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from txrouter.cli import main
from txrouter.simulation.jobs import Arrivals, Cost, Messages
from txrouter.simulation.scenario import Consumers, Scenario
from txrouter.simulation.world import simulate

TEXT = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")


def test_the_scenario_works_as_it_is_printed() -> None:
    [text] = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    scenario = Scenario.from_dict(tomllib.loads(text) | {"messages": 500})
    for policy in scenario.policies:
        assert simulate(scenario, policy).unfinished == 0


def test_the_figures_are_those_that_come_out(capsys: pytest.CaptureFixture[str]) -> None:
    [shown] = re.findall(r"\$ txrouter simulate gpu-workers\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert main(["simulate", "gpu-workers"]) == 0
    assert capsys.readouterr().out == shown


def test_every_key_is_told_of() -> None:
    tables: dict[str, type[BaseModel]] = {
        "": Scenario,
        "arrivals.": Arrivals,
        "cost.": Cost,
        "message[].": Messages,
        "consumer[].": Consumers,
    }
    keys = {prefix + key for prefix, table in tables.items() for key in table.model_fields}
    first_cells = re.findall(r"^\| (`[^|]*`) \|", TEXT, re.MULTILINE)
    told = {key for cell in first_cells for key in re.findall(r"`([\w.\[\]]+)`", cell)}
    nested = {"arrivals", "cost", "message", "consumer", "event", "policy", "arrivals.burst"}
    in_words = {"cost.long_share", "cost.long_factor", "cost.shape"}
    assert told == (keys - nested - in_words) | {"arrivals.burst[]", "event[]", "policy[]"}
