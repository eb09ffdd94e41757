"""What is noted of an address while somebody watches it: who got how much, how long it took, and why it was chosen.

To look at a message costs a tenth of what it costs to route it. So where messages are many, only some are looked at:
all of some turns of the reactor, so that it is known in what time they came; and it is looked away for a while in
between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from math import ceil, inf, isfinite
from typing import Any, Final

from txrouter.amqp.management import Call, Later
from txrouter.core.deliveries import Delivery
from txrouter.core.links import Address, Consumer
from txrouter.core.router import Router
from txrouter.interfaces import IExplains

__all__ = ["CANDIDATES", "Tally", "Watch", "rounded"]

CANDIDATES: Final = 8
"""The most consumers that are shown of those that a decision was made among."""
TALLIES: Final = 10_000
"""Consumers that are counted one by one."""
KEPT: Final = 200
"""Times to settlement that are kept of a consumer: the first ones."""
KEPT_IN_ALL: Final = 100_000
"""And of all consumers."""
AT_ONCE: Final = 200
"""How many sends and settlements are looked at until it is looked away, when the turn is over …"""
SOON: Final = 0.05
"""… if they came in so many seconds. Where messages are so few that it takes longer, they are no burden."""
PAUSE: Final = 19.0
"""How many times as long it is looked away as it took to see these: so one in twenty is looked at."""
LONGEST_PAUSE: Final = 0.2
"""Seconds."""


def rounded(number: float) -> float | str:
    """A number as it is told: with no more digits than mean something; a word, where JSON has no such number."""
    return float(f"{number:.6g}") if isfinite(number) else str(number)


@dataclass(slots=True)
class Tally:
    """One consumer's."""

    sent: int = 0
    settled: int = 0
    seconds: float = 0.0
    """The sum of the times to settlement."""
    kept: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """Seconds to settlement; None if nothing was settled."""
        return self.seconds / self.settled if self.settled else None

    @property
    def high(self) -> float | None:
        """The time to settlement that 95 % do not exceed."""
        kept = sorted(self.kept)
        return kept[ceil(0.95 * len(kept)) - 1] if kept else None


class Watch:
    """An observer of one address, from now on until `end`.

    :param samples: how many decisions are written down.
    :param seconds: for how long it is to go on: the samples are spread over it.
    """

    def __init__(self, router: Router, address: Address, samples: int, seconds: float, later: Later) -> None:
        self._router = router
        self._address = address
        self._later = later
        self._next_step: Call | None = None
        self._samples = samples
        self._apart = seconds / samples if samples else 0.0
        self._next = router.now if samples else inf
        self._candidates: list[dict[str, object]] | None = None
        self.began = router.now
        self._looks_since: float | None = None
        self._counts_since = self.began
        self._to_see = 0
        self.looked_for = 0.0
        """Seconds in which it was looked at all that happened."""
        self.seen = 0
        """How many messages were sent in that time."""
        self._kept = 0
        self.tallies: dict[Consumer, Tally] = {}
        self.decisions: list[dict[str, object]] = []
        """What was chosen, and among whom: JSON-able."""
        self._look()

    def end(self) -> float:
        """Watch no more. Returns for how many seconds it did."""
        if self._next_step is not None:
            self._next_step.cancel()
        self._look_away()
        return self._router.now - self.began

    @property
    def times(self) -> float:
        """How many times as many messages there were as were seen, as far as can be told."""
        seconds = self._router.now - self.began
        return seconds / self.looked_for if 0 < self.looked_for < seconds else 1.0

    def _look(self) -> None:
        self._next_step = None
        self._to_see = AT_ONCE
        self._looks_since = self._counts_since = self._router.now
        self._router.observations.begin(self._address, self)

    def _look_away(self) -> float:
        """Returns for how many seconds it was looked at all that happened."""
        if self._looks_since is None:
            return 0.0
        self._router.observations.end(self._address, self)
        seconds = self._router.now - self._looks_since
        self._looks_since = None
        self.looked_for += seconds
        return seconds

    def _pause(self) -> None:
        self._next_step = self._later(min(PAUSE * self._look_away(), LONGEST_PAUSE), self._look)

    def _sees(self) -> None:
        self._to_see -= 1
        if not self._to_see:
            if self._router.now - self._counts_since < SOON:
                self._next_step = self._later(0.0, self._pause)
            else:
                self._to_see = AT_ONCE
                self._counts_since = self._router.now

    # -- the observer ------------------------------------------------------------------------------

    def choosing(self, delivery: Delivery) -> None:
        """As Observer has it. Of most messages nothing is written down."""
        if self._router.now >= self._next:
            self._next = self._router.now + self._apart if len(self.decisions) + 1 < self._samples else inf
            self._candidates = self._find_candidates(delivery)

    def chose(self, delivery: Delivery, consumer: Consumer | None) -> None:
        """As Observer has it."""
        candidates, self._candidates = self._candidates, None
        if candidates is None:
            return
        self.decisions.append(
            {
                "at": rounded(self._router.now - self.began),
                "chosen": consumer.id if consumer is not None else None,
                "why": self._why(candidates, consumer),
                "candidates": candidates,
            }
        )

    def sent(self, consumer: Consumer, delivery: Delivery) -> None:
        """As Observer has it."""
        self._sees()
        self.seen += 1
        tally = self._tally(consumer)
        if tally is not None:
            tally.sent += 1

    def settled(self, consumer: Consumer, delivery: Delivery, outcome: str, seconds: float) -> None:
        """As Observer has it."""
        self._sees()
        tally = self._tally(consumer)
        if tally is not None:
            tally.settled += 1
            tally.seconds += seconds
            if len(tally.kept) < KEPT and self._kept < KEPT_IN_ALL:
                self._kept += 1
                tally.kept.append(seconds)

    def _tally(self, consumer: Consumer) -> Tally | None:
        found = self.tallies.get(consumer)
        if found is None and len(self.tallies) < TALLIES:
            found = self.tallies[consumer] = Tally()
        return found

    # -- decisions ---------------------------------------------------------------------------------

    def _find_candidates(self, delivery: Delivery) -> list[dict[str, object]]:
        """Whom it is chosen among, with their scores; where the policy cannot say, some with credit."""
        policy: Any = self._address.policy
        if IExplains.providedBy(policy):
            try:
                return [_numbers(each, score) for each, score in islice(policy.candidates(delivery), CANDIDATES)]
            except Exception as error:
                self._router.policies.failed(self._address, error)
        able = (each for each in islice(self._address.consumers, TALLIES) if each.credit > 0)
        return [_numbers(each, None) for each in islice(able, CANDIDATES)]

    def _why(self, candidates: list[dict[str, object]], consumer: Consumer | None) -> str:
        policy = self._address.policy
        if consumer is None:
            return "nobody may have it: it is held" if candidates else "nobody has credit: it is held"
        if not IExplains.providedBy(policy):
            return "the policy does not say why"
        if consumer.credit <= 0:
            return f"it waits for this one, which has no credit: {policy.by}"
        return str(policy.by)


def _numbers(consumer: Any, score: object) -> dict[str, object]:
    number = rounded(score) if isinstance(score, int | float) else score
    return {"consumer": consumer.id, "score": number, "credit": consumer.credit, "in_flight": consumer.in_flight}
