"""Whether memory is flat: pure arithmetic on what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median

__all__ = ["ENOUGH", "slope", "steady"]

ENOUGH = 5
"""Values of which it can be said whether they rise."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much a series rises for each unit of its x, as most pairs of points have it: the median of the slopes
    between any two (Theil and Sen), which a few points that are far off do not move. 0 for less than two points."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return median(slopes) if slopes else 0.0


def steady(values: Sequence[float], allowance: float, drift: float) -> str:
    """Whether what a router has at rest, again and again, stays what it was at first. Returns what is wrong, or an
    empty string.

    :param allowance: by how much any value may be above the first.
    :param drift: by how much the values may rise from the first to the last, as the slope between most of them has it.
        It is asked only of five values and more.
    """
    if len(values) < 2:
        return ""
    most = max(values) - values[0]
    if most > allowance:
        return f"rose by {most:,.0f} at most, and {allowance:,.0f} is allowed"
    rise = slope(list(enumerate(values))) * (len(values) - 1)
    if len(values) >= ENOUGH and rise > drift:
        return f"rises by {rise:,.0f} all in all, and {drift:,.0f} is allowed"
    return ""
