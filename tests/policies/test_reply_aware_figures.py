"""How near `reply-aware` comes to the ideal central queue, with servers that accept a request before they work on it.

In the simulator, with fixed seeds: the 99th percentile of the time to completion, in that of the ideal.
"""

from __future__ import annotations

from typing import Any

import pytest

from txrouter.simulation.figures import percentile
from txrouter.simulation.ideal import ideal_times
from txrouter.simulation.scenario import Scenario
from txrouter.simulation.world import simulate

EQUAL = [1.0] * 8
UNEQUAL = [2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]


def times_the_ideal(speeds: list[float], load: float, cost: str, credit: int, **options: Any) -> float:
    scenario = Scenario.from_dict(
        {
            "messages": 10_000,
            "seed": 3,
            "cost": {"kind": cost},
            "arrivals": {"load": load, "replies": True},
            "consumer": [
                {"name": f"server-{number}", "speed": speed, "credit": credit, "settles": "received"}
                for number, speed in enumerate(speeds)
            ],
            "policy": [{"distribution": "reply-aware", "options": options}],
        }
    )
    jobs = scenario.jobs()
    run = simulate(scenario, scenario.policies[0], jobs)
    assert (run.unfinished, run.policy_errors) == (0, 0)
    return run.percentile(0.99) / percentile(ideal_times(jobs, speeds), 0.99)


@pytest.mark.parametrize("cost", ["exponential", "mixed"])
@pytest.mark.parametrize("load", [0.7, 0.9])
@pytest.mark.parametrize("speeds", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_with_one_credit_each_it_is_next_to_ideal(speeds: list[float], load: float, cost: str) -> None:
    assert times_the_ideal(speeds, load, cost, credit=1) < 1.05


@pytest.mark.parametrize("load", [0.7, 0.9])
def test_it_is_as_well_where_more_credit_is_not_used(load: float) -> None:
    assert times_the_ideal(EQUAL, load, "exponential", credit=100, most=1) < 1.05


@pytest.mark.parametrize(("load", "times"), [(0.7, 1.2), (0.9, 1.4)])
def test_with_much_credit_it_is_the_shortest_queue(load: float, times: float) -> None:
    assert times_the_ideal(EQUAL, load, "exponential", credit=100) < times
