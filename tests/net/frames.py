"""AMQP frames made by hand, and those of the router taken apart: only what the tests need, and nothing of proton's."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

AMQP = b"AMQP\0\1\0\0"
SASL = b"AMQP\3\1\0\0"
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
ERROR, SOURCE, TARGET, COORDINATOR, ACCEPTED = 0x1D, 0x28, 0x29, 0x30, 0x24
SENDER, RECEIVER = False, True

# -- values ------------------------------------------------------------------------------------------------------------


def ubyte(value: int) -> bytes:
    return struct.pack(">BB", 0x50, value)


def ushort(value: int) -> bytes:
    return struct.pack(">BH", 0x60, value)


def uint(value: int) -> bytes:
    return struct.pack(">BI", 0x70, value)


def ulong(value: int) -> bytes:
    return struct.pack(">BQ", 0x80, value)


def binary(value: bytes) -> bytes:
    return struct.pack(">BI", 0xB0, len(value)) + value


def symbol(value: str) -> bytes:
    return struct.pack(">BI", 0xB3, len(value)) + value.encode()


def symbols(*values: str) -> bytes:
    """An array of symbols."""
    items = b"".join(struct.pack(">I", len(value)) + value.encode() for value in values)
    return struct.pack(">BIIB", 0xF0, 5 + len(items), len(values), 0xB3) + items


def mapped(entries: Mapping[bytes, object]) -> bytes:
    """A map; its keys are values already."""
    items = b"".join(key + encoded(value) for key, value in entries.items())
    return struct.pack(">BII", 0xD1, 4 + len(items), 2 * len(entries)) + items


def described(descriptor: int, *fields: object) -> bytes:
    """A described list: what performatives and most else of the protocol are."""
    items = b"".join(map(encoded, fields))
    return struct.pack(">3BBII", 0, 0x53, descriptor, 0xD0, 4 + len(items), len(fields)) + items


def encoded(value: object) -> bytes:
    """A value; bytes are taken to be one already."""
    if value is None:
        return b"\x40"
    if isinstance(value, bool):
        return b"\x41" if value else b"\x42"
    if isinstance(value, str):
        return struct.pack(">BI", 0xB1, len(value)) + value.encode()
    assert isinstance(value, bytes), value
    return value


# -- frames ------------------------------------------------------------------------------------------------------------


def frame(body: bytes = b"", *, channel: int = 0, kind: int = 0, offset: int = 2, size: int | None = None) -> bytes:
    """A frame; `size` is what it says, where that is not the truth."""
    return struct.pack(">IBBH", 8 + len(body) if size is None else size, offset, kind, channel) + body


def open_(
    container: str = "raw",
    *,
    max_frame: int | None = None,
    idle_timeout: int | None = None,
    desired: bytes | None = None,
) -> bytes:
    limits = None if max_frame is None else uint(max_frame)
    idle = None if idle_timeout is None else uint(idle_timeout)
    return frame(described(OPEN, container, None, limits, None, idle, None, None, None, desired))


def begin(channel: int = 0, *, window: int = 1000) -> bytes:
    return frame(described(BEGIN, None, uint(0), uint(window), uint(1000)), channel=channel)


def attach(
    role: bool, address: str | None = "x", *, name: object = "link", handle: int = 0, channel: int = 0, modes: int = 2
) -> bytes:
    source = described(SOURCE, address if role is RECEIVER else None)
    target = described(TARGET, address if role is SENDER else None)
    count = uint(0) if role is SENDER else None
    fields = (name, uint(handle), role, ubyte(modes), ubyte(0), source, target, None, None, count)
    return frame(described(ATTACH, *fields), channel=channel)


def flow(
    credit: int,
    *,
    handle: int = 0,
    count: int = 0,
    available: int | None = None,
    channel: int = 0,
    drain: bool = False,
    echo: bool = False,
) -> bytes:
    session = (uint(0), uint(1000), uint(0), uint(1000))
    waiting = None if available is None else uint(available)
    fields = (*session, uint(handle), uint(count), uint(credit), waiting, drain, echo)
    return frame(described(FLOW, *fields), channel=channel)


def transfer(
    number: int,
    payload: bytes = b"\0Sw\xa1\5hello",
    *,
    handle: int = 0,
    tag: bytes | None = None,
    settled: bool = False,
    more: bool = False,
    aborted: bool = False,
    channel: int = 0,
) -> bytes:
    tag = number.to_bytes(4, "big") if tag is None else tag
    fields = (uint(handle), uint(number), binary(tag), uint(0), settled, more, None, None, None, aborted)
    return frame(described(TRANSFER, *fields) + payload, channel=channel)


def disposition(first: int, last: int, *, role: bool = RECEIVER, settled: bool = True) -> bytes:
    return frame(described(DISPOSITION, role, uint(first), uint(last), settled, described(ACCEPTED)))


def detach(handle: int = 0, *, closed: bool = True) -> bytes:
    return frame(described(DETACH, uint(handle), closed))


def end(channel: int = 0) -> bytes:
    return frame(described(END), channel=channel)


def close() -> bytes:
    return frame(described(CLOSE))


# -- taken apart -------------------------------------------------------------------------------------------------------


class Described(NamedTuple):
    descriptor: Any
    value: Any


class Frame(NamedTuple):
    """A frame that came. An empty one, which only shows that the peer is alive, has no performative."""

    channel: int
    performative: int | None
    fields: list[Any]
    payload: bytes

    @property
    def error(self) -> str | None:
        """The condition of the error that a detach, end or close frame names."""
        return self._error[0] if self._error else None

    @property
    def description(self) -> str:
        """What that error says to people; empty if nothing."""
        return self._error[1] or "" if len(self._error) > 1 else ""

    @property
    def _error(self) -> list[Any]:
        at = 2 if self.performative == DETACH else 0
        return self.fields[at].value if len(self.fields) > at and self.fields[at] else []


def taken_apart(data: bytes) -> tuple[list[Frame], bytes]:
    """The frames that are there whole, and what is left."""
    frames = []
    while len(data) >= 8 and len(data) >= (size := int.from_bytes(data[:4], "big")):
        body, channel = data[data[4] * 4 : size], int.from_bytes(data[6:8], "big")
        if body:
            performative, at = decoded(body, 0)
            frames.append(Frame(channel, performative.descriptor, performative.value, body[at:]))
        else:
            frames.append(Frame(channel, None, [], b""))
        data = data[size:]
    return frames, data


_FIXED: dict[int, tuple[str, Callable[[Any], Any]]] = {
    0x40: ("", lambda _: None),
    0x41: ("", lambda _: True),
    0x42: ("", lambda _: False),
    0x43: ("", lambda _: 0),
    0x44: ("", lambda _: 0),
    0x45: ("", lambda _: []),
    0x50: ("B", int),
    0x52: ("B", int),
    0x53: ("B", int),
    0x56: ("B", bool),
    0x60: ("H", int),
    0x70: ("I", int),
    0x80: ("Q", int),
}


def decoded(data: bytes, at: int) -> tuple[Any, int]:
    """The value at `at`, and where it ends."""
    code = data[at]
    at += 1
    if code == 0:
        descriptor, at = decoded(data, at)
        value, at = decoded(data, at)
        return Described(descriptor, value), at
    if code in _FIXED:
        layout, convert = _FIXED[code]
        size = struct.calcsize(">" + layout)
        values = struct.unpack_from(">" + layout, data, at)
        return convert(values[0] if values else None), at + size
    width = 1 if code >> 4 in (0xA, 0xC, 0xE) else 4
    size = int.from_bytes(data[at : at + width], "big")
    at += width
    stop = at + size
    if code >> 4 in (0xA, 0xB):
        raw = data[at:stop]
        return (raw if code & 0xF == 0 else raw.decode(errors="replace")), stop
    count = int.from_bytes(data[at : at + width], "big")
    items = _array(data, at + width, count) if code >> 4 >= 0xE else _items(data, at + width, count)
    return (dict(zip(items[::2], items[1::2], strict=True)) if code in (0xC1, 0xD1) else items), stop


def _items(data: bytes, at: int, count: int) -> list[Any]:
    items = []
    for _ in range(count):
        value, at = decoded(data, at)
        items.append(value)
    return items


def _array(data: bytes, at: int, count: int) -> list[Any]:
    constructor, items = data[at : at + 1], []
    at += 1
    for _ in range(count):
        value, stop = decoded(constructor + data[at:], 0)
        at += stop - 1
        items.append(value)
    return items
