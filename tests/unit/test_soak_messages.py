"""The messages of a soak: they are AMQP, and can be told from each other."""

from __future__ import annotations

from random import Random
from typing import Any

import proton
import pytest

from soak import messages


@pytest.mark.parametrize("size", [40, 1000, 3_000_000])
def test_a_message_has_its_number_and_as_many_bytes_as_it_is_to_have(size: int) -> None:
    data = messages.message((12, 345), size)
    decoded: Any = proton.Message()
    decoded.decode(data)
    assert len(decoded.body) == size
    assert messages.key_of(data) == (12, 345)


def test_what_it_says_of_itself() -> None:
    data = messages.message((1, 2), 40, to="x", reply_to="y", priority=7, ttl=1500)
    decoded: Any = proton.Message()
    decoded.decode(data)
    assert (decoded.address, decoded.reply_to, decoded.priority, decoded.ttl) == ("x", "y", 7, 1.5)
    assert messages.reply_to_of(data) == "y"


def test_one_without_a_reply_to() -> None:
    assert messages.reply_to_of(messages.message((1, 2), 40, ttl=9)) is None


def test_a_changed_byte_changes_the_checksum() -> None:
    data = bytearray(messages.message((1, 2), 40))
    before = messages.checksum(data)
    data[20] ^= 1
    assert messages.checksum(data) != before


def test_sizes_are_small_and_large() -> None:
    random = Random(1)
    sizes = [messages.some_size(random) for _ in range(3000)]
    assert min(sizes) >= 40
    assert max(sizes) > 500_000
