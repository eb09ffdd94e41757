"""What one connection can have the router keep: what its sessions send ahead, and what its deliveries are called."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.frames import AMQP, BEGIN, SENDER, attach, begin, end, open_, transfer
from tests.net.links import ACCEPTED
from tests.net.neighbourhood import Neighbours
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter

KIB, MIB = 1 << 10, 1 << 20
FRAME = 32 * KIB
INCOMING_WINDOW = 2
"""Where it is in a begin frame."""


async def raw(router: RunningRouter, *more: bytes) -> RawClient:
    """A raw client that has opened, and said more."""
    client: RawClient = await router.dial(RawClient())
    client.say(AMQP, open_(), *more)
    return client


async def windows(client: RawClient, count: int) -> list[int]:
    """The bytes that its sessions may send ahead, of so many."""
    await client.hears(BEGIN, count)
    return [frame.fields[INCOMING_WINDOW] * FRAME for frame in client.heard(BEGIN)]


@ensureDeferred
async def test_a_few_sessions_may_each_send_a_whole_window_ahead(router: RunningRouter) -> None:
    client = await raw(router, *[begin(channel) for channel in range(10)])
    assert await windows(client, 10) == [4 * MIB] * 10


@ensureDeferred
async def test_many_sessions_share_what_a_connection_may_send_ahead(router: RunningRouter) -> None:
    client = await raw(router, *[begin(channel) for channel in range(256)])
    each = await windows(client, 256)
    assert min(each) == 8 * FRAME
    assert sum(each) <= 64 * MIB + 256 * 8 * FRAME


@ensureDeferred
async def test_a_session_that_ends_leaves_its_share_to_the_next(start: Start) -> None:
    router = await start(limits={"connection_window": 4 * MIB, "session_window": 4 * MIB})
    client = await raw(router, begin(0), end(0), begin(1))
    assert await windows(client, 2) == [MIB, MIB]


# -- tags --------------------------------------------------------------------------------------------------------------


async def producer(router: RunningRouter, address: str) -> RawClient:
    """A raw producer with credit."""
    client = await raw(router, begin(), attach(SENDER, address))
    await client.hears(0x13)
    return client


@ensureDeferred
async def test_a_tag_of_32_bytes_is_fine(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=1)
    client = await producer(router, "x")
    client.say(transfer(0, tag=bytes(32)))
    assert (await consumer.next()).message.body == "hello"


@pytest.mark.parametrize("size", [33, 255, 256, 4 * KIB])
@ensureDeferred
async def test_a_tag_that_is_longer_ends_the_connection(router: RunningRouter, size: int) -> None:
    neighbours = await Neighbours.of(router)
    consumer = await router.receiver("x", credit=10, takes=ACCEPTED)
    client = await producer(router, "x")
    client.say(transfer(0, tag=bytes(size)))
    assert await client.refused() == "amqp:invalid-field"
    assert consumer.messages == []
    await neighbours.unaffected()


@ensureDeferred
async def test_one_in_the_middle_of_others_is_found_if_it_is_not_settled_soon(router: RunningRouter) -> None:
    await router.receiver("x", credit=10)
    client = await producer(router, "x")
    client.say(transfer(0) + transfer(1, tag=bytes(33)) + transfer(2))
    assert await client.refused() == "amqp:invalid-field"
