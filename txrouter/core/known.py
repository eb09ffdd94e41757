"""What is known of one consumer's capacity, and what it comes to.

From the one whose word counts most:

1. `operator`: what an operator says while the router runs.
2. `config`: a `value` of the config.
3. `health`: the last answer of its health address, until that expires.
4. `report`: what its client reported last.
5. `property`: a link property, which it gave when it attached.
6. `default`: 1.

A percentage scales what is known otherwise. A word that bars a consumer does so whoever says it: while one says that it
is to get nothing new, it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from txrouter.core.health import Health, Heard
from txrouter.core.signals import LARGEST, SMALLEST
from txrouter.core.users import SHOWN, shown

if TYPE_CHECKING:
    from txrouter.core.links import Consumer

__all__ = ["Known", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all that is known comes to."""

    capacity: float
    barred: bool
    source: str
    """Whose word the capacity is, or the bar."""


class Known:
    """What is known of one consumer."""

    __slots__ = ("consumer", "fixed", "health", "ignored", "operator", "own", "report")

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.operator: Heard | None = None
        self.fixed: float | None = None
        """By the config."""
        self.health: Health | None = None
        self.report: Heard | None = None
        self.own: float | None = None
        """By its link property."""
        self.ignored = ""
        """What was said of it last that made no sense; empty for nothing."""

    def verdict(self) -> Verdict:
        """What it comes to."""
        barred = source = ""
        number = share = None
        for each, heard in self._heard():
            if heard is None:
                continue
            signal = heard.signal
            if signal.barred:
                barred = barred or each
            if source:
                continue  # a number was said by one whose word counts more
            if signal.capacity is not None:
                source = each
                if self.fixed is None or each == "operator":
                    number = signal.capacity
            elif share is None:
                share = signal.share
        if number is None:
            number = self.fixed or self.own or 1.0
            source = "config" if self.fixed else "property" if self.own else "default"
        capacity = min(LARGEST, max(SMALLEST, number * (share or 1.0)))
        return Verdict(capacity, bool(barred), barred or source)

    def _heard(self) -> tuple[tuple[str, Heard | None], ...]:
        health = self.health.heard if self.health is not None else None
        return ("operator", self.operator), ("health", health), ("report", self.report)

    # -- for people --------------------------------------------------------------------------------

    def who(self) -> dict[str, object]:
        """Whose it is, for a report."""
        consumer = self.consumer
        return {"consumer": consumer.id, "container": shown(consumer.container), "user": shown(consumer.user.name)}

    def describe(self, now: float) -> dict[str, object]:
        """All of it, in plain JSON-able values."""
        consumer, verdict = self.consumer, self.verdict()
        said: dict[str, object] = {
            source: {"said": heard.said, "age": round(now - heard.at, 3)}
            for source, heard in self._heard()
            if heard is not None
        }
        for source, number in (("config", self.fixed), ("property", self.own)):
            if number is not None:
                said[source] = {"said": number}
        described = {
            "consumer": consumer.id,
            "container": consumer.container[:SHOWN],
            "user": consumer.user.name[:SHOWN],
            "link": consumer.name[:SHOWN],
            "address": consumer.source.name if consumer.source is not None else "",
            "capacity": verdict.capacity,
            "drained": verdict.barred,
            "source": verdict.source,
            "said": said,
            "ignored": self.ignored,
        }
        if self.health is not None:
            described["health"] = {"url": self.health.target.url, "error": self.health.error}
        return described
