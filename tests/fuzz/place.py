"""A router without sockets where others work, while strangers come and say what they like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.unit.amqp.inmemory import ACCEPTED, Network, Receiver, Sender
from txrouter.amqp.connection import Connection
from txrouter.amqp.management import Management
from txrouter.core.addresses import Distribution
from txrouter.management.explain import Explain
from txrouter.net.memory import resident
from txrouter.policies import multicast

__all__ = ["Place"]

HELLO = b"\0Sw\xa1\5hello"
AT_A_TIME = 10
"""Messages that are sent to a stranger before it says the next thing."""
MAY_TAKE = 16 << 20
"""Bytes that the process may grow by while one stranger is there, who says a few KiB."""


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


class _Call:
    """Called later means called at once."""

    def __init__(self, call: Callable[[], None]) -> None:
        call()

    def cancel(self) -> None:
        pass


class Place:
    """The router, and those who work there: as for `tests.net.conversations`, `taken` is taken, `fed` has messages for
    whoever wants them, and `shared` is multicast. `work` goes from a producer to a consumer; so does `undisturbed`,
    which no stranger knows of."""

    def __init__(self) -> None:
        self._net = Network()
        self.router = self._net.router
        self.turn = self._net.turn
        management = Management(self.router, self.turn, lambda _seconds, call: _Call(call))
        management.operations["explain"] = Explain(self.router, management.later)
        management.attach()
        copies = Distribution(multicast.factory, multicast.Options(when_full="drop", drop_seconds=0.0))
        self.router.policies.table.add_pattern("shared", copies)
        self._pairs = [self._pair("work"), self._pair("undisturbed")]
        self._feeders = [self._net.client().sender(name) for name in ("fed", "shared")]
        takers = [self._net.client().receiver(name, credit=1000) for name in ("taken", "shared")]
        self._takers = [(taker, 1000) for taker in takers] + [(self._pairs[0][1], 10)]
        """Those that accept whatever strangers send, and how much credit they have."""
        self._addresses = set(self.router.addresses)
        self.check()

    def _pair(self, address: str) -> tuple[Sender, Receiver]:
        receiver = self._net.client().receiver(address, credit=10)
        return self._net.client().sender(address), receiver

    def ends_turn(self) -> None:
        """Have everything done that was put off."""
        while self._net.end_turn():
            pass

    def suffers(self, said: list[bytes]) -> None:
        """A stranger comes, says all that, and is gone."""
        wire = _Nowhere()
        before = resident()
        stranger = Connection(self.router, self.turn, wire, "stranger")
        for piece in said:
            if wire.over or stranger.deaf:
                break
            stranger.receive(piece)
            self.ends_turn()
            self._feed()
        taken = resident() - before
        assert taken <= MAY_TAKE, f"it took {taken >> 20} MiB"
        self._check_books()
        self._works(*self._pairs[1])
        stranger.deadlines.beat(self._net.now + 1.5)
        stranger.lose()
        self.ends_turn()
        self._settle()
        self.check()

    def _feed(self) -> None:
        if (
            not any(feeder.credit for feeder in self._feeders[:1])
            and len(self.router.addresses["shared"].consumers) == 1
        ):
            return  # nobody is there for it
        with self._at_once():
            for feeder in self._feeders:
                for _ in range(min(feeder.credit, AT_A_TIME - len(feeder.sent))):
                    feeder.sends(HELLO)

    def _settle(self) -> None:
        self._net.run()
        with self._at_once():
            for taker, credit in self._takers:
                for got in list(taker.unsettled.values()):
                    got.settles(ACCEPTED)
                taker.got.clear()
                taker.grants(credit - taker.credit)

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Carry what is said within when all of it is said."""
        self._net.by_hand = True
        yield
        self._net.by_hand = False
        self._net.run()

    def _works(self, producer: Sender, consumer: Receiver) -> None:
        self._net.run()
        sent = producer.sends(HELLO)
        got: Any = consumer.next()
        assert bytes(got.data) == HELLO
        got.settles(ACCEPTED)
        consumer.got.clear()
        consumer.grants(1)
        assert sent.outcome == ACCEPTED

    def check(self) -> None:
        """See that the others work, and that no stranger has left anything behind."""
        self._works(*self._pairs[0])
        self._check_books()
        assert set(self.router.addresses) == self._addresses
        assert all(not feeder.sent for feeder in self._feeders), "a message that never ended"
        assert not self.router.temporary
        assert self.router.in_flight() == 0
        assert self.router.holding.next_deadline() is None

    def _check_books(self) -> None:
        self._net.check()
        self._net.reports.clear()
        for address in self.router.addresses.values():
            assert address.free == sum(consumer.credit for consumer in address.consumers)
            for consumer in address.consumers:
                assert consumer.credit >= 0
                assert consumer.in_flight == sum(not each.presettled for each in consumer.unsettled.values())
                assert consumer.in_flight <= self.router.limits.max_in_flight
            for producer in address.producers:
                assert producer.held >= 0
                assert producer.credit <= self.router.limits.link_capacity
