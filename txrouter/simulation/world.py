"""A world with a router in it, and a clock that jumps from one event to the next.

The router is the core itself, with the policy that is tried; producers, consumers and messages are what the wire is
otherwise (`txrouter.simulation.clients`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Final

from txrouter.core.addresses import AddressTable, Distribution
from txrouter.core.router import Router
from txrouter.interfaces import IExpiring, IReplyWatcher, IWoken
from txrouter.registry import Registry
from txrouter.simulation.clients import ADDRESS, REPLIES, Requester, SimulatedConsumer, SimulatedProducer, fields_of
from txrouter.simulation.jobs import Job
from txrouter.simulation.outcome import SAMPLES, Run, Sample
from txrouter.simulation.scenario import Event, Policy, Scenario

__all__ = ["simulate"]

TICK: Final = 0.001
"""Seconds that a timer takes at the least, which has gone off already."""
WAIT_FOR_THEIR_TIME: Final = (IExpiring, IReplyWatcher, IWoken)
"""What a policy is that has the router wait for some time to come."""
MANY: Final = 1_000_000_000
"""As many credits as one could want."""


def simulate(scenario: Scenario, policy: Policy, jobs: list[Job] | None = None) -> Run:
    """Have all of a scenario happen under one policy.

    :param jobs: the scenario's, if they have been made already.
    """
    world = World(scenario, policy, scenario.jobs() if jobs is None else jobs)
    world.run()
    return world.outcome()


class World:
    """What is there, and what is going to happen."""

    def __init__(self, scenario: Scenario, policy: Policy, jobs: list[Job]) -> None:
        self.scenario = scenario
        self.policy = policy
        self.jobs = jobs
        self.now = 0.0
        self.delay = scenario.delay
        table = AddressTable(policy.as_distribution())
        if scenario.arrivals.replies:
            factory = Registry().factory("pull")
            table.add_prefix(REPLIES, Distribution(factory, factory.options()))
        self.router = Router("simulated", table, seed=scenario.seed)
        self.fields = [fields_of(kind) for kind in scenario.message] or [fields_of()]
        """Those that all messages of a kind have in common."""
        self.properties = [kind.properties for kind in scenario.message] or [{}]
        self.latest = scenario.latest(jobs)
        """Until when each is of use, if not all are at any time: a producer does not send what is not."""
        self.replied = scenario.arrivals.replies
        self.times: list[float | None] = [None] * len(jobs)
        self.counts: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()
        self._samples: list[Sample] = []
        self.consumers = [SimulatedConsumer(self, server) for server in scenario.servers()]
        self.producers = [SimulatedProducer(self, number) for number in range(scenario.arrivals.producers)]
        for consumer in self.consumers:
            consumer.comes()
        for producer in self.producers:
            self.router.attach_producer(producer, ADDRESS)
            if self.replied:
                requester = Requester(producer.replies_to)
                self.router.attach_consumer(requester, producer.replies_to)
                self.router.credit(requester, MANY)
        tried = self.router.addresses[ADDRESS].policy
        self._timed = bool(self.latest) or any(facet.providedBy(tried) for facet in WAIT_FOR_THEIR_TIME)
        """Whether something may want to be woken, which is looked at after every event."""
        self._wakes_at = inf
        self.router.turn()
        self._schedule()

    def _schedule(self) -> None:
        self._next_job = 0
        if self.jobs:
            self.at(self.jobs[0].due, self._job_is_due, None)
        for event in self.scenario.event:
            self.at(event.at, self._happens, event)
        end = self.jobs[-1].due if self.jobs else 0.0
        for number in range(1, SAMPLES + 1):
            self.at(end * number / SAMPLES, self._sample, None)

    def at(self, when: float, call: Callable[[Any], None], argument: Any) -> None:
        """This is to happen then."""
        heappush(self._events, (when, next(self._numbers), call, argument))

    def later(self, call: Callable[[Any], None], argument: Any) -> None:
        """This is to happen when it has got there: from a client to the router, or back."""
        heappush(self._events, (self.now + self.delay, next(self._numbers), call, argument))

    def run(self) -> None:
        """Have it all happen."""
        events, router, timed = self._events, self.router, self._timed
        while events:
            self.now, _, call, argument = heappop(events)
            router.now = self.now
            call(argument)
            router.turn()
            if timed:
                self._set_timer()

    def _set_timer(self) -> None:
        deadline = self.router.next_deadline()
        if deadline is not None and deadline < self._wakes_at:
            self._wakes_at = deadline
            self.at(deadline if deadline > self.now else self.now + TICK, self._wake, None)

    def _wake(self, _nothing: None) -> None:
        self._wakes_at = inf
        self.router.wake()

    # -- what happens ------------------------------------------------------------------------------

    def _job_is_due(self, _nothing: None) -> None:
        number = self._next_job
        self._next_job = following = number + 1
        if following < len(self.jobs):
            self.at(self.jobs[following].due, self._job_is_due, None)
        self.producers[number % len(self.producers)].has(number)

    def _happens(self, event: Event) -> None:
        for consumer in self.consumers:
            if event.consumers in (consumer.server.name, consumer.server.group):
                if event.does == "leave":
                    consumer.leaves()
                elif event.does == "come":
                    consumer.comes()
                elif event.does == "speed":
                    consumer.changes(event.speed or consumer.speed, consumer.stalled)
                elif event.does == "fail":
                    consumer.fails(event)
                else:
                    if event.does == "go-on":
                        consumer.failing = None
                    consumer.changes(consumer.speed, event.does == "stall")

    def _sample(self, _nothing: None) -> None:
        address = self.router.addresses[ADDRESS]
        waiting = sum(len(producer.waiting) for producer in self.producers) + len(address.held)
        self._samples.append(Sample(self.now, waiting, [consumer.has for consumer in self.consumers]))

    def done(self, number: int, by: SimulatedConsumer) -> None:
        """A job is done."""
        by.done += 1
        self.times[number] = self.now - self.jobs[number].due

    def outcome(self) -> Run:
        """What has come of it."""
        return Run(
            title=self.policy.title,
            times=[time for time in self.times if time is not None],
            unfinished=self.times.count(None),
            sent_again=self.counts["sent again"],
            policy_errors=self.router.counters["policy_errors"],
            seconds=self.now,
            servers=[consumer.server for consumer in self.consumers],
            done=[consumer.done for consumer in self.consumers],
            samples=self._samples,
        )
