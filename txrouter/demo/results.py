"""What a phase of the demo comes to, in figures. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from txrouter.simulation.figures import percentile

__all__ = ["PhaseResult"]


@dataclass(frozen=True)
class PhaseResult:
    """All jobs done under one policy.

    `credit` is what each consumer had outstanding, `times` the seconds from when each job was to be sent until it was
    done, `done` how many each consumer did, `seconds` from the start to the last completion; `late` is the 99th
    percentile of what consumers' timers were late by, in seconds.
    """

    policy: str
    credit: int
    times: list[float]
    done: list[int]
    seconds: float
    late: float

    @cached_property
    def p50(self) -> float:
        return percentile(self.times, 0.50)

    @cached_property
    def p99(self) -> float:
        return percentile(self.times, 0.99)

    @property
    def throughput(self) -> float:
        """Jobs done per second."""
        return len(self.times) / self.seconds if self.seconds else 0.0

    def summary(self, ideal_p99: float) -> dict[str, object]:
        """The figures in JSON-able form, times in seconds."""
        return {
            "policy": self.policy,
            "consumer_credit": self.credit,
            "messages": len(self.times),
            "throughput": round(self.throughput, 3),
            "p50": round(self.p50, 6),
            "p99": round(self.p99, 6),
            "p99_to_ideal": round(self.p99 / ideal_p99, 4) if ideal_p99 else None,
            "done": self.done,
            "timers_late_p99": round(self.late, 6),
        }
