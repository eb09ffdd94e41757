"""Reads a field of an AMQP 1.0 message without decoding the message.

A message is a row of sections in a fixed order: header, delivery annotations, message annotations, properties,
application properties, body, footer. Each is a described value, and every value says how long it is or has a type of
known length. So what is not wanted is stepped over, not looked into; and since the order is fixed, a section that is
not there is known to be missing as soon as a later one begins. The body is never read.

The data come from a peer and may be anything. Positions only ever move forward, so the work is bounded by the length
of the data; only values with descriptors of their own need recursion, and `MAX_NESTING` bounds that. Sizes and counts
are checked where they are used: a value must end inside the list or map that holds it.

Of the positions, `at` is where a value begins, `stop` is where it ends, and `end` is where what it lies in ends.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from struct import Struct
from struct import error as StructError
from typing import Final
from uuid import UUID

from txrouter.core.deliveries import Malformed

__all__ = [
    "FIELDS",
    "MAX_NESTING",
    "Short",
    "application_property",
    "field",
    "open_list",
    "read_descriptor",
    "read_scalar",
    "skip",
]

MAX_NESTING: Final = 8
"""The most descriptors that may be stacked on, or in, one another."""


class Short(Exception):
    """What has arrived of a message so far does not reach as far as the wanted field."""


# -- the sections ----------------------------------------------------------------------------------

_HEADER, _PROPERTIES, _APPLICATION_PROPERTIES, _FOOTER = 0x70, 0x73, 0x74, 0x78

_SYMBOLS: Final = {
    b"amqp:header:list": _HEADER,
    b"amqp:delivery-annotations:map": 0x71,
    b"amqp:message-annotations:map": 0x72,
    b"amqp:properties:list": _PROPERTIES,
    b"amqp:application-properties:map": _APPLICATION_PROPERTIES,
    b"amqp:data:binary": 0x75,
    b"amqp:amqp-sequence:list": 0x76,
    b"amqp:amqp-value:*": 0x77,
    b"amqp:footer:map": _FOOTER,
}

# -- the encoding: a value's first byte, its constructor, says its type and what kind of length it has ---------------

_TYPES: Final = bytes.fromhex(
    "404142434445 50515253545556 6061 7071727374 8081828384 9498 a0a1a3 b0b1b3 c0c1 d0d1 e0 f0"
)
_SIZE_IN_1, _SIZE_IN_4 = 254, 255
_BY_HIGH_DIGIT: Final = (0, 0, 0, 0, 1, 2, 3, 5, 9, 17, *(_SIZE_IN_1, _SIZE_IN_4) * 3)
_LENGTHS: Final = bytes(_BY_HIGH_DIGIT[code >> 4] if code in _TYPES else 0 for code in range(256))
"""By constructor: how long it and its value are, or how many bytes behind it say so; 0: there is no such type."""

_NULL: Final = 0x40
_EMPTY_LIST: Final = 0x45
_LISTS: Final = (0xC0, 0xD0)
_MAPS: Final = (0xC1, 0xD1)

_U4: Final = Struct(">I").unpack_from
_U4_U4: Final = Struct(">II").unpack_from
_F4: Final = Struct(">f").unpack_from
_F8: Final = Struct(">d").unpack_from

_Readers = dict[int, Callable[[bytes, int, int], object]]
"""By constructor: makes a value of what lies from `at` to `stop`. All of it is there."""


def _finite(number: float) -> float | None:
    # nan and infinity have no place in an order, and a policy may put messages in order
    return number if isfinite(number) else None


_BOOLEAN: Final[_Readers] = {
    0x41: lambda data, at, stop: True,
    0x42: lambda data, at, stop: False,
    0x56: lambda data, at, stop: data[at + 1] != 0,
}
_UNSIGNED: Final[_Readers] = dict.fromkeys(
    (0x43, 0x44, 0x50, 0x52, 0x53, 0x60, 0x70, 0x80), lambda data, at, stop: int.from_bytes(data[at + 1 : stop], "big")
)
_SIGNED: Final[_Readers] = dict.fromkeys(
    (0x51, 0x54, 0x55, 0x61, 0x71, 0x81, 0x83),
    lambda data, at, stop: int.from_bytes(data[at + 1 : stop], "big", signed=True),
)
_TIMESTAMP: Final[_Readers] = {0x83: _SIGNED[0x83]}
_BINARY: Final[_Readers] = {
    0xA0: lambda data, at, stop: data[at + 2 : stop],
    0xB0: lambda data, at, stop: data[at + 5 : stop],
}
_TEXT: Final[_Readers] = {
    **dict.fromkeys((0xA1, 0xA3), lambda data, at, stop: data[at + 2 : stop].decode()),
    **dict.fromkeys((0xB1, 0xB3), lambda data, at, stop: data[at + 5 : stop].decode()),
}
_UUID: Final[_Readers] = {0x98: lambda data, at, stop: UUID(bytes=data[at + 1 : stop])}
_IDENTIFIER: Final = _UNSIGNED | _BINARY | _TEXT | _UUID
_OTHERS: Final[_Readers] = {
    0x72: lambda data, at, stop: _finite(_F4(data, at + 1)[0]),
    0x73: lambda data, at, stop: data[at + 1 : stop].decode("utf-32-be"),
    0x82: lambda data, at, stop: _finite(_F8(data, at + 1)[0]),
}
_SCALAR: Final = _BOOLEAN | _SIGNED | _IDENTIFIER | _OTHERS

# -- the fields ------------------------------------------------------------------------------------

_FIELD_TYPES: Final[dict[int, dict[str, _Readers]]] = {
    _HEADER: {
        "durable": _BOOLEAN,
        "priority": _UNSIGNED,
        "ttl": _UNSIGNED,
        "first_acquirer": _BOOLEAN,
        "delivery_count": _UNSIGNED,
    },
    _PROPERTIES: {
        "message_id": _IDENTIFIER,
        "user_id": _BINARY,
        "to": _TEXT,
        "subject": _TEXT,
        "reply_to": _TEXT,
        "correlation_id": _IDENTIFIER,
        "content_type": _TEXT,
        "content_encoding": _TEXT,
        "absolute_expiry_time": _TIMESTAMP,
        "creation_time": _TIMESTAMP,
        "group_id": _TEXT,
        "group_sequence": _UNSIGNED,
        "reply_to_group_id": _TEXT,
    },
}

FIELDS: Final[dict[str, tuple[int, int]]] = {
    name: (section, index) for section, names in _FIELD_TYPES.items() for index, name in enumerate(names)
}
"""Where each field is: the descriptor of its section, and its index in the section's list."""

