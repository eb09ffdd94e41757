"""Recorded traces (docs/traces.md) as the work and the consumers of a scenario."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median_low, pstdev
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from txrouter.config_checks import path_of, sentence
from txrouter.registry import Registry
from txrouter.simulation.jobs import Job, Passage

__all__ = ["Trace", "TraceError", "as_tables", "read_trace", "with_trace"]

VERSION = 1
ENOUGH = 30
"""Messages that a consumer has to have worked on before its speed can be told."""
SHORTEST = 1e-6
"""Seconds, as exact as a trace is."""


class TraceError(ValueError):
    """A trace that cannot be used. `str()` of it says in which line, and why."""


@dataclass(frozen=True)
class Trace:
    """What a trace says."""

    address: str
    policy: str
    """The name of the policy that chose."""
    jobs: list[Job]
    """What came, in the order it came. Its kinds are those of `message`."""
    message: list[dict[str, object]]
    consumer: list[dict[str, object]]
    event: list[dict[str, object]]
    """The tables of a scenario that say the same."""
    passages: list[Passage]
    """How the messages passed, those of which it is known, in the order they came."""
    missing: int
    """How many messages are not in it, as whoever recorded it was too slow to take them."""


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Consumer(_Line):
    consumer: str
    credit: int = Field(0, ge=0)
    in_flight: int = Field(0, ge=0)
    capacity: float = Field(1.0, gt=0)


class _Head(_Line):
    address: str
    policy: str
    consumers: list[_Consumer]


class _Message(_Line):
    at: float
    consumer: str
    sent: float
    settled: float | None = None
    cost: float | None = Field(None, ge=0)
    priority: int | None = Field(None, ge=0, le=255)
    ttl: float | None = Field(None, gt=0)
    subject: str | None = None
    attempt: int = 1
    outcome: str | None = None

    @property
    def came(self) -> bool:
        """Whether it is to come in a simulation. One that was lost came again; it may be lost there too."""
        return self.attempt == 1 and self.outcome != "lost"


class _Attached(_Line):
    at: float
    attached: _Consumer


class _Left(_Line):
    at: float
    left: str


class _Dropped(_Line):
    dropped: int


def read_trace(path: str | os.PathLike[str], slots: int = 1) -> Trace:
    """Read a trace.

    What a message cost is what it is said to have cost, times the speed of the consumer that worked on it. That speed
    is how much less its messages took on average than everybody's, if that can be no chance. Where nothing is said, it
    is what another message cost.

    :param slots: on how many messages each consumer worked at a time. If on several, they cost what passed between
        when they were sent and when they were settled.
    :raise TraceError: it cannot be read, or is wrong.
    """
    reading = _Reading()
    try:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                reading.line(number, text)
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceError("cannot be read: it is not UTF-8") from error
    return reading.finish(slots)


def as_tables(trace: Trace, given: Mapping[str, Any], registry: Registry) -> dict[str, object]:
    """The tables of a scenario with what the trace says where `given` does not.

    :raise TraceError: `given` says what only the trace can say.
    """
    arrivals = given.get("arrivals", {})
    theirs = [key for key in ("cost", "message") if key in given]
    if isinstance(arrivals, Mapping):
        theirs += [f"arrivals.{key}" for key in ("load", "rate", "kind", "burst") if key in arrivals]
        arrivals = {"rate": len(trace.jobs) / max(SHORTEST, trace.jobs[-1].due), **arrivals}
    if theirs:
        raise TraceError(f"what it has is said elsewhere too: {', '.join(theirs)}")
    messages = given.get("messages", len(trace.jobs))
    if isinstance(messages, int):
        messages = min(messages, len(trace.jobs))
    chose = [trace.policy] if trace.policy in registry.names() else []
    tables = {
        "title": f"{trace.address}, as it was recorded under {trace.policy}",
        "policy": [{"distribution": name} for name in dict.fromkeys([*chose, "pull", "round-robin"])],
        **({"consumer": trace.consumer, "event": trace.event} if "consumer" not in given else {}),
    }
    return {**tables, **given, "arrivals": arrivals, "message": trace.message, "messages": messages}


def with_trace(given: Mapping[str, Any], file: str) -> dict[str, object]:
    """A scenario with the messages of a trace instead of those that it has."""
    tables = {key: value for key, value in given.items() if key not in ("cost", "message", "messages")}
    for name, kept in (("arrivals", ("producers", "replies")), ("trace", ("slots",))):
        table = given.get(name, {})
        tables[name] = {key: table[key] for key in kept if key in table} if isinstance(table, Mapping) else table
    if isinstance(tables["trace"], dict):
        tables["trace"]["file"] = file
    return tables


class _Reading:
    def __init__(self) -> None:
        self.head: _Head | None = None
        self.messages: list[_Message] = []
        self.consumers: dict[str, _Consumer] = {}
        self.events: list[dict[str, object]] = []
        self.missing = 0

    def line(self, number: int, text: str) -> None:
        """Take in a line.

        :raise TraceError: it makes no sense.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            if self.head is not None and not text.endswith("\n"):
                return  # whoever wrote it was lost in the middle of it
            raise TraceError(f"line {number}: is no JSON") from None
        if not isinstance(found, dict):
            raise TraceError(f"line {number}: is no JSON object")
        try:
            if self.head is None:
                self._begin(found)
            else:
                self._take(found)
        except ValidationError as error:
            first = error.errors()[0]
            raise TraceError(f"line {number}: {path_of(first['loc'])}: {sentence(first)}") from None

    def _begin(self, found: Mapping[str, Any]) -> None:
        if found.get("txrouter") != "trace":
            raise TraceError("line 1: is not how a trace of txrouter begins")
        if found.get("version") != VERSION:
            raise TraceError(f"line 1: is of a version of the format other than {VERSION}, {found.get('version')!r}")
        self.head = _Head.model_validate(found)
        for consumer in self.head.consumers:
            self.consumers[consumer.consumer] = consumer

    def _take(self, found: Mapping[str, Any]) -> None:
        if "end" in found:
            return
        if "attached" in found:
            came = _Attached.model_validate(found)
            name = came.attached.consumer
            if name not in self.consumers:
                self.consumers[name] = came.attached
                self._happens(0.0, name, "leave")
            self._happens(came.at, name, "come")
        elif "left" in found:
            went = _Left.model_validate(found)
            if went.left in self.consumers:
                self._happens(went.at, went.left, "leave")
        elif "dropped" in found:
            self.missing += _Dropped.model_validate(found).dropped
        elif "consumer" in found:
            message = _Message.model_validate(found)
            if message.came or message.cost is not None:
                self.messages.append(message)

    def _happens(self, at: float, name: str, does: str) -> None:
        self.events.append({"at": max(0.0, at), "consumers": name, "does": does})

    def finish(self, slots: int) -> Trace:
        """All lines have been taken in.

        :raise TraceError: they are not enough to simulate anything.
        """
        if self.head is None:
            raise TraceError("is empty")
        if slots > 1:
            for each in self.messages:
                if each.cost is not None and each.settled is not None:
                    each.cost = each.settled - each.sent
        speeds = _speeds(self.messages)
        jobs, kinds = self._jobs(speeds)
        return Trace(
            address=self.head.address,
            policy=self.head.policy,
            jobs=jobs,
            message=kinds,
            consumer=self._consumers(speeds, slots),
            event=sorted(self.events, key=lambda event: float(str(event["at"]))),
            passages=[
                Passage(each.at, each.sent, each.settled, each.consumer)
                for each in sorted(self.messages, key=lambda each: each.at)
                if each.came and each.settled is not None and each.cost is not None
            ],
            missing=self.missing,
        )

    def _jobs(self, speeds: Mapping[str, float]) -> tuple[list[Job], list[dict[str, object]]]:
        """What came, and the kinds that it is of."""
        arrivals = sorted((each for each in self.messages if each.came), key=lambda each: each.at)
        if not arrivals:
            raise TraceError("no message is in it")
        known = [each.cost * speeds.get(each.consumer, 1.0) for each in self.messages if each.cost is not None]
        if not known:
            raise TraceError("it says of no message how long its consumer took")
        chance = random.Random(0)
        kinds: dict[tuple[tuple[str, object], ...], int] = {}
        jobs = []
        for each in arrivals:
            cost = chance.choice(known) if each.cost is None else each.cost * speeds.get(each.consumer, 1.0)
            says = (("priority", each.priority), ("ttl", each.ttl), ("subject", each.subject))
            kind = kinds.setdefault(says, len(kinds))
            jobs.append(Job(max(0.0, each.at), max(SHORTEST, cost), kind))
        return jobs, [{key: value for key, value in kind if value is not None} for kind in kinds]

    def _consumers(self, speeds: Mapping[str, float], slots: int) -> list[dict[str, object]]:
        usual = median_low([each.credit + each.in_flight for each in self.consumers.values()] or [1])
        for each in self.messages:  # there may have been more of them than a trace names
            if each.consumer not in self.consumers:
                self.consumers[each.consumer] = _Consumer(
                    consumer=each.consumer, credit=usual, in_flight=0, capacity=1.0
                )
        return [
            {
                "name": name,
                "speed": speeds.get(name, 1.0),
                "credit": max(1, each.credit + each.in_flight),
                "slots": slots,
                "properties": {"capacity": each.capacity},
            }
            for name, each in self.consumers.items()
        ]


def _speeds(messages: Sequence[_Message]) -> dict[str, float]:
    """How fast consumers are, compared with all, as far as they differ by more than chance."""
    took: dict[str, list[float]] = {}
    for each in messages:
        if each.cost is not None:
            took.setdefault(each.consumer, []).append(each.cost)
    everything = [cost for costs in took.values() for cost in costs]
    mean, speeds = fmean(everything or [0.0]), {}
    for name, costs in took.items():
        own = fmean(costs)
        if len(costs) >= ENOUGH and own > 0 and abs(own - mean) > 3 * pstdev(costs) / sqrt(len(costs)):
            speeds[name] = mean / own
    return speeds
