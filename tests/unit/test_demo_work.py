"""The demo's work: the same for the same seed, and as much as was asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from txrouter.demo.work import CONSUMERS, LONG_FACTOR, LONG_SHARE, ORDINARY_COST, PRODUCERS, make_jobs

SPEEDS = [spec.speed for spec in CONSUMERS]


def test_same_seed_gives_the_same_jobs_and_another_seed_others() -> None:
    first = make_jobs(SPEEDS, load=0.8, duration=5, seed=1)
    assert first == make_jobs(SPEEDS, load=0.8, duration=5, seed=1)
    assert first != make_jobs(SPEEDS, load=0.8, duration=5, seed=2)


def test_jobs_come_in_order_within_the_duration_and_are_numbered() -> None:
    jobs = make_jobs(SPEEDS, load=0.8, duration=5, seed=3)
    dues = [job.due for job in jobs]
    assert dues == sorted(dues)
    assert dues[0] > 0
    assert dues[-1] < 5
    assert [job.id for job in jobs] == list(range(len(jobs)))


@pytest.mark.parametrize("load", [0.5, 0.8, 1.2])
def test_the_work_that_arrives_is_the_load_that_was_asked_for(load: float) -> None:
    jobs = make_jobs(SPEEDS, load=load, duration=500, seed=4)
    assert sum(job.cost for job in jobs) / 500 / sum(SPEEDS) == pytest.approx(load, rel=0.05)


def test_one_job_in_twenty_costs_twenty_times_more() -> None:
    jobs = make_jobs(SPEEDS, load=0.8, duration=1_000, seed=5)
    costs = Counter(job.cost for job in jobs)
    assert set(costs) == {ORDINARY_COST, ORDINARY_COST * LONG_FACTOR}
    assert costs[ORDINARY_COST * LONG_FACTOR] / len(jobs) == pytest.approx(LONG_SHARE, rel=0.1)


def test_every_producer_has_about_as_many_jobs() -> None:
    jobs = make_jobs(SPEEDS, load=0.8, duration=1_000, seed=6)
    counts = Counter(job.producer for job in jobs)
    assert set(counts) == set(range(PRODUCERS))
    assert min(counts.values()) == pytest.approx(max(counts.values()), rel=0.1)
