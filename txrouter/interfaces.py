"""Every interface of txrouter: what a distribution policy sees, what it may be told, and what names it.

This is the only module of txrouter that a policy needs. A policy is asked one question, `IDistributionPolicy.select`;
whatever else it wants to know it says by declaring more of the interfaces below, which are looked up once, when it
is built. Everything is called from one thread. A policy does no I/O, reads no clock but the one it is given (`ITimed`)
and draws random numbers only from the generator it is given: so the same choices follow from the same events, in the
router, in tests and in a simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from zope.interface import Attribute, Interface

__all__ = [
    "ICapacityWatcher",
    "IConsumer",
    "ICreditWatcher",
    "IDelivery",
    "IDeliveryWatcher",
    "IDescribed",
    "IDistribution",
    "IDistributionPolicy",
    "IDistributionPolicyFactory",
    "IDistributionWrapperFactory",
    "IExpiring",
    "IExplains",
    "IMulticast",
    "IProducer",
    "IRanking",
    "IReassigning",
    "IReplyWatcher",
    "ISelective",
    "ISendWatcher",
    "ISettlementWatcher",
    "ITimed",
    "IUnavailable",
    "IWoken",
]


class IProducer(Interface):
    """A client that sends: an incoming link. Read-only."""

    id = Attribute("str: unique in this router for the life of the link.")
    container = Attribute("str: the container id its connection gave in Open.")
    properties = Attribute("Mapping[str, object]: the link properties the client gave at attach.")


class IConsumer(Interface):
    """A client that receives: an outgoing link; one instance of a service. Read-only, but for `place`; the router keeps
    the numbers."""

    id = Attribute("str: unique in this router for the life of the link.")
    container = Attribute("str: the container id its connection gave in Open.")
    properties = Attribute("Mapping[str, object]: the link properties the client gave at attach.")
    credit = Attribute("int: how many deliveries may be sent to it right now.")
    in_flight = Attribute("int: unsettled deliveries sent to it that it has not settled yet.")
    waiting = Attribute("int: deliveries that wait in the router for this consumer and no other.")
    capacity = Attribute(
        "float: how much it takes relative to others, above 0; 1.0 if it does not say and nothing is configured."
    )
    cost = Attribute("int: what it costs to reach it: 0 for a consumer attached to this router.")
    place = Attribute(
        "The policy's own: whatever it keeps of this consumer, to find it without a look-up. None when it is added."
    )


class IDelivery(Interface):
    """One message on its way through the router, as a policy may see it. Read-only.

    The fields of the message are read when they are first asked for, no further than needed: a policy that asks for
    none costs nothing. Only what lies in the first 64 KiB of a message can be seen.
    """

    address = Attribute("str: the address it was sent to, in the form the router looks addresses up by.")
    producer = Attribute("IProducer: who sent it; None once that link is gone.")
    arrived = Attribute("float: when it arrived, by the clock of `ITimed`.")
    presettled = Attribute("bool: the producer asked for no acknowledgement; such a delivery is never in flight.")

    def field(name: str) -> object:
        """A field of the message's header or properties section.

        :param name: as AMQP 1.0 names it, with `_` for `-`: `durable`, `priority`, `ttl`, `first_acquirer`,
            `delivery_count`, `message_id`, `user_id`, `to`, `subject`, `reply_to`, `correlation_id`, `content_type`,
            `content_encoding`, `absolute_expiry_time`, `creation_time`, `group_id`, `group_sequence`,
            `reply_to_group_id`.
        :return: its value (str, int, bool, bytes or uuid.UUID), or None where the message does not have it.
        :raise KeyError: there is no field of that name in AMQP 1.0.
        """

    def application_property(name: str) -> object:
        """An entry of the message's application-properties section, or None where there is none of that name."""


class IDistribution(Interface):
    """Says who gets the messages of one address: an IDistributionPolicy, or an IMulticast. One instance per address."""


