"""What attaches to the router: producers and consumers; and the addresses they attach to.

Only `txrouter.core.router` changes what is in here. The wire subclasses `Producer` and `Consumer`, so that a message
passes from link to link without a look-up; the methods that it fills in are all that the core ever asks of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from txrouter.core.limits import DEFAULTS, Limits
from txrouter.core.shelves import Shelf, new_shelf
from txrouter.core.users import NOBODY, User
from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IExpiring,
    IProducer,
    IRanking,
    ISelective,
    ISendWatcher,
    ISettlementWatcher,
)

if TYPE_CHECKING:
    from txrouter.core.access import Permit
    from txrouter.core.addresses import Distribution
    from txrouter.core.deliveries import Delivery
    from txrouter.core.multicast import Multicast
    from txrouter.core.rate import Rate
    from txrouter.core.shadow import Shadowed

__all__ = ["Address", "Consumer", "Producer"]


@implementer(IProducer)
class Producer:
    """An incoming link. `target` is None for an anonymous producer, whose every message says where it goes."""

    __slots__ = (
        "barred",
        "container",
        "credit",
        "draining",
        "held",
        "hungry",
        "id",
        "limits",
        "low",
        "permit",
        "properties",
        "rate",
        "target",
        "throttled",
        "unsettled",
    )

    def __init__(self, id: str, container: str, properties: Mapping[str, object], limits: Limits = DEFAULTS) -> None:
        self.id = id
        self.container = container
        self.properties = properties
        self.limits = limits
        self.low = limits.link_capacity // 2
        """With so much credit, or less, it is seen to."""
        self.target: Address | None = None
        self.permit: Permit | None = None
        """Whether its priorities count and, if it is an anonymous one, where it may send to; None for all of that."""
        self.rate: Rate[Producer] | None = None
        """How fast it may send, together with others; None for as fast as it can."""
        self.credit = 0
        """What it was granted and has not used up by a delivery that has left the router."""
        self.held = 0
        """How many of its deliveries the router holds."""
        self.hungry = False
        self.throttled = False
        self.draining = False
        self.barred = False
        """It gets no credit: memory is short."""
        self.unsettled: dict[Hashable, Delivery] = {}
        """Its deliveries that are not over, held or in flight, by the wire's handle for them."""

    @property
    def user(self) -> User:
        """Whose link it is."""
        return NOBODY

    def grant(self, credit: int) -> None:
        """Let it send `credit` messages more."""
        raise NotImplementedError

    def drain(self) -> None:
        """Ask it to use its credit now, or give it back (which the wire reports by `Feeding.drained`)."""
        raise NotImplementedError

    def overdrawn(self) -> None:
        """It sent more than it had credit for: end it."""
        raise NotImplementedError


@implementer(IConsumer)
class Consumer:
    """An outgoing link."""

    __slots__ = (
        "barred",
        "capacity",
        "container",
        "cost",
        "credit",
        "id",
        "in_flight",
        "max_in_flight",
        "name",
        "permit",
        "place",
        "properties",
        "queue",
        "source",
        "stint",
        "suspended",
        "unsettled",
        "window",
        "withheld",
    )

    def __init__(
        self, id: str, container: str, properties: Mapping[str, object], capacity: float = 1.0, cost: int = 0
    ) -> None:
        self.id = id
        self.container = container
        self.properties = properties
        self.capacity = capacity
        self.cost = cost
        self.name = ""
        """What the client calls its link."""
        self.permit: Permit | None = None
        """Whether it may say what its capacity is; None if it may."""
        self.source: Address | None = None
        self.credit = 0
        self.withheld = 0
        """Credit that it granted and that is not used for now: it is suspended or barred, or has all it may have in
        flight."""
        self.window = 0
        """Its credit and what it had in flight, when it last gave credit; 0 while it is barred."""
        self.suspended = False
        self.barred = False
        """It gets nothing new, as it or an operator said: see `txrouter.core.rota`."""
        self.stint = 0
        """How often it was barred."""
        self.in_flight = 0
        self.max_in_flight = DEFAULTS.max_in_flight
        """The most that it is sent unsettled."""
        self.place: Any = None
        self.queue: Shelf | None = None
        """What waits for it and no other; made when it is first needed."""
        self.unsettled: dict[Hashable, Delivery] = {}
        """What is in flight to it, by the wire's handle for it."""

    @property
    def user(self) -> User:
        """Whose link it is."""
        return NOBODY

    @property
    def waiting(self) -> int:
        """How many deliveries wait for this consumer and no other."""
        return len(self.queue) if self.queue is not None else 0

    def send(self, delivery: Delivery) -> None:
        """Take the message. Its first bytes may be written at once, the rest as they come."""
        raise NotImplementedError

    def overrun(self) -> None:
        """It cannot take what everybody is sent: end it."""
        raise NotImplementedError


