"""Copies on the wire, without sockets: how often bytes are moved, and what the copies leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.amqp.inmemory import ACCEPTED, RELEASED, Network, Outcome
from txrouter.amqp import engine
from txrouter.amqp import multicast as wire
from txrouter.policies import multicast

MESSAGE = b"\0Sw\xa1\5hello"
REJECTED = Outcome("rejected", condition="app:broken", description="it was broken", info={"at": 7})


class Moves:
    """Counts the bytes that are read of a producer's link, and those put on consumers' links."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = 0
        self.written = 0
        recv, send = engine.link_recv, engine.link_send

        def counted_recv(link: Any, buffer: Any, size: int) -> int:
            count: int = recv(link, buffer, size)
            self.read += max(0, count)
            return count

        def counted_send(link: Any, data: Any, size: int) -> int:
            self.written += size
            return int(send(link, data, size))

        monkeypatch.setattr(wire, "link_recv", counted_recv)
        monkeypatch.setattr(wire, "link_send", counted_send)


@pytest.mark.parametrize("size", [100, 30_000, 500_000])
def test_bytes_are_read_once_and_put_once_on_each_link(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    moves = Moves(monkeypatch)
    net = Network(multicast.factory)
    client = net.client()
    receivers = [client.receiver("q", 1) for _ in range(50)]
    net.client().sender("q").sends(bytes(size))
    assert [receiver.bodies for receiver in receivers] == [[bytes(size)]] * 50
    assert (moves.read, moves.written) == (size, 50 * size)


@pytest.mark.parametrize("first", [True, False])
def test_an_error_is_passed_on_with_its_fields_whether_it_comes_first_or_last(first: bool) -> None:
    net = Network(multicast.factory)
    receivers = [net.client().receiver("q", 1) for _ in range(3)]
    sent = net.client().sender("q").sends(MESSAGE)
    outcomes = [REJECTED, ACCEPTED, RELEASED] if first else [RELEASED, ACCEPTED, REJECTED]
    for receiver, outcome in zip(receivers, outcomes, strict=True):
        receiver.next().settles(outcome)
    assert sent.outcome == REJECTED


@pytest.mark.parametrize("how", ["closes", "detaches", "ends_sessions"])
def test_a_copy_that_was_not_written_yet_when_its_link_goes_is_never_written(how: str) -> None:
    net = Network(multicast.factory)
    leaving = net.client().receiver("q", 10)
    sender = net.client().sender("q")
    net.by_hand = True
    sent = sender.sends(MESSAGE)
    sender.client.carry_out()
    getattr(leaving.client if how == "ends_sessions" else leaving, how)()
    leaving.client.carry_out()
    net.by_hand = False
    net.run()
    assert (sent.outcome, leaving.got) == (RELEASED, [])
    net.check()
