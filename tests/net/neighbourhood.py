"""Clients that mind their own business while somebody else misbehaves, and have to notice nothing of it."""

from __future__ import annotations

from typing import Any, Protocol

from tests.net.clients import Client
from tests.net.conversations import HELLO, Conversation
from tests.net.frames import BEGIN, CLOSE, DETACH, Frame, begin, taken_apart
from tests.net.links import ACCEPTED, Receiver, Sender
from tests.net.raw import RawClient
from tests.net.waiting import something_came, wait_until

__all__ = ["SHARED", "Neighbourhood", "Neighbours", "Place"]

SHARED = [{"pattern": "shared", "distribution": "multicast", "options": {"when_full": "drop", "drop_seconds": 0}}]
"""The `address` table of a config that a `Neighbourhood` needs."""
_FREE_CHANNEL = 222
"""Of a hostile client's connection, to see whether it is alive."""


class Place(Protocol):
    """A router, wherever it runs."""

    async def client(self, container: str) -> Client:
        """A client whose connection is open."""

    async def dial(self, peer: Any) -> Any:
        """Connect any protocol to it."""


class Stranger(RawClient):
    """A hostile client's socket, which takes apart what comes as it comes: there may be much of it."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = b""
        self._ending: str | None = None
        self.detached: str | None = None
        """The condition of the last detach frame that had one."""

    def dataReceived(self, data: bytes) -> None:
        self._rest += data
        while True:
            # no frame is as long as this would mean, read as a size
            if self._rest[:4] == b"AMQP":
                self._rest = self._rest[8:]
            came, rest = taken_apart(self._rest)
            for frame in came:
                self._hear(frame)
            self._rest = rest
            if not came:
                break
        something_came()

    def _hear(self, frame: Frame) -> None:
        if frame.performative == DETACH:
            self.detached = frame.error or self.detached
        elif frame.performative == CLOSE:
            self._ending = frame.error or ""
        elif frame.performative == BEGIN and frame.fields[0] == _FREE_CHANNEL:
            self._ending = "lives"

    @property
    def ending(self) -> str | None:
        """How it ended, as a `Conversation` has it; None while it goes on."""
        return "cut" if self.lost and self._ending is None else self._ending


class Neighbours:
    """A producer and a consumer, with a message in flight between them."""

    def __init__(self, place: Any, producer: Sender, consumer: Receiver) -> None:
        self.router = place
        self.producer = producer
        self.consumer = consumer
        self._in_flight = producer.send(HELLO)

    @classmethod
    async def of(cls, place: Any) -> Neighbours:
        """New ones."""
        consumer = await (await place.client("consumer")).receiver("neighbours", credit=1000)
        producer = await (await place.client("producer")).sender("neighbours")
        await producer.credited()
        neighbours = cls(place, producer, consumer)
        await consumer.count(1)
        return neighbours

    async def unaffected(self) -> None:
        """See that what they do goes on as if nothing had happened."""
        for _ in range(3):
            self.consumer.flow(1)
            await self.producer.credited()
            sent = self.producer.send(HELLO)
            (await self.consumer.next()).accept()
            assert await self._in_flight.over() == ACCEPTED
            self._in_flight = sent

    async def stranger(self) -> RawClient:
        """A socket to misbehave with."""
        raw: RawClient = await self.router.dial(RawClient())
        return raw


class Neighbourhood:
    """Neighbours, and those that a hostile client has to do with: see `tests.net.conversations`."""

    def __init__(self, neighbours: Neighbours, feeders: list[Sender], takers: list[Receiver]) -> None:
        self.neighbours = neighbours
        self._feeders = feeders
        self._takers = takers

    @classmethod
    async def of(cls, place: Place) -> Neighbourhood:
        """A new one."""
        neighbours = await Neighbours.of(place)
        client = await place.client("others")
        await client.receiver("waiting")
        takers = [await client.receiver(name, credit=1000, takes=ACCEPTED) for name in ("taken", "shared")]
        return cls(neighbours, [await client.sender(name) for name in ("fed", "shared")], takers)

    async def suffers(self, conversation: Conversation) -> tuple[str, str | None]:
        """Have somebody say all that, and be gone. Returns how it ended, as a `Conversation` has it: for the
        connection, and for a link."""
        (stranger,) = await self.suffers_many(conversation, 1)
        return stranger.ending or "", stranger.detached

    async def suffers_many(self, conversation: Conversation, count: int) -> list[Stranger]:
        """Have so many say all that at a time, and be gone."""
        strangers: list[Stranger] = [await self.neighbours.router.dial(Stranger()) for _ in range(count)]
        for piece in conversation.pieces:
            for stranger in strangers:
                stranger.say(piece)
            await self.rest()
        for stranger in strangers:
            stranger.say(begin(_FREE_CHANNEL))
        await wait_until(lambda: all(stranger.ending is not None for stranger in strangers))
        for stranger in strangers:
            stranger.abort()
        await wait_until(lambda: all(stranger.lost for stranger in strangers))
        await self.rest()
        return strangers

    async def rest(self) -> None:
        """Let everybody send what may be sent, and take what comes."""
        await self.neighbours.producer.client.sync()
        for feeder in self._feeders:
            for _ in range(min(feeder.credit, 20)):
                feeder.send(HELLO)
        for taker in self._takers:
            taker.flow(max(0, 1000 - taker.credit))
        await self._takers[0].client.sync()
