"""The clients of a simulated world, and the messages that they send.

Everything that goes from a client to the router or back takes the scenario's delay. Producers send again what comes
back RELEASED or MODIFIED.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from txrouter.amqp.sections import FIELDS
from txrouter.core.deliveries import Delivery
from txrouter.core.links import Consumer, Producer
from txrouter.core.outcomes import ACCEPTED, LOST, RELEASED, Outcome, rejected
from txrouter.simulation.jobs import Messages
from txrouter.simulation.scenario import Event, Server

if TYPE_CHECKING:
    from txrouter.simulation.world import World

__all__ = ["ADDRESS", "REPLIES", "Requester", "SimulatedConsumer", "SimulatedProducer", "fields_of"]

ADDRESS: Final = "work"
"""Where the messages go."""
FAILS_AFTER: Final = 0.01
"""Seconds that it takes to fail with a message, if not said."""
OUTCOMES: Final = {
    "rejected": rejected("amqp:internal-error", "it failed"),
    "modified": LOST,
    "released": RELEASED,
}
REPLIES: Final = "replies"
"""What the addresses begin with that replies go to."""


def fields_of(kind: Messages | None = None) -> dict[str, object]:
    """The fields of a message of this kind that all of them have in common."""
    fields: dict[str, object] = dict.fromkeys(FIELDS)
    if kind is not None:
        ttl = round(kind.ttl * 1000) if kind.ttl is not None else None
        fields |= {"priority": kind.priority, "ttl": ttl, "subject": kind.subject}
    return fields


class SimulatedDelivery(Delivery):
    """A message."""

    __slots__ = ("number", "world")

    def __init__(self, world: World, producer: SimulatedProducer, number: int) -> None:
        super().__init__(producer, producer.target, False, world.now)  # type: ignore[arg-type]  # it is attached
        self.world = world
        self.number = number

    def field(self, name: str) -> object:
        """As IDelivery says."""
        job = self.world.jobs[self.number]
        if name == "group_id":
            return job.group
        if self.world.replied and name in ("reply_to", "message_id"):
            return self.number if name == "message_id" else self._from().replies_to
        return self.world.fields[job.kind][name]

    def _from(self) -> SimulatedProducer:
        return self.world.producers[self.number % len(self.world.producers)]

    def application_property(self, name: str) -> object:
        """As IDelivery says. Its cost is known to who asks for `cost`."""
        job = self.world.jobs[self.number]
        found = self.world.properties[job.kind].get(name)
        return job.cost if found is None and name == "cost" else found

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

    __slots__ = ("allowed", "replies_to", "waiting", "world")

    def __init__(self, world: World, number: int) -> None:
        super().__init__(f"producer-{number}", f"producer-{number}", {})
        self.world = world
        self.replies_to = f"{REPLIES}/{number}"
        """The address that it wants replies at, if it wants any."""
        self.waiting: deque[int] = deque()
        self.allowed = 0

    def has(self, number: int) -> None:
        """A message is to be sent."""
        self.waiting.append(number)
        self._send()

    def _send(self) -> None:
        latest, now = self.world.latest, self.world.now
        while self.allowed and self.waiting:
            number = self.waiting.popleft()
            if latest and latest[number] <= now:
                continue  # it is of no use any more
            self.allowed -= 1
            self.world.later(self._arrived, number)

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

    __slots__ = ("done", "failing", "granted", "inbox", "server", "speed", "stalled", "working", "world")

    def __init__(self, world: World, server: Server) -> None:
        super().__init__(server.name, server.name, server.properties)
        self.world = world
        self.server = server
        self.speed = server.speed
        self.stalled = False
        self.failing: Event | None = None
        """It fails, as this says."""
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
        if self.server.settles_first:
            self.world.later(self._settles, (delivery, ACCEPTED))
        if self.failing is not None:
            self._fails_with(delivery, self.failing)
            return
        self.inbox.append(delivery)
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
        if self.world.replied:
            self.world.later(self._replies, delivery.number)
        if not self.server.settles_first:
            self.world.later(self._settles, (delivery, ACCEPTED))
        self._begin()

    def fails(self, event: Event) -> None:
        """It fails from now on, also with what it has."""
        self.failing = event
        for delivery in (*self.working, *self.inbox):
            self._fails_with(delivery, event)
        self.inbox.clear()
        self.working.clear()

    def _fails_with(self, delivery: SimulatedDelivery, event: Event) -> None:
        if not self.server.settles_first:
            when = self.world.now + (event.after or FAILS_AFTER)
            outcome = OUTCOMES[event.outcome or "rejected"]
            self.world.at(when, lambda _nothing: self.world.later(self._settles, (delivery, outcome)), None)

    def _settles(self, said: tuple[SimulatedDelivery, Outcome]) -> None:
        delivery, outcome = said
        if delivery in self.unsettled:
            router = self.world.router
            router.settle(delivery, outcome)
            self.granted += 1
            router.credit(self, self.granted)

    def _replies(self, number: int) -> None:
        self.world.router.route_by_name(Reply(self.world, number))

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


class Reply(Delivery):
    """A reply, which is pre-settled."""

    __slots__ = ("number", "world")

    def __init__(self, world: World, number: int) -> None:
        super().__init__(None, None, True, world.now)  # type: ignore[arg-type]  # the router finds it by name
        self.world = world
        self.number = number

    def field(self, name: str) -> object:
        """As IDelivery says."""
        if name == "to":
            return self.world.producers[self.number % len(self.world.producers)].replies_to
        return self.number if name == "correlation_id" else None

    def finish(self, outcome: Outcome) -> None:
        """As Delivery says: its requester was not there."""


class Requester(Consumer):
    """What a producer gets its replies by. Nothing more comes of them."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, name, {})

    def send(self, delivery: Delivery) -> None:
        """As Consumer says."""
