"""docs/simulation.md says what is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from txrouter.cli import main
from txrouter.simulation.jobs import Arrivals, Cost, Messages
from txrouter.simulation.scenario import Consumers, Recorded, Scenario
from txrouter.simulation.world import simulate

TEXT = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")


def test_the_scenario_works_as_it_is_printed() -> None:
    text = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[0]
    scenario = Scenario.from_dict(tomllib.loads(text) | {"messages": 500})
    for policy in scenario.policies:
        assert simulate(scenario, policy).unfinished == 0


def test_a_trace_is_named_as_it_is_printed(tmp_path: Path) -> None:
    text = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "a.toml").write_text(text)
    head = '{"txrouter": "trace", "version": 1, "address": "x", "policy": "pull", "consumers": []}'
    line = '{"at": 1.0, "sent": 1.0, "consumer": "a", "settled": 2.0, "cost": 1.0}'
    (tmp_path / "monday.trace").write_text(f"{head}\n{line}\n")
    scenario = Scenario.load(tmp_path / "a.toml")
    assert (len(scenario.jobs()), len(scenario.servers())) == (1, 6)


def test_the_figures_are_those_that_come_out(capsys: pytest.CaptureFixture[str]) -> None:
    [shown] = re.findall(r"\$ txrouter simulate gpu-workers\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert main(["simulate", "gpu-workers"]) == 0
    assert capsys.readouterr().out == shown


def test_every_key_is_told_of() -> None:
    tables: dict[str, type[BaseModel]] = {
        "": Scenario,
        "trace.": Recorded,
        "arrivals.": Arrivals,
        "cost.": Cost,
        "message[].": Messages,
        "consumer[].": Consumers,
    }
    keys = {prefix + key for prefix, table in tables.items() for key in table.model_fields}
    first_cells = re.findall(r"^\| (`[^|]*`) \|", TEXT, re.MULTILINE)
    told = {key for cell in first_cells for key in re.findall(r"`([\w.\[\]]+)`", cell)}
    nested = {"trace", "arrivals", "cost", "message", "consumer", "event", "policy", "arrivals.burst"}
    in_words = {"cost.long_share", "cost.long_factor", "cost.shape"}
    assert told == (keys - nested - in_words) | {"arrivals.burst[]", "event[]", "policy[]"}
