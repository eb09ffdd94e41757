"""The demo's processes, as contexts: a router as anyone would start it, and clients. None outlives its context."""

from __future__ import annotations

import multiprocessing
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from types import TracebackType

from txrouter.demo.reports import DemoError

__all__ = ["ClientProcess", "RouterProcess"]

READY = re.compile(r"ready: router .*127\.0\.0\.1:(\d+)")
START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0
CLIENTS_STOP_TIMEOUT = 3.0


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """What is started in here never sees Ctrl-C, which reaches every process of a terminal: we end it in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class RouterProcess:
    """Inside it a router runs, on a free port of 127.0.0.1, with one policy for every address.

    :raise DemoError: on entry, if the router does not start; what it said is in the message.
    """

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.url = ""
        self._said: deque[str] = deque(maxlen=5)
        self._port: SimpleQueue[int | None] = SimpleQueue()

    def __enter__(self) -> RouterProcess:
        command = [sys.executable, "-m", "txrouter", "run"]
        command += ["--listen", "tcp:0:interface=127.0.0.1", "--distribution", f"#={self.policy}"]
        with interrupts_blocked():
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = f"amqp://127.0.0.1:{self._wait_for_port()}"
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self) -> None:
        """:raise DemoError: the router has ended."""
        status = self._process.poll()
        if status is not None:
            raise DemoError(f"the router of {self.policy} ended with status {status}: {self._last_words()}")

    def _wait_for_port(self) -> int:
        try:
            port = self._port.get(timeout=START_TIMEOUT)
        except Empty:
            raise DemoError(f"the router of {self.policy} was not ready within {START_TIMEOUT:.0f} s") from None
        if port is None:
            raise DemoError(f"the router of {self.policy} did not start: {self._last_words()}")
        return port

    def _read(self) -> None:
        # to the very end: a router that nobody listens to would block on a full pipe
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._said.append(line.strip())
                if found := READY.search(line):
                    self._port.put(int(found[1]))
        self._port.put(None)

    def _last_words(self) -> str:
        self._reader.join(1.0)
        return " / ".join(self._said) or "it said nothing"

    def _stop(self) -> None:
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
        finally:
            self._process.kill()
            self._process.wait()


class ClientProcess:
    """Inside it a process of clients runs, with the other end of `pipe` as the first of its arguments."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=target, args=(self._theirs, *arguments), daemon=True)

    def __enter__(self) -> ClientProcess:
        resource_tracker.ensure_running()  # on the way to the first start it would unblock them again
        with interrupts_blocked():
            self._process.start()
        self._theirs.close()  # theirs alone now, so that its end is seen here
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # it may have ended already
            self.pipe.send(None)
        try:
            self._process.join(CLIENTS_STOP_TIMEOUT)
        finally:
            self._process.kill()
            self._process.join()
            self.pipe.close()
