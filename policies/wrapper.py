"""What wrappers have in common: policies around other policies, which pass on what is none of their business.

A wrapper declares what the policy inside declares, besides its own. What is declared is looked up once, so a wrapper
has to say it of each instance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from zope.interface import alsoProvides, implementer, providedBy

from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDescribed,
    IDistributionPolicy,
    IReassigning,
    IReplyWatcher,
    ISendWatcher,
    ISettlementWatcher,
    ITimed,
    IWoken,
)

__all__ = ["Group", "Groups", "View", "Wrapper", "described"]


def described(policy: object) -> dict[str, object]:
    """What a policy says of itself; nothing, if it says nothing."""
    return policy.describe() if IDescribed.providedBy(policy) else {}


@implementer(IConsumer)
class View:
    """A consumer as a second policy knows it: with a `place` of its own. The numbers are the consumer's."""

    __slots__ = ("consumer", "container", "cost", "id", "place", "properties")

    def __init__(self, consumer: IConsumer) -> None:
        self.consumer = consumer
        self.id: str = consumer.id
        self.container: str = consumer.container
        self.properties: Mapping[str, object] = consumer.properties
        self.cost: int = consumer.cost
        self.place: Any = None

    credit = property(attrgetter("consumer.credit"))
    in_flight = property(attrgetter("consumer.in_flight"))
    waiting = property(attrgetter("consumer.waiting"))
    capacity = property(attrgetter("consumer.capacity"))


def _handed_on(name: str) -> Any:
    """An attribute that the router sets, and that the policies inside are to have as well."""

    def hand_on(around: _Around, given: object) -> None:
        setattr(around, f"_{name}", given)
        for policy in around.policies():
            around.set_up(policy)

    return property(attrgetter(f"_{name}"), hand_on)


class _Around:
    """What has policies inside gives them what the router gives to it."""

    clock = _handed_on("clock")
    wake_at = _handed_on("wake_at")
    reassign = _handed_on("reassign")

    def __init__(self) -> None:
        self._clock: Callable[[], float] = float
        self._wake_at: Callable[[float], None] = _nothing
        self._reassign: Callable[[IConsumer], None] = _nothing

    def policies(self) -> Iterator[Any]:
        """All that are inside."""
        raise NotImplementedError

    def set_up(self, policy: Any) -> None:
        """One of them is to have what there is."""
        if ITimed.providedBy(policy):
            policy.clock = self._clock
        if IWoken.providedBy(policy):
            policy.wake_at = self._wake_at
        if IReassigning.providedBy(policy):
            policy.reassign = self._reassign_known

    def _reassign_known(self, known: IConsumer) -> None:
        self._reassign(known.consumer if isinstance(known, View) else known)


