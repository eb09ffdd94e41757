"""Behind HAProxy: what comes without its header, or with one that is wrong, is turned away and counted."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.frames import AMQP, OPEN, open_
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter
from tests.net.waiting import wait_until

LOOPBACK = "tcp:0:interface=127.0.0.1"
BINARY = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = bytes([192, 0, 2, 7, 192, 0, 2, 8]) + b"\x13\x88\x16\x28"
RIGHT = {
    "text": b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 5672\r\n",
    "text of six": b"PROXY TCP6 2001:db8::7 2001:db8::8 5000 5672\r\n",
    "text, unknown": b"PROXY UNKNOWN\r\n",
    "binary": BINARY + b"\x21\x11\0\x0c" + ADDRESSES,
    "binary, of its own": BINARY + b"\x20\0\0\0",
    "binary with more": BINARY + b"\x21\x11\0\x10" + ADDRESSES + b"more",
}
WRONG = {
    "none": AMQP + open_(),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "text without end": b"PROXY TCP4 " + bytes(200),
    "text that is too long": b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 " + b"0" * 70 + b"5672\r\n",
    "text of another protocol": b"PROXY UDP4 192.0.2.7 192.0.2.8 5000 5672\r\n",
    "text without ports": b"PROXY TCP4 192.0.2.7 192.0.2.8\r\n",
    "text with ports that are none": b"PROXY TCP4 192.0.2.7 192.0.2.8 amqp amqps\r\n",
    "text that is none": b"PROXY TCP4 \xff\xfe 192.0.2.8 5000 5672\r\n",
    "binary of another version": BINARY + b"\x31\x11\0\x0c" + ADDRESSES,
    "binary without addresses": BINARY + b"\x21\x11\0\x04" + bytes(4),
    "binary of another family": BINARY + b"\x21\xf1\0\x0c" + ADDRESSES,
}


async def router_of(start: Start) -> RunningRouter:
    return await start(listener=[{"endpoint": f"haproxy:{LOOPBACK}"}], limits={"handshake_timeout": 2})


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("in_pieces", [False, True])
@ensureDeferred
async def test_who_comes_by_haproxy_is_let_in(start: Start, name: str, in_pieces: bool) -> None:
    router = await router_of(start)
    client = await router.dial(RawClient())
    for piece in RIGHT[name] if in_pieces else [RIGHT[name]]:
        client.say(bytes([piece]) if isinstance(piece, int) else piece)
    client.say(AMQP, open_())
    await client.hears(OPEN)


@pytest.mark.parametrize("name", WRONG)
@ensureDeferred
async def test_who_does_not_is_turned_away_and_counted(start: Start, name: str) -> None:
    router = await router_of(start)
    client = await router.dial(RawClient())
    client.say(WRONG[name])
    await wait_until(lambda: client.lost)
    assert router.core.counters["refused_handshakes"] == 1


@pytest.mark.parametrize("begins", [b"", b"PROXY TCP4 192.0.2.7", BINARY, BINARY + b"\x21\x11\xff\xff"])
@ensureDeferred
async def test_a_header_that_never_ends_is_cut_in_time(start: Start, begins: bytes) -> None:
    router = await router_of(start)
    client = await router.dial(RawClient())
    client.say(begins)
    await wait_until(lambda: client.lost)
    assert router.core.counters["handshake_timeouts"] == 1
