"""The frames of the SASL layer: those of a client read, those of the server written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import error as StructError
from typing import Final

from txrouter.amqp.sections import open_list, read_descriptor, read_scalar, skip
from txrouter.core.deliveries import Malformed

__all__ = [
    "AUTHENTICATION_FAILED",
    "MAX_FRAME",
    "OK",
    "TEMPORARY_FAILURE",
    "Init",
    "Refused",
    "challenge_frame",
    "mechanisms_frame",
    "outcome_frame",
    "read_init",
    "read_response",
]

MAX_FRAME: Final = 512
"""The most bytes a SASL frame may have: no larger size can be agreed on before Open."""

OK, AUTHENTICATION_FAILED, TEMPORARY_FAILURE = 0, 1, 4
"""What an outcome may say."""

_SASL_FRAME: Final = 1
_MECHANISMS, _INIT, _CHALLENGE, _RESPONSE, _OUTCOME = range(0x40, 0x45)
_SYMBOLS: Final = {b"amqp:sasl-init:list": _INIT, b"amqp:sasl-response:list": _RESPONSE}
_NAMES: Final = {_INIT: "sasl-init", _RESPONSE: "sasl-response"}

_UNREADABLE: Final = object()
"""Stands for a field that is no scalar."""


class Refused(Exception):
    """The client's bytes are not what has to come now."""


# -- what the client sends -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Init:
    """A sasl-init: the mechanism that a client chose, and what it says at once; None where it says nothing yet."""

    mechanism: str
    response: bytes | None = field(repr=False)


def read_init(frame: bytes) -> Init:
    """:raise Refused: it is no sasl-init."""
    mechanism, response, *_ = [*_fields(frame, _INIT), None, None]
    if not isinstance(mechanism, str):
        raise Refused("a sasl-init without a mechanism")
    if not isinstance(response, bytes | None):
        raise Refused("a sasl-init whose initial response is not binary")
    return Init(mechanism, response)


def read_response(frame: bytes) -> bytes:
    """:raise Refused: it is no sasl-response."""
    response, *_ = [*_fields(frame, _RESPONSE), None]
    if not isinstance(response, bytes):
        raise Refused("a sasl-response without a response")
    return response


def _fields(frame: bytes, wanted: int) -> list[object]:
    """The fields of the performative that has to be in the frame."""
    body, name = _body(frame), _NAMES[wanted]
    fields: list[object] = []
    try:
        performative, at = read_descriptor(body, 0, _SYMBOLS)
        if performative != wanted:
            raise Refused(f"the SASL performative {performative:#x} where {name} is expected")
        at, end, count = open_list(body, at)
        for _ in range(count):
            value, known = read_scalar(body, at, end)
            fields.append(value if known else _UNREADABLE)
            at = skip(body, at)
    except (IndexError, StructError):
        raise Refused(f"a malformed {name}: it ends early") from None
    except UnicodeDecodeError:
        # which would quote the bytes, and a password may be among them
        raise Refused(f"a malformed {name}: a text is not in Unicode") from None
    except Malformed as error:
        raise Refused(f"a malformed {name}: {error}") from None
    if not at == end == len(body):
        raise Refused(f"a {name} whose length is not that of its fields, or of its frame")
    return fields


def _body(frame: bytes) -> bytes:
    begin = frame[4] * 4
    if not 8 <= begin <= len(frame):
        raise Refused(f"a frame of {len(frame)} bytes whose body begins at {begin}")
    if frame[5] != _SASL_FRAME:
        raise Refused(f"a frame of the type {frame[5]} before SASL was over")
    if begin == len(frame):
        raise Refused("an empty SASL frame")
    return frame[begin:]


# -- what the server sends -------------------------------------------------------------------------


def mechanisms_frame(mechanisms: Sequence[str]) -> bytes:
    symbols = b"".join(bytes((len(name),)) + name.encode("ascii") for name in mechanisms)
    array = bytes((0xE0, 2 + len(symbols), len(mechanisms), 0xA3)) + symbols
    return _frame(_MECHANISMS, array)


def challenge_frame(challenge: bytes) -> bytes:
    """:raise Refused: it does not fit in a frame, which is so if the client made it long."""
    frame = _frame(_CHALLENGE, _binary(challenge))
    if len(frame) > MAX_FRAME:
        raise Refused(f"the answer to it takes {len(frame)} bytes; {MAX_FRAME} are allowed")
    return frame


def outcome_frame(code: int, data: bytes = b"") -> bytes:
    """:param data: what the mechanism says with it; none if empty."""
    outcome = bytes((0x50, code))
    return _frame(_OUTCOME, outcome, _binary(data)) if data else _frame(_OUTCOME, outcome)


def _binary(data: bytes) -> bytes:
    size = len(data)
    return (bytes((0xA0, size)) if size < 256 else b"\xb0" + size.to_bytes(4, "big")) + data


def _frame(performative: int, *fields: bytes) -> bytes:
    """A SASL frame of a performative with these fields."""
    items = b"".join(fields)
    if len(items) < 255:
        body = bytes((0x00, 0x53, performative, 0xC0, 1 + len(items), len(fields))) + items
    else:
        sizes = (4 + len(items)).to_bytes(4, "big") + len(fields).to_bytes(4, "big")
        body = bytes((0x00, 0x53, performative, 0xD0)) + sizes + items
    return (8 + len(body)).to_bytes(4, "big") + bytes((2, _SASL_FRAME, 0, 0)) + body
