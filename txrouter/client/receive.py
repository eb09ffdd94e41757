"""`txrouter receive`: messages as they come, or as slowly as told, each settled as told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import proton

from txrouter.client.answers import Answers
from txrouter.client.client import Client, Sink
from txrouter.client.options import ReceiveOptions
from txrouter.client.report import Outcome, Report
from txrouter.client.shown import as_bytes, as_json, read

__all__ = ["Consumer"]

_DRAIN_TIMEOUT = 1.0
"""Seconds that the server has to give credit back, when no more is to come."""
_OUTCOMES = {"accept": "accepted", "reject": "rejected", "release": "released", "modify": "modified", "none": ""}
_RELEASED = Outcome("released")


@dataclass
class _Arrived:
    """A message that came and is to be worked on; `due` is when that is over."""

    delivery: Any
    data: bytes
    due: float


class Consumer(Client):
    """Receives from one address, with as much credit as told at any time.

    :param out: where messages are printed.
    """

    what = "receive"

    def __init__(self, options: ReceiveOptions, out: Sink, reactor: Any, say: Callable[[str], None]) -> None:
        super().__init__(options, Report("received", options.address or "a temporary address"), reactor, say)
        self.options: ReceiveOptions = options
        self.total = options.count
        self._out = out
        out.room = self._go_on
        self._link: Any = None
        self._answers = Answers(options, self.report, say) if options.answers else None
        self._granted = 0
        self._drained = False
        """Whether the server had no more, and said so."""
        self._arrived: deque[_Arrived] = deque()
        self._idle_from = 0.0
        self._work: Any = None
        self._drain_deadline: Any = None
        self._outcome = Outcome(
            _OUTCOMES[options.settle],
            options.condition,
            options.description,
            options.failed,
            options.undeliverable,
        )

    @property
    def done(self) -> int:
        return self.report.messages

    @property
    def complete(self) -> bool:
        return self.total is None or self.report.messages >= self.total

    @property
    def _is_all(self) -> bool:
        return self._drained or (self.total is not None and self.complete)

    # -- links and credit --------------------------------------------------------------------------

    def opened(self) -> None:
        options = self.options
        self._link = self._connection.receiver(
            options.address, settled=options.settled, properties=options.link_properties
        )
        if self._answers:
            self._answers.attach(self._connection)

    def attached(self, link: Any) -> None:
        if link != self._link or link.remote_source.type == proton.Terminus.UNSPECIFIED:
            return  # without a source it is refused, as a detach is about to say
        if self.options.address is None:
            self.report.address = link.remote_source.address
            self._say(f"receiving from {self.report.address}")
        self.watch()
        self._grant()

    def _grant(self) -> None:
        """Give as much credit as there should be; not for every message, unless each is waited for."""
        options = self.options
        if self.stopping or self._out.full or (options.settle == "none" and self._granted):
            return
        wanted = options.credit - self._link.credit - len(self._arrived)
        if options.count is not None:
            wanted = min(wanted, options.count - self._granted)
        if wanted > 0 and (wanted * 2 >= options.credit or not self._link.credit):
            self._granted += wanted
            (self._link.drain if options.drain else self._link.flow)(wanted)

    def flowed(self, link: Any) -> None:
        if link != self._link:
            return
        given_back = link.drained()
        self._granted -= given_back
        if given_back and self.options.drain:
            self._drained = True
        if self.stopping and not link.credit:
            self.finish()

    # -- messages ----------------------------------------------------------------------------------

    def delivery(self, delivery: Any) -> None:
        link = delivery.link
        if link.is_sender:
            assert self._answers is not None
            self._answers.settled(delivery)
        elif delivery.aborted:
            delivery.settle()
            self._granted -= 1
        elif delivery.readable and not delivery.partial and link.current == delivery:
            data = link.recv(delivery.pending) or b""
            link.advance()
            self._take(delivery, data)

    def _take(self, delivery: Any, data: bytes) -> None:
        now = self._reactor.seconds()
        if self.stopping and not delivery.settled:
            self._settle(delivery, _RELEASED)
            return
        self._idle_from = max(self._idle_from, now) + self.options.delay
        self._arrived.append(_Arrived(delivery, data, self._idle_from))
        self.heard()

    def ready(self) -> None:
        """Do the work that is due, and give credit for more."""
        now = self._reactor.seconds()
        while self._arrived and (self._arrived[0].due <= now or self.stopping):
            self._finish_work(self._arrived.popleft(), now)
        if self._answers:
            self._answers.send()
        if self._link is None or self.stopping:
            return
        if self._is_all and not self._arrived:
            if not (self._answers and self._answers.waiting):
                self.finish()
            return
        if self._arrived and (self._work is None or not self._work.active()):
            self._work = self._reactor.callLater(self._arrived[0].due - now, self._go_on)
        if self._link.state & proton.Endpoint.REMOTE_ACTIVE:
            self._grant()

    def _go_on(self) -> None:
        if self._connection is not None and not self._over:
            self.ready()
            self._connection.write()

    def _finish_work(self, arrived: _Arrived, now: float) -> None:
        delivery, data = arrived.delivery, arrived.data
        self.heard()
        self.report.moved(now, len(data))
        try:
            message = read(data)
        except ValueError as error:
            self._say(f"a message that cannot be read: {error}")
            self._conclude(delivery, Outcome("rejected", "amqp:decode-error", str(error)))
            return
        self._print(message, delivery, len(data))
        if self._answers:
            self._answers.add(message)
        self._conclude(delivery, self._outcome)

    def _print(self, message: proton.Message, delivery: Any, size: int) -> None:
        options = self.options
        if options.json:
            settled = bool(delivery.settled)
            text = as_json(message, address=self.report.address, size=size, settled=settled, body=options.body)
            self._out.write(text.encode())
        elif options.body:
            self._out.write(as_bytes(message, terminal=self._out.terminal))

    def _conclude(self, delivery: Any, outcome: Outcome) -> None:
        if delivery.settled:
            delivery.settle()
            self.report.presettled += 1
        elif self.options.settle != "none":
            self._settle(delivery, outcome)
            self.report.settled(self.report.ended, outcome)

    def _settle(self, delivery: Any, outcome: Outcome) -> None:
        local = delivery.local
        local.failed, local.undeliverable = outcome.failed, outcome.undeliverable
        if outcome.condition is not None:
            local.condition = proton.Condition(outcome.condition, outcome.description)
        delivery.update(getattr(proton.Delivery, outcome.name.upper()))
        delivery.settle()

    def detached(self, link: Any, reason: str) -> None:
        if link.is_sender and not self.stopping:
            self.fail(f"the server takes no answers on one link for all addresses{reason}")
        else:
            super().detached(link, reason)

    # -- endings -----------------------------------------------------------------------------------

    @property
    def excused(self) -> bool:
        return bool(self._arrived) or self._out.full

    def _expired(self) -> None:
        if self.complete:
            self.stop()
        else:
            total = self.options.count
            self.fail(f"nothing came for {self.options.timeout:g} s: {self.done:,} of {total:,} messages received")

    def _wind_up(self) -> None:
        """Have the credit back before the link goes: a message that is on its way to us would be lost otherwise."""
        self._release_the_rest()
        link = self._link
        if link is None or not link.credit or not link.state & proton.Endpoint.REMOTE_ACTIVE:
            self.finish()
            return
        link.drain(0)
        self._connection.write()
        self._drain_deadline = self._reactor.callLater(_DRAIN_TIMEOUT, self.finish)

    def _release_the_rest(self) -> None:
        """What came and is not worked on yet is for others; what is settled already is not, and is printed."""
        for arrived in self._arrived:
            if arrived.delivery.settled:
                self._finish_work(arrived, self._reactor.seconds())
            else:
                self._settle(arrived.delivery, _RELEASED)
        self._arrived.clear()

    def _cleared(self) -> None:
        self._out.room = lambda: None
        for call in (self._work, self._drain_deadline):
            if call is not None and call.active():
                call.cancel()
