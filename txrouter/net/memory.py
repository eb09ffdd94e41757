"""The memory of the process: how much it has, how much it may have, and giving back what is free."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from txrouter.core.ceiling import NEAR, Ceiling, Client

if TYPE_CHECKING:
    from txrouter.core.router import Router

__all__ = ["Watch", "allowed", "resident", "trim"]

SHARE = 0.75
"""Of what the machine has, where nobody says how much the router may have."""
TRIM_EVERY = 0.5
"""Seconds between two times that free memory is given back to the system, while memory is short."""
SHORTEST = 0.02
LONGEST = 0.25
"""Seconds between two looks: the nearer the ceiling, the more often."""
FASTEST = 1e9
"""Bytes a second that memory is thought to grow by at most."""
PAUSE = 10
"""How many times as long as a look it takes to the next, at least."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory that the process has now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0


def allowed(root: Path = Path("/")) -> int:
    """Bytes that a router may have of which nobody said it: three quarters of the machine's memory, or of what its
    control group may have."""
    machine = os.sysconf("SC_PHYS_PAGES") * _PAGE
    return int(SHARE * min([machine, *_of_control_groups(root)]))


def _of_control_groups(root: Path) -> Iterator[int]:
    """What the process's control groups, and those that they are in, may have."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = mount / path.lstrip("/")
        for each in (group, *group.parents):
            if not each.is_relative_to(mount):
                break
            try:
                yield int((each / name).read_text())
            except (OSError, ValueError):  # it has no limit; or in a container, the path is another
                continue


def trim() -> None:
    """Give back what is free between what is not: the C library keeps it otherwise, and `resident` counts it."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


class Watch:
    """Looks at the memory of the process, and does near the ceiling of a router's limits what is to be done.

    :param later: calls a callable after some seconds, as `Pacemaker.later` does.
    :param clients: all that are connected.
    """

    def __init__(
        self,
        router: Router,
        later: Callable[[float, Callable[[], None]], IDelayedCall],
        clients: Callable[[], Iterable[Client]],
        measure: Callable[[], int] = resident,
        trim: Callable[[], None] = trim,
    ) -> None:
        self._router = router
        self._later = later
        self.ceiling = Ceiling(router, router.limits.max_memory or allowed())
        self._clients = clients
        self._measure = measure
        self._trim = trim
        self._trimmed_at = float("-inf")
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._next = self._later(SHORTEST, self._look)

    def _look(self) -> None:
        began = time.perf_counter()
        most = self.ceiling.most
        resident = self._measure()
        if resident >= NEAR * most and self._router.now - self._trimmed_at >= TRIM_EVERY:
            self._trimmed_at = self._router.now
            self._trim()
            resident = self._measure()
        self.ceiling.look(resident, self._router.now, self._clients)
        room = (most if self._router.short_of_memory else NEAR * most) - resident
        took = time.perf_counter() - began
        self._next = self._later(max(SHORTEST, PAUSE * took, min(LONGEST, room / FASTEST)), self._look)

    def stop(self) -> None:
        """Leave no timer behind."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None
