"""Axes of a chart: where values are, and which are written beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txrouter.simulation.axes import Axis, decades_of, log_axis, place_of, spoken, steps_of, time_steps


def test_a_value_in_the_middle_is_in_the_middle() -> None:
    assert Axis(0, 10, 100, 200).at(5) == 150


def test_an_axis_may_go_upwards() -> None:
    assert Axis(0, 10, 200, 100).at(10) == 100


def test_on_a_log_axis_each_factor_of_ten_takes_the_same_length() -> None:
    axis = Axis(0.01, 1, 0, 100, log=True)
    assert [axis.at(value) for value in (0.01, 0.1, 1)] == pytest.approx([0, 50, 100])


def test_a_log_axis_begins_and_ends_with_values_that_are_easy_to_read() -> None:
    axis, marks = log_axis([0.03, 0.7], 0, 100)
    assert (axis.low, axis.high) == (0.02, 1)
    assert marks == [0.02, 0.05, 0.1, 0.2, 0.5, 1]


def test_a_long_log_axis_has_powers_of_ten_only() -> None:
    _, marks = log_axis([0.001, 900], 0, 100)
    assert marks == [0.001, 0.01, 0.1, 1, 10, 100, 1000]


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=5))
def test_all_values_are_on_their_log_axis_and_few_beside_it(values: list[float]) -> None:
    axis, marks = log_axis(values, 0, 100)
    assert all(-1e-6 <= axis.at(value) <= 100 + 1e-6 for value in values)
    assert 1 <= len(marks) <= 17


@pytest.mark.parametrize(
    ("most", "steps"), [(23, [0, 10, 20, 30]), (4, [0, 1, 2, 3, 4]), (6_980, [0, 2_000, 4_000, 6_000, 8_000])]
)
def test_steps_are_easy_to_read(most: float, steps: list[float]) -> None:
    assert steps_of(most, 4) == steps


@pytest.mark.parametrize(
    ("seconds", "last", "name"), [(290, 250, "seconds"), (600, 600, "minutes"), (5e5, 432_000, "days")]
)
def test_a_long_time_is_in_a_larger_unit(seconds: float, last: float, name: str) -> None:
    marks, _, said = time_steps(seconds)
    assert (marks[-1], said) == (last, name)


def test_the_slowest_percentiles_have_the_most_room() -> None:
    assert [place_of(fraction) for fraction in (0.0, 0.9, 0.99, 0.999)] == pytest.approx([0, 1, 2, 3])


@pytest.mark.parametrize(("messages", "decades"), [(0, 2), (200, 2), (1_688, 3), (10_000, 4), (10**8, 4)])
def test_they_go_as_far_as_there_are_messages_to_show(messages: int, decades: int) -> None:
    assert decades_of(messages) == decades


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0123, "12.3 ms"), (0.99996, "1 s"), (2.772, "2.77 s"), (99.97, "100 s"), (12_345, "12,345 s")],
)
def test_times_are_written_as_people_write_them(seconds: float, said: str) -> None:
    assert spoken(seconds) == said