class Address:
    """An address that somebody is attached to: its producers, its consumers, and the policy between them, which it is
    given by `use` before anything else."""

    __slots__ = (
        "capacity_changed",
        "changed",
        "consumers",
        "credit_changed",
        "deadline",
        "distribution",
        "free",
        "has_replies",
        "held",
        "kind",
        "multicast",
        "name",
        "on_duty",
        "policy",
        "producers",
        "rank",
        "returned",
        "select",
        "sent",
        "settled",
        "shadow",
        "wanting",
        "window",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.producers: dict[Producer, None] = {}
        self.consumers: dict[Consumer, None] = {}
        self.on_duty = 0
        """How many of them are not barred."""
        self.free = 0
        """The sum of the consumers' credit."""
        self.window = 0
        """The sum of the consumers' windows."""
        self.wanting: dict[Producer, None] = {}
        """The producers to look at when consumers give credit, as they could use more: those that have none, and those
        that got some since the consumers last gave credit, so they are sending."""
        self.changed = False
        """Something changed that may let a held delivery go; they are offered again at the end of the turn."""

    def use(self, distribution: Distribution, policy: Any, multicast: Multicast | None = None) -> None:
        """Take this policy, with nothing held, and look up once what it wants to be told.

        :param distribution: what the policy was built of.
        :param multicast: the policy, if it is one that sends copies.
        """
        self.distribution = distribution
        self.policy = policy
        self.has_replies = False
        """Replies have been awaited here; `select` looks for them."""
        self.multicast = multicast
        self.shadow: Shadowed | None = None
        """The policy, if another runs beside it; it says how they compare."""
        self.select: Callable[[Delivery], Consumer | None] = policy.select
        self.sent: Callable[[Consumer, Delivery], None] | None = (
            policy.sent if ISendWatcher.providedBy(policy) else None
        )
        self.settled: Callable[[Consumer, Delivery, str, float], None] | None = (
            policy.settled if ISettlementWatcher.providedBy(policy) else None
        )
        self.credit_changed: Callable[[Consumer, int], None] | None = (
            policy.credit_changed if ICreditWatcher.providedBy(policy) else None
        )
        self.capacity_changed: Callable[[Consumer], None] | None = (
            policy.capacity_changed if ICapacityWatcher.providedBy(policy) else None
        )
        self.rank: Callable[[Delivery], float] | None = policy.rank if IRanking.providedBy(policy) else None
        self.deadline: Callable[[Delivery], float | None] | None = (
            policy.deadline if IExpiring.providedBy(policy) else None
        )
        self.kind: Callable[[Delivery], Hashable] | None = policy.kind if ISelective.providedBy(policy) else None

        self.held = new_shelf(self.ranked)
        """Deliveries that wait for any consumer, the first to go first."""
        self.returned = new_shelf(self.ranked)
        """Deliveries that a consumer released, and that wait for one that has not."""

    @property
    def ranked(self) -> bool:
        """Whether what is held stands by rank; or in the order it came."""
        return self.distribution.by_priority or self.rank is not None

    @property
    def lets_pass(self) -> bool:
        """Whether one that is held may be overtaken by another of its producer."""
        return self.ranked or self.kind is not None
