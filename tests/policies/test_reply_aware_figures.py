"""How near `reply-aware` comes to the ideal central queue, with servers that accept a request before they work on it.

In the simulator, with fixed seeds: the 99th percentile of the time to completion, in that of the ideal.
"""

from __future__ import annotations

from typing import Any

import pytest

from txrouter.policies import reply_aware
from txrouter.testing import run_scenario

EQUAL = [1.0] * 8
UNEQUAL = [2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]


def times_the_ideal(speeds: list[float], load: float, cost: str, credit: int, **options: Any) -> float:
    scenario = {
        "messages": 20_000,
        "seed": 3,
        "cost": {"kind": cost},
        "arrivals": {"load": load, "replies": True},
        "consumer": [
            {"name": f"server-{number}", "speed": speed, "credit": credit, "settles": "received"}
            for number, speed in enumerate(speeds)
        ],
    }
    figures = run_scenario(scenario, reply_aware.factory, options)
    assert (figures.run.unfinished, figures.run.policy_errors) == (0, 0)
    return figures.to_ideal()


@pytest.mark.parametrize("cost", ["exponential", "mixed"])
@pytest.mark.parametrize("load", [0.7, 0.9])
@pytest.mark.parametrize("speeds", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_with_one_credit_each_it_is_next_to_ideal(speeds: list[float], load: float, cost: str) -> None:
    assert times_the_ideal(speeds, load, cost, credit=1) < 1.05


@pytest.mark.parametrize("load", [0.7, 0.9])
def test_it_is_as_well_where_more_credit_is_not_used(load: float) -> None:
    assert times_the_ideal(EQUAL, load, "exponential", credit=100, most=1) < 1.05


@pytest.mark.parametrize("cost", ["constant", "exponential", "mixed"])
@pytest.mark.parametrize("load", [0.7, 0.9])
@pytest.mark.parametrize("speeds", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_with_much_credit_it_is_learned_how_many_they_work_on(speeds: list[float], load: float, cost: str) -> None:
    assert times_the_ideal(speeds, load, cost, credit=100) < 1.3
