"""One client does all it can at once, and others hardly wait: counted in what the router has served of it meanwhile.

A clock on which time passes with every look stands for much to do: so it depends on no machine how much that is.
"""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.task import deferLater

from tests.net.authorities import authority
from tests.net.clients import Client
from tests.net.conftest import Start
from tests.net.frames import ATTACH, FLOW, SENDER, attach, transfer
from tests.net.links import ACCEPTED
from tests.net.raw import RawClient
from tests.net.routers import LOOPBACK, RunningRouter
from tests.net.waiting import reactor, wait_until
from txrouter.amqp.shares import SLICE
from txrouter.core.limits import Limits
from txrouter.core.router import Router
from txrouter.net import turns
from txrouter.net.services import ACCEPTS
from txrouter.net.tls import client_options

LINKS = 250
MESSAGES = 100
CONNECTIONS = 40
SMALL = b"\0Sw\xa1\5small"
HALF_A_KIB = b"\0Su\xb0" + (512).to_bytes(4, "big") + bytes(512)
ROUND_TRIPS = 3


def make_slow(router: RunningRouter) -> None:
    """Whatever is served takes as long as a slice."""
    turn = router.service._pacemaker.turn
    looks = iter(range(1, 1 << 30))
    began = turn.clock()
    turn.clock = lambda: began + next(looks) * SLICE


def links_of(router: RunningRouter, container: str) -> int:
    """How many links a client has at the router."""
    found = [each.connection for each in router.connections if each.connection.container == container]
    return sum(len(connection.links) for connection in found)


@ensureDeferred
async def test_a_client_that_says_much_at_once_is_served_in_shares(router: RunningRouter) -> None:
    consumer = await router.receiver("modest", credit=10, takes=ACCEPTED)
    producer = await router.sender("modest")
    await producer.credited()
    greedy = await (await router.dial(RawClient())).greeted()
    make_slow(router)
    container = router.connections[-1].connection.container
    # all of it is read at once
    greedy.say(*(attach(SENDER, name=f"{number}".ljust(100), handle=number) for number in range(LINKS)))
    for _ in range(ROUND_TRIPS):
        assert await producer.send(SMALL).over() == ACCEPTED
    assert len(consumer.messages) == ROUND_TRIPS
    assert links_of(router, container) < LINKS
    await greedy.hears(ATTACH, LINKS)
    assert links_of(router, container) == LINKS


@ensureDeferred
async def test_what_came_over_tls_before_the_client_left_is_served(start: Start, tmp_path: Path) -> None:
    root = authority()
    (tmp_path / "root").write_bytes(root.pem)
    certificate = root.issue("localhost", "localhost").write(tmp_path / "server.pem")
    router = await start(listener=[{"endpoint": LOOPBACK, "certificate": str(certificate)}])
    plain = clientFromString(reactor, f"tcp:127.0.0.1:{router.port}")
    endpoint = wrapClientTLS(client_options("localhost", [str(tmp_path / "root")], []), plain)
    client: Client = await router.dial(Client("modest"), endpoint)
    await client.opened()
    consumer = await client.receiver("x", credit=MESSAGES, takes=ACCEPTED)
    greedy: RawClient = await (await router.dial(RawClient(), endpoint)).greeted()
    greedy.say(attach(SENDER, "x"))
    await greedy.hears(FLOW, 2)
    make_slow(router)
    greedy.say(*(transfer(number, HALF_A_KIB, settled=True) for number in range(MESSAGES)))
    transport: Any = greedy.transport
    transport.loseConnection()
    await wait_until(lambda: len(consumer.messages) == MESSAGES)


@ensureDeferred
async def test_of_those_who_connect_at_once_few_are_accepted_in_a_turn(router: RunningRouter) -> None:
    sockets = [socket.create_connection(("127.0.0.1", router.port)) for _ in range(CONNECTIONS)]
    accepted = [len(router.connections)]
    while accepted[-1] < CONNECTIONS:
        await deferLater(reactor, 0)
        accepted.append(len(router.connections))
    for each in sockets:
        each.close()
    assert max(after - before for before, after in itertools.pairwise(accepted)) == ACCEPTS


class Endless:
    """What there is always more of to be served, in the next turn."""

    def __init__(self, turn: Any) -> None:
        self._turn = turn
        self.served = 0
        self.over = False

    def go_on(self, _seconds: float) -> None:
        self.served += 1
        if not self.over:
            self._turn.put_off(self)


@ensureDeferred
async def test_a_turn_that_a_timer_ends_makes_no_more_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[float] = []
    monkeypatch.setattr(turns, "BEAT", 0.001)
    router: Any = Router("r1", {}, Limits())  # type: ignore[arg-type]
    pacemaker = turns.Pacemaker(router, reactor, beats.append)
    endless = Endless(pacemaker.turn)
    pacemaker.turn.put_off(endless)  # type: ignore[arg-type]
    pacemaker.start()
    polls = 0
    while len(beats) < 10:
        await deferLater(reactor, 0)
        polls += 1
    endless.over = True
    pacemaker.stop()
    await deferLater(reactor, 0)
    assert endless.served <= polls + len(beats) + 2
