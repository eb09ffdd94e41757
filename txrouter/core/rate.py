"""How many messages a second some producers may send together: a token bucket, and those that wait for tokens.

A token is taken for each credit that is granted. So what may come in any time is what was granted before, and the
tokens there were and that came since; and half a second's worth of each is the most there can be. Credit that is given
back is tokens again.

Those that wait are served in turn. Each gets all that it can use, or at least what the bucket gains in `STEP` seconds:
less would be a frame for every message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from typing import Final, Generic, TypeVar

__all__ = ["Rate"]

STEP: Final = 0.02
"""Seconds for which tokens are saved up while somebody waits."""
_ROUNDING: Final = 1e-6
"""Of a token, that may be missing."""

T = TypeVar("T", bound=Hashable)


class Rate(Generic[T]):
    """The rate of those who share it.

    :param rate: tokens a second, at least 1.
    :param now: seconds, as for all the methods here.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = 1 + rate / 2
        self._tokens = self._most
        self._at = now
        self._step = max(1.0, rate * STEP)
        self._members = 0
        self._waiting: OrderedDict[T, int] = OrderedDict()
        self.is_due = False
        """Whether somebody sees to it that those who wait are called: for the use of who does."""

    @property
    def share(self) -> int:
        """How many tokens each may have in hand: together half a second's worth, but at least 1."""
        return max(1, int(self._rate / 2 / max(1, self._members)))

    def join(self) -> None:
        """One more has a share in it."""
        self._members += 1

    def leave(self, who: T, unused: int) -> None:
        """One less; it had so many tokens left. Below 0, it has used more than it had: the others have to wait."""
        self._members -= 1
        self._waiting.pop(who, None)
        self.give_back(unused)

    def give_back(self, tokens: int) -> None:
        """So many were not used."""
        self._tokens = min(self._most, self._tokens + tokens)

    def take(self, who: T, wanted: int, now: float) -> int:
        """Tokens for somebody who wants so many. It gets none if there are too few, or others wait: then it waits too.
        Who wants none does not wait any more."""
        if wanted <= 0:
            self._waiting.pop(who, None)
            return 0
        self._gain(now)
        enough = self._tokens + _ROUNDING >= min(wanted, self._step)
        if not enough or next(iter(self._waiting), who) != who:
            self._waiting[who] = wanted
            return 0
        self._waiting.pop(who, None)
        taken = min(wanted, int(self._tokens + _ROUNDING))
        self._tokens -= taken
        return taken

    def _gain(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
            self._at = now

    def is_waiting(self, who: T) -> bool:
        """Whether it waits for tokens."""
        return who in self._waiting

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits for tokens."""
        return bool(self._waiting)

    def next_call(self) -> float | None:
        """When there are enough tokens for the first of those that wait; None if nobody does."""
        for wanted in self._waiting.values():
            return self._at + max(0.0, min(wanted, self._step) - self._tokens) / self._rate
        return None

    def called(self, now: float) -> list[T]:
        """Those that are to ask again, in turn: as many as there may be tokens for. They wait until they have asked."""
        self._gain(now)
        return list(islice(self._waiting, max(1, int(self._tokens + _ROUNDING))))
