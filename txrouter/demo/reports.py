"""What the demo's client processes tell the one that watches them, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "ClientFailure",
    "ConsumerReport",
    "ConsumerState",
    "DemoError",
    "Finished",
    "ProducerReport",
    "Ready",
    "Report",
]


class DemoError(Exception):
    """The demo cannot go on; the message is one for people."""


@dataclass(frozen=True, slots=True)
class Ready:
    """All clients of the process are attached."""


@dataclass(frozen=True, slots=True)
class ClientFailure:
    """A client of the process cannot go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """A consumer as it sees itself: credit it has given and that is unused, messages it has not settled yet, done."""

    credit: int = 0
    in_flight: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A consumer has done a job, at that moment of the monotonic clock, which Linux's processes share.

    `late` says by how many seconds its timer woke it after the job's time was over: what the machine adds of its own.
    """

    job: int
    consumer: int
    when: float
    late: float


@dataclass(frozen=True, slots=True)
class ConsumerReport:
    """Where the consumers are, and what they have finished since the last report."""

    states: list[ConsumerState]
    finished: list[Finished]


@dataclass(frozen=True, slots=True)
class ProducerReport:
    """How many messages were accepted altogether, and the outcomes other than that: job to outcome."""

    accepted: int = 0
    failed: dict[int, str] = field(default_factory=dict)


Report = Ready | ClientFailure | ConsumerReport | ProducerReport
