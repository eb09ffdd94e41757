"""The router as a consumer of what clients report of the capacity of their own consumers, at `$management/capacity`.

A report is a message with these application properties: `value`, a number or words; and if wanted `link`, what the
client calls the link that it is about, and `seconds`, how long it holds. It comes by the connection of the consumers
that it is about or, if its user proved to be one, by another of the same user and container. It is ACCEPTED if it
counts, and REJECTED if not; it has no other answer.
"""

from __future__ import annotations

from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.amqp.management import Management
from txrouter.core.access import UNAUTHORIZED
from txrouter.core.capacities import NotAllowed
from txrouter.core.outcomes import ACCEPTED, Outcome, rejected

__all__ = ["Reports"]


class Reports(Management):
    """The consumer."""

    __slots__ = ()

    def _serve(self, delivery: IncomingDelivery) -> Outcome:
        producer = delivery.producer
        if producer is None:
            return rejected("amqp:not-allowed", "its producer has gone")
        self.router.counters["reports"] += 1
        said = delivery.application_property
        value, link, seconds = said("value"), said("link"), said("seconds")
        if link is not None and not isinstance(link, str):
            return rejected("amqp:invalid-field", "link is not a text")
        try:
            mine = self.router.capacities.report(
                producer.container,
                link,
                producer.user,
                value,
                seconds=seconds,  # type: ignore[arg-type]  # it is looked at there
            )
        except NotAllowed as error:
            return rejected(UNAUTHORIZED, str(error))
        except ValueError as error:
            return rejected("amqp:invalid-field", str(error))
        return ACCEPTED if mine else rejected("amqp:not-found", "there is no such consumer of this client")
