"""A policy that runs beside another: it is told and asked the same, decides nothing, and its choices are compared.

The consumers it sees are stand-ins with a `place` of their own and the real numbers, which it cannot change. What it
raises is counted and reported apart, and goes no further. The events are those of the policy that decides: `sent` says
who really got a message. So each of its choices answers what it would have done at that moment, and not what would
have become of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from zope.interface import directlyProvides, implementer, providedBy

from txrouter.core.addresses import Distribution
from txrouter.core.deliveries import Delivery, Malformed
from txrouter.core.links import Consumer
from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDescribed,
    IReplyWatcher,
    ISendWatcher,
    ISettlementWatcher,
)

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["MOST_REPORTED", "Shadowed", "shadow_failed"]

MOST_REPORTED = 100
"""Consumers that a report names: those for which most would have been otherwise."""
_TOLD = (ICapacityWatcher, ICreditWatcher, IReplyWatcher, ISendWatcher, ISettlementWatcher)


@implementer(IConsumer)
class _StandIn:
    """A consumer, as the shadow sees it."""

    __slots__ = ("asked", "consumer", "got", "place", "would_have_got")

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.place: Any = None
        self.got = 0
        """How many messages it was chosen for."""
        self.would_have_got = 0
        """How many it would have been chosen for by the shadow."""
        self.asked: set[int] = set()
        """The requests that the shadow has been told of, and not of their replies."""

    id = property(lambda self: self.consumer.id)
    container = property(lambda self: self.consumer.container)
    properties = property(lambda self: self.consumer.properties)
    credit = property(lambda self: self.consumer.credit)
    in_flight = property(lambda self: self.consumer.in_flight)
    waiting = property(lambda self: self.consumer.waiting)
    capacity = property(lambda self: self.consumer.capacity)
    cost = property(lambda self: self.consumer.cost)


class Shadowed:
    """A policy with another beside it, in the place of the first. It declares what either of them does.

    :param address: the name of the address.
    :param policy: the one that decides.
    :param shadow: the one beside it.
    :param distribution: what that was built of.
    """

    def __init__(self, router: Router, address: str, policy: Any, shadow: Any, distribution: Distribution) -> None:
        self.policy = policy
        self.shadow = shadow
        self.distribution = distribution
        self._router = router
        self._address = address
        self._stand_ins: dict[Consumer, _StandIn] = {}
        self._select = policy.select
        self._select_too = shadow.select
        self._hears_of_replies = [IReplyWatcher.providedBy(each) for each in (policy, shadow)]
        self._began = router.now
        self._same = self._elsewhere = self._would_have_held = self._would_have_sent = 0
        self._errors = 0
        self._gone = [0, 0, 0]
        """How many consumers have left, how many messages they got, and how many they would have got."""
        self._held: int | None = None
        """The identity of the delivery that was held last. It is offered again and again, and counts once."""
        self.sent = self._both(ISendWatcher, "sent")
        self.settled = self._both(ISettlementWatcher, "settled")
        self.credit_changed = self._both(ICreditWatcher, "credit_changed")
        self.capacity_changed = self._both(ICapacityWatcher, "capacity_changed")
        directlyProvides(self, providedBy(policy), *(facet for facet in _TOLD if facet.providedBy(shadow)))

    def __getattr__(self, name: str) -> Any:
        # what only the policy that decides is asked: kinds, ranks, a description
        return getattr(self.policy, name)

    def __repr__(self) -> str:
        return f"{self.policy!r} with a shadow"

    @property
    def reply_seconds(self) -> float:
        """As IReplyWatcher says; by the policy that decides, if it wants to know of replies."""
        watcher = self.policy if IReplyWatcher.providedBy(self.policy) else self.shadow
        seconds: float = watcher.reply_seconds
        return seconds

    # -- asked -------------------------------------------------------------------------------------

    def select(self, delivery: Delivery) -> Consumer | None:
        """As the policy does. Then the shadow is asked, and the answer noted."""
        choice: Consumer | None = self._select(delivery)
        stand_in = None if choice is None else self._stand_ins.get(choice)
        if stand_in is None and choice is not None:  # it is no consumer of the address, which the router will say
            return choice
        try:
            other = self._select_too(delivery)
        except Malformed:  # it has looked where the policy did not, and can say nothing of this one
            return choice
        except Exception as error:
            self._failed(error)
            return choice
        if other is stand_in and stand_in is not None:
            self._same += 1
            stand_in.got += 1
            stand_in.would_have_got += 1
        else:
            self._note(delivery, stand_in, other)
        return choice

    def _note(self, delivery: Delivery, stand_in: _StandIn | None, other: object) -> None:
        """Note two choices that are not the same consumer."""
        if other is not None and (type(other) is not _StandIn or self._stand_ins.get(other.consumer) is not other):
            self._failed(TypeError(f"it selected a {type(other).__name__}, which is no consumer of the address"))
            return
        if stand_in is None:
            if id(delivery) == self._held:
                return
            self._held = id(delivery)
            if other is None:
                self._same += 1
            else:
                self._would_have_sent += 1
        else:
            stand_in.got += 1
            if other is None:
                self._would_have_held += 1
            else:
                self._elsewhere += 1
        if other is not None:
            other.would_have_got += 1

    # -- told --------------------------------------------------------------------------------------

    def add(self, consumer: Consumer) -> None:
        """As IDistributionPolicy says."""
        self.introduce(consumer)
        self.policy.add(consumer)

    def introduce(self, consumer: Consumer) -> None:
        """A consumer is there that the policy knows of, and the shadow does not."""
        stand_in = self._stand_ins[consumer] = _StandIn(consumer)
        self._tell(self.shadow.add, stand_in)

    def remove(self, consumer: Consumer) -> None:
        """As IDistributionPolicy says."""
        stand_in = self._stand_ins.pop(consumer, None)
        if stand_in is not None:
            for at, more in enumerate((1, stand_in.got, stand_in.would_have_got)):
                self._gone[at] += more
            self._tell(self.shadow.remove, stand_in)
        self.policy.remove(consumer)

    def asked(self, consumer: Consumer, delivery: Delivery, request: int) -> None:
        """As IReplyWatcher says."""
        stand_in = self._stand_ins.get(consumer)
        if stand_in is not None and self._hears_of_replies[1]:
            stand_in.asked.add(request)
            self._tell(self.shadow.asked, stand_in, delivery, request)
        if self._hears_of_replies[0]:
            self.policy.asked(consumer, delivery, request)

    def answered(self, consumer: Consumer, request: int, seconds: float | None) -> None:
        """As IReplyWatcher says. The shadow may have come after the request."""
        stand_in = self._stand_ins.get(consumer)
        if stand_in is not None and request in stand_in.asked:
            stand_in.asked.remove(request)
            self._tell(self.shadow.answered, stand_in, request, seconds)
        if self._hears_of_replies[0]:
            self.policy.answered(consumer, request, seconds)

    def _both(self, facet: Any, name: str) -> Callable[..., None]:
        """A method that tells the two of them, as far as they want to know. Most run for every message."""
        tell = getattr(self.policy, name) if facet.providedBy(self.policy) else None
        tell_too = getattr(self.shadow, name) if facet.providedBy(self.shadow) else None
        stand_ins, failed = self._stand_ins, self._failed

        def both(consumer: Consumer, *more: object) -> None:
            if tell_too is not None:
                stand_in = stand_ins.get(consumer)
                if stand_in is not None:
                    try:
                        tell_too(stand_in, *more)
                    except Exception as error:
                        failed(error)
            if tell is not None:
                tell(consumer, *more)

        return both

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._errors += 1
        shadow_failed(self._router, self._address, self.distribution, error)

    # -- reported ----------------------------------------------------------------------------------

    def figures(self) -> dict[str, object]:
        """How often it would have decided otherwise; without the consumers."""
        differed = self._elsewhere + self._would_have_held + self._would_have_sent
        decisions = self._same + differed
        return {
            "distribution": _name(self.distribution),
            "seconds": self._router.now - self._began,
            "decisions": decisions,
            "differed": differed,
            "part": differed / decisions if decisions else 0.0,
            "other_consumer": self._elsewhere,
            "would_have_held": self._would_have_held,
            "would_have_sent": self._would_have_sent,
            "errors": self._errors,
        }

    def report(self) -> dict[str, object]:
        """What the shadow would have done otherwise, in plain JSON-able values.

        `decisions`, of which `differed`, which is this `part` of them (0 to 1): the shadow chose an `other_consumer`,
        or `would_have_held` what was sent, or `would_have_sent` what was held. A message that is held is one decision,
        and another one when it is sent. For each of the `consumers`, but no more than `MOST_REPORTED`, of how many
        messages it was chosen for, and would have been, and which shares of all those are; those left out and `gone`
        are summed up.
        """
        everyone = self._stand_ins.values()
        got = self._gone[1] + sum(each.got for each in everyone)
        would_have_got = self._gone[2] + sum(each.would_have_got for each in everyone)
        shown = nlargest(MOST_REPORTED, everyone, key=lambda each: abs(each.got - each.would_have_got))
        return {
            **self.figures(),
            "options": asdict(self.distribution.options),  # type: ignore[call-overload]
            "consumers": [
                {
                    "id": each.id,
                    "container": each.container,
                    "got": each.got,
                    "would_have_got": each.would_have_got,
                    "share": each.got / got if got else 0.0,
                    "would_have_share": each.would_have_got / would_have_got if would_have_got else 0.0,
                }
                for each in shown
            ],
            "left_out": len(everyone) - len(shown),
            "gone": dict(zip(("consumers", "got", "would_have_got"), self._gone, strict=True)),
            "state": self._state(),
        }

    def _state(self) -> dict[str, object] | None:
        if not IDescribed.providedBy(self.shadow):
            return None
        try:
            state: dict[str, object] = self.shadow.describe()
        except Exception as error:
            self._failed(error)
            return None
        return state

    def end(self) -> None:
        """The address is no longer used, or has another shadow or none: report what came of this one."""
        figures = self.figures()
        if figures["decisions"]:
            self._router.report("shadow", {"address": self._address, **figures})


def shadow_failed(router: Router, address: str, distribution: Distribution, error: Exception) -> None:
    """A shadow cannot be built, raised, or said what makes no sense."""
    router.counters["shadow_errors"] += 1
    router.report("shadow failed", {"address": address, "shadow": _name(distribution), "error": error})


def _name(distribution: Distribution) -> str:
    factory: Any = distribution.factory
    return str(factory.name)
