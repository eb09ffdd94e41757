"""The ceiling over the memory of the process, and what is done near it so that the router lives.

Each client is bounded by the limits; how many there are, and so what they come to together, is not. What all have is
looked at only while memory is short:

- New connections are refused.
- The producers of the clients whose messages take the most get no credit. The nearer the ceiling, the more of them.
- At the ceiling, the clients that take the most are cut off, until as much has gone as is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Ceiling", "Client", "Load"]

NEAR: Final = 0.8
"""The part of the ceiling from which on memory is short."""
ENOUGH: Final = 0.7
"""And below which it is not any more."""
WORTH_STOPPING: Final = 0.02
"""The part of the ceiling that the messages of all clients must take for it to help that no more come."""
WORTH_CUTTING: Final = 1 << 20
"""The bytes that a client must take for it to help that it is cut off."""
CUT_EVERY: Final = 0.5
"""Seconds from one cut to the next: what is freed has to be seen first."""


class Load(NamedTuple):
    """Bytes that a client takes, as far as they can be told without looking at every message."""

    sent: int
    """Of the messages that it sent and that are not settled."""
    own: int
    """That go when it is cut off: what it sent and nobody has yet, what is in flight to it or not read by it, and its
    sessions and links."""


class Client(Protocol):
    """A client's connection."""

    name: str

    def load(self) -> Load:
        """What it takes."""

    def bar(self) -> None:
        """Give its producers no more credit, and ask for what they have. It may be so already."""

    def unbar(self) -> None:
        """The end of `bar`."""

    def cut(self) -> None:
        """Close its connection at once."""


class Ceiling:
    """What is done near the ceiling.

    :param most: bytes that the process is to have at most.
    """

    def __init__(self, router: Router, most: int) -> None:
        self._router = router
        self.most = most
        self._barred: set[Client] = set()
        self._cut_at = float("-inf")

    def look(self, resident: int, now: float, clients: Callable[[], Iterable[Client]]) -> None:
        """Do what is to be done, now that the process has `resident` bytes."""
        router = self._router
        if resident < ENOUGH * self.most:
            if router.short_of_memory:
                self._relax(resident)
        elif router.short_of_memory or resident >= NEAR * self.most:
            loads = {client: client.load() for client in clients()}
            if not router.short_of_memory:
                router.short_of_memory = True
                router.counters["memory_shortages"] += 1
                self._report("memory is short", resident, clients=len(loads))
            self._bar(resident, loads)
            if resident >= self.most and now - self._cut_at >= CUT_EVERY:
                self._cut(resident, now, loads)

    def _relax(self, resident: int) -> None:
        self._router.short_of_memory = False
        self._report("memory is enough again", resident)
        for client in self._barred:
            client.unbar()
        self._barred.clear()

    def _bar(self, resident: int, loads: dict[Client, Load]) -> None:
        self._barred.intersection_update(loads)
        total = sum(load.sent for load in loads.values())
        low = ENOUGH * self.most
        wanted = total * min(1.0, (resident - low) / (self.most - low))
        if total >= WORTH_STOPPING * self.most:
            for client in sorted(loads, key=lambda each: loads[each].sent, reverse=True):
                if wanted <= 0:
                    break
                wanted -= loads[client].sent
                self._barred.add(client)
        for client in self._barred:
            client.bar()

    def _cut(self, resident: int, now: float, loads: dict[Client, Load]) -> None:
        too_much = resident - NEAR * self.most
        for client in sorted(loads, key=lambda each: loads[each].own, reverse=True):
            own = loads[client].own
            if too_much <= 0 or own < WORTH_CUTTING:
                break
            too_much -= own
            self._cut_at = now
            self._barred.discard(client)
            self._router.counters["cut_for_memory"] += 1
            self._report("cut off for memory", resident, connection=client.name, had=_mebibytes(own))
            client.cut()

    def _report(self, event: str, resident: int, **fields: object) -> None:
        sizes = {"resident": _mebibytes(resident), "ceiling": _mebibytes(self.most)}
        self._router.report(event, {**sizes, **fields})


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
