"""The work of the demo: who consumes, how fast, and which jobs arrive when. Pure: the same seed gives the same work."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CONSUMERS", "LONG_FACTOR", "LONG_SHARE", "ORDINARY_COST", "PRODUCERS", "ConsumerSpec", "Job", "make_jobs"]

PRODUCERS = 4
ORDINARY_COST = 0.08
"""Seconds an ordinary job takes at speed 1. Long enough that what the clients themselves cost, about a millisecond,
does not show; short enough that a phase of 18 s has some thousand jobs."""
LONG_SHARE = 0.05
LONG_FACTOR = 20


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A consumer of the demo; at speed 2 every job takes half its cost."""

    name: str
    speed: float


CONSUMERS: tuple[ConsumerSpec, ...] = (
    ConsumerSpec("fast 1", 4.0),
    ConsumerSpec("fast 2", 4.0),
    ConsumerSpec("middling 1", 2.0),
    ConsumerSpec("middling 2", 2.0),
    ConsumerSpec("middling 3", 2.0),
    ConsumerSpec("middling 4", 2.0),
    ConsumerSpec("slow 1", 1.0),
    ConsumerSpec("slow 2", 1.0),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One message to send: `due` seconds after the start, by that producer, `cost` seconds of work at speed 1."""

    id: int
    due: float
    cost: float
    producer: int


def make_jobs(speeds: Sequence[float], *, load: float, duration: float, seed: int) -> list[Job]:
    """Jobs that arrive at random (Poisson) for `duration` seconds, whether or not earlier ones are done.

    :param load: the work that arrives, relative to what consumers of these speeds can do in the same time.
    :return: jobs in the order they arrive; a job's id is its index.
    """
    chance = random.Random(seed)
    mean_cost = ORDINARY_COST * (1 - LONG_SHARE + LONG_SHARE * LONG_FACTOR)
    rate = load * sum(speeds) / mean_cost
    jobs: list[Job] = []
    due = chance.expovariate(rate)
    while due < duration:
        cost = ORDINARY_COST * (LONG_FACTOR if chance.random() < LONG_SHARE else 1)
        jobs.append(Job(len(jobs), due, cost, chance.randrange(PRODUCERS)))
        due += chance.expovariate(rate)
    return jobs
