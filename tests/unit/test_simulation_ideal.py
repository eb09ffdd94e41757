"""The ideal central queue: the oldest job to the fastest idle consumer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txrouter.demo.work import Job
from txrouter.simulation.ideal import ideal_times


def jobs_of(*dues_and_costs: tuple[float, float]) -> list[Job]:
    return [Job(number, due, cost, 0) for number, (due, cost) in enumerate(dues_and_costs)]


def test_no_jobs_take_no_time() -> None:
    assert ideal_times([], [1.0]) == []


def test_one_consumer_takes_jobs_in_the_order_they_came() -> None:
    assert ideal_times(jobs_of((0, 2), (1, 2), (9, 1)), [1.0]) == [2, 3, 1]


def test_the_fastest_idle_consumer_is_chosen() -> None:
    assert ideal_times(jobs_of((0, 4), (0, 4), (0, 4)), [1.0, 4.0, 2.0]) == [1, 2, 4]


def test_a_slow_idle_consumer_is_better_than_waiting() -> None:
    assert ideal_times(jobs_of((0, 4), (0.5, 4)), [4.0, 1.0]) == [1, 4]


def test_a_consumer_that_is_done_at_that_very_moment_is_idle() -> None:
    assert ideal_times(jobs_of((0, 4), (1, 4)), [4.0, 1.0]) == [1, 1]


def test_who_waits_gets_the_first_that_is_free() -> None:
    assert ideal_times(jobs_of((0, 4), (0, 4), (0, 4)), [4.0, 1.0]) == [1, 4, 2]


def naive(jobs: list[Job], speeds: list[float]) -> list[float]:
    """The definition, word by word: for each job in turn, the moment one is free, and then the fastest that is."""
    free_at = [0.0] * len(speeds)
    times = []
    now = 0.0
    for job in jobs:
        now = max(now, job.due, min(free_at))
        chosen = max((n for n in range(len(speeds)) if free_at[n] <= now), key=lambda n: (speeds[n], -n))
        free_at[chosen] = now + job.cost / speeds[chosen]
        times.append(free_at[chosen] - job.due)
    return times


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20)), max_size=60),
    speeds=st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=1, max_size=6),
)
def test_it_does_what_its_definition_says(steps: list[tuple[int, int]], speeds: list[float]) -> None:
    due = 0
    work = []
    for gap, cost in steps:
        due += gap
        work.append((float(due), float(cost)))
    jobs = jobs_of(*work)
    assert ideal_times(jobs, speeds) == pytest.approx(naive(jobs, speeds))
