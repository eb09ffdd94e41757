"""The messages of a soak: of any size, with a number by which they are known, and bytes that are theirs."""

from __future__ import annotations

import struct
import zlib
from random import Random
from typing import Any

import proton

from soak.ledger import Key
from tests.net.frames import binary, described, ubyte, uint

__all__ = ["FAR", "SIZES", "checksum", "key_of", "message", "reply_to_of", "some_size"]

_HEADER, _PROPERTIES = 0x70, 0x73
_BODY = b"\0Su"
_KEY = struct.Struct(">QQ")
FAR = 400
"""Bytes in which its number is."""
SIZES = [(40, 1_000, 63), (1_000, 10_000, 30), (20_000, 70_000, 5), (100_000, 500_000, 1.5), (500_000, 3_000_000, 0.3)]
"""From, to, and how often."""
_STUFF = Random(0).randbytes(4 << 20)


def some_size(random: Random) -> int:
    """The size of a message's body."""
    (chosen,) = random.choices(SIZES, [often for _, _, often in SIZES])
    return random.randrange(chosen[0], chosen[1])


def message(
    key: Key,
    size: int,
    *,
    to: str | None = None,
    reply_to: str | None = None,
    priority: int | None = None,
    ttl: int | None = None,
) -> bytes:
    """A message, encoded.

    :param size: bytes of its body.
    :param ttl: milliseconds.
    """
    parts = []
    if priority is not None or ttl is not None:
        priority_field = None if priority is None else ubyte(priority)
        parts.append(described(_HEADER, False, priority_field, None if ttl is None else uint(ttl)))
    if to is not None or reply_to is not None:
        parts.append(described(_PROPERTIES, None, None, to, None, reply_to))
    number = _KEY.pack(*key)
    start = (key[0] * 7919 + key[1] * 104_729) % (len(_STUFF) - size)
    parts += [_BODY, binary(number + _STUFF[start : start + size - len(number)])]
    return b"".join(parts)


def key_of(data: bytes | bytearray) -> Key:
    """Whose it is, and which: of one of which the first bytes are there."""
    at = data.find(_BODY + b"\xb0", 0, FAR)
    producer, number = _KEY.unpack_from(data, at + len(_BODY) + 5)
    return producer, number


def checksum(data: bytes | bytearray) -> int:
    """What tells these bytes from others."""
    return zlib.crc32(data)


def reply_to_of(data: bytes | bytearray) -> str | None:
    """Where a reply is to go."""
    request: Any = proton.Message()
    request.decode(bytes(data))
    return None if request.reply_to is None else str(request.reply_to)
