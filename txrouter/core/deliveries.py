"""A message on its way from its producer to the consumer that gets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from txrouter.core.outcomes import Outcome, modified
from txrouter.interfaces import IDelivery

if TYPE_CHECKING:
    from txrouter.core.links import Address, Consumer, Producer
    from txrouter.core.multicast import Copies
    from txrouter.core.shelves import Rank, Shelf

__all__ = ["Aborted", "Delivery", "Malformed"]


class Malformed(ValueError):
    """A message could not be read as far as it had to be."""


class Aborted(Malformed):
    """Nor is there anything to be read: its producer has aborted it."""


@implementer(IDelivery)
class Delivery:
    """One message. It is held (`shelf` says where), or in flight (`consumer` says to whom; with multicast, its `copies`
    say it), or over.

    The wire subclasses it. A delivery is made for every message, so what few of them need is put in `history`.
    """

    __slots__ = (
        "arrived",
        "consumer",
        "copies",
        "destination",
        "history",
        "presettled",
        "producer",
        "rank",
        "sent_at",
        "shelf",
    )

    def __init__(self, producer: Producer | None, destination: Address, presettled: bool, arrived: float) -> None:
        self.producer = producer
        self.destination = destination
        self.presettled = presettled
        self.arrived = arrived
        self.consumer: Consumer | None = None
        self.sent_at = 0.0
        self.rank: Rank | None = None
        """Where it stands among those held, where they are not held as they came; found out when it is held first."""
        self.shelf: Shelf | None = None
        self.history: History | None = None
        self.copies: Copies | None = None

    @property
    def address(self) -> str:
        """The name of the address it was sent to."""
        return self.destination.name

    def field(self, name: str) -> object:
        """As IDelivery says.

        :raise Malformed: the message cannot be read.
        """
        raise NotImplementedError

    def application_property(self, name: str) -> object:
        """As IDelivery says.

        :raise Malformed: the message cannot be read.
        """
        raise NotImplementedError

    def length(self) -> int | None:
        """How many bytes it has, before it is sent; None where that is not known, as it is still arriving."""
        return None

    def finish(self, outcome: Outcome) -> None:
        """Put the outcome on the producer's side and settle both sides, as far as they are there. It is over."""
        raise NotImplementedError

    def can_be_resent(self) -> bool:
        """Whether the wire still has the whole message, or none of it has been sent."""
        raise NotImplementedError

    def was_sent(self) -> bool:
        """Whether its consumer may have seen some of it."""
        raise NotImplementedError

    def recall(self) -> None:
        """Let go of the consumer's side: what it sends about it later is ignored."""
        raise NotImplementedError

    # -- of the original of a multicast ------------------------------------------------------------

    def send_copies(self, consumers: Sequence[Consumer]) -> bool:
        """Send each of them a copy, and put the unsettled ones, and those that have not gone whole, into `copies`.
        Returns False if there is nothing to be sent, as the producer has aborted it."""
        raise NotImplementedError

    def keep(self, outcome: Outcome) -> Outcome:
        """The same outcome, to be told later, when the copy it was said of is over."""
        raise NotImplementedError

    def tell(self, outcome: Outcome) -> None:
        """Put the outcome on the producer's side without settling."""
        raise NotImplementedError


class History:
    """Who has seen a delivery before and did not keep it."""

    __slots__ = ("delivery_failed", "released_by")

    def __init__(self) -> None:
        self.released_by: set[Consumer] = set()
        self.delivery_failed = False

    def last_word(self, outcome: Outcome) -> Outcome:
        """What the producer is told when nobody is left to try: the last outcome, and a failure that came before it."""
        if not self.delivery_failed or outcome.delivery_failed or not outcome.asks_for_another:
            return outcome
        return modified(delivery_failed=True, undeliverable_here=outcome.undeliverable_here)
