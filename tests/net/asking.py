"""Asking the router itself, at `$management`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import proton

from tests.net.clients import DYNAMIC, Client
from tests.net.links import Receiver, Sender, State
from tests.net.routers import RunningRouter

MANAGEMENT = "$management"


@dataclass(frozen=True)
class Answer:
    """What the router answered."""

    status: int
    description: str
    body: dict[str, Any]
    correlation_id: object

    @classmethod
    def of(cls, message: proton.Message) -> Answer:
        properties: Any = message.properties
        id = message.correlation_id
        return cls(
            properties["statusCode"],
            properties["statusDescription"],
            json.loads(str(message.body)),
            bytes(id) if isinstance(id, memoryview) else id,  # which is of memory that is the message's
        )


class Asker:
    """A client that asks."""

    def __init__(self, sender: Sender, answers: Receiver) -> None:
        self.sender = sender
        self.answers = answers

    @classmethod
    async def at(cls, router: RunningRouter, **options: Any) -> Asker:
        """One on a connection of its own."""
        return await cls.of(await router.client(**options))

    @classmethod
    async def of(cls, client: Client, credit: int = 100) -> Asker:
        """One on this connection."""
        answers = await client.receiver(DYNAMIC, credit=credit)
        sender = await client.sender(MANAGEMENT)
        await sender.credited()
        return cls(sender, answers)

    def request(self, operation: str | None, *, id: Any = 7, reply_to: str | None = "", **arguments: Any) -> Any:
        """A request, whose answer comes here if nothing else is said."""
        properties = arguments if operation is None else {"operation": operation, **arguments}
        request = proton.Message(id=id, properties=properties)
        if reply_to is not None:
            request.reply_to = reply_to or self.answers.address
        return request

    async def ask(self, operation: str, **arguments: Any) -> Answer:
        """The answer to a request."""
        self.sender.send(self.request(operation, **arguments))
        return await self.answer()

    async def answer(self) -> Answer:
        """The next answer that comes."""
        return Answer.of((await self.answers.next()).message)

    async def outcome(self, message: Any) -> State:
        """What becomes of a request."""
        return await self.sender.send(message).over()
