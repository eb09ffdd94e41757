"""The demo's figures."""

from __future__ import annotations

import pytest

from txrouter.demo.results import PhaseResult
from txrouter.simulation.figures import percentile, share


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile(values, 0.0) == 1
    assert percentile([7.0], 0.99) == 7
    assert percentile([], 0.99) == 0


def test_shares_are_parts_of_the_whole() -> None:
    assert share([1, 2, 5]) == [0.125, 0.25, 0.625]
    assert share([0, 0]) == [0, 0]


def test_a_summary_relates_p99_to_the_ideal() -> None:
    result = PhaseResult("pull", 1, [0.1] * 98 + [0.3, 0.5], [60, 40], seconds=4.0, late=0.002)
    assert result.throughput == 25
    assert result.summary(ideal_p99=0.2) == {
        "policy": "pull",
        "consumer_credit": 1,
        "messages": 100,
        "throughput": 25.0,
        "p50": 0.1,
        "p99": 0.3,
        "p99_to_ideal": pytest.approx(1.5),
        "done": [60, 40],
        "timers_late_p99": 0.002,
    }
