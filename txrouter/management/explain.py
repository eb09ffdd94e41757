"""`explain`: what an address's policy does, for people.

Arguments: `address`; `seconds`, for how long to watch (1, at most 60); `samples`, how many decisions of that time to
show (5, at most 50); `consumers`, how many of them to show (50, at most 500). The answer comes when the time is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from heapq import nlargest
from itertools import islice
from typing import Any, Final

from txrouter.amqp.management import BAD, NOT_FOUND, Later, Refused, Request
from txrouter.config_words import changed
from txrouter.core.addresses import is_reserved, normalise
from txrouter.core.links import Address, Consumer
from txrouter.core.router import Router
from txrouter.core.users import SHOWN
from txrouter.interfaces import IDescribed
from txrouter.management.watching import Tally, Watch, rounded

__all__ = ["Explain", "found", "name_of"]

WALKED: Final = 10_000
"""Consumers, or producers, that are looked at."""
PRODUCERS: Final = 20
"""Producers that are shown."""
ENTRIES: Final = 20
"""Entries that are shown of a list or a table, wherever it is in what a policy says of itself."""
DEEPEST: Final = 4
TEXT: Final = 200
"""Characters that are shown of a text."""


def found(router: Router, request: Request) -> Address:
    """The address that a request is about.

    :raise Refused: there is none, or nobody is attached.
    """
    given = request.text("address")
    try:
        name = router.resolve(normalise(given))
    except ValueError as error:
        raise Refused(BAD, str(error)) from None
    address = router.addresses.get(name)
    if address is None or is_reserved(name):
        raise Refused(NOT_FOUND, f"nobody is attached to {name[:SHOWN]}")
    return address


def name_of(address: Address) -> str:
    """The name of its policy."""
    factory: Any = address.distribution.factory
    return str(factory.name)


class Explain:
    """The operation."""

    def __init__(self, router: Router, later: Later) -> None:
        self._router = router
        self._later = later

    def __call__(self, request: Request) -> None:
        """:raise Refused: an argument makes no sense."""
        address = found(self._router, request)
        seconds = request.number("seconds", 1.0, 0, 60)
        samples = int(request.number("samples", 5, 0, 50))
        most = int(request.number("consumers", 50, 0, 500))
        watch = Watch(self._router, address, 0 if address.multicast is not None else samples, seconds, self._later)

        def answer() -> None:
            request.answer(self._explained(address, watch, most))

        def stop() -> None:
            waiting.cancel()
            answer()

        waiting = self._later(seconds, answer)
        request.stop = stop

    def _explained(self, address: Address, watch: Watch, most: int) -> dict[str, object]:
        seconds = watch.end()
        policy: Any = address.policy
        options: Any = address.distribution.options
        has_options = is_dataclass(options) and not isinstance(options, type)
        walked = list(islice(address.consumers, WALKED))
        shown = nlargest(most, walked, key=lambda each: watch.tallies.get(each, _NOTHING).sent)
        capacity = sum(each.capacity for each in walked if not each.barred)
        producers = [
            {"producer": each.id, **_whose(each), "credit": each.credit, "held": each.held}
            for each in islice(address.producers, PRODUCERS)
        ]
        return {
            "router": self._router.id,
            "address": address.name[:SHOWN],
            "policy": name_of(address),
            "options": _cut(asdict(options)) if has_options else {},
            "changed": _cut(changed(options)) if has_options else {},
            "state": self._described(address, policy),
            "seconds": rounded(seconds),
            "sent": round(watch.seen * watch.times),
            "seen": watch.seen,
            "held": len(address.held),
            "returned": len(address.returned),
            "producers": producers,
            "producers_in_all": len(address.producers),
            "consumers": [_row(each, watch, capacity) for each in shown],
            "consumers_in_all": len(address.consumers),
            "decisions": watch.decisions,
            "shadow": None if address.shadow is None else _cut(address.shadow.report()),
        }

    def _described(self, address: Address, policy: Any) -> object:
        if not IDescribed.providedBy(policy):
            return None
        try:
            return _cut(policy.describe())
        except Exception as error:
            self._router.policies.failed(address, error)
            return None


_NOTHING: Final = Tally()


def _whose(link: Any) -> dict[str, object]:
    return {"container": link.container[:SHOWN], "user": link.user.name[:SHOWN]}


def _row(consumer: Consumer, watch: Watch, capacity: float) -> dict[str, object]:
    tally = watch.tallies.get(consumer, _NOTHING)
    return {
        "consumer": consumer.id,
        **_whose(consumer),
        "credit": consumer.credit,
        "in_flight": consumer.in_flight,
        "waiting": consumer.waiting,
        "drained": consumer.barred,
        "capacity": rounded(consumer.capacity),
        "wanted": 0.0 if consumer.barred else rounded(consumer.capacity / capacity),
        "got": rounded(tally.sent / watch.seen) if watch.seen else None,
        "sent": round(tally.sent * watch.times),
        "mean": tally.mean if tally.mean is None else rounded(tally.mean),
        "p95": tally.high if tally.high is None else rounded(tally.high),
    }


def _cut(value: object, depth: int = 0) -> object:
    """The same, or the beginning of it, where it is long; with how much is missing."""
    if isinstance(value, str):
        return value if len(value) <= TEXT else f"{value[:TEXT]}…"
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return rounded(value)
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        table: dict[str, object] = {
            str(key)[:TEXT]: _cut(each, depth + 1) for key, each in islice(value.items(), ENTRIES)
        }
        if len(value) > ENTRIES:
            table["…"] = f"{len(value) - ENTRIES} more"
        return table
    if isinstance(value, list | tuple | set | frozenset):
        row = [_cut(each, depth + 1) for each in islice(value, ENTRIES)]
        return [*row, f"… {len(value) - ENTRIES} more"] if len(value) > ENTRIES else row
    return str(value)[:TEXT]
