"""One target's run: input after input, in this process, and what is to be seen of it from outside.

The parent learns what was found from what is printed, one line of JSON; and if the process dies, from the file in which
it keeps the input that it has at hand.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import mmap
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from tests.fuzz.corpora import corpus
from tests.fuzz.mutate import LONGEST, mutated
from txrouter.net.memory import resident, trim

__all__ = ["SLOWEST", "Result", "run"]

SLOWEST = 2.0
"""Seconds of the processor's time that an input may take. Most take less than a millisecond; but 33 bytes can have an
array of 65,000 values, which a client has to show."""
HANGS = 30
"""Seconds after which one that goes on is given up."""
WARM_UP = 0.3
"""The part of the inputs after which what is kept is taken to be there for good."""
MAY_GROW = 4 << 20
"""Bytes that the process may have grown by since then: allocators keep some of what was free in between."""


@dataclass
class Result:
    """What a run came to."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    grown: int = 0
    """Bytes by which the process has grown after it had warmed up."""
    fault: str = ""
    """A traceback, or a sentence; empty if none was found."""


class Hand:
    """A file with the input that is at hand, which survives the process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(4 + LONGEST))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def take(self, data: bytes) -> None:
        """This is the one."""
        self._map[: 4 + len(data)] = len(data).to_bytes(4, "big") + data

    @staticmethod
    def read(path: Path) -> bytes:
        """The last one of a process that is gone."""
        data = path.read_bytes()
        return data[4 : 4 + int.from_bytes(data[:4], "big")]


def run(
    name: str, target: Callable[[bytes], None], most: int, seconds: float, seed: int, hand: Hand | None = None
) -> Result:
    """Give a target inputs made of its corpus: so many at most, for so long at most."""
    result = Result(name)
    random = Random(f"{seed}/{name}")
    known = list(corpus(name).values())
    began = time.perf_counter()
    warm = 0
    while result.inputs < most and result.seconds < seconds:
        data = mutated(random, known)
        if hand is not None:
            hand.take(data)
        before = time.thread_time()
        try:
            target(data)
        except Exception:
            result.fault = traceback.format_exc()
        result.inputs += 1
        result.slowest = max(result.slowest, time.thread_time() - before)
        result.seconds = time.perf_counter() - began
        if result.slowest > SLOWEST and not result.fault:
            result.fault = f"it took {result.slowest:.1f} s"
        if result.fault:
            return result
        if not warm and max(result.inputs / most, result.seconds / seconds) >= WARM_UP:
            warm = _had()
    result.grown = _had() - warm
    if warm and result.grown > MAY_GROW:
        result.fault = f"it has grown by {result.grown >> 20} MiB"
    return result


def _had() -> int:
    """Bytes that the process has, and uses."""
    gc.collect()
    trim()
    return resident()


def main() -> None:
    """Be the process of a run."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hand", type=Path, required=True)
    given = parser.parse_args()
    faulthandler.enable()
    faulthandler.dump_traceback_later(given.seconds + HANGS, exit=True)
    result = run(given.target, TARGETS[given.target], given.inputs, given.seconds, given.seed, Hand(given.hand))
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