class IDistributionPolicy(IDistribution):
    """Decides which consumer of one address gets each message."""

    def add(consumer: IConsumer) -> None:
        """A consumer attached. It may have credit already."""

    def remove(consumer: IConsumer) -> None:
        """A consumer left. It must not be selected any more. Its numbers are as they were before it left."""

    def select(delivery: IDelivery) -> IConsumer | None:
        """Choose who gets `delivery`. It is called for every message: O(log n) in the number of consumers, or better.

        :return: a consumer with credit: the delivery goes there now. A consumer without credit: the delivery waits
            for that one. None: it is held, and offered again when credit, a consumer or a settlement arrives. So are
            those that come after it, unless the policy is an `ISelective`.

        The choice is not always carried out: a consumer that has released this very delivery before is passed over.
        What was really sent is told to an `IDeliveryWatcher`. A policy that raises, or returns what is no consumer of
        its address, is counted and logged, and the first consumer with credit is used instead.
        """


class IMulticast(IDistribution):
    """Every consumer of the address gets a copy of each message. The router makes the copies; there is nothing to
    decide but how long all wait for a consumer that has no credit for its copy, and what becomes of it then."""

    stream_seconds = Attribute("float: how long the rest of a message that is being streamed waits for a consumer.")

    def seconds(presettled: bool) -> float:
        """How long a message, pre-settled or not, waits for such a consumer. After that it goes without, until it gives
        credit again."""

    def detaches(presettled: bool) -> bool:
        """Whether its link is ended then."""


class ICreditWatcher(Interface):
    """Optional facet of a policy: hears when a consumer's credit changes for any reason other than a send."""

    def credit_changed(consumer: IConsumer, delta: int) -> None:
        """`consumer.credit` has just become what it is now, by `delta`: it gave credit, drained, or its connection
        can take no more for the time being (credit 0), or can again."""


class ISendWatcher(Interface):
    """Optional facet of a policy: hears what is sent."""

    def sent(consumer: IConsumer, delivery: IDelivery) -> None:
        """`delivery` goes to `consumer`; its credit is one less and, unless pre-settled, its in_flight one more."""


