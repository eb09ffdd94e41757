"""What is simulated: the TOML of a scenario, checked as a whole, and the work and the consumers that it describes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from txrouter.config_checks import Context, PolicyName, PolicyOptions, Table, path_of, read_toml, sentence
from txrouter.core.addresses import Distribution
from txrouter.interfaces import IDistributionPolicyFactory, IMulticast
from txrouter.registry import Registry
from txrouter.simulation.jobs import Arrivals, Cost, Count, Job, Messages, Passage, Positive, draw_jobs
from txrouter.simulation.traces import TraceError, as_tables, read_trace, with_trace

__all__ = ["Event", "Policy", "Scenario", "ScenarioError", "Server"]


class ScenarioError(ValueError):
    """A scenario that cannot be used. `str()` of it is its problems, one on each line."""


class Server(NamedTuple):
    """One consumer, as it begins."""

    name: str
    group: str
    speed: float
    credit: int
    slots: int
    """How many jobs it works on at a time, each at its speed."""
    settles_first: bool
    """Whether it accepts a message before it works on it."""
    properties: Mapping[str, object]


class Consumers(Table):
    """`[[consumer]]`: some that are alike."""

    name: str = Field(min_length=1)
    """They are called `NAME-1`, `NAME-2` and so on; or just `NAME`, if it is one."""
    count: Count = 1
    """How many there are."""
    speed: Positive = 1.0
    """How fast each is."""
    credit: Count = 1
    """How many messages each has at a time, those included that it works on."""
    slots: Count = 1
    """How many it works on at a time."""
    settles: Literal["done", "received"] = "done"
    """When it accepts a message: when the work is done, or before."""
    properties: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """The link properties that it gives at attach, such as `capacity` and `priority`."""

    def servers(self) -> Iterator[Server]:
        """Each of them."""
        for number in range(1, self.count + 1):
            name = f"{self.name}-{number}" if self.count > 1 else self.name
            first = self.settles == "received"
            yield Server(name, self.name, self.speed, self.credit, self.slots, first, self.properties)


class Event(Table):
    """`[[event]]`: something happens to consumers."""

    at: float = Field(ge=0, le=1e9)
    """Seconds after the beginning."""
    consumers: str
    """The name of one, or of all that are alike."""
    does: Literal["leave", "come", "speed", "stall", "fail", "go-on"]
    """`leave`: what it has is lost to it, and MODIFIED for the producers. `come`: it attaches again. `speed`: it is so
    fast from now on. `stall`: it works on nothing until it goes on. `fail`: it fails with all it has and gets, until it
    goes on."""
    speed: Positive | None = None
    outcome: Literal["rejected", "modified", "released"] | None = None
    """What it says of messages that it fails with; `rejected`, if not said."""
    after: Positive | None = None
    """Seconds after which it says so; 0.01, if not said."""

    @model_validator(mode="after")
    def _only_where_it_is_needed(self) -> Self:
        if (self.does == "speed") != (self.speed is not None):
            raise ValueError('has a speed with does = "speed", and only then')
        if self.does != "fail" and (self.outcome is not None or self.after is not None):
            raise ValueError('has an outcome, and a time after which, with does = "fail" only')
        return self


class Recorded(Table):
    """`[trace]`: what came to a router that was running, instead of what `[arrivals]` and `[cost]` say."""

    file: str = Field(min_length=1)
    """What `txrouter record` wrote; from the directory of the scenario."""
    slots: Count = 1
    """On how many messages its consumers worked at a time."""


class Policy(Table):
    """`[[policy]]`: one of those that are compared."""

    distribution: PolicyName
    """Its name, or `package.module:factory`."""
    options: PolicyOptions = Field(default_factory=dict, validate_default=True)
    """Its options."""
    priority: bool = False
    """Whether what is held leaves by the priority in its header; or in the order it came."""
    label: str = ""
    """What it is called in the figures; its name, if not said."""

    _factory: IDistributionPolicyFactory = PrivateAttr()

    def model_post_init(self, context: Context | None, /) -> None:
        self._factory = (context or Context.new()).registry.factory(self.distribution)

    @property
    def factory(self) -> IDistributionPolicyFactory:
        """What builds it."""
        return self._factory

    @property
    def title(self) -> str:
        """What it is called."""
        return self.label or self.distribution

    def as_distribution(self) -> Distribution:
        """It, as the core wants it."""
        return Distribution(self._factory, self.options, self.priority)


class Scenario(Table):
    """A scenario; immutable. Made by `load` or `from_dict`, never by hand."""

    title: str = ""
    """One line for people."""
    messages: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000
    """How many come."""
    seed: int = 1
    """The same seed has the same happen, and the same work to do under every policy."""
    delay: float = Field(0.0, ge=0, le=60)
    """Seconds that anything takes from a client to the router, or back."""
    trace: Recorded | None = None
    cost: Cost = Field(default_factory=lambda: Cost.model_validate({}))
    arrivals: Arrivals
    message: tuple[Messages, ...] = Field((), strict=False)
    consumer: tuple[Consumers, ...] = Field(strict=False, min_length=1)
    event: tuple[Event, ...] = Field((), strict=False)
    policy: tuple[Policy, ...] = Field((), strict=False)
    _recorded: list[Job] = PrivateAttr(default_factory=list)
    _passages: list[Passage] = PrivateAttr(default_factory=list)
    _missing: int = PrivateAttr(0)

    @field_validator("event")
    @classmethod
    def _of_consumers_that_are_there(cls, value: tuple[Event, ...], info: Any) -> tuple[Event, ...]:
        servers = [server for group in info.data.get("consumer", ()) for server in group.servers()]
        names = {name for server in servers for name in (server.name, server.group)}
        for number, event in enumerate(value):
            if names and event.consumers not in names:
                raise ValueError(f"[{number}] is of {event.consumers!r}; there are: {', '.join(sorted(names))}")
        return value

    @field_validator("policy")
    @classmethod
    def _that_choose(cls, value: tuple[Policy, ...]) -> tuple[Policy, ...]:
        for policy in value:
            if IMulticast.providedBy(policy.factory.build(policy.options, random.Random(0))):
                raise ValueError(f"{policy.distribution} sends to all: there is nothing to compare")
        return value

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None,
        policies: Sequence[str] = (),
        more: Mapping[str, object] | None = None,
        *,
        trace: str | None = None,
    ) -> Self:
        """The scenario in a TOML file.

        :param path: the file; None for a trace and nothing else.
        :param policies: names of policies to compare instead of those in the file.
        :param more: keys with what they are to be instead.
        :param trace: a file with recorded messages, which come instead of those in the file.
        :raise ScenarioError: a file cannot be read, or something in it is wrong.
        """
        try:
            data = read_toml(path) if path is not None else {}
        except ValueError as error:
            raise ScenarioError(str(error)) from error
        directory = os.path.dirname(path) if path is not None else ""
        if trace is not None:
            data, directory = with_trace(data, trace), ""
        return cls.from_dict({**data, **(more or {})}, policies, directory=directory)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, object],
        policies: Sequence[str] = (),
        registry: Registry | None = None,
        directory: str = "",
    ) -> Self:
        """The scenario that `data` is; see `load`.

        :param directory: where its trace is, if it has one.
        :raise ScenarioError: something is wrong; it has everything that is.
        """
        if policies:
            data = {**data, "policy": [{"distribution": name} for name in policies]}
        context = Context.new(registry)
        try:
            given = data.get("trace")
            if given is None:
                return cls.model_validate(data, context=context)
            recorded = Recorded.model_validate(given)
            trace = read_trace(os.path.join(directory, recorded.file), recorded.slots)
            scenario = cls.model_validate(as_tables(trace, data, context.registry), context=context)
        except ValidationError as error:
            lines = [f"{path_of(line['loc'])}: {sentence(line)}" for line in error.errors()]
            raise ScenarioError("\n".join(lines)) from None
        except TraceError as error:
            raise ScenarioError(f"trace: {recorded.file}: {error}") from None
        scenario._missing = trace.missing
        scenario._passages = trace.passages
        scenario._recorded = trace.jobs[: scenario.messages]
        return scenario

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Those that are compared: if it says nothing of it, the default and the one that everybody has."""
        return self.policy or tuple(Policy(distribution=name) for name in ("pull", "round-robin"))

    def servers(self) -> list[Server]:
        """The consumers, each by itself."""
        return [server for group in self.consumer for server in group.servers()]

    def jobs(self) -> list[Job]:
        """The work, in the order it comes."""
        if self._recorded:
            return self._recorded
        return draw_jobs(self.messages, self.seed, self.rate, self.arrivals, self.cost, self.message)

    def latest(self, jobs: Sequence[Job]) -> list[float]:
        """Until when each of these is of use to a consumer; empty if all are at any time."""
        ttls = [inf if kind.ttl is None else kind.ttl for kind in self.message]
        return [job.due + ttls[job.kind] for job in jobs] if any(ttl < inf for ttl in ttls) else []

    @property
    def passages(self) -> list[Passage]:
        """How its messages passed when they were recorded, if it has them all, and the consumers that were there."""
        theirs = {server.name for server in self.servers()}
        whole = self.messages >= len(self._passages) and all(each.consumer in theirs for each in self._passages)
        return self._passages if whole else []

    @property
    def missing(self) -> int:
        """How many messages came that are not in its trace."""
        return self._missing

    @property
    def rate(self) -> float:
        """How many messages come in a second."""
        if self.arrivals.rate is not None:
            return self.arrivals.rate
        assert self.arrivals.load is not None
        return self.arrivals.load * sum(server.speed * server.slots for server in self.servers()) / self._mean_cost

    @property
    def _mean_cost(self) -> float:
        if not self.message:
            return self.cost.mean
        shares = sum(kind.share for kind in self.message)
        return sum(kind.share * (kind.cost or self.cost).mean for kind in self.message) / shares
