"""The simulator says what a router does: the same jobs take as long in the simulator as on real sockets.

Where it takes turns every message finds the same consumer, so it is the same message that took long. Costs are tens of
times what a message takes on its way, so that a machine that has much else to do does not show. It is recorded too, and
the trace takes as long.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.net.conftest import Start
from tests.net.scenarios import RealRun
from tests.net.waiting import reactor
from txrouter.simulation.outcome import Run
from txrouter.simulation.scenario import Scenario
from txrouter.simulation.world import simulate

TOLERANCE = 0.2
SCENARIOS: dict[str, dict[str, Any]] = {
    "equal ones, a tenth of the messages takes long": {
        "messages": 200,
        "arrivals": {"load": 0.6},
        "cost": {"kind": "mixed", "mean": 0.16, "long_share": 0.1, "long_factor": 8.0},
        "consumer": [{"name": "scheduler", "count": 6}],
        "policy": [{"distribution": "pull"}],
    },
    "unequal ones take turns": {
        "messages": 200,
        "arrivals": {"load": 0.6},
        "cost": {"kind": "constant", "mean": 0.15},
        "consumer": [
            {"name": "fast", "count": 2, "speed": 1.5, "credit": 100},
            {"name": "slow", "count": 2, "speed": 0.75, "credit": 100},
        ],
        "policy": [{"distribution": "round-robin"}],
    },
    "one stalls, and one is restarted": {
        "messages": 200,
        "arrivals": {"rate": 20.0},
        "cost": {"kind": "exponential", "mean": 0.15},
        "consumer": [{"name": "worker", "count": 4, "credit": 8, "slots": 2}],
        "event": [
            {"at": 2.0, "consumers": "worker-1", "does": "stall"},
            {"at": 4.5, "consumers": "worker-1", "does": "go-on"},
            {"at": 5.5, "consumers": "worker-2", "does": "leave"},
            {"at": 6.5, "consumers": "worker-2", "does": "come"},
        ],
        "policy": [{"distribution": "round-robin"}],
    },
}


async def test_it_takes_as_long_in_the_simulator_as_on_real_sockets(start: Start, tmp_path: Path) -> None:
    runs = await all_at_once(start)
    for real in runs:
        agree(real, simulate(real.scenario, real.scenario.policies[0], real.jobs))

    for real in runs[:2]:  # those of one job at a time, of which a trace tells what each cost
        file = tmp_path / f"{real.address}.trace"
        file.write_text("".join(json.dumps(line) + "\n" for line in real.trace.lines))
        recorded = Scenario.load(None, trace=str(file))
        assert recorded.policies[0].distribution == real.scenario.policies[0].distribution
        agree(real, simulate(recorded, recorded.policies[0]))


def agree(real: RealRun, simulated: Run) -> None:
    """See that the median and the 99th percentile are the same, as exact as can be asked for."""
    for fraction in (0.5, 0.99):
        expected = pytest.approx(real.percentile(fraction), rel=TOLERANCE)
        assert simulated.percentile(fraction) == expected, f"{fraction:.0%}, {real.scenario.title}"


async def all_at_once(start: Start) -> list[RealRun]:
    """The scenarios on real sockets, all through one router, which has little to do for each."""
    scenarios = [Scenario.from_dict({"title": title, **data}) for title, data in SCENARIOS.items()]
    addresses = [
        {"pattern": f"scenario-{number}", "distribution": scenario.policies[0].distribution}
        for number, scenario in enumerate(scenarios)
    ]
    router = await start(address=addresses)
    runs = [RealRun(router, f"scenario-{number}", scenario) for number, scenario in enumerate(scenarios)]
    for run in runs:
        await run.attach()
    begin = reactor.seconds() + 0.1
    await gatherResults([Deferred.fromCoroutine(run.run(begin)) for run in runs], consumeErrors=True)
    return runs
