"""What is said of a consumer's capacity: numbers, and the words of HAProxy's agent check.

A signal is a number, a percentage of what the consumer is known to take otherwise, or a word that says whether it is to
get anything at all. Each stands for itself: what one does not mention is as usual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["LARGEST", "SMALLEST", "Signal", "capacity_of", "signal_of"]

SMALLEST: Final = 1e-9
LARGEST: Final = 1e15
"""What a capacity may be: also one in bytes, but none that would let nobody else have anything."""

_OUT = frozenset({"drain", "maint", "down", "stopped", "fail", "failed"})
_IN = frozenset({"ready", "up"})
_NUMBER = re.compile(r"[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_SEPARATOR = re.compile(r"[ \t,]+")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that was said of a consumer."""

    capacity: float | None = None
    """Its capacity from now on."""
    share: float | None = None
    """How much of its capacity is to count; 1 is all of it."""
    barred: bool = False
    """It is to get nothing new."""


BARRED: Final = Signal(barred=True)


def capacity_of(given: object) -> float:
    """A capacity that somebody gave as a number.

    :raise ValueError: it is none, or one that makes no sense.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"{_shown(given)} is no number")
    if not SMALLEST <= given <= LARGEST:  # also of NaN
        raise ValueError(f"{_shown(given)} is not from {SMALLEST:g} to {LARGEST:g}")
    return float(given)


def signal_of(given: object) -> Signal:
    """What was said by a number, or in words: `3`, `75%`, `drain`, `up 50%`. 0 and `0%` are `drain`.

    :raise ValueError: it makes no sense.
    """
    if not isinstance(given, str):
        return BARRED if _is_nothing(given) else Signal(capacity=capacity_of(given))
    first = given.strip().splitlines()[:1]
    text = first[0].partition("#")[0].strip() if first else ""
    if _NUMBER.fullmatch(text):
        number = float(text)
        return BARRED if not number else Signal(capacity=capacity_of(number))
    return _in_words(text, given)


def _is_nothing(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and given == 0


def _in_words(text: str, given: str) -> Signal:
    understood = barred = False
    share = None
    for word in _SEPARATOR.split(text.lower()):
        if word.endswith("%"):
            share = _share(word[:-1], given)
        elif word in _OUT:
            barred = True
        elif word not in _IN:
            continue  # as `maxconn:30`, which is for HAProxy alone
        understood = True
    if not understood:
        raise ValueError(f"{_shown(given)} is no number, no percentage and no word for how it is")
    if barred or share == 0:
        return BARRED
    return Signal(share=share)


def _share(percent: str, given: str) -> float:
    if not _NUMBER.fullmatch(percent) or not 0 <= float(percent) <= 10_000:
        raise ValueError(f"{_shown(given)} has no percentage from 0 to 10000")
    return float(percent) / 100


def _shown(given: object) -> str:
    try:
        text = repr(given)
    except ValueError:  # an int of more digits than Python writes
        return "a number of too many digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
