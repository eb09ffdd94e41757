"""A message that came, as people or programs read it: as JSON with all its fields, or just its body. Pure."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from proton import Array, Described, Message, ProtonException, decimal32, decimal64, decimal128

__all__ = ["as_bytes", "as_json", "harmless", "read"]

_PROPERTIES = {
    "message_id": "id",
    "user_id": "user_id",
    "to": "address",
    "subject": "subject",
    "reply_to": "reply_to",
    "correlation_id": "correlation_id",
    "content_type": "content_type",
    "content_encoding": "content_encoding",
    "absolute_expiry_time": "expiry_time",
    "creation_time": "creation_time",
    "group_id": "group_id",
    "group_sequence": "group_sequence",
    "reply_to_group_id": "reply_to_group_id",
}
"""AMQP's names of a message's properties, and proton's."""
_SHOWN = "\n\t"


def read(data: bytes) -> Message:
    """The message that these bytes are. proton lets much pass, and decodes as far as it can.

    :raise ValueError: they are none.
    """
    message = Message()
    try:
        message.decode(data)
        # proton decodes texts when they are asked for
        for name in _PROPERTIES.values():
            getattr(message, name)
    except ProtonException as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # what it has read, it makes objects of without looking what that is
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return message


def as_json(message: Message, *, address: str, size: int, settled: bool, body: bool = True) -> str:
    """All of a message on one line.

    :param address: where it was received from.
    :param size: in bytes, as it was on the wire.
    :param settled: whether it came pre-settled.
    :param body: whether its body is part of it.
    """
    shown: dict[str, object] = {
        "address": address,
        "size": size,
        "settled": settled,
        "header": {
            "durable": message.durable,
            "priority": message.priority,
            "ttl": message.ttl or None,
            "first_acquirer": message.first_acquirer,
            "delivery_count": message.delivery_count,
        },
        "delivery_annotations": _plain(message.instructions or {}),
        "message_annotations": _plain(message.annotations or {}),
        "properties": _properties(message),
        "application_properties": _plain(message.properties or {}),
    }
    if body:
        shown |= _body(message)
    return json.dumps(shown, ensure_ascii=False, allow_nan=False)


def _properties(message: Message) -> dict[str, object]:
    """Those that the message has."""
    found = {name: getattr(message, theirs) for name, theirs in _PROPERTIES.items()}
    return {name: _plain(value) for name, value in found.items() if not _is_absent(name, value)}


def _is_absent(name: str, value: object) -> bool:
    # proton has 0 and "" where there is none, and a symbol made of None for these two
    if name in ("message_id", "correlation_id"):
        return value is None
    return not value or (name.startswith("content_") and value == "None")


def _body(message: Message) -> dict[str, object]:
    """The body, as `body` if it is text or made of JSON's types, else as `body_base64`; and the section it was in."""
    value: Any = message.body
    kind = "value"
    if message.inferred:
        kind = "sequence" if isinstance(value, list) else "data"
    shown: dict[str, object] = {"body_section": kind}
    if _is_binary(value):
        text = _text(bytes(value))
        return shown | ({"body": text} if text is not None else {"body_base64": _base64(value)})
    return shown | {"body": _plain(value)}


def as_bytes(message: Message, *, terminal: bool) -> bytes:
    """The body alone: text and bytes as they are, anything else as JSON.

    :param terminal: whether it is for a terminal, which is not to obey what a message says.
    """
    value: Any = message.body
    if isinstance(value, str) or _is_binary(value):
        raw = value.encode(errors="replace") if isinstance(value, str) else bytes(value)
        return _harmless(raw) if terminal else raw
    raw = json.dumps(_plain(value), ensure_ascii=False).encode(errors="replace")
    return _harmless(raw) if terminal else raw


def harmless(text: str) -> str:
    """A text that no terminal obeys."""
    return "".join(each if each.isprintable() or each in _SHOWN else ascii(each)[1:-1] for each in text)


def _harmless(raw: bytes) -> bytes:
    return harmless(raw.decode(errors="backslashreplace")).encode()


def _plain(value: Any) -> object:
    """A value of AMQP's types in JSON's."""
    if _is_binary(value):
        text = _text(bytes(value))
        return {"base64": _base64(value)} if text is None else text
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (decimal32, decimal64)):  # proton has only the bits of decimals
        return {type(value).__name__: int(value)}
    if isinstance(value, decimal128):
        return {"decimal128": _base64(value)}
    if isinstance(value, Described):
        return {"descriptor": _plain(value.descriptor), "value": _plain(value.value)}
    if isinstance(value, Array):
        return [_plain(element) for element in value.elements]
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(_plain(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _is_binary(value: object) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview)) and not isinstance(value, decimal128)


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _base64(data: Any) -> str:
    return base64.b64encode(data).decode("ascii")
