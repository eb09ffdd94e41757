"""`txrouter send` and `receive` under test: in the test's own reactor, or as processes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.net.routers import RunningRouter
from tests.net.waiting import reactor, something_came, wait_until
from txrouter.client import arguments, questions
from txrouter.client.ask import Explanation, Recording
from txrouter.client.client import Client, Failed
from txrouter.client.dialling import converse
from txrouter.client.messages import Bodies, Repeated
from txrouter.client.receive import Consumer
from txrouter.client.send import Producer

PATIENCE = 30.0
"""Seconds that a process may take."""


class Paper:
    """A sink that keeps what is written on it. It is full from `room_for` lines on."""

    def __init__(self, room_for: float = float("inf")) -> None:
        self.terminal = False
        self.lines: list[bytes] = []
        self.room_for = room_for
        self.room: Any = lambda: None

    @property
    def full(self) -> bool:
        return len(self.lines) >= self.room_for

    def write(self, data: bytes) -> None:
        self.lines.append(data)


class Talk:
    """One client in the test's reactor, from its command line.

    :param server: where it connects: to a router, a port, or what a command line may say.
    """

    def __init__(self, server: RunningRouter | int | str) -> None:
        port = server.port if isinstance(server, RunningRouter) else server
        self.server = port if isinstance(port, str) else f"127.0.0.1:{port}"
        self.paper = Paper()
        self.said: list[str] = []
        """What it told people."""
        self.failure = ""
        self.over = False
        self.client: Any

    def send(self, *line: str, bodies: Bodies | None = None) -> Talk:
        """Begin `txrouter send`; bodies are `message 1` and so on, if none are given."""
        parser = argparse.ArgumentParser()
        arguments.add_send(parser)
        options = arguments.send_options(parser, parser.parse_args([*line, "--to", self.server]))
        if bodies is None:
            bodies = Repeated(options.count or 1, lambda number: f"message {number}")
        return self._begin(Producer(options, bodies, self.paper, reactor, self.said.append))

    def receive(self, *line: str) -> Talk:
        """Begin `txrouter receive`."""
        parser = argparse.ArgumentParser()
        arguments.add_receive(parser)
        options = arguments.receive_options(parser, parser.parse_args([*line, "--from", self.server]))
        return self._begin(Consumer(options, self.paper, reactor, self.said.append))

    def explain(self, *line: str) -> Talk:
        """Begin `txrouter explain`."""
        parser = argparse.ArgumentParser()
        questions.add_explain(parser)
        options = questions.explain_options(parser, parser.parse_args([*line, "--server", self.server]))
        return self._begin(Explanation(options, self.paper, reactor, self.said.append))

    def record(self, *line: str) -> Talk:
        """Begin `txrouter record`."""
        parser = argparse.ArgumentParser()
        questions.add_record(parser)
        options = questions.record_options(parser, parser.parse_args([*line, "--server", self.server]))
        return self._begin(Recording(options, self.paper, reactor, self.said.append))

    def _begin(self, client: Client) -> Talk:
        self.client = client

        def ended(result: Any) -> None:
            if result is not None:
                result.trap(Failed)
                self.failure = str(result.value)
            self.over = True
            something_came()

        converse(reactor, client).addBoth(ended)
        return self

    async def end(self) -> Talk:
        """Wait until it has ended by itself."""
        await wait_until(lambda: self.over)
        return self

    async def stop(self) -> Talk:
        """Have it end in order, as Ctrl-C does."""
        self.client.stop()
        return await self.end()

    async def got(self, messages: int) -> None:
        """Wait until it has dealt with so many messages."""
        await wait_until(lambda: self.client.report.messages >= messages)

    @property
    def ok(self) -> bool:
        """Whether the exit status would be 0."""
        return not self.failure and bool(self.client.complete)

    @property
    def printed(self) -> list[str]:
        """What it printed of messages."""
        return [line.decode() for line in self.paper.lines]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many messages had each outcome, which is in words."""
        return {str(outcome): count for outcome, count in self.client.report.kinds()}


class Command:
    """`txrouter …` as a process of its own, with the router as its server."""

    def __init__(
        self, router: RunningRouter, *line: str, stdin: Any = subprocess.DEVNULL, stderr: Any = subprocess.PIPE
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "txrouter", *line],
            env=os.environ | {"TXROUTER_SERVER": f"127.0.0.1:{router.port}", "TERM": "xterm"},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=Path(__file__).parents[2],
        )
        self.out = self.err = ""

    async def end(self, given: bytes | None = None) -> int:
        """Wait until it has ended, having been given that to read. Returns the exit status."""
        out, err = await deferToThread(self.process.communicate, given, PATIENCE)
        self.out, self.err = out.decode(), (err or b"").decode()
        return self.process.returncode

    async def first_line(self) -> str:
        """Wait for the first line that it prints."""
        assert self.process.stdout is not None
        line: bytes = await deferToThread(self.process.stdout.readline)
        return line.decode()

    @property
    def json(self) -> list[Any]:
        """What it printed, line by line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def kill(self) -> None:
        """Have it gone, whatever it does."""
        self.process.kill()
        self.process.communicate()
