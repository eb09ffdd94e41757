"""What the router itself says to clients: messages of its own, written and sent."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack
from typing import Final
from uuid import UUID

from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.core.links import Address
from txrouter.core.router import Router

__all__ = ["encode", "room_at", "send"]

_PROPERTIES: Final = b"\x00\x53\x73"
_APPLICATION_PROPERTIES: Final = b"\x00\x53\x74"
_VALUE: Final = b"\x00\x53\x77"
_NULL: Final = b"\x40"
_JSON: Final = b"\xa3\x10application/json"
_MOST_ULONG: Final = 1 << 64


def encode(correlation_id: object, properties: Mapping[str, str | int], body: str) -> bytes:
    """A message with a text, which is JSON, as its body.

    :param correlation_id: a str, bytes, UUID or int of 64 bits without a sign, as AMQP has them; anything else is none.
    :param properties: its application properties; an int has 32 bits.
    """
    nothing = [_NULL] * 5  # message-id, user-id, to, subject, reply-to
    fields = [*nothing, _id(correlation_id), _JSON]
    pairs = [encoded for name, value in properties.items() for encoded in (_text(name), _scalar(value))]
    return b"".join(
        (
            _PROPERTIES,
            _compound(b"\xd0", fields),
            _APPLICATION_PROPERTIES,
            _compound(b"\xd1", pairs),
            _VALUE,
            _text(body),
        )
    )


def _compound(constructor: bytes, values: list[bytes]) -> bytes:
    content = b"".join(values)
    return constructor + pack(">II", len(content) + 4, len(values)) + content


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    return b"\xb1" + pack(">I", len(data)) + data


def _scalar(value: str | int) -> bytes:
    return _text(value) if isinstance(value, str) else b"\x71" + pack(">i", value)


def _id(value: object) -> bytes:
    match value:
        case str():
            return _text(value)
        case bytes():
            return b"\xb0" + pack(">I", len(value)) + value
        case UUID():
            return b"\x98" + value.bytes
        case int() if 0 <= value < _MOST_ULONG:
            return b"\x80" + pack(">Q", value)
        case _:
            return _NULL


def room_at(router: Router, name: str) -> int:
    """How many messages may be sent to this address now; 0 also where it has no consumer, or is for copies."""
    address = _found(router, name)
    return address.free if address is not None else 0


def _found(router: Router, name: str) -> Address | None:
    """The address, if one of its consumers may take a message at once."""
    address = router.addresses.get(name)
    if address is None or address.multicast is not None or address.held or router.stopping:
        return None
    return address if address.free > 0 else None


def send(router: Router, name: str, data: bytes) -> bool:
    """Send a message to this address, pre-settled, if a consumer can take it at once. Returns False if none can: then
    it is dropped, and counted."""
    address = _found(router, name)
    if address is not None:
        delivery = IncomingDelivery(None, address, True, router.now, None)
        delivery.prefix, delivery.whole = data, True
        if router.route(delivery):
            return True
        router.abandon(delivery)  # its policy would have it wait
    router.counters["dropped_answers"] += 1
    return False