class Wrapper(_Around):
    """A policy around one other.

    Whatever is not defined by a subclass is the inner policy's own, and so costs nothing. Some consumers can be kept
    apart: what happens to them is told to the inner policy of their stand-in, or not at all.
    """

    def __init__(self, inner: IDistributionPolicy) -> None:
        super().__init__()
        self.inner: Any = inner
        self.apart: dict[IConsumer, Any] = {}
        """Those that the inner policy does not know as what they are: what it knows instead, or None for nothing."""
        _declare(self, inner)
        self._tell_sent = _method(inner, ISendWatcher, "sent")
        self._tell_settled = _method(inner, ISettlementWatcher, "settled")
        self._tell_credit = _method(inner, ICreditWatcher, "credit_changed")
        self._tell_capacity = _method(inner, ICapacityWatcher, "capacity_changed")
        self._tell_asked = _method(inner, IReplyWatcher, "asked")
        self._tell_answered = _method(inner, IReplyWatcher, "answered")
        self._awaited: dict[IConsumer, set[int]] = {}
        """The requests of each whose replies the inner policy awaits: of those that were sent before it knew a consumer
        as what it does now, it is to hear nothing."""

    def policies(self) -> Iterator[Any]:
        """As _Around says."""
        yield self.inner

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """As ISendWatcher says."""
        if consumer in self.apart:
            consumer = self.apart[consumer]
            if consumer is None:
                return
        self._tell_sent(consumer, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """As ISettlementWatcher says."""
        if consumer in self.apart:
            consumer = self.apart[consumer]
            if consumer is None:
                return
        self._tell_settled(consumer, delivery, outcome, seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """As ICreditWatcher says."""
        if consumer in self.apart:
            consumer = self.apart[consumer]
            if consumer is None:
                return
        self._tell_credit(consumer, delta)

    def capacity_changed(self, consumer: IConsumer) -> None:
        """As ICapacityWatcher says."""
        known = self.apart.get(consumer, consumer)
        if known is not None:
            self._tell_capacity(known)

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        """As IReplyWatcher says."""
        known = self.apart.get(consumer, consumer)
        if known is not None:
            self._awaited.setdefault(consumer, set()).add(request)
            self._tell_asked(known, delivery, request)

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        """As IReplyWatcher says."""
        awaited = self._awaited.get(consumer, set())
        known = self.apart.get(consumer, consumer)
        if request in awaited and known is not None:
            awaited.remove(request)
            self._tell_answered(known, request, seconds)

    def candidates(self, delivery: IDelivery) -> Iterator[tuple[IConsumer, float | str]]:
        """As IExplains says."""
        for known, why in self.inner.candidates(delivery):
            yield known.consumer if isinstance(known, View) and known.consumer in self.apart else known, why

    def hide(self, consumer: IConsumer) -> None:
        """For the inner policy it leaves, and it hears no more of it."""
        self.leave(consumer)
        self.apart[consumer] = None

    def show(self, consumer: IConsumer) -> None:
        """It is there again, as if it had just come."""
        del self.apart[consumer]
        self.inner.add(consumer)

    def leave(self, consumer: IConsumer) -> None:
        """The inner policy is to know it no more."""
        known = self.apart.pop(consumer, consumer)
        self._awaited.pop(consumer, None)
        if known is not None:
            self.inner.remove(known)


class Group:
    """Consumers that a policy chooses among, and that policy."""

    __slots__ = (
        "answered",
        "asked",
        "capacity_changed",
        "credit_changed",
        "policy",
        "select",
        "sent",
        "settled",
        "size",
    )

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.size = 0
        self.select: Callable[[IDelivery], IConsumer | None] = policy.select
        self.sent = _method(policy, ISendWatcher, "sent")
        self.settled = _method(policy, ISettlementWatcher, "settled")
        self.credit_changed = _method(policy, ICreditWatcher, "credit_changed")
        self.capacity_changed = _method(policy, ICapacityWatcher, "capacity_changed")
        self.asked = _method(policy, IReplyWatcher, "asked")
        self.answered = _method(policy, IReplyWatcher, "answered")


class Groups(_Around):
    """A policy that divides its consumers into groups, each with a policy of its own, all alike.

    A subclass says who joins which, and asks the groups. What happens to a consumer is told to its group; what is to be
    said of a message alone, and is not defined by a subclass, is said by a policy without consumers.
    """

    def __init__(self, build: Callable[[], IDistributionPolicy]) -> None:
        super().__init__()
        self._build = build
        self.sample: Any = build()
        """The one without consumers."""
        _declare(self, self.sample)
        self.home: dict[IConsumer, Group] = {}
        """The group of each consumer."""

    def new_group(self) -> Group:
        """One without consumers."""
        policy: Any = self._build()
        self.set_up(policy)
        return Group(policy)

    def join(self, consumer: IConsumer, group: Group) -> None:
        """It is one of them."""
        self.home[consumer] = group
        group.size += 1
        group.policy.add(consumer)

    def leave(self, consumer: IConsumer) -> Group:
        """It leaves its group, which may be empty then."""
        group = self.home.pop(consumer)
        group.size -= 1
        group.policy.remove(consumer)
        return group

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        """As ISendWatcher says."""
        self.home[consumer].sent(consumer, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """As ISettlementWatcher says."""
        self.home[consumer].settled(consumer, delivery, outcome, seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        """As ICreditWatcher says."""
        self.home[consumer].credit_changed(consumer, delta)

    def capacity_changed(self, consumer: IConsumer) -> None:
        """As ICapacityWatcher says."""
        self.home[consumer].capacity_changed(consumer)

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        """As IReplyWatcher says."""
        self.home[consumer].asked(consumer, delivery, request)

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        """As IReplyWatcher says."""
        self.home[consumer].answered(consumer, request, seconds)


def _declare(wrapper: Any, policy: IDistributionPolicy) -> None:
    """It is all that the policy is; what its class does not define is the policy's own.

    A class with `__getattr__` would do the same, and every attribute of it would be found in five times the time.
    """
    facets = providedBy(policy)
    for name in {name for facet in facets for name in facet.names(all=True)}:
        if not hasattr(type(wrapper), name) and hasattr(policy, name):
            setattr(wrapper, name, getattr(policy, name))
    alsoProvides(wrapper, facets)


def _method(policy: Any, facet: Any, name: str) -> Callable[..., object]:
    return getattr(policy, name) if facet.providedBy(policy) else _nothing


def _nothing(*_arguments: object) -> None:
    """It does not want to know."""
