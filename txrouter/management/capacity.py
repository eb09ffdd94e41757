"""`capacity`: how much each consumer takes, and who says so. `set-capacity`: an operator says so.

Arguments of `capacity`: `address`, all if it is missing; `consumers`, how many to show (100, at most 500).

Arguments of `set-capacity`: `consumer`, an id as `capacity` and `explain` show it; `value`, a number, or words such as
`drain`, and `ready` is as if nothing had been said; `seconds`, how long it holds, for ever if it is missing.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from txrouter.amqp.management import BAD, NOT_FOUND, Refused, Request
from txrouter.core.links import Consumer
from txrouter.core.router import Router
from txrouter.core.users import SHOWN
from txrouter.management.explain import found

__all__ = ["SetCapacity", "ShowCapacity"]


class ShowCapacity:
    """The operation `capacity`."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self, request: Request) -> None:
        """:raise Refused: an argument makes no sense."""
        most = int(request.number("consumers", 100, 0, 500))
        consumers: Collection[Consumer] = self._router.capacities.consumers()
        if request.argument("address") is not None:
            consumers = found(self._router, request).consumers
        shown = [self._router.capacities.describe(each) for each in islice(consumers, most)]
        request.answer({"consumers": shown, "consumers_in_all": len(consumers)})


class SetCapacity:
    """The operation `set-capacity`."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self, request: Request) -> None:
        """:raise Refused: an argument makes no sense, or who asks may not change anything."""
        request.check_control()
        consumer = self._consumer(request.text("consumer"))
        capacities = self._router.capacities
        value = request.argument("value")
        if value is None:
            raise Refused(BAD, "value is missing, or no finite number")
        try:
            capacities.tell(consumer, value, seconds=request.argument("seconds"))
        except ValueError as error:
            raise Refused(BAD, str(error)) from None
        request.answer(capacities.describe(consumer))

    def _consumer(self, id: str) -> Consumer:
        for consumer in self._router.capacities.consumers():
            if consumer.id == id:
                return consumer
        raise Refused(NOT_FOUND, f"there is no consumer {id[:SHOWN]!r}")
