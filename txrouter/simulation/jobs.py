"""What there is to do: messages, when they come and what they cost; the tables of a scenario that say so."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate, repeat
from math import prod
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from txrouter.config_checks import Table

__all__ = ["Arrivals", "Burst", "Cost", "Count", "Job", "Messages", "Passage", "Positive", "draw_jobs"]


class Job(NamedTuple):
    """One message's work."""

    due: float
    """Seconds after the beginning when its producer has it."""
    cost: float
    """Seconds that it takes at speed 1."""
    kind: int = 0
    """Which of the scenario's kinds of message it is."""
    group: str | None = None
    """Its group id."""


Positive = Annotated[float, Field(gt=0, le=1e9)]
Count = Annotated[int, Field(ge=1, le=100_000)]


class Passage(NamedTuple):
    """How a message that was recorded passed through the router; the times as those of a job."""

    at: float
    """When it came."""
    sent: float
    settled: float
    consumer: str


class Cost(Table):
    """`[cost]`: how long messages take, in seconds at speed 1."""

    kind: Literal["constant", "exponential", "mixed", "pareto"] = "exponential"
    """`mixed`: most take `mean`-ish, and a share of them much longer. `pareto`: few take very much longer."""
    mean: Positive = 1.0
    """Of all messages."""
    long_share: float = Field(0.05, gt=0, lt=1)
    """Of `mixed`: the share of long ones."""
    long_factor: float = Field(20.0, gt=1, le=1e6)
    """Of `mixed`: how many times as long they take."""
    shape: float = Field(1.5, gt=1, le=100)
    """Of `pareto`: the lower, the more very long ones."""

    def draw(self, chance: random.Random) -> float:
        """The cost of a message."""
        if self.kind == "constant":
            return self.mean
        if self.kind == "exponential":
            return chance.expovariate(1 / self.mean)
        if self.kind == "pareto":
            return self.mean * (self.shape - 1) / self.shape * chance.paretovariate(self.shape)
        short = self.mean / (1 - self.long_share + self.long_share * self.long_factor)
        return short * (self.long_factor if chance.random() < self.long_share else 1.0)


class Burst(Table):
    """`[[arrivals.burst]]`: for a time, more come, or fewer."""

    at: float = Field(ge=0, le=1e9)
    """Seconds after the beginning."""
    seconds: Positive
    """How long it lasts."""
    factor: Positive
    """How many times as many come."""


class Arrivals(Table):
    """`[arrivals]`: when messages come."""

    load: float | None = Field(None, gt=0, le=100)
    """How much of what all consumers can do is asked of them: 0.9 leaves a tenth of their time idle."""
    rate: float | None = Field(None, gt=0, le=1e9)
    """Or: how many messages a second."""
    kind: Literal["random", "regular"] = "random"
    """`random`: independent of each other (Poisson). `regular`: one after the other in equal steps."""
    producers: Count = 4
    """How many clients they come from, in turn."""
    replies: bool = False
    """They are requests, and consumers reply when they are done."""
    burst: tuple[Burst, ...] = Field((), strict=False)
    """Times at which there are more of them, or fewer. Where two overlap, both factors count."""

    def at(self, when: float) -> float:
        """How many times as many as usual come then."""
        factors = (burst.factor for burst in self.burst if burst.at <= when < burst.at + burst.seconds)
        return prod(factors)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.load is None) == (self.rate is None):
            raise ValueError("has a load or a rate, one of the two")
        return self


class Messages(Table):
    """`[[message]]`: a kind of messages."""

    share: Positive = 1.0
    """How many are of this kind, relative to the others."""
    cost: Cost | None = None
    """What they cost; as `[cost]` says, if not said."""
    priority: int | None = Field(None, ge=0, le=255)
    """Of the header."""
    ttl: Positive | None = None
    """Time to live, in seconds: a producer that has had it for so long does not send it, and the router does not pass
    it on."""
    subject: str | None = None
    """Of the properties."""
    properties: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Application properties."""
    groups: Count | None = None
    """They have a group id: `group-1` to `group-N`."""
    skew: float = Field(0.0, ge=0, le=10)
    """How unequal the groups are: the n-th has a share like 1 / n**skew. 0: all are alike. 1: Zipf's law."""

    def draw_groups(self, count: int, chance: random.Random) -> Sequence[str | None]:
        """A group id for each of so many."""
        if self.groups is None:
            return [None] * count
        names = [f"group-{number}" for number in range(1, self.groups + 1)]
        parts = list(accumulate(number**-self.skew for number in range(1, self.groups + 1)))
        return chance.choices(names, cum_weights=parts, k=count)


def draw_jobs(
    count: int, seed: int, rate: float, arrivals: Arrivals, cost: Cost, kinds: Sequence[Messages]
) -> list[Job]:
    """The work, in the order it comes."""
    chance = random.Random(f"{seed}/kinds")
    of_kind = chance.choices(range(len(kinds)), [kind.share for kind in kinds], k=count) if kinds else repeat(0, count)
    chance = random.Random(f"{seed}/groups")
    groups = [iter(kind.draw_groups(count, chance)) for kind in kinds] or [repeat(None)]
    costs = [kind.cost or cost for kind in kinds] or [cost]
    chance = random.Random(f"{seed}/costs")
    drawn = [(kind, costs[kind].draw(chance), next(groups[kind])) for kind in of_kind]
    chance = random.Random(f"{seed}/arrivals")
    jobs = []
    due = 0.0
    for kind, seconds, group in drawn:
        gap = chance.expovariate(1.0) if arrivals.kind == "random" else 1.0
        due += gap / (rate * arrivals.at(due) if arrivals.burst else rate)
        jobs.append(Job(due, seconds, kind, group))
    return jobs
