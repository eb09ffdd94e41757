"""How many messages are in time by `deadline` under overload: in the simulator, with a fixed seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from txrouter.simulation.scenario import Scenario
from txrouter.simulation.world import World

SCENARIO: dict[str, Any] = {
    "messages": 10_000,
    "seed": 3,
    "arrivals": {"load": 1.2, "producers": 100},
    "message": [
        {"share": 1, "subject": "urgent", "ttl": 4.0, "cost": {"mean": 1.0}},
        {"share": 3, "subject": "patient", "ttl": 60.0, "cost": {"mean": 1.0}},
    ],
    "consumer": [{"name": "worker", "count": 8, "credit": 1}],
}


def too_late(distribution: str) -> Counter[str]:
    """How many messages of each kind were turned away, or of no use any more before they were sent."""
    scenario = Scenario.from_dict({**SCENARIO, "policy": [{"distribution": distribution}]})
    jobs = scenario.jobs()
    world = World(scenario, scenario.policies[0], jobs)
    world.run()
    subjects = [kind["subject"] for kind in SCENARIO["message"]]
    late: Counter[str] = Counter(
        subjects[job.kind] for job, time in zip(jobs, world.times, strict=True) if time is None
    )
    assert 0 < world.router.counters["expired"] <= late.total()
    return late


def test_under_overload_fewer_messages_are_too_late_and_far_fewer_urgent_ones() -> None:
    by_pull, by_deadline = too_late("pull"), too_late("deadline")
    assert by_deadline.total() < 0.8 * by_pull.total()
    assert by_deadline["urgent"] < 0.25 * by_pull["urgent"]
