"""What the router writes to one of its clients, frame by frame."""

from __future__ import annotations

from typing import Any

from tests.net.clients import Client
from tests.net.frames import TRANSFER, taken_apart
from tests.net.routers import RunningRouter


class Watched:
    """The router's end of a client's connection. What is written there from now on is kept as the payloads of its
    transfers."""

    def __init__(self, router: RunningRouter, client: Client) -> None:
        (connection,) = (
            protocol.connection
            for protocol in router.connections
            if protocol.connection.container == client.connection.container
        )
        self._wire: Any = connection._wire
        connection._wire = self
        self._begun = bytearray()
        self._payloads: list[bytes] = []
        self._mark = 0

    def write(self, data: memoryview) -> int:
        self._begun += data
        while len(self._begun) >= 8 and len(self._begun) >= (size := int.from_bytes(self._begun[:4], "big")):
            ((frame,), _) = taken_apart(bytes(self._begun[:size]))
            del self._begun[:size]
            if frame.performative == TRANSFER:
                self._payloads.append(frame.payload)
        return int(self._wire.write(data))

    def lose(self) -> None:
        self._wire.lose()

    def abort(self) -> None:
        self._wire.abort()

    def mark(self) -> None:
        """Count from here: from the transfer that is written next, or that is half written."""
        self._mark = len(self._payloads)

    def transfers_before(self, payload: bytes) -> list[int] | None:
        """The sizes of the transfers that were written between the mark and the one with this payload; None as long as
        that is not there."""
        after = self._payloads[self._mark :]
        return [len(each) for each in after[: after.index(payload)]] if payload in after else None
