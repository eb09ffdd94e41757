"""The router as a process: each way to start it, how it stops, and how it says that it cannot start."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
LOOPBACK = "tcp:0:interface=127.0.0.1"
PATIENCE = 60.0
"""Seconds after which a router that should have said something is killed, which fails the test."""

COMMANDS = {
    "python -m txrouter run": [sys.executable, "-m", "txrouter", "run"],
    "txrouter run": [str(BIN / "txrouter"), "run"],
    "twist": [str(BIN / "twist"), "--log-format=text", "txrouter"],
    "twistd": [str(BIN / "twistd"), "--nodaemon", "--pidfile=router.pid", "txrouter"],
}

AMQP = b"AMQP\x00\x01\x00\x00"
OPEN = bytes.fromhex("00000011 02000000 005310c0 0401a10163")  # container-id "c"
CLOSE = bytes.fromhex("0000000c 02000000 00531845")
OPENED, CLOSED = (bytes.fromhex("005310"), bytes.fromhex("005318"))  # how the bodies of the answers begin

LATE_ENDPOINT = """
from twisted.internet import defer, error, interfaces, task
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(interfaces.IStreamServerEndpoint)
class Late:
    def __init__(self, reactor):
        self.reactor = reactor

    def listen(self, factory):
        problem = error.CannotListenError("nowhere", 7, "too late")
        return task.deferLater(self.reactor, 0, defer.fail, problem)


@implementer(IPlugin, interfaces.IStreamServerEndpointStringParser)
class Parser:
    prefix = "late"

    def parseStreamServer(self, reactor, *args, **kwargs):
        return Late(reactor)


parser = Parser()
"""


class Process:
    """A router in a process of its own; stdout and stderr are one."""

    def __init__(self, command: list[str], where: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        self._watchdog = threading.Timer(PATIENCE, self._process.kill)
        self._watchdog.start()
        self.said: list[str] = []

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.rstrip("\n"))
            found = re.search(pattern, line)
            if found:
                return found
        pytest.fail(f"no line matches {pattern!r} in:\n" + "\n".join(self.said))

    def port(self) -> int:
        """Wait until it is ready, and say where it listens."""
        return int(self.wait_for(r"ready: router \S+ accepts on 127\.0\.0\.1:(\d+)")[1])

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Read to the end, and say what the exit status is."""
        assert self._process.stdout is not None
        self.said += self._process.stdout.read().splitlines()
        return self._process.wait()

    def end(self) -> None:
        self._process.kill()
        self.wait()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._watchdog.cancel()
        self._watchdog.join()


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a router: `start("twist", "--listen", …)`."""
    processes: list[Process] = []

    def start(name: str, *arguments: str) -> Process:
        processes.append(Process([*COMMANDS[name], *arguments], tmp_path))
        return processes[-1]

    yield start
    for process in processes:
        process.end()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of endpoint, `late:`, that does not listen, and says so only when the reactor runs."""
    plugins = tmp_path / "path" / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "late_endpoint.py").write_text(LATE_ENDPOINT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "path"), os.environ.get("PYTHONPATH", "")]))


def receive(client: socket.socket, what: bytes) -> None:
    received = b""
    while what not in received:
        more = client.recv(65_536)
        assert more, received
        received += more


every_way = pytest.mark.parametrize("name", COMMANDS)


@every_way
def test_a_router_says_when_it_is_ready_and_sigterm_stops_it_in_order(start: Start, name: str, tmp_path: Path) -> None:
    process = start(name, "--listen", LOOPBACK)
    with socket.create_connection(("127.0.0.1", process.port()), timeout=PATIENCE) as client:
        client.sendall(AMQP + OPEN)
        receive(client, OPENED)
        process.signal(signal.SIGTERM)
        receive(client, CLOSED)
        client.sendall(CLOSE)
        assert client.recv(1) == b""
    # Twisted's runners end themselves by the signal, once everything is in order
    assert process.wait() == (-signal.SIGTERM if name.startswith("twist") else 0)
    assert not re.search("Traceback|Unhandled|Error", "\n".join(process.said))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_it_in_order_too(start: Start) -> None:
    process = start("python -m txrouter run", "--listen", LOOPBACK)
    process.port()
    process.signal(signal.SIGINT)
    assert process.wait() == 0


def test_who_asks_twice_does_not_wait(start: Start, tmp_path: Path) -> None:
    (tmp_path / "router.toml").write_text("[router]\nstop_timeout = 600\n")
    process = start("python -m txrouter run", "--config", "router.toml", "--listen", LOOPBACK)
    with socket.create_connection(("127.0.0.1", process.port()), timeout=PATIENCE) as client:
        client.sendall(AMQP + OPEN)  # and never an answer to the close frame
        receive(client, OPENED)
        process.signal(signal.SIGTERM)
        receive(client, CLOSED)
        process.signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


@every_way
def test_sighup_makes_it_read_its_config_again(start: Start, name: str, tmp_path: Path) -> None:
    file = tmp_path / "router.toml"
    file.write_text("")
    process = start(name, "--config", "router.toml", "--listen", LOOPBACK)
    process.port()
    file.write_text('[[address]]\npattern = "jobs"\ndistribution = "closest"\n')
    process.signal(signal.SIGHUP)
    process.wait_for(r"reload: jobs: new: closest \(at once\)")
    file.write_text("[limits]\nmax_links = 0\n")
    process.signal(signal.SIGHUP)
    process.wait_for(r"reload: router\.toml: limits\.max_links: must be at least 1")
    process.wait_for("reload: the config is wrong; nothing has changed")


