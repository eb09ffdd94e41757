"""What the demo prints: a live table while a phase runs, and the figures at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TextIO

from txrouter.demo.reports import ConsumerState
from txrouter.demo.results import PhaseResult
from txrouter.demo.work import ConsumerSpec
from txrouter.simulation.figures import percentile, share

__all__ = ["LiveTable", "figures"]

REDRAW = 0.25
LINE_EVERY = 5.0
BAR = 100  # characters for all messages


class LiveTable:
    """Where a phase is. Redrawn in place on a terminal, otherwise a line every five seconds."""

    def __init__(self, stream: TextIO, policy: str, consumers: Sequence[ConsumerSpec], total: int) -> None:
        self.stream = stream
        self.policy = policy
        self.consumers = consumers
        self.total = total
        self.in_place = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._next = 0.0
        self._drawn = 0
        self._last: tuple[Sequence[ConsumerState], float] | None = None

    def show(self, states: Sequence[ConsumerState], seconds: float) -> None:
        """Take the newest state, `seconds` after the start, and print it if it is time to."""
        self._last = states, seconds
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (REDRAW if self.in_place else LINE_EVERY)
        self._print(states, seconds)

    def finish(self) -> None:
        """Print the last state there was, whatever the time."""
        if self._last is not None:
            self._print(*self._last)

    def _print(self, states: Sequence[ConsumerState], seconds: float) -> None:
        lines = self.rows(states, seconds) if self.in_place else [self.line(states, seconds)]
        back = f"\x1b[{self._drawn}A" if self._drawn else ""
        end = "\x1b[K\n" if self.in_place else "\n"
        self._drawn = len(lines) if self.in_place else 0
        self.stream.write(back + "".join(line + end for line in lines))
        self.stream.flush()

    def rows(self, states: Sequence[ConsumerState], seconds: float) -> list[str]:
        """The table, line by line."""
        done = sum(state.done for state in states)
        lines = [f"{self.policy}: {seconds:4.1f} s, {done} of {self.total} done"]
        lines.append(f"  {'consumer':<12}{'speed':>6}{'credit':>8}{'in flight':>11}{'done':>7}{'share':>8}")
        shares = share([state.done for state in states])
        for spec, state, part in zip(self.consumers, states, shares, strict=True):
            figures = f"{spec.speed:>6g}{state.credit:>8}{state.in_flight:>11}{state.done:>7}{part:>8.1%}"
            lines.append(f"  {spec.name:<12}{figures}  {'#' * round(part * BAR)}")
        return lines

    def line(self, states: Sequence[ConsumerState], seconds: float) -> str:
        """The table in one line, for logs."""
        done = sum(state.done for state in states)
        flight = sum(state.in_flight for state in states)
        shares = " ".join(f"{part:.0%}" for part in share([state.done for state in states]))
        return (
            f"{self.policy}: {seconds:4.0f} s  {done:>5} of {self.total} done  {flight:>3} in flight  shares {shares}"
        )


def figures(results: Sequence[PhaseResult], ideal: Sequence[float]) -> list[str]:
    """The table at the end, line by line: each policy, and the ideal central queue."""
    best = percentile(ideal, 0.99)
    lines = [f"{'':<22}{'credit':>8}{'throughput':>14}{'p50':>11}{'p99':>11}{'p99 / ideal':>14}"]
    for result in results:
        rate = f"{result.throughput:.1f} msg/s"
        ratio = f"{result.p99 / best:.2f}" if best else "-"
        times = f"{milliseconds(result.p50):>11}{milliseconds(result.p99):>11}"
        lines.append(f"{result.policy:<22}{result.credit:>8}{rate:>14}{times}{ratio:>14}")
    times = f"{milliseconds(percentile(ideal, 0.5)):>11}{milliseconds(best):>11}"
    lines.append(f"{'ideal central queue':<22}{'':>8}{'':>14}{times}{'1.00':>14}")
    return lines


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
