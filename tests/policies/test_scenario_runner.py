"""What a test learns of a load by `run_scenario`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from zope.interface import implementer

from txrouter.interfaces import IDistributionPolicy, IDistributionPolicyFactory
from txrouter.policies import pull, round_robin, weighted
from txrouter.simulation.scenario import ScenarioError
from txrouter.testing import run_scenario

UNEQUAL: dict[str, Any] = {
    "messages": 2_000,
    "arrivals": {"load": 0.8},
    "consumer": [{"name": "quick", "speed": 3.0, "credit": 20}, {"name": "slow", "credit": 20}],
}


@implementer(IDistributionPolicyFactory)
class NotInstalled:
    name = "not-installed"
    summary = "nobody has it"
    options = weighted.Options

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        return weighted.factory.build(options, random)


def test_a_good_policy_is_nearly_as_good_as_can_be() -> None:
    figures = run_scenario(UNEQUAL, pull.factory)
    assert figures.to_ideal() < 2, figures
    assert figures.percentile(0.5) < figures.percentile(0.99)
    assert (figures.run.unfinished, figures.run.policy_errors) == (0, 0)


def test_a_bad_one_is_not() -> None:
    assert run_scenario(UNEQUAL, round_robin.factory).to_ideal() > 3 * run_scenario(UNEQUAL, pull.factory).to_ideal()


def test_shares_are_by_the_names_of_the_scenario() -> None:
    figures = run_scenario(UNEQUAL, round_robin.factory, arrivals={"load": 0.2})
    assert figures.shares == {"quick": 0.5, "slow": 0.5}


def test_the_same_seed_comes_to_the_same_figures() -> None:
    first, second = (run_scenario(UNEQUAL, pull.factory).run.times for _ in range(2))
    assert first == second
    assert run_scenario(UNEQUAL, pull.factory, seed=2).run.times != first


def test_a_policy_need_not_be_installed_and_has_options() -> None:
    quick, slow = UNEQUAL["consumer"]
    told = {**UNEQUAL, "consumer": [{**quick, "properties": {"power": 3}}, slow]}
    options = {"capacity": "property:power"}
    assert run_scenario(told, NotInstalled(), options).shares["quick"] > 0.7
    assert run_scenario(told, NotInstalled(), weighted.Options(**options)).shares["quick"] > 0.7


def test_options_are_checked_as_in_a_config() -> None:
    with pytest.raises(ScenarioError, match=r"policy\[0\].options.capcity: is unknown"):
        run_scenario(UNEQUAL, NotInstalled(), {"capcity": "credit"})


def test_a_scenario_may_be_one_that_is_shipped_or_a_file(tmp_path: Path) -> None:
    assert len(run_scenario("gpu-workers", pull.factory, messages=50).run.times) == 50
    file = tmp_path / "mine.toml"
    file.write_text('messages = 7\n[arrivals]\nrate = 1\n[[consumer]]\nname = "one"\n', encoding="utf-8")
    assert len(run_scenario(file, pull.factory).run.times) == 7


def test_a_file_that_is_not_there_is_a_problem_of_the_scenario(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        run_scenario(tmp_path / "none.toml", pull.factory)


def test_it_can_be_shown() -> None:
    assert "p99 / ideal" in str(run_scenario(UNEQUAL, pull.factory, title="unequal"))
