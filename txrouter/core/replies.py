"""Requests whose replies have not come yet, for policies that take a consumer to be busy until it has replied.

A request is a message with a `reply_to`, and a `message_id`, or else a `correlation_id`. Its reply is a message to that
address which has this as its `correlation_id`. It passes through this router like any other, and it is looked at while
some request waits for a reply there. Addresses whose policy does not ask for it (`IReplyWatcher`) cost nothing.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from typing import TYPE_CHECKING, Any

from txrouter.core.addresses import normalise
from txrouter.core.deliveries import Delivery, Malformed
from txrouter.core.links import Address, Consumer
from txrouter.interfaces import IReplyWatcher

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["LONGEST_ID", "MOST", "Replies"]

MOST = 100_000
"""Requests of one router that replies are awaited for. With more, the one that has waited longest is given up."""
LONGEST_ID = 256
"""Characters, or bytes, of an id by which a reply is known. One that is longer is no request's."""


class _Request:
    """One that was sent, and whose reply has not come."""

    __slots__ = ("address", "consumer", "delivery", "id", "number", "place", "sent_at", "stint")

    def __init__(
        self, number: int, address: Address, consumer: Consumer, delivery: Delivery, place: str, id: Hashable
    ) -> None:
        self.number = number
        self.address = address
        self.consumer = consumer
        self.place = place
        self.id = id
        self.sent_at = delivery.sent_at
        self.stint = consumer.stint
        self.delivery: Delivery | None = None
        """While it is in flight."""


class Replies:
    """The requests of one router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._awaited: dict[str, dict[Hashable, _Request]] = {}
        """By the address the reply is sent to, and its correlation id."""
        self._requests: OrderedDict[_Request, None] = OrderedDict()
        """In the order they were sent."""
        self._in_flight: dict[Delivery, _Request] = {}
        """Those that are not settled."""
        self._due: list[tuple[float, int, _Request]] = []
        """A heap: when each is given up."""
        self._numbers = count()

    def __len__(self) -> int:
        """How many replies are awaited."""
        return len(self._requests)

    def follow(self, address: Address, keeps_policy: bool = False) -> None:
        """An address has a new policy: see whether it wants to hear of replies, and look out for those that are sent
        to it. It does not hear of requests that were sent before, unless it is the old one in another guise."""
        if not keeps_policy:
            for request in [each for each in self._requests if each.address is address]:
                self._forget(request)
        if IReplyWatcher.providedBy(address.policy):
            self._watch(address)
        if address.name in self._awaited:
            self._listen(address)

    def _watch(self, address: Address) -> None:
        """Note every request that is sent, and what becomes of it."""
        policy, sent, settled = address.policy, address.sent, address.settled

        def sent_too(consumer: Consumer, delivery: Delivery) -> None:
            if sent is not None:
                sent(consumer, delivery)
            request = self._expect(address, consumer, delivery)
            if request is not None:
                policy.asked(consumer, delivery, request.number)

        def settled_too(consumer: Consumer, delivery: Delivery, outcome: str, seconds: float) -> None:
            if settled is not None:
                settled(consumer, delivery, outcome, seconds)
            self.settled(delivery, outcome)

        address.sent, address.settled = sent_too, settled_too

    def settled(self, delivery: Delivery, outcome: str) -> None:
        """A delivery, which may be a request, is in flight no more."""
        request = self._in_flight.pop(delivery, None)
        if request is not None:
            request.delivery = None
            if outcome not in ("accepted", "settled"):  # nobody works on it
                self._over(request, None)

    def _expect(self, address: Address, consumer: Consumer, delivery: Delivery) -> _Request | None:
        """Await the reply, if there is to be one."""
        try:
            to, id, ttl = delivery.field("reply_to"), delivery.field("message_id"), delivery.field("ttl")
            if id is None:
                id = delivery.field("correlation_id")
            place = self._router.resolve(normalise(to)) if isinstance(to, str) and id is not None else ""
        except ValueError:  # it cannot be read, or replied to
            return None
        if not place or (isinstance(id, str | bytes) and len(id) > LONGEST_ID):
            return None
        if len(self._requests) >= MOST:
            self._give_up(next(iter(self._requests)))
        request = _Request(next(self._numbers), address, consumer, delivery, place, id)
        awaited = self._awaited.get(place)
        if awaited is None:
            awaited = self._awaited[place] = {}
            found = self._router.addresses.get(place)
            if found is not None:
                self._listen(found)
        elif id in awaited:  # which of the two is replied to nobody can tell
            self._give_up(awaited[id])
            self._awaited[place] = awaited
        awaited[id] = request
        self._requests[request] = None
        if not delivery.presettled:
            request.delivery = delivery
            self._in_flight[delivery] = request
        seconds = address.policy.reply_seconds
        if isinstance(ttl, int):
            seconds = min(seconds, delivery.arrived + ttl / 1000 - self._router.now)
        self._sweep()
        heapq.heappush(self._due, (self._router.now + max(0.0, seconds), request.number, request))
        return request

    def _listen(self, address: Address) -> None:
        """Look at every message to this address while a reply is awaited there."""
        if address.has_replies:
            return
        address.has_replies = True
        self._router.observations.step_aside(address)
        select: Callable[[Delivery], Consumer | None] = address.select
        awaited = self._awaited

        def look_and_select(delivery: Delivery) -> Consumer | None:
            here = awaited.get(address.name)
            if here is not None:
                try:
                    request = here.get(delivery.field("correlation_id"))
                except Malformed:  # whoever has to read it will say so
                    request = None
                if request is not None:
                    self._over(request, self._router.now - request.sent_at)
            return select(delivery)

        address.select = look_and_select
        self._router.observations.follow(address)

    def _over(self, request: _Request, seconds: float | None) -> None:
        """No reply is awaited any more, as it has come after so many seconds; or with None, as none will."""
        self._forget(request)
        address, consumer = request.address, request.consumer
        policy: Any = address.policy
        if consumer.source is address and consumer.stint == request.stint:
            self._router.policies.tell(address, policy.answered, consumer, request.number, seconds)
            if address.held:
                self._router.holding.something_changed(address)

    def _forget(self, request: _Request) -> None:
        del self._requests[request]
        if request.delivery is not None:
            del self._in_flight[request.delivery]
        here = self._awaited[request.place]
        del here[request.id]
        if not here:
            del self._awaited[request.place]

    def _give_up(self, request: _Request) -> None:
        self._router.counters["replies_missed"] += 1
        self._over(request, None)

    def _sweep(self) -> None:
        """Most of the heap may be of replies that have come."""
        if len(self._due) > 64 + 2 * len(self._requests):
            self._due = [entry for entry in self._due if entry[2] in self._requests]
            heapq.heapify(self._due)

    def next_deadline(self) -> float | None:
        """When `wake` is to be called next; None for never."""
        while self._due and self._due[0][2] not in self._requests:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def wake(self) -> None:
        """Give up what has waited long enough."""
        while (when := self.next_deadline()) is not None and when <= self._router.now:
            self._give_up(heapq.heappop(self._due)[2])
