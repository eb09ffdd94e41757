"""A router in a process of its own that says, when it is asked, what it has: every allocated byte, those of proton too.

`MeasuredRouter` is the tests' end of it; run as a program, this is the router.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from twisted.python.log import startLogging

from tests.net.clients import Client
from tests.net.ledger import objects
from tests.net.neighbourhood import SHARED
from tests.net.processes import Process
from tests.net.waiting import reactor
from txrouter.config import Config
from txrouter.service import RouterService, tune_gc

__all__ = ["MeasuredRouter", "can_measure"]

_EXACT = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""Python's own pools, and the C library's caches, would hide what is freed."""


_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Heap(ctypes.Structure):
    """What mallinfo2() returns."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS.split())


def can_measure() -> bool:
    """Whether the C library can say what is allocated: glibc's can, from 2.33 on."""
    return hasattr(ctypes.CDLL(None), "mallinfo2")


def allocated() -> int:
    """Bytes that are allocated in this process, now."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Heap
    heap = mallinfo2()
    return int(heap.uordblks + heap.hblkhd)


class MeasuredRouter(Process):
    """The process."""

    def __init__(self) -> None:
        super().__init__(
            subprocess.Popen(
                [sys.executable, "-m", "tests.net.measured"],
                env=os.environ | _EXACT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                text=True,
            )
        )
        self._endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{self._answer()}")

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def has(self) -> dict[str, int]:
        """How many objects of which kind it has, and as `bytes` how much memory is allocated."""
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        answer: dict[str, int] = self._answer()
        return answer

    async def dial(self, peer: Any) -> Any:
        """Connect any protocol to it."""
        return await connectProtocol(self._endpoint, peer)

    async def client(self, container: str) -> Client:
        """A client whose connection is open."""
        client: Client = await self.dial(Client(container))
        self._clients.append(client)
        await client.opened()
        return client


class _Asked(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        self.say({**objects(), "bytes": allocated()})

    def say(self, answer: object) -> None:
        """Answer, in a line."""
        self.sendLine(json.dumps(answer).encode())  # type: ignore[no-untyped-call]


def main() -> None:
    """Be the router."""
    listener = {"endpoint": "tcp:0:interface=127.0.0.1"}
    config = {"router": {"id": "r1"}, "listener": [listener], "address": SHARED}
    service = RouterService(Config.from_dict(config), reactor)
    asked = _Asked()
    StandardIO(asked, reactor=reactor)
    service.startService()
    listening: Any = service.when_listening()
    listening.addCallback(lambda ports: asked.say(ports[0].getHost().port))
    tune_gc()
    startLogging(sys.stderr, setStdout=False)
    reactor.run()


if __name__ == "__main__":
    main()
