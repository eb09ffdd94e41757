"""How close policies come to the ideal central queue: in the simulator, with a fixed seed.

The figures are those that the documentation claims.
"""

from __future__ import annotations

from typing import Any

import pytest

from txrouter.policies import adaptive, pull
from txrouter.testing import run_scenario

MESSAGES = 20_000
LOADS = pytest.mark.parametrize("load", [0.7, 0.9])
COSTS = pytest.mark.parametrize("cost", ["constant", "exponential", "mixed"])
FLEETS = {
    "equal": [{"name": "worker", "count": 8}],
    "unequal": [{"name": "fast", "count": 2, "speed": 4.0}, {"name": "slow", "count": 6}],
    "of 4 slots": [{"name": "worker", "count": 4, "slots": 4}],
    "of 30 slots": [{"name": "worker", "count": 4, "slots": 30}],
    "of 1 slot and of 30": [{"name": "small", "count": 4}, {"name": "large", "slots": 30}],
}


def to_ideal(module: Any, fleet: str, credit: int, load: float, cost: str) -> float:
    """The 99th percentile of the time to completion, as a multiple of the ideal's."""
    scenario = {
        "messages": MESSAGES,
        "arrivals": {"load": load, "producers": 8},
        "cost": {"kind": cost},
        "consumer": [{**each, "credit": credit} for each in FLEETS[fleet]],
    }
    return run_scenario(scenario, module.factory).to_ideal()


@LOADS
@COSTS
@pytest.mark.parametrize("fleet", ["equal", "unequal"])
def test_pull_with_a_credit_of_1_is_a_central_queue(fleet: str, load: float, cost: str) -> None:
    assert to_ideal(pull, fleet, 1, load, cost) <= 1.05


@LOADS
@COSTS
@pytest.mark.parametrize("fleet", FLEETS)
def test_adaptive_makes_little_of_a_credit_of_100(fleet: str, load: float, cost: str) -> None:
    assert to_ideal(adaptive, fleet, 100, load, cost) <= 1.25


def test_without_it_a_credit_of_100_costs_much_more() -> None:
    assert to_ideal(pull, "equal", 100, 0.9, "mixed") > 1.4
