"""Inputs made of others: what is known, changed here and there, and put together in other ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

__all__ = ["ODD", "mutated"]

LONGEST: Final = 4_096
ODD: Final = (
    *(b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0"),
    *(b"\x40", b"\x45", b"\x43", b"\x44", b"\x56\1", b"\xa0\0", b"\xa1\0", b"\xa3\0", b"\xc0\1\0", b"\xc1\1\0"),
    *(b"\xb0\xff\xff\xff\xff", b"\xd0\0\0\0\4\0\0\0\0", b"\xf0\0\0\0\5\0\0\0\0\x40", b"\0\x53\x10", b"\0\x53\x14"),
    *(
        b"\xf0\0\0\0\5\0\0\xfd\xe8\x40",
        b"\xf0\0\0\0\5\x7f\xff\xff\xff\x45",
        b"\0" * 64,
        b"[" * 999,
        b"9" * 999,
        b"{a=" * 333,
    ),
    *(
        b"${user}",
        b'"\\n"',
        b"0x",
        b"%2A",
        b"_topo/0/",
        b"\r\n",
        b"PROXY ",
        b"AMQP\0\1\0\0",
        b"AMQP\3\1\0\0",
        b"\xed\xa0\x80",
    ),
    *(b"/", b".", b"*", b"#", b"%", b"\n", b"[[", b'"', b"=", b"-1", b"1e999", "ä".encode(), "\u202e".encode()),
)
"""Pieces that mean something in one of the formats."""


def _flip(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def _insert(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice(ODD)


def _overwrite(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    at, odd = random.randrange(len(data)), random.choice(ODD)
    data[at : at + len(odd)] = odd


def _cut(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.choice((1, 1, 2, 4, 16, 1_000))]


def _repeat(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    at = random.randrange(len(data))
    piece = data[at : at + random.choice((1, 2, 8, 32, 128))]
    data[at:at] = piece * random.choice((1, 1, 2, 8))


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = random.choice(others)
    at, begin = random.randrange(len(data)), random.randrange(len(other) + 1)
    data[at:] = other[begin:]


_Way = Callable[[Random, bytearray, Sequence[bytes]], None]
_WAYS: Final[tuple[_Way, ...]] = (_flip, _set, _insert, _overwrite, _cut, _repeat, _splice)


def mutated(random: Random, known: Sequence[bytes]) -> bytes:
    """An input like one of those that are known, or, now and then, like none."""
    if not random.randrange(50):
        return random.randbytes(random.randrange(64))
    data = bytearray(random.choice(known))
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        if not data:
            data += b"\0"
        random.choice(_WAYS)(random, data, known)
    return bytes(data[:LONGEST])
