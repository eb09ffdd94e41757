"""The ideal central queue: the oldest job to the fastest idle consumer."""

from __future__ import annotations

from math import factorial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txrouter.demo.work import Job
from txrouter.simulation.ideal import ideal, ideal_times
from txrouter.simulation.jobs import Arrivals, Cost, draw_jobs
from txrouter.simulation.outcome import Run, Sample
from txrouter.simulation.scenario import Scenario


def jobs_of(*dues_and_costs: tuple[float, float]) -> list[Job]:
    return [Job(number, due, cost, 0) for number, (due, cost) in enumerate(dues_and_costs)]


def waits(servers: int, load: float, kind: str) -> float:
    """How long a message waits on average, in what one takes on average; of 200,000 that come at random."""
    arrivals, cost = Arrivals.model_validate({"load": load}), Cost.model_validate({"kind": kind})
    jobs = draw_jobs(200_000, 1, servers * load, arrivals, cost, ())
    return (sum(ideal_times(jobs, [1.0] * servers)) - sum(job.cost for job in jobs)) / len(jobs)


def erlang_c(servers: int, offered: float) -> float:
    """The part of the messages that have to wait."""
    all_busy = offered**servers / factorial(servers) * servers / (servers - offered)
    return all_busy / (sum(offered**busy / factorial(busy) for busy in range(servers)) + all_busy)


@pytest.mark.parametrize("servers", [1, 4, 8])
def test_a_message_waits_as_long_as_erlang_says(servers: int) -> None:
    """Of 20 seeds, all were within 7 %."""
    expected = erlang_c(servers, servers * 0.7) / (servers - servers * 0.7)
    assert waits(servers, 0.7, "exponential") == pytest.approx(expected, rel=0.07)


def test_a_message_waits_half_as_long_where_all_take_the_same() -> None:
    """By Pollaczek and Khinchine."""
    assert waits(1, 0.7, "constant") == pytest.approx(0.7 / (2 * 0.3), rel=0.05)


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


# -- what happens to consumers on the way ------------------------------------------------------------------------------


def outcome(*dues_and_costs: tuple[float, float], consumer: list[dict[str, Any]], event: list[dict[str, Any]]) -> Run:
    data = {"arrivals": {"rate": 1.0}, "consumer": consumer, "event": event}
    scenario = Scenario.from_dict(data)
    return ideal(jobs_of(*dues_and_costs), scenario.servers(), scenario.event)


def event(at: float, does: str, consumers: str = "a", **more: object) -> dict[str, object]:
    return {"at": at, "consumers": consumers, "does": does, **more}


ONE = {"arrivals": {"rate": 1.0}, "consumer": [{"name": "a"}]}
A, B = {"name": "a", "speed": 2.0}, {"name": "b"}


def test_what_one_works_on_that_leaves_is_begun_anew_by_another() -> None:
    run = outcome((0, 4), consumer=[A, B], event=[event(1, "leave")])
    assert (run.times, run.done, run.sent_again, run.unfinished) == ([1 + 4], [0, 1], 1, 0)


def test_it_goes_before_what_came_later() -> None:
    run = outcome((0, 4), (0, 4), (0, 4), consumer=[A, B], event=[event(1, "leave")])
    assert run.times == [4 + 4, 4, 8 + 4]


def test_what_was_settled_before_is_lost() -> None:
    run = outcome((0, 4), consumer=[A | {"settles": "received"}, B], event=[event(1, "leave")])
    assert (run.times, run.sent_again, run.unfinished) == ([], 0, 1)


def test_one_that_has_left_is_given_nothing_until_it_comes() -> None:
    run = outcome((1, 2), (5, 2), consumer=[A, B], event=[event(0, "leave"), event(4, "come")])
    assert (run.times, run.done) == ([2, 1], [1, 1])


def test_one_that_comes_takes_what_waits() -> None:
    run = outcome((1, 2), consumer=[A], event=[event(0, "leave"), event(4, "come")])
    assert run.times == [3 + 1]


def test_where_nobody_is_left_jobs_stay_undone() -> None:
    run = outcome((1, 2), (2, 2), consumer=[A], event=[event(1.5, "leave")])
    assert (run.times, run.unfinished, run.sent_again) == ([], 2, 1)


def test_one_that_stalls_goes_on_where_it_was() -> None:
    run = outcome((0, 4), consumer=[A], event=[event(1, "stall"), event(5, "stall"), event(8, "go-on")])
    assert run.times == [8 + 1]


def test_one_that_is_stalled_is_given_nothing() -> None:
    run = outcome((1, 4), (1, 4), consumer=[A, B], event=[event(0, "stall"), event(100, "go-on")])
    assert (run.times, run.done) == ([4, 8], [0, 2])


def test_one_that_becomes_slower_is_so_with_what_it_works_on_too() -> None:
    run = outcome((0, 4), consumer=[A], event=[event(1, "speed", speed=0.5)])
    assert run.times == [1 + 4]


def test_one_that_fails_is_given_nothing_until_it_goes_on() -> None:
    run = outcome((0, 4), (2, 2), (6, 2), consumer=[A, B], event=[event(1, "fail"), event(4, "go-on")])
    assert (run.times, run.done, run.sent_again) == ([1 + 4, 2 + 1, 1], [2, 1], 1)


def test_who_is_the_fastest_changes() -> None:
    run = outcome((2, 4), consumer=[A, B], event=[event(1, "speed", "b", speed=4.0)])
    assert run.done == [0, 1]


def test_a_consumer_works_on_as_many_at_a_time_as_it_has_slots() -> None:
    run = outcome((0, 4), (0, 4), (0, 4), consumer=[A | {"slots": 2}], event=[])
    assert run.times == [2, 2, 4]


def test_it_is_looked_at_what_waits_and_who_has_what() -> None:
    run = outcome((0, 4), (0, 4), (0, 4), (2, 4), consumer=[A, B], event=[])
    assert [sample for sample in run.samples if sample.at == 1.0] == [Sample(1.0, 1, [1, 1])]


def test_what_waits_too_long_is_never_done() -> None:
    run = ideal(jobs_of((0, 4), (0, 4), (0, 4)), Scenario.from_dict(ONE).servers(), latest=[9, 3, 9])
    assert (run.times, run.unfinished) == ([4, 8], 1)


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20)), max_size=40),
    happens=st.lists(
        st.tuples(
            st.integers(0, 60),
            st.sampled_from("ab"),
            st.sampled_from(["leave", "come", "stall", "fail", "go-on", "speed"]),
        ),
        max_size=12,
    ),
)
def test_whatever_happens_each_job_is_done_once_if_all_are_there_in_the_end(
    steps: list[tuple[int, int]], happens: list[tuple[int, str, str]]
) -> None:
    due = 0
    work = []
    for gap, cost in steps:
        due += gap
        work.append((float(due), float(cost)))
    events = [event(at, does, who, **({"speed": 3.0} if does == "speed" else {})) for at, who, does in happens]
    events += [event(100, does, who) for who in "ab" for does in ("come", "go-on")]
    run = outcome(*work, consumer=[A, B], event=events)
    assert (run.unfinished, sum(run.done)) == (0, len(work))
    assert all(took > 0.999 * cost / 3 for took, (_, cost) in zip(run.times, work, strict=True))
