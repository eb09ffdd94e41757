"""What sending or receiving came to: outcomes by kind, speed and latency. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["UNKNOWN", "Outcome", "Report", "Times", "figure"]

_GROWTH = math.log(1.01)
_SMALLEST = 1e-6
_MOST_KINDS = 50


class Times:
    """Durations, of which only their distribution is kept, to a hundredth: a million take no more memory than one."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Take one in."""
        self.count += 1
        self.longest = max(self.longest, seconds)
        self._buckets[math.ceil(math.log(max(seconds, _SMALLEST) / _SMALLEST) / _GROWTH)] += 1

    def percentile(self, fraction: float) -> float:
        """What at least this fraction of them did not exceed, in seconds; 0 if there are none."""
        wanted = fraction * self.count
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 1e-9:
                return min(_SMALLEST * math.exp(bucket * _GROWTH), self.longest)
        return self.longest


@dataclass(frozen=True)
class Outcome:
    """What became of a delivery, as AMQP says it: its state, with what that state has besides."""

    name: str
    condition: str | None = None
    description: str | None = None
    failed: bool = False
    undeliverable: bool = False

    def __str__(self) -> str:
        return " ".join((self.name, self.detail)).rstrip()

    @property
    def detail(self) -> str:
        """All but the state, in words."""
        flags = {"delivery-failed": self.failed, "undeliverable-here": self.undeliverable}
        said = [": ".join(filter(None, (self.condition, self.description)))]
        return ", ".join(filter(None, said + [flag for flag, is_set in flags.items() if is_set]))

    def as_json(self) -> dict[str, object]:
        """It in JSON-able form; flags where the state can have them."""
        shown: dict[str, object] = {"outcome": self.name}
        if self.name == "modified":
            shown |= {"delivery_failed": self.failed, "undeliverable_here": self.undeliverable}
        if self.condition or self.description:
            shown |= {"condition": self.condition, "description": self.description}
        return shown


UNKNOWN = Outcome("unknown")
"""Nobody said what became of it, or not yet."""


@dataclass
class Report:
    """What one command did. Moments are in seconds of one clock; `did` is "sent" or "received".

    `outcomes` has what the other end said of what was sent, or what was said of what was received; what is in none was
    pre-settled, or has no outcome. `times` are from sending to the outcome, or to the reply.
    """

    did: str
    address: str
    messages: int = 0
    size: int = 0
    began: float | None = None
    ended: float = 0.0
    presettled: int = 0
    replies: int | None = None
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    times: Times = field(default_factory=Times)

    def moved(self, now: float, size: int) -> None:
        """A message more was sent, or has come."""
        if self.began is None:
            self.began = now
        self.ended = now
        self.messages += 1
        self.size += size

    def settled(self, now: float, outcome: Outcome) -> None:
        """It is known what became of one."""
        if outcome not in self.outcomes and len(self.outcomes) >= _MOST_KINDS:
            outcome = Outcome(outcome.name)  # a description for every message would take memory for every message
        self.outcomes[outcome] += 1
        self.ended = now

    @property
    def seconds(self) -> float:
        """From the first message to the last one, or the last outcome."""
        return 0.0 if self.began is None else self.ended - self.began

    @property
    def rate(self) -> float:
        """Messages per second; 0 for one message or none."""
        return self.messages / self.seconds if self.seconds > 0 and self.messages > 1 else 0.0

    @property
    def unknown(self) -> int:
        """How many have no outcome, though they should."""
        return self.messages - self.presettled - self.outcomes.total()

    def kinds(self) -> Iterator[tuple[Outcome, int]]:
        """The outcomes and how many had each, the most frequent first."""
        yield from self.outcomes.most_common()
        if self.unknown:
            yield UNKNOWN, self.unknown

    def text(self) -> str:
        """It for people, in a few lines."""
        rate = f", {figure(self.rate)} messages/s" if self.rate else ""
        speed = f" in {_spoken(self.seconds)}{rate}" if self.seconds else ""
        size = f", {_bytes(self.size)}" if self.messages else ""
        lines = [f"{self.did} {self.messages:,} {_from_to(self.did)} {self.address}{size}{speed}"]
        if self.presettled:
            lines.append(f"  {'pre-settled':<11} {self.presettled:>9,}")
        for outcome, count in self.kinds():
            lines.append(f"  {outcome.name:<11} {count:>9,}  {outcome.detail}".rstrip())
        if self.replies is not None:
            lines.append(f"  {'replies':<11} {self.replies:>9,}")
        if self.times.count:
            p50, p99 = (_spoken(self.times.percentile(fraction)) for fraction in (0.5, 0.99))
            lines.append(f"  latency     p50 {p50}, p99 {p99}, longest {_spoken(self.times.longest)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """It for programs; times in seconds."""
        shown: dict[str, object] = {
            "address": self.address,
            self.did: self.messages,
            "bytes": self.size,
            "seconds": round(self.seconds, 6),
            "messages_per_second": round(self.rate, 1),
            "presettled": self.presettled,
            "outcomes": [outcome.as_json() | {"count": count} for outcome, count in self.kinds()],
        }
        if self.replies is not None:
            shown["replies"] = self.replies
        if self.times.count:
            shown["latency"] = {
                "p50": round(self.times.percentile(0.5), 6),
                "p99": round(self.times.percentile(0.99), 6),
                "longest": round(self.times.longest, 6),
            }
        return shown


def figure(value: float) -> str:
    """A number as people want to read it."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _from_to(did: str) -> str:
    return "to" if did == "sent" else "from"


def _bytes(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    power = min(int(math.log10(size) / 3), 4)
    return f"{figure(size / 1000**power)} {'kMGT'[power - 1]}B"


def _spoken(seconds: float) -> str:
    return f"{figure(seconds)} s" if seconds >= 1 else f"{figure(seconds * 1000)} ms"
