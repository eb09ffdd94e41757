"""What is held: deliveries that no consumer can take yet, and those that one has given back.

A held delivery stands on one of three shelves:

- `Address.held`: any consumer will do; or, with multicast, it waits until all can take it.
- `Consumer.queue`: the policy wants this consumer, which has no credit yet.
- `Address.returned`: a consumer released it, and another that has not may take it.

They are offered in the order they came; or by rank, where the address is to have it so: by their priority, or as the
policy says.

A held delivery still counts against its producer's credit, so what is held is bounded. Nothing is offered again at
once when something changes, but at the end of the turn: so the one that waited longest goes first, whichever
connection is read first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from txrouter.core.alarms import Alarms, soonest
from txrouter.core.deliveries import Aborted, Delivery, History, Malformed
from txrouter.core.expiry import Expiry
from txrouter.core.links import Address, Consumer
from txrouter.core.outcomes import RELEASED, SETTLED, Outcome, rejected
from txrouter.core.shelves import NORMAL, Shelf, new_shelf

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Holding"]

EXPIRED = rejected("amqp:message-expired", "its time to live ran out before a consumer could take it")


class Holding:
    """The held deliveries of one router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._expiry = Expiry()
        self._alarms: Alarms[Address] = Alarms()
        """When policies want to be asked again."""
        self._changed: list[Address] = []
        self._served: dict[Consumer, None] = {}

    # -- onto a shelf, and off ---------------------------------------------------------------------

    def queue(self, delivery: Delivery) -> bool:
        """Hold it behind others that are held for its address. What a policy said of those says nothing of one of
        another kind."""
        address = delivery.destination
        if address.kind is not None:
            self.something_changed(address)
        return self.hold(delivery, address.held)

    def hold(self, delivery: Delivery, shelf: Shelf) -> bool:
        """Put it on a shelf. Returns False: it has not left; or True where it had to leave."""
        router = self._router
        try:
            deadline = self._deadline(delivery)
            if deadline is not None and deadline <= router.now:
                return self.turn_away_late(delivery)
            if delivery.destination.ranked:
                self._find_rank(delivery)
            shelf[delivery] = None
        except Malformed as error:
            return self.refuse(delivery, error)
        delivery.shelf = shelf
        if delivery.producer is not None:
            delivery.producer.held += 1
        if deadline is not None:
            self._expiry.add(delivery, deadline)
        multicast = delivery.destination.multicast
        if multicast is not None:
            self._expiry.add(delivery, multicast.deadline(delivery))
        return False

    def _find_rank(self, delivery: Delivery) -> None:
        """Find out where it stands among those held.

        :raise Malformed: it cannot be read.
        """
        if delivery.rank is None:
            address = delivery.destination
            priority = self._priority(delivery) if address.distribution.by_priority else NORMAL
            delivery.rank = -priority, self._router.policies.rank(address, delivery)

    def _priority(self, delivery: Delivery) -> int:
        """As of what priority it is held: the one in its header, if its producer may say one."""
        given = delivery.field("priority")
        priority = given if isinstance(given, int) else NORMAL
        permit = delivery.producer.permit if delivery.producer is not None else None
        if priority != NORMAL and permit is not None and permit.refusal("priority", delivery.address):
            self._router.counters["unauthorized_priorities"] += 1
            priority = NORMAL
        return priority

    def hold_for(self, consumer: Consumer, delivery: Delivery) -> bool:
        """Let it wait for this consumer; otherwise as `hold`."""
        if consumer.queue is None:
            consumer.queue = new_shelf(delivery.destination.ranked)
        return self.hold(delivery, consumer.queue)

    def _unshelve(self, delivery: Delivery) -> None:
        shelf = delivery.shelf
        assert shelf is not None
        del shelf[delivery]
        delivery.shelf = None
        if delivery.producer is not None:
            delivery.producer.held -= 1

    def put_back(self, address: Address, held: Iterable[Delivery], returned: Iterable[Delivery]) -> None:
        """The address has another policy, and new shelves: these were on the old ones."""
        for shelf, deliveries in ((address.held, held), (address.returned, returned)):
            for delivery in deliveries:
                delivery.rank = None
                if address.ranked:
                    with suppress(Malformed):  # it is refused when it is offered
                        self._find_rank(delivery)
                    delivery.rank = delivery.rank or (-NORMAL, inf)
                delivery.shelf = shelf
                shelf[delivery] = None
        if address.multicast is not None:
            for delivery in address.held:
                self._expiry.add(delivery, address.multicast.deadline(delivery))
        if address.deadline is not None:
            for delivery in (*address.held, *address.returned):
                with suppress(Malformed):
                    deadline = self._deadline(delivery)
                    if deadline is not None:
                        self._expiry.add(delivery, deadline)
        self.something_changed(address)

    def take(self, delivery: Delivery) -> None:
        """It leaves, for a consumer."""
        self._unshelve(delivery)
        self._leave(delivery)

    def give_up(self, delivery: Delivery) -> None:
        """It leaves by the way it came."""
        self._unshelve(delivery)
        self.turn_away(delivery, RELEASED)

    def drop(self, delivery: Delivery) -> None:
        """Its producer has gone, or settled it."""
        self._unshelve(delivery)
        self._router.counters["dropped" if delivery.presettled else "abandoned"] += 1
        self._leave(delivery)

    def adopt(self, delivery: Delivery) -> None:
        """The producer of a whole, pre-settled message is going, the message is not: nobody will send it again. There
        is room for as many as one consumer may have in flight."""
        address = delivery.destination
        if delivery.shelf is not None:
            self._unshelve(delivery)
        if address.ranked:
            with suppress(Malformed):  # it is refused for that further on
                self._find_rank(delivery)
        if delivery.producer is not None:
            delivery.producer.credit -= 1  # it was sent: what is left of its credit was not used
            delivery.producer = None
        if len(address.held) < self._router.limits.max_in_flight:
            self.something_changed(address)
            self._router.route(delivery)
        else:
            self.turn_away(delivery, RELEASED)

    def turn_away(self, delivery: Delivery, outcome: Outcome) -> bool:
        """A delivery that is nowhere leaves by the way it came. Returns True, as it has left."""
        if delivery.history is not None:
            outcome = delivery.history.last_word(outcome)
        self._router.counters["dropped" if delivery.presettled else outcome.state] += 1
        self._leave(delivery)
        self._router.finish(delivery, outcome)
        return True

    def refuse(self, delivery: Delivery, error: Malformed) -> bool:
        """A delivery that is nowhere cannot be read where it has to be. Returns True, as it has left."""
        if isinstance(error, Aborted):
            self._router.counters["aborted"] += 1
            self._leave(delivery)
            self._router.finish(delivery, SETTLED)
            return True
        return self.turn_away(delivery, rejected("amqp:decode-error", str(error)))

    def turn_away_all(self, address: Address) -> None:
        """Nobody will come for what is held for this address."""
        for shelf in (address.returned, address.held, *(consumer.queue for consumer in address.consumers)):
            for delivery in list(shelf or ()):
                self.give_up(delivery)

    def _leave(self, delivery: Delivery) -> None:
        # one with a history has left before: its producer has had its credit back
        if delivery.producer is not None and delivery.history is None:
            self._router.feeding.left(delivery.producer)

    # -- time to live ------------------------------------------------------------------------------

    def is_late(self, delivery: Delivery) -> bool:
        """Whether its time to live has run out, or its policy says that it is too late for it.

        :raise Malformed: it cannot be read.
        """
        deadline = self._deadline(delivery)
        return deadline is not None and deadline <= self._router.now

    def _deadline(self, delivery: Delivery) -> float | None:
        """When it is too late to send it; None for never.

        :raise Malformed: it cannot be read.
        """
        ttl = delivery.field("ttl")
        deadline = delivery.arrived + ttl / 1000 if isinstance(ttl, int) else None
        address = delivery.destination
        if address.deadline is None:
            return deadline
        return soonest(deadline, self._router.policies.deadline(address, delivery))

    def next_deadline(self) -> float | None:
        """When `wake` is to be called next, on the router's clock; None for never."""
        return soonest(self._expiry.next_deadline(), self._alarms.next_deadline())

    def wake_at(self, address: Address, when: float) -> None:
        """Its policy may choose otherwise from then on."""
        self._alarms.set(address, when)

    def forget(self, address: Address) -> None:
        """Nobody is attached to it any more."""
        self._alarms.forget(address)

    def wake(self) -> None:
        """Turn away what has been held for longer than its time to live. What was to wait for all the consumers of a
        multicast, but has waited long enough, waits no more. And see to the policies whose time has come."""
        self._expire()
        for address in self._alarms.due(self._router.now):
            self.something_changed(address)

    def _expire(self) -> None:
        for delivery in self._expiry.due(self._router.now):
            address = delivery.destination
            try:
                late = self.is_late(delivery)
            except Malformed as error:  # to a policy that it was not held by
                self._unshelve(delivery)
                self.refuse(delivery, error)
                continue
            if late:
                self._unshelve(delivery)
                self.turn_away_late(delivery)
            elif address.multicast is not None:
                address.multicast.overdue(delivery)

    def expire_unsent(self, delivery: Delivery) -> None:
        """A delivery was routed, but its time to live had run out before: its consumer is not to have it."""
        self._router.counters["expired"] += 1
        self._router.abandon(delivery, EXPIRED)

    def turn_away_late(self, delivery: Delivery) -> bool:
        """Its time to live has run out, and it is nowhere. Returns True, as it has left."""
        self._router.counters["expired"] += 1
        return self.turn_away(delivery, EXPIRED)

    # -- given back by a consumer ------------------------------------------------------------------

    def goes_to_another(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Whether a delivery in flight, with this outcome, will be offered to another consumer."""
        if self._router.stopping or not outcome.asks_for_another or not delivery.can_be_resent():
            return False
        tried = delivery.history.released_by if delivery.history is not None else ()
        return any(each is not delivery.consumer and each not in tried for each in delivery.destination.consumers)

    def released(self, delivery: Delivery, outcome: Outcome) -> None:
        """Its consumer did not keep it: another may have it, if one is left that has not given it back."""
        again = self.goes_to_another(delivery, outcome)
        history = self._history(delivery)
        if delivery.consumer is not None:
            history.released_by.add(delivery.consumer)
        if again:
            history.delivery_failed |= outcome.delivery_failed
            delivery.recall()
            self.offer_again(delivery)
        else:
            self._router.counters["released"] += 1
            self._router.finish(delivery, history.last_word(outcome))

    def offer_again(self, delivery: Delivery) -> None:
        """It was sent, and recalled from its consumer."""
        self._history(delivery)
        delivery.consumer = None
        self._router.counters["resent"] += 1
        self._offer_returned(delivery)

    def _history(self, delivery: Delivery) -> History:
        if delivery.history is None:
            delivery.history = History()
        return delivery.history

    def _offer_returned(self, delivery: Delivery) -> None:
        address = delivery.destination
        if self._router.stopping or self._nobody_is_left_for(delivery):
            self.turn_away(delivery, RELEASED)
            return
        with suppress(Malformed):  # then it says nothing of a time to live
            if self.is_late(delivery):
                self.turn_away_late(delivery)
                return
        consumer = self._choose_for_returned(delivery)
        if consumer is None:
            self.hold(delivery, address.returned)
        else:
            self._router.send(consumer, delivery, address)

    def _nobody_is_left_for(self, delivery: Delivery) -> bool:
        tried = self._history(delivery).released_by
        return all(each in tried for each in delivery.destination.consumers)

    def _choose_for_returned(self, delivery: Delivery) -> Consumer | None:
        address = delivery.destination
        tried = self._history(delivery).released_by

        def may_have_it(consumer: Consumer | None) -> bool:
            return consumer is not None and consumer.credit > 0 and consumer not in tried

        try:
            chosen = self._router.policies.choose(address, delivery)
        except Malformed:  # the policy looks where it did not the first time
            chosen = None
        return chosen if may_have_it(chosen) else next(filter(may_have_it, address.consumers), None)

    def scatter(self, consumer: Consumer, address: Address) -> None:
        """A consumer has left: what waited for it alone is for any now; and what all the others have given back already
        waits in vain."""
        self.reassign(address, consumer)
        for delivery in list(address.returned):
            if self._nobody_is_left_for(delivery):
                self.give_up(delivery)

    def reassign(self, address: Address, consumer: Consumer) -> None:
        """What waits for a consumer alone is for any now, before those that a producer sent later."""
        queue, consumer.queue = consumer.queue, None
        for delivery in reversed(list(queue or ())):
            delivery.shelf = address.held
            address.held[delivery] = None
            address.held.move_to_end(delivery, last=False)
        self.something_changed(address)

    # -- offering again ----------------------------------------------------------------------------

    def something_changed(self, address: Address) -> None:
        """What is held for this address may find a consumer now."""
        if not address.changed:
            address.changed = True
            self._changed.append(address)

    def credit_came(self, consumer: Consumer, address: Address) -> None:
        """A consumer has more credit than before."""
        if address.held or address.returned:
            self.something_changed(address)
        if consumer.queue:
            self._served[consumer] = None

    def offer(self) -> None:
        """Offer what is held wherever something has changed."""
        while self._changed or self._served:
            self._expire()  # which a timer may be about to do
            served, self._served = self._served, {}
            for consumer in served:
                while consumer.queue and consumer.credit > 0:
                    self._send(next(iter(consumer.queue)), consumer)
            changed, self._changed = self._changed, []
            for address in changed:
                address.changed = False
                self._offer_returned_of(address)
                if address.multicast is not None:
                    address.multicast.offer(address)
                elif address.kind is not None:
                    self._offer_each_kind(address)
                else:
                    self._offer_held(address)

    def _offer_returned_of(self, address: Address) -> None:
        for delivery in list(address.returned):
            if address.free <= 0:
                return
            consumer = self._choose_for_returned(delivery)
            if consumer is not None:
                self._unshelve(delivery)
                self._router.send(consumer, delivery, address)

    def _offer_held(self, address: Address) -> None:
        while address.held and address.free > 0:
            if not self._place(next(iter(address.held))):
                return

    def _offer_each_kind(self, address: Address) -> None:
        """Where the policy declines one, there may be a consumer for those of other kinds behind it."""
        declined: set[Hashable] = set()
        for delivery in list(address.held):
            if address.free <= 0:
                return
            kind = self._router.policies.kind(address, delivery)
            if kind not in declined and not self._place(delivery):
                declined.add(kind)

    def _place(self, delivery: Delivery) -> bool:
        """Find a consumer for what is on `Address.held`. Returns False if it stays there."""
        try:
            consumer = self._router.policies.choose(delivery.destination, delivery)
        except Malformed as error:
            self._unshelve(delivery)
            return self.refuse(delivery, error)
        if consumer is None:
            return False
        if consumer.credit > 0 and not consumer.queue:
            self._send(delivery, consumer)
        else:
            self._unshelve(delivery)
            self.hold_for(consumer, delivery)
        return True

    def _send(self, delivery: Delivery, consumer: Consumer) -> None:
        self._unshelve(delivery)
        self._leave(delivery)
        self._router.send(consumer, delivery, delivery.destination)
