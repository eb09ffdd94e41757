"""A world with a router in it, and a clock that jumps from one event to the next.

The router is the core itself, with the policy that is tried; producers, consumers and messages are what the wire is
otherwise. Everything that goes from a client to the router or back takes the scenario's delay. Producers send again
what comes back RELEASED or MODIFIED.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from txrouter.core.addresses import AddressTable
from txrouter.core.deliveries import Delivery
from txrouter.core.links import Consumer, Producer
from txrouter.core.outcomes import ACCEPTED, Outcome
from txrouter.core.router import Router
from txrouter.simulation.outcome import SAMPLES, Run, Sample
from txrouter.simulation.scenario import Event, Job, Policy, Scenario, Server

__all__ = ["simulate"]

ADDRESS = "work"


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
        self.router = Router("simulated", AddressTable(policy.as_distribution()), seed=scenario.seed)
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
        events, router = self._events, self.router
        while events:
            self.now, _, call, argument = heappop(events)
            router.now = self.now
            call(argument)
            router.turn()

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
                else:
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


class SimulatedDelivery(Delivery):
    """A message."""

    __slots__ = ("number", "world")

    def __init__(self, world: World, producer: SimulatedProducer, number: int) -> None:
        super().__init__(producer, producer.target, False, world.now)  # type: ignore[arg-type]  # it is attached
        self.world = world
        self.number = number

    def field(self, name: str) -> object:
        """As IDelivery says."""
        return None

    def application_property(self, name: str) -> object:
        """As IDelivery says. Its cost is known to who asks for `cost`."""
        return self.world.jobs[self.number].cost if name == "cost" else None

    def can_be_resent(self) -> bool:
        """As Delivery says: what has been sent may have been worked on."""
        return False

    def was_sent(self) -> bool:
        """As Delivery says."""
        return True

    def recall(self) -> None:
        """As Delivery says; it is not asked for."""

    def finish(self, outcome: Outcome) -> None:
        """As Delivery says."""
        producer: Any = self.producer
        del producer.unsettled[self]
        if self.consumer is not None:
            self.consumer.unsettled.pop(self, None)
        if outcome.asks_for_another or outcome.delivery_failed:
            self.world.counts["sent again"] += 1
            self.world.later(producer.has, self.number)


class SimulatedProducer(Producer):
    """A client that sends each message as soon as it has it, and credit."""

    __slots__ = ("allowed", "waiting", "world")

    def __init__(self, world: World, number: int) -> None:
        super().__init__(f"producer-{number}", f"producer-{number}", {})
        self.world = world
        self.waiting: deque[int] = deque()
        self.allowed = 0

    def has(self, number: int) -> None:
        """A message is to be sent."""
        self.waiting.append(number)
        self._send()

    def _send(self) -> None:
        while self.allowed and self.waiting:
            self.allowed -= 1
            self.world.later(self._arrived, self.waiting.popleft())

    def _arrived(self, number: int) -> None:
        delivery = SimulatedDelivery(self.world, self, number)
        self.unsettled[delivery] = delivery
        self.world.router.route(delivery)

    def grant(self, credit: int) -> None:
        """As Producer says."""
        self.world.later(self._granted, credit)

    def _granted(self, credit: int) -> None:
        self.allowed += credit
        self._send()

    def drain(self) -> None:
        """As Producer says."""
        self.world.later(self._drained, None)

    def _drained(self, _nothing: None) -> None:
        given_back, self.allowed = self.allowed, 0
        self.world.later(self._given_back, given_back)

    def _given_back(self, credit: int) -> None:
        self.world.router.feeding.drained(self, credit)

    def overdrawn(self) -> None:
        """As Producer says."""
        raise AssertionError("a simulated producer keeps to its credit")


class SimulatedConsumer(Consumer):
    """A client that works on what it is sent, in the order it comes. It is another link each time that it comes."""

    __slots__ = ("done", "granted", "inbox", "server", "speed", "stalled", "working", "world")

    def __init__(self, world: World, server: Server) -> None:
        super().__init__(server.name, server.name, server.properties)
        self.world = world
        self.server = server
        self.speed = server.speed
        self.stalled = False
        self.granted = 0
        self.inbox: deque[SimulatedDelivery] = deque()
        self.working: dict[SimulatedDelivery, float] = {}
        """What it works on, and when each will be done."""
        self.done = 0
        capacity = server.properties.get("capacity", 1.0)
        self.capacity = float(capacity) if isinstance(capacity, int | float) else 1.0

    @property
    def has(self) -> int:
        """How many messages it has, and is not done with."""
        return len(self.inbox) + len(self.working)

    def comes(self) -> None:
        """It attaches, and gives credit."""
        if self.source is None:
            router = self.world.router
            router.attach_consumer(self, ADDRESS)
            self.granted = self.server.credit
            router.credit(self, self.granted)

    def leaves(self) -> None:
        """It is gone, and what it had with it."""
        if self.source is not None:
            self.inbox.clear()
            self.working.clear()
            self.world.router.detach_consumer(self)
            self.in_flight = self.credit = self.withheld = self.window = 0

    def send(self, delivery: Delivery) -> None:
        """As Consumer says."""
        self.granted -= 1
        self.unsettled[delivery] = delivery
        self.world.later(self._got, delivery)

    def overrun(self) -> None:
        """As Consumer says; there is no multicast here."""

    def _got(self, delivery: SimulatedDelivery) -> None:
        if delivery not in self.unsettled:
            return  # it left in between
        self.inbox.append(delivery)
        if self.server.settles_first:
            self.world.later(self._settles, delivery)
        self._begin()

    def _begin(self) -> None:
        world = self.world
        while self.inbox and len(self.working) < self.server.slots and not self.stalled:
            delivery = self.inbox.popleft()
            ends = world.now + world.jobs[delivery.number].cost / self.speed
            self.working[delivery] = ends
            world.at(ends, self._ended, delivery)

    def _ended(self, delivery: SimulatedDelivery) -> None:
        # it may have left, or have become slower, since that was foreseen
        if self.working.get(delivery) != self.world.now or self.stalled:
            return
        del self.working[delivery]
        self.world.done(delivery.number, self)
        if not self.server.settles_first:
            self.world.later(self._settles, delivery)
        self._begin()

    def _settles(self, delivery: SimulatedDelivery) -> None:
        if delivery in self.unsettled:
            router = self.world.router
            router.settle(delivery, ACCEPTED)
            self.granted += 1
            router.credit(self, self.granted)

    def changes(self, speed: float, stalled: bool) -> None:
        """It becomes faster or slower, stops, or goes on; also with what it works on."""
        world = self.world
        if self.stalled:  # then the times are those that were left
            left = dict(self.working)
        else:
            left = {delivery: ends - world.now for delivery, ends in self.working.items()}
        self.working = {delivery: seconds * self.speed / speed for delivery, seconds in left.items()}
        self.speed, self.stalled = speed, stalled
        if not stalled:
            for delivery, seconds in self.working.items():
                self.working[delivery] = world.now + seconds
                world.at(world.now + seconds, self._ended, delivery)
            self._begin()