@every_way
def test_sighup_does_not_disturb_an_orderly_stop(start: Start, name: str, tmp_path: Path) -> None:
    (tmp_path / "router.toml").write_text("")
    process = start(name, "--config", "router.toml", "--listen", LOOPBACK)
    with socket.create_connection(("127.0.0.1", process.port()), timeout=PATIENCE) as client:
        client.sendall(AMQP + OPEN)
        receive(client, OPENED)
        process.signal(signal.SIGTERM)
        receive(client, CLOSED)
        process.signal(signal.SIGHUP)
        client.sendall(CLOSE)
        assert client.recv(1) == b""
    assert process.wait() == (-signal.SIGTERM if name.startswith("twist") else 0)
    assert "stopped: router" in "\n".join(process.said)


def test_sighup_says_that_there_is_no_config(start: Start) -> None:
    process = start("txrouter run", "--listen", LOOPBACK)
    process.port()
    process.signal(signal.SIGHUP)
    process.wait_for("reload: this router has no config file")


def test_txrouter_reload_shows_what_is_different_and_makes_it_count(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "router.toml"
    file.write_text("")
    port = start("txrouter run", "--config", "router.toml", "--listen", LOOPBACK).port()
    file.write_text('[[address]]\npattern = "jobs"\ndistribution = "closest"\n')

    def reload(*options: str) -> tuple[int, str]:
        command = [str(BIN / "txrouter"), "reload", "--server", f"127.0.0.1:{port}", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.returncode, done.stdout

    different = "jobs: new: closest (at once)\n"
    assert reload("--dry-run") == (0, different)
    assert reload() == (0, different)
    assert reload() == (0, "nothing is different\n")
    file.write_text("[limits]\nmax_links = 0\n")
    assert reload() == (1, "router.toml: limits.max_links: must be at least 1\n")


@every_way
def test_a_port_in_use_is_one_line_and_exit_status_1(start: Start, name: str, taken: int, tmp_path: Path) -> None:
    process = start(name, "--listen", f"tcp:{taken}:interface=127.0.0.1")
    assert process.wait() == 1
    said = [line for line in process.said if "starting up" not in line and "reactor class" not in line]
    assert len(said) == 1, process.said
    assert said[0].endswith(f"txrouter cannot listen on port {taken} of 127.0.0.1: Address already in use")
    assert list(tmp_path.iterdir()) == []


@every_way
def test_an_endpoint_that_fails_later_is_one_line_and_exit_status_1(
    start: Start, name: str, tmp_path: Path, late: None
) -> None:
    process = start(name, "--listen", "late:")
    assert process.wait() == 1
    [line] = [line for line in process.said if "cannot listen" in line]
    assert line.endswith("txrouter cannot listen on port 7 of nowhere: too late")
    assert "Traceback" not in "\n".join(process.said)
    assert not (tmp_path / "router.pid").exists()


@every_way
def test_a_wrong_config_is_all_its_problems_and_exit_status_1(start: Start, name: str, tmp_path: Path) -> None:
    (tmp_path / "router.toml").write_text("[limits]\nmax_links = 0\n[router]\nstop_timeout = -1\n")
    process = start(name, "--config", "router.toml", "--listen", "tcp", "--distribution", "x=pul")
    assert process.wait() == 1
    assert [line.partition(" adaptive, ")[0] for line in process.said] == [
        "txrouter: router.toml: router.stop_timeout: must be at least 0",
        "txrouter: --listen tcp: 'tcp' is no server endpoint: missing 1 required positional argument: 'port'",
        "txrouter: --distribution x=pul: there is no policy 'pul'; there are: pull,",
        "txrouter: router.toml: limits.max_links: must be at least 1",
    ]


def test_a_daemon_that_cannot_listen_says_so_where_it_was_started(taken: int, tmp_path: Path) -> None:
    command = [str(BIN / "twistd"), "--pidfile=router.pid", "txrouter", "--listen", f"tcp:{taken}:interface=127.0.0.1"]
    done = subprocess.run(command, cwd=tmp_path, timeout=PATIENCE, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"txrouter cannot listen on port {taken} of 127.0.0.1" in done.stderr
    assert "Address already in use" in (tmp_path / "twistd.log").read_text()


def test_twist_logs_json_where_there_is_no_terminal(tmp_path: Path) -> None:
    process = Process([str(BIN / "twist"), "txrouter", "--listen", LOOPBACK], tmp_path)
    try:
        process.wait_for("ready: router")
        event = json.loads(process.said[-1].lstrip("\x1e"))
        assert event["log_format"].startswith("ready: router {id} accepts on ")
        assert event["log_level"]["name"] == "info"
    finally:
        process.end()


def test_quiet_is_only_what_is_wrong(start: Start, late: None) -> None:
    process = start("python -m txrouter run", "--quiet", "--listen", "late:")
    assert process.wait() == 1
    [line] = process.said
    assert "cannot listen" in line