class ISettlementWatcher(Interface):
    """Optional facet of a policy: hears what becomes of what was sent."""

    def settled(consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        """An unsettled delivery that was sent is over; `consumer.in_flight` is one less already.

        Not called for what a consumer had in flight when it left: `remove` says that.

        :param outcome: `accepted`, `rejected`, `released` or `modified`, as the consumer said; `settled` where it, or
            the producer, settled without an outcome.
        :param seconds: since it was sent.
        """


class IDeliveryWatcher(ISendWatcher, ISettlementWatcher):
    """Both of them."""


class ICapacityWatcher(Interface):
    """Optional facet of a policy: hears when a consumer's capacity changes while it is attached."""

    def capacity_changed(consumer: IConsumer) -> None:
        """`consumer.capacity` has just become what it is now."""


class ITimed(Interface):
    """Optional facet of a policy: wants to know the time."""

    clock = Attribute(
        "Callable[[], float]: seconds, monotonic, from any beginning. Set by the router before the first consumer is "
        "added. During one call it says the same each time; in a simulation it is that one's."
    )


class IWoken(ITimed):
    """Optional facet of a policy: may hold messages although there is credit, until some time has passed."""

    wake_at = Attribute(
        "Callable[[float], None]: offer what is held again when `clock` says this, if not sooner. Set with `clock`."
    )


class IReassigning(Interface):
    """Optional facet of a policy: may find that what waits for a consumer without credit should not go on waiting."""

    reassign = Attribute(
        "Callable[[IConsumer], None]: what waits for this consumer alone is held for any from now on, before what is "
        "held already, and offered again soon. Set before any consumer is added. A `select` that has called it returns "
        "None, so that the message does not overtake what came before it."
    )


class ISelective(Interface):
    """Optional facet of a policy: who can get a message depends on the message, so one may be held while others go."""

    def kind(delivery: IDelivery) -> Hashable:
        """Of what kind it is. Where one that is held finds no consumer, neither do those of its kind behind it, which
        are not offered; those of other kinds are, and overtake it."""


class IRanking(Interface):
    """Optional facet of a policy: says in what order what is held is offered."""

    def rank(delivery: IDelivery) -> float:
        """Where it stands among those held: the lowest is offered first; among equals, the one that came first. Asked
        once, when a delivery is held first."""


class IExpiring(Interface):
    """Optional facet of a policy: says when it is too late for a message, which need not have a time to live for that.
    What is held is turned away then as if it had had that time to live."""

    def deadline(delivery: IDelivery) -> float | None:
        """When it is too late to send it, by the clock of `ITimed`; None for never. Asked when it is held, and when it
        is offered again after a consumer has released it. It is up to `select` not to choose anybody for one that is
        late when it comes: it is turned away then."""


class IReplyWatcher(Interface):
    """Optional facet of a policy: hears which messages are requests, and when their replies pass through the router.

    A request has a `reply_to`, and a `message_id` or else a `correlation_id`; its reply is sent to that address, with
    that as its `correlation_id`.
    """

    reply_seconds = Attribute("float: how long a reply is awaited; less where the request has less time to live.")

    def asked(consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        """`delivery`, which was just sent to `consumer`, is a request. Called after `sent`.

        :param request: by which `answered` refers to it. One that is sent later has a higher one.
        """

    def answered(consumer: IConsumer, request: int, seconds: float | None) -> None:
        """The reply to a request has come, so many seconds after that was sent. None: it is not awaited any more, as
        the time is up, or the consumer did not accept the request. What is held is offered again.

        Not called for what a consumer had not replied to when it left: `remove` says that.
        """


class IDescribed(Interface):
    """Optional facet of a policy: can say what it is doing, for people."""

    def describe() -> dict[str, object]:
        """Its state in plain JSON-able values. Not called on the path of a message."""


class IExplains(Interface):
    """Optional facet of a policy: can say whom it is about to choose among, for people."""

    by = Attribute("str: what it goes by, in a few words: `the fewest in flight; then who waited longest`.")

    def candidates(delivery: IDelivery) -> Iterable[tuple[IConsumer, float | str]]:
        """Who could be selected for `delivery` at this moment, the one that is first; each with what speaks for or
        against it, a number or a few words. Only the first few are taken, so it is best made as it goes.

        Asked for a few messages only, just before `select`, and while somebody wants to know. It changes nothing, and
        uses up no chance: `select` answers as if it had not been asked.
        """


class IDistributionPolicyFactory(Interface):
    """Builds a policy for an address. Stateless. What an entry point of the group `txrouter.distribution` names."""

    name = Attribute("str: the name it goes by in a config, lower case with hyphens.")
    summary = Attribute("str: one line for people.")
    options = Attribute("type: a dataclass; a config's option table is validated against its fields and their types.")

    def build(options: object, random: object) -> IDistribution:
        """A new policy, or an IMulticast.

        :param options: an instance of `self.options`.
        :param random: a `random.Random`, seeded by the router: the only source of chance it may use.
        :raise ValueError: the options contradict each other; the message says how.
        """


class IDistributionWrapperFactory(Interface):
    """Puts a policy around others. Stateless. What an entry point of the group `txrouter.wrapper` names. It is used by
    writing its name before that of a policy: `outlier + pull`."""

    name = Attribute("str: the name it goes by in a config, lower case with hyphens.")
    summary = Attribute("str: one line for people.")
    options = Attribute(
        "type: a dataclass, as that of a policy. A config gives them among the policy's, in a table named as the "
        "wrapper, with `_` for `-`."
    )

    def wrap(build: Callable[[], IDistributionPolicy], options: object, random: object) -> IDistributionPolicy:
        """A new policy that chooses with the help of others, and declares what those declare besides its own.

        :param build: builds a policy to go inside: one, or several that are alike. `IConsumer.place` is for these; a
            consumer that is added to two of them has to be another object for each.
        :param options: an instance of `self.options`.
        :param random: as for IDistributionPolicyFactory.
        :raise ValueError: the options contradict each other; the message says how.
        """


class IUnavailable(IDistributionPolicyFactory):
    """A factory whose addresses nobody may attach to, or send to. What it builds is never used."""
