"""Fuzzes everything that parses bytes: `python -m tests.fuzz --help`, or `make fuzz`.

Every target has a process of its own, as many at a time as there are cores. An input that finds a fault is kept in
`.fuzz`, and with it the fault can be had again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from tests.fuzz.corpora import CORPORA
from tests.fuzz.mutate import LONGEST, ODD
from tests.fuzz.run import HANGS, Hand, Result
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
FOUND = ROOT / ".fuzz"
MOST_MEMORY = 1_024
"""MiB that a guided run may have: it keeps all inputs that reached something new."""


def _keep(target: str, data: bytes) -> str:
    FOUND.mkdir(exist_ok=True)
    file = FOUND / f"{target}-{sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    return f"python -m tests.fuzz {target} --input {file.relative_to(ROOT)}"


def _plain(target: str, given: argparse.Namespace) -> Result:
    """Inputs made of the corpus by chance."""
    with tempfile.NamedTemporaryFile() as hand:
        options = {"inputs": given.inputs, "seconds": given.seconds, "seed": given.seed, "hand": hand.name}
        command = [sys.executable, "-m", "tests.fuzz.run", target]
        command += [f"--{name}={value}" for name, value in options.items()]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        try:
            result = Result(**json.loads(done.stdout))
        except ValueError:
            result = Result(target, fault=f"the process ended with {done.returncode}\n{done.stderr[-4000:]}")
        if result.fault:
            result.fault += f"\nagain: {_keep(target, Hand.read(Path(hand.name)))}"
        return result


def _guided(target: str, given: argparse.Namespace) -> Result:
    """Inputs that libFuzzer makes of those that reached something new."""
    with tempfile.TemporaryDirectory() as scratch:
        options = {
            "max_total_time": math.ceil(given.seconds),
            "runs": given.inputs,
            "seed": given.seed,
            "max_len": LONGEST,
            "timeout": HANGS,
            "rss_limit_mb": MOST_MEMORY,
            "artifact_prefix": f"{scratch}/",
            "dict": _dictionary(Path(scratch)),
            "print_final_stats": 1,
        }
        (new := Path(scratch) / "new").mkdir()
        command = [sys.executable, "-m", "tests.fuzz.guided", target]
        command += [f"-{name}={value}" for name, value in options.items()]
        command += [str(new), str(CORPORA / target)]
        # what code is reached must not depend on the order of a set, or a seed would not come to the same inputs
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        said = done.stdout + done.stderr
        result = Result(target, _stat(said, "number_of_executed_units"), given.seconds)
        if done.returncode:
            # atheris says first what was raised; then libFuzzer goes on
            raised = re.search(r"=== Uncaught Python exception: ===.*?(?=\n==\d+==)", said, re.DOTALL)
            result.fault = f"the process ended with {done.returncode}\n{raised[0] if raised else said[-4000:]}"
            for file in Path(scratch).glob("*-*"):
                if file.is_file():
                    result.fault += f"\nagain: {_keep(target, file.read_bytes())}"
        return result


def _dictionary(scratch: Path) -> Path:
    """What means something in one of the formats, as libFuzzer reads it."""
    file = scratch / "dictionary"
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in ODD if len(word) <= 64)
    file.write_text("".join(f'"{word}"\n' for word in words))
    return file


def _stat(said: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", said)
    return int(found[1]) if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz everything that parses bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--inputs", type=int, default=(1 << 31) - 1, metavar="N", help="so many for each, at most")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="so long for each (default: 10)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another one, other inputs (default: 1)")
    parser.add_argument("--guided", action="store_true", help="by atheris, which looks what code an input reaches")
    parser.add_argument("--input", type=Path, metavar="FILE", help="this input alone, in this process")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a fault was found."""
    parser = _parser()
    given = parser.parse_args(arguments)
    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if given.input is not None:
        if len(given.targets) != 1:
            parser.error("--input is for one target")
        TARGETS[given.targets[0]](given.input.read_bytes())
        return 0
    if given.guided and importlib.util.find_spec("atheris") is None:
        parser.error(
            "--guided needs atheris, which there is not for every Python and machine; without --guided it works"
        )
    run = _guided if given.guided else _plain
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda target: run(target, given), given.targets or TARGETS))
    print(f"{'':16}{'inputs':>12}{'seconds':>9}" + ("" if given.guided else f"{'slowest':>10}{'grown':>12}"))
    for each in results:
        # libFuzzer sees to it itself that none takes too long or too much memory
        measured = "" if given.guided else f"{each.slowest:8.2f} s{each.grown / 1024:8,.0f} KiB"
        print(f"{each.target:16}{each.inputs:12,}{each.seconds:9.0f}{measured}" + ("  FAULT" if each.fault else ""))
    print(f"{'together':16}{sum(each.inputs for each in results):12,}")
    for each in results:
        if each.fault:
            print(f"\n{each.target}: {each.fault}")
    return int(any(each.fault for each in results))


if __name__ == "__main__":
    sys.exit(main())