_PLACES: Final = {name: (*place, _FIELD_TYPES[place[0]][name]) for name, place in FIELDS.items()}

# -- what can be wrong -----------------------------------------------------------------------------

_COUNT: Final = "a list or map says it has more items than are in it"
_LENGTH: Final = "a value says it is longer than what it is in"
_UNICODE: Final = "a text is not in Unicode"

_RAN_OUT: Final = (IndexError, StructError)
"""Raised wherever the data end too early; `_ended` says what that means."""


def _ended(data: bytes, end: int, complete: bool) -> Exception:
    if complete or end <= len(data):
        return Malformed(_LENGTH)
    return Short("more of the message is needed")


# -- the two questions -----------------------------------------------------------------------------


def field(data: bytes, name: str, complete: bool) -> object:
    """A field of the header or the properties section.

    :param data: the message, from its beginning.
    :param name: one of `FIELDS`.
    :param complete: whether this is the whole message.
    :return: str, int (times in milliseconds), bool, bytes or UUID; None where the message does not have the field.
    :raise Short: more of the message is needed; only if not `complete`.
    :raise Malformed: this is no message as far as it was read, or the field is not of its type.
    :raise KeyError: there is no field of that name.
    """
    section, index, readers = _PLACES[name]
    at = _find(data, section, complete)
    if at < 0:
        return None
    size = len(data)
    end = size + 1
    try:
        # Every message of an anonymous producer comes here. So the forms that clients really use, a short list and in
        # it nulls, a short text or a four-byte number, are read in place; everything else is left to functions.
        if data[at] == 0xC0:
            end, count = at + 2 + data[at + 1], data[at + 2]
            at += 3
            if count > end - at:
                raise Malformed(_COUNT)
        else:
            at, end, count = open_list(data, at)
        if complete and end > size:
            raise Malformed(_LENGTH)
        if index >= count:
            return None
        while index:
            at = at + 1 if data[at] == _NULL else skip(data, at)
            if at >= end:
                raise Malformed(_COUNT)
            index -= 1
        constructor = data[at]
        if constructor == 0xA1 and readers is _TEXT:
            stop = at + 2 + data[at + 1]
            if stop <= end and stop <= size:
                return data[at + 2 : stop].decode()
        elif constructor == 0x70 and readers is _UNSIGNED and at + 5 <= end:
            return _U4(data, at + 1)[0]
        value, known = read_scalar(data, at, end, readers)
    except UnicodeDecodeError:
        raise Malformed(_UNICODE) from None
    except _RAN_OUT:
        raise _ended(data, end, complete) from None
    if not known:
        raise Malformed(f"the field {name} is of the wrong type, {constructor:#04x}")
    return value


