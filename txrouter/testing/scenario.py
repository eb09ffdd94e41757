"""What a policy makes of a load, in figures that a test can look at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from txrouter.config_checks import read_toml
from txrouter.interfaces import IDistributionPolicyFactory
from txrouter.registry import Registry
from txrouter.simulation.arguments import SCENARIOS
from txrouter.simulation.figures import share
from txrouter.simulation.ideal import ideal
from txrouter.simulation.outcome import Run
from txrouter.simulation.report import as_lines
from txrouter.simulation.scenario import Scenario, ScenarioError
from txrouter.simulation.world import simulate

__all__ = ["Figures", "run_scenario"]


@dataclass(frozen=True, repr=False)
class Figures:
    """What came of a scenario. `str()` of it is the table that `txrouter simulate` prints."""

    scenario: Scenario
    run: Run
    """Under the policy: `times`, `done` by each of the `servers`, `unfinished`, `sent_again`, `policy_errors`."""
    ideal: Run
    """Under what no router can beat: a central queue that knows who is idle."""

    def percentile(self, fraction: float) -> float:
        """Seconds within which this part of the messages was done, from when their producers had them."""
        return self.run.percentile(fraction)

    def to_ideal(self, fraction: float = 0.99) -> float:
        """That time, as a multiple of the ideal's."""
        return self.run.percentile(fraction) / self.ideal.percentile(fraction)

    @property
    def shares(self) -> dict[str, float]:
        """What part of the messages each group of consumers did, 0 to 1, by the name it has in the scenario."""
        groups = self.run.by_group()
        return dict(zip(groups, share(list(groups.values())), strict=True))

    def __str__(self) -> str:
        return "\n".join(as_lines(self.scenario, [self.run], self.ideal))


class _With(Registry):
    """The policies that are installed, and one that need not be."""

    def __init__(self, factory: IDistributionPolicyFactory) -> None:
        super().__init__()
        self._one = factory

    def factory(self, name: str) -> IDistributionPolicyFactory:
        return self._one if name == self._one.name else super().factory(name)


def run_scenario(
    scenario: str | os.PathLike[str] | Mapping[str, object],
    factory: IDistributionPolicyFactory,
    options: Any = None,
    **more: object,
) -> Figures:
    """Have all of a scenario happen under one policy. The same seed comes to the same figures.

    As in::

        figures = run_scenario("gpu-workers", my_policy.factory, messages=5_000)
        assert figures.to_ideal() < 1.5, figures

    :param scenario: the name of one that txrouter comes with, a TOML file, or the tables of one.
    :param factory: what builds the policy; it need not be installed.
    :param options: the policy's options, as a dict or an instance; None for their defaults.
    :param more: keys of the scenario with what they are to be instead: `messages`, `seed`, `delay` …
    :raise ScenarioError: something is wrong with the scenario, or with the options.
    """
    directory = ""
    if not isinstance(scenario, Mapping):
        shipped = SCENARIOS / f"{os.fspath(scenario)}.toml"
        directory = os.path.dirname(scenario)
        try:
            scenario = read_toml(shipped if shipped.is_file() else scenario)
        except ValueError as error:
            raise ScenarioError(str(error)) from error
    policy = {"distribution": factory.name, "options": {} if options is None else options}
    tables = {**scenario, **more, "policy": [policy]}
    checked = Scenario.from_dict(tables, registry=_With(factory), directory=directory)
    jobs = checked.jobs()
    best = ideal(jobs, checked.servers(), checked.event, checked.latest(jobs))
    return Figures(checked, simulate(checked, checked.policies[0], jobs), best)
