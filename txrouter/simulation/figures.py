"""Figures about many times and counts. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["percentile", "share"]


def percentile(values: Sequence[float], fraction: float) -> float:
    """The smallest of `values` that at least this fraction of them does not exceed; 0 if there are none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(fraction * len(values)) - 1)]


def share(done: Sequence[float]) -> list[float]:
    """Each one's part of the whole, 0 to 1; all 0 as long as nothing is done."""
    total = sum(done)
    return [count / total if total else 0.0 for count in done]
