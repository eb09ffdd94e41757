"""Axes: where a value is on one, and which values are written beside it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Axis", "decades_of", "log_axis", "place_of", "spoken", "steps_of", "time_steps"]


@dataclass(frozen=True)
class Axis:
    """From `low` at pixel `start` to `high` at pixel `end`; which may be the other way round, as upwards.

    :param log: each factor of ten takes the same length.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Its pixel."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def log_axis(values: Sequence[float], start: float, end: float) -> tuple[Axis, list[float]]:
    """An axis for all of these, which are above 0, and the values to write beside it."""
    low, high = min(values), max(values)
    marks = list(_ones_twos_and_fives(low, max(high, low * 2)))
    if len(marks) > 9:
        marks = [mark for mark in marks if f"{mark:e}".startswith("1")]
    axis = Axis(min(low, marks[0]), max(high, marks[-1]), start, end, log=True)
    return axis, [mark for mark in marks if axis.low <= mark <= axis.high]


def _ones_twos_and_fives(low: float, high: float) -> Iterator[float]:
    """1, 2 and 5 times the powers of ten, from the last not above `low` to the first not below `high`."""
    all_of_them = [
        float(f"{digit}e{power}")
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    first = max(index for index, mark in enumerate(all_of_them) if mark <= low * 1.000001)
    last = min(index for index, mark in enumerate(all_of_them) if mark >= high * 0.999999)
    return iter(all_of_them[first : last + 1])


def steps_of(most: float, about: int) -> list[float]:
    """From 0 to at least `most`, in about so many equal steps that are easy to read."""
    raw = max(most, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    return [float(f"{step * number:.6g}") for number in range(math.ceil(most / step * 0.9999) + 1)]


def time_steps(seconds: float) -> tuple[list[float], float, str]:
    """Times up to so many seconds to write beside an axis; how many seconds their unit has, and its name."""
    unit, name = next(
        (each for each in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")) if seconds >= 5 * each[0]),
        (1.0, "seconds"),
    )
    return [step * unit for step in steps_of(seconds / unit, 8) if step * unit <= seconds * 1.001], unit, name


def place_of(fraction: float) -> float:
    """Where a percentile is on an axis that stretches towards the slowest: 90 % at 1, 99 % at 2, 99.9 % at 3."""
    return -math.log10(1 - fraction)


def decades_of(messages: int) -> int:
    """How far that axis goes for so many messages: to where one took longer, if that is between 99 % and 99.99 %."""
    return min(4, max(2, math.floor(math.log10(max(1, messages)))))


def spoken(seconds: float) -> str:
    """A time as people write it."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 99.95 else f"{seconds:,.0f} s"
