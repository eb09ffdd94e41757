"""The messages that are sent: their bodies, one after the other, and how each becomes bytes. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from proton import Message

from txrouter.client.options import Fields

__all__ = ["Bodies", "Body", "MessageMaker", "Repeated"]

Body = str | bytes
"""Text is sent as an AMQP string, bytes as a data section."""


class Bodies(Protocol):
    """The bodies to send, in order."""

    @property
    def over(self) -> bool:
        """Whether there are no more."""

    def next(self) -> Body | None:
        """The next one; None if there is none, for now or for good."""


class Repeated:
    """A body for each of so many messages, made when its turn comes.

    :param make: from a message's number, counted from 1, to its body.
    """

    def __init__(self, count: int, make: Callable[[int], Body]) -> None:
        self._count = count
        self._make = make
        self._made = 0

    @property
    def over(self) -> bool:
        return self._made >= self._count

    def next(self) -> Body | None:
        if self.over:
            return None
        self._made += 1
        return self._make(self._made)


class MessageMaker:
    """Makes messages that differ in number and body."""

    def __init__(self, fields: Fields) -> None:
        message: Any = Message(durable=fields.durable)
        self._message = message
        self._numbered = fields.id is None
        for name in ("priority", "ttl", "id", "address", "subject", "reply_to", "correlation_id", "group_id"):
            value = getattr(fields, name)
            if value is not None:
                setattr(message, name, value)
        if fields.user_id is not None:
            message.user_id = fields.user_id.encode()
        if fields.content_type is not None:
            message.content_type = fields.content_type
        if fields.properties:
            message.properties = dict(fields.properties)

    def reply_to(self, address: str) -> None:
        """From now on, say that replies go there."""
        self._message.reply_to = address

    def encode(self, number: int, body: Body) -> bytes:
        """A message as it goes over the wire. Its number is its id, if no other is given."""
        message = self._message
        if self._numbered:
            message.id = number
        message.inferred = isinstance(body, bytes)
        message.body = body
        return bytes(message.encode())
