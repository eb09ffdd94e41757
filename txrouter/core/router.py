"""The router: links, credit, and the way of a delivery that finds its consumer at once.

The wire calls in: a link attached or left, a message arrived, credit came, a consumer settled, a turn of the reactor
ended. The router decides and calls out, by the methods that `Producer`, `Consumer` and `Delivery` leave to the wire.
What the policies are told is told after the numbers have become what they are.

Where a delivery can be:

    arrived ──▶ in flight ──▶ over
       │           │  ▲
       ▼           ▼  │
      held ───────────┘            (`txrouter.core.holding`)

Only this module, and what it calls, `policies`, `holding`, `feeding`, `replies`, `rota`, `capacities` and `multicast`,
change anything in the core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from txrouter.core import credit as flow
from txrouter.core.access import UNAUTHORIZED
from txrouter.core.addresses import AddressTable, normalise
from txrouter.core.alarms import soonest
from txrouter.core.capacities import Capacities, CapacityRule
from txrouter.core.deliveries import Delivery, Malformed
from txrouter.core.feeding import Feeding
from txrouter.core.holding import Holding
from txrouter.core.limits import Limits
from txrouter.core.links import Address, Consumer, Producer
from txrouter.core.observing import Observations
from txrouter.core.outcomes import LOST, RELEASED, SETTLED, Outcome, rejected
from txrouter.core.policies import Policies, PolicyError, Unavailable
from txrouter.core.replies import Replies
from txrouter.core.rota import Rota
from txrouter.core.users import Headcount

__all__ = ["Report", "Router"]

Report = Callable[[str, dict[str, object]], None]


def _nobody(_delivery: Delivery) -> None:
    """What is selected once the router is being stopped."""
    return None


class Router:
    """Producers, consumers, and what passes between them.

    :param id: the router's id, unique in its network.
    :param table: which distribution an address has.
    :param limits: what is bounded.
    :param seed: the source of all chance: the same seed and the same events give the same choices.
    :param report: told of what an operator should hear of: a name, and fields.
    :param capacity: what is configured of the consumers' capacity.
    """

    def __init__(
        self,
        id: str,
        table: AddressTable,
        limits: Limits | None = None,
        *,
        seed: int = 0,
        report: Report | None = None,
        capacity: Sequence[CapacityRule] = (),
    ) -> None:
        self.id = id
        self.limits = limits or Limits()
        self.seed = seed
        self.report = report or (lambda _event, _fields: None)
        self.now = 0.0
        """Seconds on the wire's monotonic clock, as of the read or the timer that is being served."""
        self.stopping = False
        self.short_of_memory = False
        """No new connections are wanted: see `txrouter.core.ceiling`."""
        self.addresses: dict[str, Address] = {}
        """Those that somebody is attached to, by their normalised names."""
        self.temporary: set[str] = set()
        """The names of addresses that were made for one link each, and are gone when it is."""
        self.counters: Counter[str] = Counter()
        """How often each thing happened that is not the plain way of a message or a link."""
        self.users = Headcount()
        self.hosts = Headcount()
        """Whose the open connections are, and where they come from."""
        self.policies = Policies(self, table)
        self.holding = Holding(self)
        self.feeding = Feeding(self)
        self.replies = Replies(self)
        self.rota = Rota(self)
        self.capacities = Capacities(self, capacity)
        self.observations = Observations(self)
        self._here = f"_topo/0/{id}/"
        self._ending: list[Consumer] = []

    # -- addresses and links -----------------------------------------------------------------------

    def resolve(self, name: str) -> str:
        """The address on this router that a normalised name means: `_topo/0/<this router>/x` is `x`."""
        return name.removeprefix(self._here)

    def _address(self, name: str) -> Address:
        found = self.addresses.get(name)
        if found is None or name in self.policies.closed:
            distribution = self.policies.distribution(name)
            found = Address(name)
            self.policies.give(found, distribution)
            self.addresses[name] = found
        return found

    def _forget_if_unused(self, address: Address) -> None:
        if not address.producers and not address.consumers and self.addresses.get(address.name) is address:
            del self.addresses[address.name]
            self.holding.forget(address)
            self.policies.end_shadow(address)

    def attach_producer(self, producer: Producer, name: str | None) -> None:
        """A producer attached, to the address of that name or, with None, to each that its messages say.

        :raise Unavailable: nobody may.
        """
        if name is not None:
            address = self._address(name)
            producer.target = address
            address.producers[producer] = None
        self.feeding.join(producer)

    def detach_producer(self, producer: Producer) -> None:
        """A producer's link or connection is gone: what it has in flight is settled for the consumers, and what is held
        of it is dropped."""
        for delivery in list(producer.unsettled.values()):
            self.abandon(delivery)
        address = producer.target
        if address is not None:
            producer.target = None
            del address.producers[producer]
            address.wanting.pop(producer, None)
            self._forget_if_unused(address)
        self.feeding.leave(producer)

    def attach_consumer(self, consumer: Consumer, name: str) -> None:
        """A consumer attached. It has no credit yet.

        :raise Unavailable: nobody may.
        """
        address = self._address(name)
        consumer.source = address
        address.consumers[consumer] = None
        self.capacities.join(consumer)
        if not consumer.barred:
            self.rota.enter(consumer, address)

    def detach_consumer(self, consumer: Consumer) -> None:
        """A consumer's link or connection is gone. What it may have seen is MODIFIED (delivery-failed) for the
        producer; the rest goes to another, or is RELEASED where there is none."""
        address = consumer.source
        if address is None:
            return
        del address.consumers[consumer]
        address.free -= consumer.credit
        address.window -= consumer.window
        if not consumer.barred:
            self.rota.leave(consumer, address)
        self.capacities.leave(consumer)
        consumer.source = None
        for delivery in list(consumer.unsettled.values()):
            sent = delivery.was_sent()
            if not sent and delivery.can_be_resent():
                delivery.recall()
                self.holding.offer_again(delivery)
            else:
                if delivery.presettled:
                    self.counters["dropped"] += 1
                self.finish(delivery, LOST if sent else RELEASED)
        self.holding.scatter(consumer, address)
        if not address.consumers:
            self.holding.turn_away_all(address)
            self.feeding.take_back(address)
            self._forget_if_unused(address)

    def set_capacity(self, consumer: Consumer, capacity: float) -> None:
        """A consumer's capacity is another from now on."""
        consumer.capacity = capacity
        address = consumer.source
        if address is not None and address.capacity_changed is not None and not consumer.barred:
            self.policies.tell(address, address.capacity_changed, consumer)

    # -- deliveries: the hot path ------------------------------------------------------------------

    def route(self, delivery: Delivery) -> bool:
        """A message arrived. Returns False if it is held: then it stays in the wire's hands until it is sent.

        `Policies.choose` and `send` are written out here: this runs for every message.
        """
        address = delivery.destination
        if address.held:
            return self.holding.queue(delivery)
        try:
            consumer = address.select(delivery)
            if consumer is not None and consumer.source is not address:
                raise PolicyError(f"it selected {consumer!r}, which is no consumer of the address")
        except Malformed as error:
            return self.holding.refuse(delivery, error)
        except Exception as error:
            consumer = self.policies.choose_instead(address, error)
        if consumer is None:
            if not address.consumers or self.stopping:
                return self.holding.turn_away(delivery, RELEASED)
            if address.multicast is not None:
                return address.multicast.route(delivery)
            return self.holding.hold(delivery, address.held)
        credit = consumer.credit
        if credit <= 0 or consumer.queue:
            return self.holding.hold_for(consumer, delivery)
        consumer.credit = credit - 1
        address.free -= 1
        producer = delivery.producer
        if producer is not None:
            producer.credit = credit = producer.credit - 1
            if credit <= producer.low and not producer.hungry:
                self.feeding.make_hungry(producer)
        delivery.consumer = consumer
        delivery.sent_at = self.now
        if not delivery.presettled:
            consumer.in_flight += 1
        sent = address.sent
        if sent is not None:
            try:
                sent(consumer, delivery)
            except Exception as error:
                self.policies.failed(address, error)
        if consumer.withheld and delivery.presettled:
            self.use_withheld(consumer)
        consumer.send(delivery)
        return True

    def route_by_name(self, delivery: Delivery) -> bool:
        """A message of an anonymous producer arrived: its `to` says where it goes. Otherwise as `route`."""
        try:
            to = delivery.field("to")
            path = normalise(to) if isinstance(to, str) else ""
        except Malformed as error:
            return self.holding.refuse(delivery, error)
        except ValueError:
            path = ""
        permit = delivery.producer.permit if delivery.producer is not None else None
        if permit is not None and path:
            refusal = permit.refusal("send", path)
            if refusal is not None:
                self.counters["unauthorized_messages"] += 1
                return self.holding.turn_away(delivery, rejected(UNAUTHORIZED, refusal))
        name = self.resolve(path)
        address = self.addresses.get(name)
        if address is None or not address.consumers:
            return self.holding.turn_away(delivery, self._why_not(name))
        delivery.destination = address
        return self.route(delivery)

    def _why_not(self, name: str) -> Outcome:
        """What becomes of a message to an address without consumers."""
        try:
            self.policies.distribution(name)
        except Unavailable as error:
            return rejected("amqp:not-found", str(error))
        return RELEASED

    def send(self, consumer: Consumer, delivery: Delivery, address: Address) -> None:
        """Send a delivery to a consumer with credit."""
        consumer.credit -= 1
        address.free -= 1
        delivery.consumer = consumer
        delivery.sent_at = self.now
        if not delivery.presettled:
            consumer.in_flight += 1
        sent = address.sent
        if sent is not None:
            try:
                sent(consumer, delivery)
            except Exception as error:
                self.policies.failed(address, error)
        if consumer.withheld and delivery.presettled:
            self.use_withheld(consumer)
        consumer.send(delivery)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery is over for the consumer it was sent to."""
        consumer: Any = delivery.consumer
        address = delivery.destination
        if delivery.presettled:  # a long one, on its way still, and its consumer has had enough
            self.counters["dropped"] += 1
            delivery.finish(SETTLED)
            return
        consumer.in_flight -= 1
        settled = address.settled
        if settled is not None:
            if consumer.barred:
                self.rota.settled(consumer, delivery, outcome.state)
            else:
                try:
                    settled(consumer, delivery, outcome.state, self.now - delivery.sent_at)
                except Exception as error:
                    self.policies.failed(address, error)
        if consumer.withheld:
            self.use_withheld(consumer)
        if address.held and not address.changed:
            self.holding.something_changed(address)
        if outcome.asks_for_another:
            self.holding.released(delivery, outcome)
            return
        producer = delivery.producer
        delivery.finish(outcome)
        if producer is not None and producer.throttled:
            self.feeding.make_hungry(producer)

    def abandon(self, delivery: Delivery, outcome: Outcome = SETTLED) -> None:
        """A delivery ends from its producer's side: settled by the producer itself, gone with its link, or refused."""
        if delivery.copies is not None:
            delivery.copies.abandon(outcome)
            return
        if delivery.consumer is not None and not delivery.presettled:
            self.settle(delivery, outcome)
            return
        if delivery.shelf is not None:
            self.holding.drop(delivery)
        self.finish(delivery, outcome)

    def finish(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery is over."""
        producer = delivery.producer
        delivery.finish(outcome)
        if producer is not None and producer.throttled:
            self.feeding.make_hungry(producer)

    # -- credit ------------------------------------------------------------------------------------

    def credit(self, consumer: Consumer, granted: int) -> None:
        """The consumer's credit is now `granted`, as its link says."""
        barred = consumer.barred
        usable = 0
        if not barred and not consumer.suspended:
            usable = flow.usable(granted, consumer.in_flight, consumer.max_in_flight)
        consumer.withheld = granted - usable
        delta = usable - consumer.credit
        address = consumer.source
        if address is None:
            return
        window = 0 if barred else granted + consumer.in_flight
        address.window += window - consumer.window
        consumer.window = window
        if not delta:
            return
        consumer.credit = usable
        address.free += delta
        credit_changed = address.credit_changed
        if credit_changed is not None and not barred:
            try:  # `Policies.tell`, written out: this runs for nearly every message
                credit_changed(consumer, delta)
            except Exception as error:
                self.policies.failed(address, error)
        if delta > 0:
            self.holding.credit_came(consumer, address)
            if address.wanting:
                self.feeding.make_wanting_hungry(address)

    def use_withheld(self, consumer: Consumer) -> None:
        """Use what may be used of it now."""
        self.credit(consumer, consumer.credit + consumer.withheld)

    def suspend(self, consumer: Consumer) -> None:
        """Send the consumer nothing for now: its connection can take no more, or it is busy with a long message."""
        consumer.suspended = True
        self.use_withheld(consumer)

    def resume(self, consumer: Consumer) -> None:
        """The end of `suspend`."""
        consumer.suspended = False
        self.use_withheld(consumer)

    # -- turns, and the end ------------------------------------------------------------------------

    def end(self, consumer: Consumer) -> None:
        """End it when the turn ends: it must not vanish while others are being sent to."""
        self._ending.append(consumer)

    def turn(self) -> None:
        """A turn of the reactor is over: offer what is held where something changed, and grant what was used up."""
        if self._ending:
            ending, self._ending = self._ending, []
            for consumer in ending:
                self.counters["overrun"] += 1
                consumer.overrun()
        self.holding.offer()
        self.feeding.feed()

    def next_deadline(self) -> float | None:
        """When `wake` is to be called next, on the router's clock; None if nothing waits for its time."""
        return soonest(
            self.holding.next_deadline(),
            self.feeding.next_deadline(),
            self.replies.next_deadline(),
            self.capacities.next_deadline(),
        )

    def wake(self) -> None:
        """Time has passed: see to what waits for it. The turn is to be ended."""
        self.holding.wake()
        self.feeding.wake()
        self.replies.wake()
        self.capacities.wake()

    def stop(self) -> None:
        """Take nothing new: what is held is RELEASED, and so is what still comes. What is in flight may be settled."""
        self.stopping = True
        for address in self.addresses.values():
            address.select = _nobody
            self.holding.turn_away_all(address)
            self.feeding.take_back(address)

    def in_flight(self) -> int:
        """How many deliveries are sent and not settled."""
        return sum(consumer.in_flight for address in self.addresses.values() for consumer in address.consumers)
