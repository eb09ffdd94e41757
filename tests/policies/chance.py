"""Statistics of what was chosen by chance, with the seed that makes the same chance every time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

__all__ = ["as_likely", "chi_square_limit"]

LEVEL = 3.09
"""Standard deviations: one of a thousand fair samples is further off."""


def chi_square_limit(degrees: int) -> float:
    """What chi-square exceeds in one of a thousand cases (Wilson and Hilferty, "The distribution of chi-square",
    1931)."""
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + LEVEL * math.sqrt(spread)) ** 3)


def as_likely(counts: Counter[str], likelihoods: Mapping[str, float]) -> bool:
    """Whether each was chosen as often as its likelihood lets expect."""
    total = sum(counts.values())
    whole = sum(likelihoods.values())
    expected = {name: total * likelihood / whole for name, likelihood in likelihoods.items()}
    assert set(counts) <= set(expected)
    chi_square = sum((counts[name] - count) ** 2 / count for name, count in expected.items())
    return chi_square < chi_square_limit(len(expected) - 1)
