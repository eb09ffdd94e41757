"""Whether memory is flat, judged by made-up series."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from soak.memory import slope, steady


def test_the_slope_of_a_line() -> None:
    assert slope([(0, 5), (1, 7), (4, 13)]) == 2


def test_the_slope_does_not_mind_a_few_that_are_far_off() -> None:
    points = [(float(at), 3.0 * at) for at in range(20)]
    points[7], points[15] = (7.0, 900.0), (15.0, -900.0)
    assert slope(points) == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)], [(1.0, 1.0), (1.0, 2.0)]])
def test_too_few_points_have_no_slope(points: list[tuple[float, float]]) -> None:
    assert slope(points) == 0


def test_noise_is_steady() -> None:
    random = Random(1)
    assert steady([1000 + random.uniform(-50, 50) for _ in range(12)], 150, 100) == ""


def test_what_falls_is_steady() -> None:
    assert steady([1000, 900, 800, 700], 0, 0) == ""


@pytest.mark.parametrize("values", [[], [5]])
def test_nothing_can_be_said_of_less_than_two(values: list[float]) -> None:
    assert steady(values, 0, 0) == ""


def test_a_jump_is_found() -> None:
    assert steady([1000, 1000, 1300, 1000], 200, 1000) == "rose by 300 at most, and 200 is allowed"


def test_a_small_leak_is_found_though_it_has_not_come_to_much() -> None:
    noise = itertools.cycle([0, 4, -3])
    leaking = [1000 + 10 * at + next(noise) for at in range(12)]
    assert steady(leaking, 200, 50) == "rises by 110 all in all, and 50 is allowed"


def test_few_values_do_not_show_whether_they_rise() -> None:
    assert steady([1000, 1050, 1100], 200, 50) == ""
