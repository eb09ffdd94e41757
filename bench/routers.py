"""Starting and stopping what is measured: a router, or the plain port forwarder, each a process of its own."""

import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.shapes import Shape, Traffic

ROOT = Path(__file__).resolve().parent.parent
TXROUTER = (
    "{python} -m txrouter run --listen tcp:{port}:interface=127.0.0.1"
    " --distribution '#={distribution}' --distribution 'multicast/#=multicast'"
)
FORWARDER = "{python} -m bench.forwarder {port} {peer}"

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


class RouterError(Exception):
    """A router ended by itself."""


class StartError(RouterError):
    """A router did not start."""


@dataclass(frozen=True)
class Candidate:
    """Something to measure. In ``command`` {python}, {port}, {peer} and {distribution} are filled in.

    The command must become the router, not start it: its process is the one that is measured. ``forwards``: it only
    passes bytes on, to a consumer that listens at {peer}.
    """

    name: str
    command: str
    distribution: str = ""
    forwards: bool = False

    def can_carry(self, shape: Shape) -> bool:
        """Whether it can be measured under ``shape``: a forwarder has one producer and one consumer."""
        return not self.forwards or (isinstance(shape, Traffic) and shape.producers == shape.consumers == 1)


class RunningRouter:
    """A candidate's process: accepts connections when the ``with`` block begins, and is stopped with it."""

    def __init__(self, candidate: Candidate) -> None:
        """Start it. Raises StartError if there is no such command."""
        self.candidate = candidate
        self.port = free_port()
        self.peer_port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        try:
            self._process = subprocess.Popen(
                self._arguments(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"{candidate.name} cannot be run: {error}") from None
        self.pid = self._process.pid

    def __enter__(self) -> "RunningRouter":
        try:
            self._wait_for_port()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise RouterError, with the end of its output, if the process has ended."""
        if self._process.poll() is not None:
            raise RouterError(self._ending())

    def stop(self) -> None:
        """Ask it to end; after ten seconds, end it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _arguments(self) -> list[str]:
        # Not str.format: a router's own options may well contain braces.
        values = {
            "{python}": sys.executable,
            "{port}": str(self.port),
            "{peer}": str(self.peer_port),
            "{distribution}": self.candidate.distribution,
        }
        arguments = shlex.split(self.candidate.command)
        for key, value in values.items():
            arguments = [argument.replace(key, value) for argument in arguments]
        return arguments

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StartError(self._ending())
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise StartError(
            f"{self.candidate.name} does not accept connections after {_START_SECONDS:.0f} s{self._last_words()}"
        )

    def _ending(self) -> str:
        return f"{self.candidate.name} ended with status {self._process.returncode}{self._last_words()}"

    def _last_words(self) -> str:
        size = self._log.seek(0, 2)
        self._log.seek(max(0, size - 2000))
        text = self._log.read().decode(errors="replace").strip()
        return f"; it said:\n{text}" if text else ""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
