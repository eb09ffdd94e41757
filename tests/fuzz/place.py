"""A router without sockets where a producer and a consumer work, while strangers come and say what they like."""

from __future__ import annotations

from typing import Any

from tests.unit.amqp.inmemory import ACCEPTED, Network
from txrouter.amqp.connection import Connection

__all__ = ["Place"]

HELLO = b"\0Sw\xa1\5hello"


class _Nowhere:
    """The transport of a stranger, who reads everything."""

    def __init__(self) -> None:
        self.over = False

    def write(self, data: memoryview) -> int:
        return len(data)

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def lose(self) -> None:
        self.over = True

    abort = lose


class Place:
    """The router, and those who work there."""

    def __init__(self) -> None:
        self._net = Network()
        self._consumer = self._net.client().receiver("work", credit=10)
        self._producer = self._net.client().sender("work")
        taker = self._net.client().receiver("taken", credit=1000)
        self._takers = [(taker, 1000), (self._consumer, 10)]
        """Those that accept whatever strangers send, and how much credit they have."""
        self.router = self._net.router
        self.turn = self._net.turn
        self._addresses = set(self.router.addresses)
        self.check()

    def ends_turn(self) -> None:
        """Have everything done that was put off."""
        while self._net.end_turn():
            pass

    def suffers(self, said: list[bytes]) -> None:
        """A stranger comes, says all that, and is gone."""
        wire = _Nowhere()
        stranger = Connection(self.router, self.turn, wire, "stranger")
        for piece in said:
            if wire.over or stranger.deaf:
                break
            stranger.receive(piece)
            self.ends_turn()
        stranger.deadlines.beat(self._net.now + 1.5)
        stranger.lose()
        self.ends_turn()
        self._settle()
        self.check()

    def _settle(self) -> None:
        self._net.run()
        for taker, credit in self._takers:
            for got in list(taker.unsettled.values()):
                got.settles(ACCEPTED)
            taker.got.clear()
            taker.grants(credit - taker.credit)

    def check(self) -> None:
        """See that the others work, and that the stranger has left nothing behind."""
        self._net.run()
        sent = self._producer.sends(HELLO)
        got: Any = self._consumer.next()
        assert bytes(got.data) == HELLO
        got.settles(ACCEPTED)
        self._consumer.got.clear()
        self._consumer.grants(1)
        assert sent.outcome == ACCEPTED
        reports = [report for report in self._net.reports if report[0] in ("connection failed", "attach failed")]
        self._net.reports.clear()
        assert not reports, reports
        assert set(self.router.addresses) == self._addresses
        assert not self.router.temporary
        assert self.router.in_flight() == 0
