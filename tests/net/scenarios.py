"""A scenario of the simulator, on real sockets: the same jobs at the same times, for clients that work as long.

A worker's work is a timer. It ends when it is meant to end, however late the timer is: so what is worked on next is
not delayed by a machine that is busy, as a worker's own work would not be.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from tests.net.clients import DYNAMIC, Client
from tests.net.links import ACCEPTED, Received, Receiver, Sender, Sent
from tests.net.routers import RunningRouter, message
from tests.net.waiting import reactor
from txrouter.management.record import Trace
from txrouter.simulation.figures import percentile
from txrouter.simulation.scenario import Event, Scenario, Server

LONGEST = 60.0
"""Seconds that a scenario may take."""


class RealRun:
    """All of a scenario, through a router that has the policy already.

    :param address: where its messages go.
    """

    def __init__(self, router: RunningRouter, address: str, scenario: Scenario) -> None:
        self.router = router
        self.address = address
        self.scenario = scenario
        self.jobs = scenario.jobs()
        """The work; each job is due when its producer really had it, be that a little later than it was meant to be."""
        self.start = 0.0
        self.trace: Trace
        """What was recorded of it."""
        self._done: dict[int, float] = {}
        self.workers = [Worker(self, server) for server in scenario.servers()]
        self._senders: list[Sender] = []
        self._answers: Receiver | None = None
        """Where replies are sent, if there are to be any."""
        self._sent: dict[Sent, tuple[Sender, int]] = {}
        self._timers: set[Any] = set()
        self._over: Deferred[None] = Deferred()

    async def attach(self) -> None:
        """Have everybody there."""
        if self.scenario.arrivals.replies:
            self._answers = await self.router.receiver(DYNAMIC, credit=len(self.jobs), takes=ACCEPTED)
        for worker in self.workers:
            await worker.comes()
        for _ in range(self.scenario.arrivals.producers):
            sender = await self.router.sender(self.address)
            sender.told = self._settled
            await sender.credited()
            self._senders.append(sender)

    async def run(self, start: float) -> None:
        """Have it happen, from that time of the reactor on."""
        self.start = start
        self.trace = Trace(self.router.core, self.router.core.addresses[self.address])
        for number, job in enumerate(self.jobs):
            self.at(job.due, self._due, number)
        for event in self.scenario.event:
            for worker in self.workers:
                if event.consumers in (worker.server.name, worker.server.group):
                    self.at(event.at, worker.happens, event)
        try:
            await self._over.addTimeout(LONGEST, reactor)
        finally:
            self.trace.end("stopped")
            for timer in self._timers:
                timer.cancel()

    def now(self) -> float:
        """Seconds since the beginning."""
        return float(reactor.seconds()) - self.start

    def at(self, when: float, call: Any, *arguments: object) -> Any:
        """Call it then. Returns what can be given to `cancel`."""

        def due() -> None:
            self._timers.discard(timer)
            call(*arguments)

        timer = reactor.callLater(max(0.0, when - self.now()), due)
        self._timers.add(timer)
        return timer

    def cancel(self, timer: Any) -> None:
        """It is not to be called."""
        self._timers.discard(timer)
        timer.cancel()

    def _due(self, number: int) -> None:
        self.jobs[number] = self.jobs[number]._replace(due=self.now())
        self._send(self._senders[number % len(self._senders)], number)

    def _send(self, sender: Sender, number: int) -> None:
        asks = {} if self._answers is None else {"id": number, "reply_to": self._answers.address}
        self._sent[sender.send(message(number, **asks))] = sender, number

    def _settled(self, sent: Sent) -> None:
        sender, number = self._sent.pop(sent)
        if sent.state.name in ("released", "modified"):
            self._send(sender, number)

    def done(self, number: int, when: float) -> None:
        """A job is done."""
        self._done[number] = when
        if len(self._done) == len(self.jobs):
            self._over.callback(None)

    @property
    def times(self) -> list[float]:
        """Seconds from when each job was due until its work was done."""
        return [self._done[number] - job.due for number, job in enumerate(self.jobs)]

    def percentile(self, fraction: float) -> float:
        """The time within which this part of them was done."""
        return percentile(self.times, fraction)


class Worker:
    """A consumer, which is another client each time that it comes."""

    def __init__(self, run: RealRun, server: Server) -> None:
        self.run = run
        self.server = server
        self.stalled = False
        self._client: Client
        self._receiver: Receiver
        self._replies: Sender
        self._inbox: deque[Received] = deque()
        self._working: dict[Received, tuple[float, Any]] = {}
        """What it works on: when that will be done, and the timer."""
        self._free_from = [0.0] * server.slots
        """When each of its slots has been free since, or will be."""

    async def comes(self) -> None:
        """It attaches, and gives credit."""
        self._client = await self.run.router.client()
        if self.run.scenario.arrivals.replies:
            self._replies = await self._client.sender(None)
        receiver = self._receiver = self._client.attach_receiver(
            self.run.address, credit=self.server.credit, properties=self.server.properties
        )
        receiver.told = self._got
        await receiver.attached()

    def happens(self, event: Event) -> None:
        """What the scenario says of it."""
        if event.does == "come":
            coming = Deferred.fromCoroutine(self.comes())
            coming.addErrback(self.run._over.errback)
        elif event.does == "leave":
            self._client.abort()
            self._inbox.clear()
            for _, timer in self._working.values():
                self.run.cancel(timer)
            self._working.clear()
        elif event.does == "stall":
            self.stalled = True
            for received, (ends, timer) in self._working.items():
                self.run.cancel(timer)
                self._working[received] = ends - event.at, None
        else:
            assert event.does == "go-on"
            self.stalled = False
            for received, (left, _) in self._working.items():
                self._works(received, event.at + left)
            self._begin(event.at)

    def _got(self, received: Received) -> None:
        self._inbox.append(received)
        if self.server.settles_first:
            self._accept(received)
        self._begin(self.run.now())

    def _begin(self, since: float) -> None:
        while self._inbox and len(self._working) < self.server.slots and not self.stalled:
            received = self._inbox.popleft()
            seconds = self.run.jobs[received.message.body].cost / self.server.speed  # type: ignore[index]
            self._works(received, since + seconds)

    def _works(self, received: Received, ends: float) -> None:
        self._working[received] = ends, self.run.at(ends, self._ends, received, ends)

    def _ends(self, received: Received, ends: float) -> None:
        del self._working[received]
        if self.run.scenario.arrivals.replies:
            request = received.message
            self._replies.send(message("done", address=request.reply_to, correlation_id=request.id))
        if not self.server.settles_first:
            self._accept(received)
        self.run.done(received.message.body, ends)  # type: ignore[arg-type]
        self._begin(ends)

    def _accept(self, received: Received) -> None:
        received.accept()
        self._receiver.flow(1)
