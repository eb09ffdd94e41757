"""The processes that make the load, and the few numbers they share with the process that measures."""

import ctypes
import gc
import multiprocessing
import signal
import time
from array import array
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any, TypeAlias

SENT, ACCEPTED, REFUSED, STOPPED, RECEIVED, REPLIED, DAMAGED, RECEIVED_BYTES, CROWDED, _PHASE = range(10)
WARM_UP, MEASURE, STOP, CLOSE, END = range(5)

MAX_SAMPLES = 200_000
LIFETIME_SECONDS = 600.0  # a worker whose parent has gone ends by itself

_context = multiprocessing.get_context("fork")


class WorkerError(Exception):
    """A worker failed, or did not answer in time."""


class Counters:
    """Numbers in shared memory: each is written by one process and read by all.

    CROWDED is whether the greedy client is there.
    The measuring process moves ``phase`` on; the workers look at it once per turn of their loops.
    """

    def __init__(self) -> None:
        self.values: Any = _context.RawArray(ctypes.c_uint64, _PHASE + 1)

    @property
    def phase(self) -> int:
        """WARM_UP, MEASURE, STOP (send no more), CLOSE (producers close and report) or END (consumers do)."""
        return int(self.values[_PHASE])

    @phase.setter
    def phase(self, phase: int) -> None:
        self.values[_PHASE] = phase

    @property
    def arrived(self) -> int:
        """How many messages have arrived, replies included."""
        return self[RECEIVED] + self[REPLIED]

    def __getitem__(self, index: int) -> int:
        return int(self.values[index])


Result: TypeAlias = dict[str, float]
Ready: TypeAlias = Callable[[], None]
Run: TypeAlias = Callable[[Counters, Ready], Result]


class Worker:
    """A process that runs ``run(counters, ready)`` and hands back what it returns."""

    def __init__(self, name: str, run: Run, counters: Counters) -> None:
        self.name = name
        self._done = False
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_child, args=(run, counters, theirs), daemon=True)
        self._process.start()
        self.pid = self._process.pid or 0
        theirs.close()

    def wait_ready(self, seconds: float) -> None:
        """Wait until the worker says it is ready. Raises WorkerError if it fails or takes too long."""
        self._wait("ready", seconds)

    def result(self, seconds: float) -> Result:
        """Wait for the worker's result. Raises WorkerError if it fails or takes too long."""
        result: Result = self._wait("done", seconds)
        self._done = True
        return result

    def check(self) -> None:
        """Raise WorkerError if the worker has failed."""
        if not self._done and self._pipe.poll():
            self._wait("nothing", 0)

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)
        self._pipe.close()

    def _wait(self, wanted: str, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            raise WorkerError(f"{self.name}: not {wanted} within {seconds:.0f} s")
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            self._process.join(1)
            raise WorkerError(f"{self.name}: ended with status {self._process.exitcode}") from None
        if kind != wanted:
            raise WorkerError(f"{self.name}: {value}")
        return value


def _child(run: Run, counters: Counters, pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()  # nothing here makes cycles worth a pause
    try:
        result = run(counters, lambda: pipe.send(("ready", None)))
    except Exception as error:
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
    else:
        pipe.send(("done", result))


def lifetime() -> float:
    """The time, on the monotonic clock, at which a worker gives up."""
    return time.monotonic() + LIFETIME_SECONDS


def percentiles(samples: "array[int]") -> Result:
    """Median and 99th percentile of ``samples`` (nanoseconds), in microseconds; empty if there are none."""
    if not samples:
        return {}
    ordered = sorted(samples)
    last = len(ordered) - 1
    return {
        "p50_us": ordered[round(last * 0.50)] / 1000,
        "p99_us": ordered[round(last * 0.99)] / 1000,
        "samples": float(len(ordered)),
    }
