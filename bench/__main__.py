"""``python -m bench``: load routers, read what it costs them, and report it."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import measure, shapes
from bench.report import Results, write_json
from bench.routers import FORWARDER, ROOT, TXROUTER, Candidate, StartError
from bench.runs import RunFailures, Times, run
from bench.shapes import Shape, ShapeError

_TXROUTER = "txrouter"
_FORWARDER = "forwarder"
_FULL = (3, Times(warm_up=0.5, window=1.2))
_QUICK = (1, Times(warm_up=0.3, window=0.8))
_MORE = """\

examples:
  python -m bench --quick
  python -m bench --shape 1-1:100,4-4:100 --router other='/usr/sbin/otherd --port {port}' --base other
  python -m bench --shape consumers:1,consumers:10000 --distribution weighted
  python -m bench --shape idle:5000,huge:1GiB --rounds 1

A round measures every shape on every router in turn, each time on a fresh process. The exit status is 1 if a router
died or did not start, or if a message was lost, refused or changed."""


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    arguments = _arguments()
    chosen: list[Shape] = [shapes.parse(name) for names in arguments.shape for name in names.split(",")] or [
        shapes.parse(name) for name in shapes.DEFAULT
    ]
    candidates = _candidates(arguments)
    results = Results(arguments.base or candidates[0].name)
    rounds, times = _QUICK if arguments.quick else _FULL
    rounds = arguments.rounds or rounds
    times = Times(times.warm_up, arguments.seconds or times.window)
    about = _about(arguments, candidates, rounds)
    measure.allow_many_files()

    started = time.monotonic()
    broken: set[Candidate] = set()
    for number in range(1, rounds + 1):
        for shape in chosen:
            for candidate in candidates:
                if candidate not in broken and candidate.can_carry(shape):
                    _say(f"round {number} of {rounds}: {shape.summary} ({shape.name}), {candidate.name}")
                    if not _measure(results, shape, candidate, times):
                        broken.add(candidate)
    _say("")

    print(_heading(about) + "\n\n" + results.table())
    for failure in results.failures:
        print("\nFAILED " + failure.partition("; it said:")[0])
    path = Path(arguments.json)
    write_json(path, results, about | {"seconds": round(time.monotonic() - started, 1)})
    print(f"\n{time.monotonic() - started:.0f} s; written to {path}")
    return 1 if results.failures else 0


def _measure(results: Results, shape: Shape, candidate: Candidate, times: Times) -> bool:
    """Add a reading, or what went wrong; says whether it is worth trying the candidate again."""
    try:
        reading = run(shape, candidate, times)
    except RunFailures as error:
        results.failures.append(f"{shape.name}, {candidate.name}: {error}")
        results.add(shape, candidate.name, None)
        _say("")
        print(f"FAILED {results.failures[-1]}", file=sys.stderr)
        return not isinstance(error, StartError)
    results.add(shape, candidate.name, reading)
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure what a routed message costs: router CPU, throughput, latency, memory.",
        epilog=shapes.GRAMMAR + "\n" + _MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="SHAPE[,SHAPE…]",
        help="what to measure; repeatable",
    )
    parser.add_argument(
        "--router",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help=f"another router for the same run, {{port}} is filled in; repeatable; {_TXROUTER}=… replaces ours",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help=f"leave out {_TXROUTER} or {_FORWARDER}",
    )
    parser.add_argument(
        "--base",
        metavar="NAME",
        help="the router the others are compared with (default: the first)",
    )
    parser.add_argument(
        "--distribution",
        default="round-robin",
        metavar="POLICY",
        help="our router's policy (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=_positive(int),
        metavar="N",
        help=f"how many of each (default: {_FULL[0]})",
    )
    parser.add_argument(
        "--seconds",
        type=_positive(float),
        metavar="S",
        help=f"length of a measurement (default: {_FULL[1].window})",
    )
    parser.add_argument("--quick", action="store_true", help="one short round, about a minute")
    parser.add_argument(
        "--json",
        default=str(ROOT / "bench" / "results" / "latest.json"),
        metavar="FILE",
        help="where to write",
    )
    arguments = parser.parse_args()
    _check(parser, arguments)
    return arguments


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def positive(text: str) -> float:
        number = kind(text)
        if not 0 < number <= 3600:
            raise ValueError
        return number

    positive.__name__ = "number"  # what argparse calls it in its message
    return positive


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    try:
        for names in arguments.shape:
            for name in names.split(","):
                shapes.parse(name)
    except ShapeError as error:
        parser.error(str(error))
    if any("=" not in router for router in arguments.router):
        parser.error("--router takes NAME=COMMAND")
    names = [candidate.name for candidate in _candidates(arguments)]
    if not names:
        parser.error("nothing to measure")
    if arguments.base and arguments.base not in names:
        parser.error(f"--base is none of {', '.join(names)}")


def _candidates(arguments: argparse.Namespace) -> list[Candidate]:
    commands = {_TXROUTER: TXROUTER}
    commands.update(router.split("=", 1) for router in arguments.router)
    candidates = [Candidate(name, command, arguments.distribution) for name, command in commands.items()]
    candidates.append(Candidate(_FORWARDER, FORWARDER, forwards=True))
    return [candidate for candidate in candidates if candidate.name not in arguments.without]


def _about(arguments: argparse.Namespace, candidates: list[Candidate], rounds: int) -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": measure.machine() | {"python": sys.version.split()[0]},
        "commands": {candidate.name: candidate.command for candidate in candidates},
        "distribution": arguments.distribution,
        "rounds": rounds,
    }


def _heading(about: dict[str, Any]) -> str:
    machine = about["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"distribution {about['distribution']}; medians of {about['rounds']} round(s)"
    )


def _say(text: str) -> None:
    """Show progress on one line, where someone watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def _end(*_: object) -> None:
    """Leave by an exception, so that what was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
