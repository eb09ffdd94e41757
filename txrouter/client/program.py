"""`txrouter send` and the other clients as programs: the reactor, signals, what is printed where, the exit status."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from txrouter.client.ask import Explanation, Recording, Reloading
from txrouter.client.bar import REDRAW, Bar, wants_bar
from txrouter.client.client import Client, Failed
from txrouter.client.dialling import converse
from txrouter.client.messages import Bodies, Body, Repeated
from txrouter.client.options import AskOptions, ConnectOptions, ReceiveOptions, SendOptions
from txrouter.client.receive import Consumer
from txrouter.client.send import Producer
from txrouter.client.streams import Lines, Output

__all__ = ["explain", "receive", "record", "send"]

_STDIN = 0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def send(options: SendOptions) -> int:
    """Send. Returns the exit status."""
    from twisted.internet import reactor

    try:
        bodies = _bodies(options, reactor)
    except OSError as error:
        _say("send", f"cannot read {error.filename or 'standard input'}: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        return 1
    program = _Program("send", options, reactor)
    producer = Producer(options, bodies, program.out, reactor, program.say)
    if isinstance(bodies, Lines):
        bodies.wake = producer.wake
    # the report is what is printed, unless something else is
    return program.run(producer, sys.stderr if options.request else sys.stdout)


def receive(options: ReceiveOptions) -> int:
    """Receive. Returns the exit status."""
    from twisted.internet import reactor

    program = _Program("receive", options, reactor)
    return program.run(Consumer(options, program.out, reactor, program.say), sys.stderr)


def explain(options: AskOptions) -> int:
    """Ask what an address's policy does. Returns the exit status."""
    from twisted.internet import reactor

    program = _Program("explain", options, reactor)
    return program.run(Explanation(options, program.out, reactor, program.say), sys.stderr)


def record(options: AskOptions) -> int:
    """Record a trace. Returns the exit status."""
    from twisted.internet import reactor

    program = _Program("record", options, reactor)
    if options.output is not None:
        try:
            program.write_to(options.output)
        except OSError as error:
            program.say(f"cannot write {options.output}: {error.strerror}")
            return 1
    return program.run(Recording(options, program.out, reactor, program.say), sys.stderr)


def reload(options: AskOptions) -> int:
    """Have a router read its config again. Returns the exit status."""
    from twisted.internet import reactor

    program = _Program("reload", options, reactor)
    return program.run(Reloading(options, program.out, reactor, program.say), sys.stderr)


def _bodies(options: SendOptions, reactor: Any) -> Bodies:
    """:raise OSError: the file cannot be read."""
    if options.lines:
        assert options.file is not None
        return Lines(reactor, _STDIN if options.file == "-" else os.open(options.file, os.O_RDONLY), options.count)
    body = _body(options)
    return Repeated(options.count or 1, "message {}".format if body is None else lambda number: body)


def _body(options: SendOptions) -> Body | None:
    """The body of every message, if all have the same.

    :raise OSError: the file cannot be read.
    """
    if options.file == "-":
        return sys.stdin.buffer.read()
    if options.file is not None:
        return Path(options.file).read_bytes()
    if options.size is not None:
        return b"x" * options.size
    return options.body


def _say(command: str, text: str) -> None:
    _print(f"txrouter {command}: {text}", sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    # in one piece, unlike print(): others may write to the same terminal
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:  # nobody reads it; nor is Python to try again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Program:
    """One client and its process."""

    def __init__(self, command: str, options: ConnectOptions, reactor: Any) -> None:
        self._command = command
        self._options = options
        self._reactor = reactor
        self._bar: Bar | None = None
        self._failure = ""
        self.out = Output(reactor, sys.stdout.fileno())

    def write_to(self, file: str) -> None:
        """Write what came to a file, not to standard output.

        :raise OSError: it cannot be written.
        """
        self.out = Output(self._reactor, os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))

    def say(self, text: str) -> None:
        """Print a line for people."""
        if self._bar is not None:
            self._bar.clear()
        _say(self._command, text)

    def run(self, client: Client, report_to: TextIO) -> int:
        """Run the reactor until the client has ended. Returns the exit status."""
        reactor = self._reactor
        self.out.gone = client.stop
        # a signal that comes before the reactor minds them has to wait
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        reactor.callWhenRunning(signal.pthread_sigmask, signal.SIG_UNBLOCK, _STOP_SIGNALS)
        reactor.callWhenRunning(self._start, client)
        reactor.addSystemEventTrigger("before", "shutdown", self._stop, client)
        reactor.run()
        self.out.flush()
        if self._failure:
            self.say(self._failure)
        if not self._options.quiet and (client.report.messages or not self._failure):
            report = client.report
            shown = json.dumps(report.as_json()) if self._options.json else report.text()
            _print(shown, report_to)
        return 0 if client.complete and not self._failure else 1

    def _start(self, client: Client) -> None:
        redrawing = LoopingCall(self._draw, client)
        if self._shows_bar(client):
            self._bar = Bar(sys.stderr, f"{self._command} {client.report.address}", client.total)
            redrawing.start(REDRAW, now=False)

        def ended(result: Any) -> None:
            if redrawing.running:
                redrawing.stop()
            if self._bar is not None:
                self._bar.clear()
            if isinstance(result, Failure):
                result.trap(Failed)
                self._failure = str(result.value)
            with suppress(ReactorNotRunning):  # a signal has stopped it
                self._reactor.stop()

        converse(self._reactor, client).addBoth(ended)

    def _shows_bar(self, client: Client) -> bool:
        options = self._options
        prints = isinstance(options, ReceiveOptions) and options.body and self.out.terminal
        return not options.json and not options.quiet and not prints and wants_bar(sys.stderr)

    def _draw(self, client: Client) -> None:
        assert self._bar is not None
        began = client.report.began
        seconds = 0.0 if began is None else self._reactor.seconds() - began
        self._bar.show(client.done, client.done / seconds if seconds > 0 else 0.0)

    def _stop(self, client: Client) -> Deferred[None]:
        # whoever asks twice does not want to wait
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        done: Deferred[None] = Deferred()
        client.stop().addBoth(lambda result: done.callback(None))
        return done
