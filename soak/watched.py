"""The router that is soaked: `txrouter run` in a process of its own, which says what it has when it is asked by a line.

`Router` is the soak's end of it; run as a program, this is the router. It is the very service of `txrouter run`, with
its logging and its signals; only what a router has inside cannot be seen from outside, so there is a pipe for that.
"""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from bench import measure
from tests.net.ledger import objects
from tests.net.measured import allocated, can_measure
from txrouter.amqp import engine
from txrouter.core.addresses import is_reserved

__all__ = ["Router"]

ROOT = Path(__file__).resolve().parent.parent
_STOP_SECONDS = 20.0
_SEND_BUFFER = 1 << 17
_FAULTS = re.compile(
    r"Traceback|Unhandled|(connection|attach|policy) failed|reload: .*wrong"
    r"|protocol error(?!.*local-idle-timeout).*container soak-"
)
"""What no client, whatever it does, should be able to bring into the log; and that one of those which mean well breaks
the protocol, but for one that has fallen silent."""


class Router:
    """The process; it is gone with `stop`.

    :param config: its config; it listens on 127.0.0.1, at ports that it chooses.
    :param log: where its log goes.
    """

    def __init__(self, config: Path, log: Path) -> None:
        self._log = log
        self._said = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "soak.watched", str(config)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.pid = self._process.pid
        self.ports: list[int] = self._answer()["ports"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the router ended, with status {self._process.wait()}; its log ends:\n{self.last_words()}"
            )
        return json.loads(line)

    def has(self) -> dict[str, Any]:
        """What it has now."""
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = self._answer()
        return answer | {"resident": self.resident(), "files": len(os.listdir(f"/proc/{self.pid}/fd"))}

    def resident(self) -> int:
        """Bytes of memory that it has from the kernel."""
        return measure.resident(self.pid)

    def peak(self) -> int:
        """The most of them that it has had."""
        return measure.peak_resident(self.pid)

    def cpu(self) -> float:
        """Seconds that it has computed."""
        return measure.cpu(self.pid).total

    def faults(self) -> list[str]:
        """Lines of its log that should not be there."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if _FAULTS.search(line)]

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(deque(self._log.read_text(errors="replace").splitlines(), 40))

    def reloads(self) -> None:
        """Have it take its config anew, soon."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Have it end in order, as SIGTERM does. Returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._said.close()


# -- the other end -----------------------------------------------------------------------------------------------------


def _state(program: Any) -> dict[str, Any]:
    gc.collect()
    core = program.router
    addresses = core.addresses.values()
    held = sum(
        len(address.held) + len(address.returned) + sum(consumer.waiting for consumer in address.consumers)
        for address in addresses
    )
    return {
        "objects": objects(),
        "connections": len(program._connections()),
        "addresses": sum(not is_reserved(name) for name in core.addresses),
        "temporary": len(core.temporary),
        "in_flight": core.in_flight(),
        "held": held,
        "busy": [_busy(consumer) for address in addresses for consumer in address.consumers if consumer.in_flight],
        "counters": dict(core.counters),
        "distributions": {str(each.pattern): each.distribution for each in program.config.address},
        "blocks": sys.getallocatedblocks(),
        "allocated": allocated() if can_measure() else 0,
    }


def _busy(consumer: Any) -> str:
    """What can be said of a consumer that has deliveries in flight, for people who look for a fault."""
    connection = consumer.connection
    return (
        f"{consumer.id} ({connection.container}) of {consumer.source.name}: {consumer.in_flight} in flight, "
        f"{sum(not each.was_sent() for each in consumer.unsettled.values())} of them not written, "
        f"credit {consumer.credit} and {consumer.withheld} withheld, {engine.link_queued(consumer.pn)} on its link, "
        f"{engine.session_outgoing_bytes(consumer.session)} bytes in its session"
        f"{', suspended' * consumer.suspended}{', congested' * consumer.congested}"
        f"{', streaming' * (consumer.streaming is not None)}{', blocked' * connection.blocked}"
    )


def _name_containers(program: Any) -> None:
    """Have reports about a connection say whose it is."""
    report = program.router.report

    def named(event: str, fields: dict[str, object]) -> None:
        for protocol in program._connections():
            if protocol.name == fields.get("connection") and protocol.connection is not None:
                fields = {**fields, "container": protocol.connection.container}
        report(event, fields)

    program.router.report = named


def main() -> None:
    """Be the router."""
    from twisted.internet import reactor as installed
    from twisted.internet.stdio import StandardIO
    from twisted.protocols.basic import LineReceiver

    from txrouter import cli, tap
    from txrouter.net import reports

    class Asked(LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:
            self.say(_state(program))

        def say(self, answer: object) -> None:
            self.sendLine(json.dumps(answer).encode())  # type: ignore[no-untyped-call]

    reactor: Any = installed
    cli._log_to_stderr("info")
    reports.BURST = sys.maxsize
    line: Any = sys.argv[1], (), ()
    program = tap.Program(tap.load(*line), reactor, tap.source(*line))
    _name_containers(program)
    asked = Asked()
    StandardIO(asked, reactor=reactor)
    program.startService()

    def listens(ports: Any) -> None:
        for port in ports:
            # accepted sockets inherit it; or those who do not read would not be noticed before megabytes
            port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        asked.say({"ports": [port.getHost().port for port in ports]})

    listening: Any = program.when_listening()
    listening.addCallback(listens)
    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
