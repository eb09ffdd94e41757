"""The processes the demo's clients live in: one for all consumers, one for all producers.

The process that watches them says over a pipe when to start (a moment of the monotonic clock, which processes share
on Linux) and when to stop (None); they report to it ten times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe

from proton import Event
from proton.handlers import MessagingHandler
from proton.reactor import Container

from txrouter.demo.clients import Client, Consumer, Producer
from txrouter.demo.reports import ClientFailure, ConsumerReport, Finished, ProducerReport, Ready, Report
from txrouter.demo.work import ConsumerSpec, Job

__all__ = ["run_consumers", "run_producers"]

TICK = 0.1


def run_consumers(pipe: Pipe, url: str, specs: Sequence[ConsumerSpec], credit: int) -> None:
    """The process of the consumers: each lets `credit` messages come to it at a time."""
    finished: list[Finished] = []
    consumers = [Consumer(index, spec, credit, finished) for index, spec in enumerate(specs)]

    def report() -> ConsumerReport:
        news = ConsumerReport([consumer.state() for consumer in consumers], finished.copy())
        finished.clear()
        return news

    Container(Group(pipe, url, consumers, report, begin=lambda start: None)).run()


def run_producers(pipe: Pipe, url: str, jobs: Sequence[Job], count: int) -> None:
    """The process of the producers: each sends its own jobs."""
    producers = [Producer(index, [job for job in jobs if job.producer == index]) for index in range(count)]

    def report() -> ProducerReport:
        failed = {job: outcome for producer in producers for job, outcome in producer.failed.items()}
        return ProducerReport(sum(producer.accepted for producer in producers), failed)

    def begin(start: float) -> None:
        for producer in producers:
            producer.begin(start)

    Container(Group(pipe, url, producers, report, begin)).run()


class Group(MessagingHandler):
    """The clients of one process, until told to stop, until one of them fails, or until nobody watches any more."""

    def __init__(
        self,
        pipe: Pipe,
        url: str,
        clients: Sequence[Client],
        report: Callable[[], Report],
        begin: Callable[[float], None],
    ) -> None:
        super().__init__()
        self.pipe = pipe
        self.url = url
        self.clients = clients
        self.report = report
        self.begin = begin
        self.ready = False

    def on_start(self, event: Event) -> None:
        for client in self.clients:
            client.connect(event.container, self.url)
        event.container.schedule(TICK, self)

    def on_timer_task(self, event: Event) -> None:
        try:
            going_on = self.tick()
        except (EOFError, OSError):  # the other end of the pipe is gone
            going_on = False
        if going_on:
            event.container.schedule(TICK, self)
            return
        for client in self.clients:
            client.stop()

    def tick(self) -> bool:
        """Say where we are and do what we are told; whether to go on."""
        failure = next((client.failure for client in self.clients if client.failure), None)
        if failure is not None:
            self.pipe.send(ClientFailure(failure))
            return False
        if not self.ready and all(client.attached for client in self.clients):
            self.ready = True
            self.pipe.send(Ready())
        self.pipe.send(self.report())
        while self.pipe.poll():
            start: float | None = self.pipe.recv()
            if start is None:
                return False
            self.begin(start)
        return True
