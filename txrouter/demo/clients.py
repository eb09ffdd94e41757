"""The demo's clients: ordinary AMQP clients, on python-qpid-proton's own high-level API. A job's time is a timer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from proton import Connection, Delivery, Event, Link, Message, Receiver, Sender, symbol
from proton.handlers import MessagingHandler
from proton.reactor import Container, ReceiverOption

from txrouter.demo.reports import ConsumerState, Finished
from txrouter.demo.work import ConsumerSpec, Job

__all__ = ["Client", "Consumer", "Producer"]

ADDRESS = "jobs"


def schedule_at(container: Container, when: float, task: Any) -> None:
    """Run `task` when the monotonic clock says `when`. The container counts from where its turn began."""
    delay = max(0.0, when - time.monotonic())
    container.schedule(delay + time.time() - container.now, task)


class Client(MessagingHandler):
    """A connection with one link. Whatever ends it before it is told to stop is a failure, kept in `failure`."""

    def __init__(self, name: str) -> None:
        super().__init__(prefetch=0, auto_accept=False)
        self.name = name
        self.attached = False
        self.stopping = False
        self.failure: str | None = None
        self.container: Container
        self.connection: Connection

    def connect(self, container: Container, url: str) -> None:
        self.container = container
        self.connection = container.connect(url, handler=self, reconnect=False)
        self.attach()

    def attach(self) -> None:
        """Make the link."""
        raise NotImplementedError

    def stop(self) -> None:
        self.stopping = True
        self.connection.close()

    def on_link_opened(self, event: Event) -> None:
        self.attached = True

    def on_ended(self, event: Event) -> None:
        if self.stopping or self.failure is not None:
            return
        conditions = [end.remote_condition for end in (event.link, event.connection) if end is not None]
        conditions.append(event.transport.condition if event.transport is not None else None)
        reason = next((str(condition) for condition in conditions if condition), "the router closed its connection")
        self.failure = f"{self.name}: {reason}"

    on_link_closed = on_session_closed = on_connection_closed = on_disconnected = on_ended
    on_link_error = on_session_error = on_connection_error = on_transport_error = on_ended


class Consumer(Client):
    """Works on one job at a time, in the order they came, for cost / speed seconds each.

    As many messages as `credit` are with it or allowed to come at any time; what it finishes goes to `finished`.
    """

    def __init__(self, index: int, spec: ConsumerSpec, credit: int, finished: list[Finished]) -> None:
        super().__init__(spec.name)
        self.index = index
        self.speed = spec.speed
        self.credit = credit
        self.finished = finished
        self.done = 0
        self.idle_from = 0.0
        self.taken: deque[tuple[int, float, Delivery]] = deque()
        self.receiver: Receiver

    def attach(self) -> None:
        self.receiver = self.container.create_receiver(self.connection, ADDRESS, options=Capacity(self.speed))

    def on_link_opened(self, event: Event) -> None:
        super().on_link_opened(event)
        self.receiver.flow(self.credit)

    def on_message(self, event: Event) -> None:
        assert event.delivery is not None
        self.idle_from = max(self.idle_from, time.monotonic()) + event.message.body / self.speed
        self.taken.append((event.message.id, self.idle_from, event.delivery))
        schedule_at(self.container, self.idle_from, self)

    def on_timer_task(self, event: Event) -> None:
        if self.stopping:
            return
        now = time.monotonic()
        job, planned, delivery = self.taken.popleft()
        self.finished.append(Finished(job, self.index, now, now - planned))
        self.done += 1
        self.accept(delivery)
        self.receiver.flow(1)

    def state(self) -> ConsumerState:
        return ConsumerState(self.receiver.credit, len(self.taken), self.done)


class Capacity(ReceiverOption):
    """Says at attach how much the consumer takes, relative to others: what `weighted` goes by."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity

    def apply(self, link: Link) -> None:
        link.properties = {symbol("capacity"): self.capacity}


class Producer(Client):
    """Sends each job when it is due; what it has no credit for yet waits in it, and the job's time runs already."""

    def __init__(self, index: int, jobs: Sequence[Job]) -> None:
        super().__init__(f"producer {index + 1}")
        self.coming = deque(jobs)
        self.due: deque[Job] = deque()
        self.start = 0.0
        self.accepted = 0
        self.failed: dict[int, str] = {}
        self.sender: Sender

    def attach(self) -> None:
        self.sender = self.container.create_sender(self.connection, ADDRESS)

    def begin(self, start: float) -> None:
        self.start = start
        self.wait_for_next()

    def wait_for_next(self) -> None:
        if self.coming:
            schedule_at(self.container, self.start + self.coming[0].due, self)

    def on_timer_task(self, event: Event) -> None:
        if self.stopping:
            return
        now = time.monotonic() - self.start
        while self.coming and self.coming[0].due <= now:
            self.due.append(self.coming.popleft())
        self.send()
        self.wait_for_next()

    def on_sendable(self, event: Event) -> None:
        self.send()

    def send(self) -> None:
        while self.due and self.sender.credit > 0:
            job = self.due.popleft()
            self.sender.send(Message(id=job.id, body=job.cost), tag=str(job.id))

    def on_settled(self, event: Event) -> None:
        assert event.delivery is not None
        outcome = event.delivery.remote_state
        if outcome == Delivery.ACCEPTED:
            self.accepted += 1
        else:
            self.failed[int(event.delivery.tag)] = getattr(outcome, "name", "settled without an outcome").lower()
