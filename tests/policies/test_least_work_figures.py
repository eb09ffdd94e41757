"""How near `least-work` comes to the ideal central queue, where consumers take many messages ahead and work on one.

In the simulator, with fixed seeds: the 99th percentile of the time to completion, in that of the ideal. A twentieth of
the messages takes twenty times as long as the others.
"""

from __future__ import annotations

from typing import Any

import pytest

from txrouter.policies import least_work, pull
from txrouter.testing import run_scenario

EQUAL = [1.0] * 8
UNEQUAL = [2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]
SHORT, LONG = 0.5, 10.0
KINDS = [
    {"share": 19, "subject": "short", "cost": {"kind": "constant", "mean": SHORT}, "properties": {"work": SHORT}},
    {"share": 1, "subject": "long", "cost": {"kind": "constant", "mean": LONG}, "properties": {"work": LONG}},
]


def times_the_ideal(speeds: list[float], load: float, policy: Any = least_work, **options: Any) -> float:
    scenario = {
        "messages": 10_000,
        "seed": 3,
        "arrivals": {"load": load},
        "message": KINDS,
        "consumer": [
            {"name": f"worker-{number}", "speed": speed, "credit": 100, "properties": {"capacity": speed}}
            for number, speed in enumerate(speeds)
        ],
    }
    figures = run_scenario(scenario, policy.factory, options)
    assert (figures.run.unfinished, figures.run.policy_errors) == (0, 0)
    return figures.to_ideal()


@pytest.mark.parametrize("cost", ["property:work", "learned"])
@pytest.mark.parametrize("load", [0.7, 0.9])
@pytest.mark.parametrize("speeds", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_it_is_near_the_ideal(speeds: list[float], load: float, cost: str) -> None:
    assert times_the_ideal(speeds, load, cost=cost) < 1.1


def test_to_count_messages_is_worse() -> None:
    assert times_the_ideal(EQUAL, 0.9, pull) > 1.3 * times_the_ideal(EQUAL, 0.9, cost="learned")