def application_property(data: bytes, name: str, complete: bool) -> object:
    """An entry of the application-properties section: parameters and errors as for `field`.

    :return: str, int, float, bool, bytes or UUID; None where there is no entry of that name, or its value is null,
        not a finite number, a decimal number, or no scalar.
    """
    at = _find(data, _APPLICATION_PROPERTIES, complete)
    if at < 0:
        return None
    size = len(data)
    end = size + 1
    try:
        at, end, count = open_list(data, at, _MAPS)
        if complete and end > size:
            raise Malformed(_LENGTH)
        if count % 2:
            raise Malformed("a map has a key without a value")
        for _ in range(count // 2):
            key = at
            at = skip(data, key)
            if at >= end:
                raise Malformed(_COUNT)
            if at > size:
                raise IndexError
            text = _TEXT.get(data[key])
            if text is not None and text(data, key, at) == name:
                return read_scalar(data, at, end, _SCALAR)[0]
            at = skip(data, at)
            if at > end:
                raise Malformed(_LENGTH)
    except UnicodeDecodeError:
        raise Malformed(_UNICODE) from None
    except _RAN_OUT:
        raise _ended(data, end, complete) from None
    return None


def _find(data: bytes, wanted: int, complete: bool) -> int:
    """Where the value of a section begins; -1 if there is no such section."""
    at = 0
    previous = _HEADER - 1
    size = len(data)
    try:
        while at < size:
            if data[at] or data[at + 1] != 0x53:
                section, at = read_descriptor(data, at)
            else:
                section = data[at + 2]
                at += 3
            if section >= wanted:
                if section == wanted:
                    return at
                if section > _FOOTER:
                    raise Malformed(f"there is no section with the descriptor {section:#x}")
                return -1
            if section <= previous:
                raise Malformed(f"a section with the descriptor {section:#x} is unknown, or out of order")
            previous = section
            constructor = data[at]
            if constructor == _EMPTY_LIST:
                at += 1
            elif constructor == 0xC0:
                at += 2 + data[at + 1]
            elif constructor == 0xD1:
                at += 5 + _U4(data, at + 1)[0]
            else:
                at = skip(data, at)
    except _RAN_OUT:
        raise _ended(data, size + 1, complete) from None
    if at > size or not complete:
        raise _ended(data, at + 1, complete)
    return -1


# -- steps through the encoding: IndexError or struct.error where the data end too early -----------


def skip(data: bytes, at: int, depth: int = 0) -> int:
    """Where the value at `at` ends, which may be beyond the data.

    :raise Malformed: there is no such type, or it is nested too deep.
    """
    length = _LENGTHS[data[at]]
    if length == _SIZE_IN_1:
        return at + 2 + data[at + 1]
    if length == _SIZE_IN_4:
        size: int = _U4(data, at + 1)[0]
        return at + 5 + size
    if length:
        return at + length
    if data[at]:
        raise Malformed(f"there is no type {data[at]:#04x}")
    if depth == MAX_NESTING:
        raise Malformed("descriptors are nested too deep")
    return skip(data, skip(data, at + 1, depth + 1), depth + 1)


def read_descriptor(data: bytes, at: int, symbols: dict[bytes, int] = _SYMBOLS) -> tuple[int, int]:
    """The number that the descriptor at `at` is, or stands for as a symbol, and where what it describes begins.

    :raise Malformed: there is no descriptor, or it is neither a number nor one of the symbols.
    """
    if data[at]:
        raise Malformed(f"a descriptor is missing before {data[at]:#04x}")
    at += 1
    stop = skip(data, at)
    if stop > len(data):
        raise IndexError
    constructor = data[at]
    if constructor in (0x44, 0x53, 0x80):
        return int.from_bytes(data[at + 1 : stop], "big"), stop
    if constructor in (0xA3, 0xB3):
        code = symbols.get(data[at + (2 if constructor == 0xA3 else 5) : stop])
        if code is not None:
            return code, stop
    raise Malformed("a descriptor is unknown")


def open_list(data: bytes, at: int, constructors: tuple[int, int] = _LISTS) -> tuple[int, int, int]:
    """Of the list at `at` (or the map, by its constructors): where its items begin, where it ends, and their number.

    :raise Malformed: there is none, or it is too short for that number.
    """
    constructor = data[at]
    if constructor == constructors[0]:
        begin, end, count = at + 3, at + 2 + data[at + 1], data[at + 2]
    elif constructor == constructors[1]:
        size, count = _U4_U4(data, at + 1)
        begin, end = at + 9, at + 5 + size
    elif constructor == _EMPTY_LIST and constructors is _LISTS:
        return at + 1, at + 1, 0
    else:
        raise Malformed(f"a list or map is of the wrong type, {constructor:#04x}")
    if count > end - begin:
        raise Malformed(_COUNT)
    return begin, end, count


def read_scalar(data: bytes, at: int, end: int, readers: _Readers = _SCALAR) -> tuple[object, bool]:
    """The value at `at`, if the readers can read it, and whether they can: all of them can read null.

    :raise Malformed: it reaches beyond `end`.
    :raise UnicodeDecodeError: it is a text, and not in Unicode.
    """
    stop = skip(data, at)
    if stop > end:
        raise Malformed(_LENGTH)
    if stop > len(data):
        raise IndexError
    read = readers.get(data[at])
    if read is None:
        return None, data[at] == _NULL
    return read(data, at, stop), True
