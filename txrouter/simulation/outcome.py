"""What came of a simulation. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from txrouter.simulation.figures import percentile
from txrouter.simulation.scenario import Server

__all__ = ["SAMPLES", "Run", "Sample"]

SAMPLES = 200
"""How often it is looked at who has what, until the last message has come."""


class Sample(NamedTuple):
    """How things were at one time."""

    at: float
    waiting: int
    """Messages that waited at their producers and in the router."""
    has: list[int]
    """How many messages each consumer had."""


@dataclass(frozen=True)
class Run:
    """All of a scenario, under one policy."""

    title: str
    """What the policy is called."""
    times: list[float]
    """Seconds from when each message came to be sent until its work was done; in the order they came."""
    unfinished: int
    """Messages whose work was never done."""
    sent_again: int
    policy_errors: int
    seconds: float
    """From the beginning until nothing more happened."""
    servers: list[Server]
    done: list[int]
    """How many each consumer did."""
    samples: list[Sample]

    def percentile(self, fraction: float) -> float:
        """The time within which this part of the messages was done."""
        return percentile(self.times, fraction)

    def by_group(self) -> dict[str, int]:
        """How many the consumers of each group did."""
        counts: Counter[str] = Counter()
        for server, done in zip(self.servers, self.done, strict=True):
            counts[server.group] += done
        return dict(counts)
