"""`python -m soak`: see `--help`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from soak.run import Options, Report, soak

__all__ = ["main"]


def main() -> None:
    """Run a soak. Exits with 0 if all was as it should be, with 1 if not."""
    arguments = _arguments()
    options = Options(
        arguments.seconds, arguments.seed, arguments.rate, arguments.clients, arguments.chaos, arguments.round
    )
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
    folder = Path(tempfile.mkdtemp(prefix="txrouter-soak-"))
    ended: list[Report] = []

    async def run() -> None:
        ended.append(await soak(options, folder, lambda text: print(text, file=sys.stderr, flush=True)))

    def begin(_reactor: Any) -> Any:
        return ensureDeferred(run())

    try:
        react(begin)
    except SystemExit as end:
        if end.code or not ended:
            raise
    (report,) = ended
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report.as_json(), indent=1) + "\n")
    _show(report)
    if report.ok:
        shutil.rmtree(folder)
    else:
        print(f"the router's config and log are in {folder}")
    sys.exit(0 if report.ok else 1)


def _arguments() -> argparse.Namespace:
    given = Options()
    parser = argparse.ArgumentParser(
        prog="make soak ARGS=…",
        description="Clients that come, die, stall and come again at load, with a ledger of every message.",
    )
    parser.add_argument("--seconds", type=float, default=given.seconds, help="how long (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=given.seed, help="of all chance (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=given.rate, help="messages in a second, all together (default: %(default)g)"
    )
    parser.add_argument(
        "--clients", type=int, default=given.clients, help="connections at a time (default: %(default)s)"
    )
    parser.add_argument("--chaos", type=float, default=given.chaos, help="accidents in a second (default: %(default)g)")
    parser.add_argument(
        "--round", type=float, default=given.round_seconds, help="seconds until all come to rest (default: %(default)g)"
    )
    parser.add_argument("--json", metavar="FILE", help="where to write everything, for programs")
    return parser.parse_args()


def _show(report: Report) -> None:
    options, counts = report.options, report.ledger.counts
    print(
        f"{report.seconds:.0f} s, seed {options.seed}: {counts['sent']:,} messages sent, "
        f"{counts['bytes'] / 1e6:,.0f} MB; {counts['arrived']:,} arrived"
    )
    told = ("accepted", "released", "modified", "rejected", "settled")
    print("  producers were told: " + ", ".join(f"{counts[state]:,} {state}" for state in told))
    print("  accidents: " + ", ".join(f"{count} × {kind}" for kind, count in sorted(report.accidents.items())))
    for what, unit in (("resident", 1 << 20), ("allocated", 1 << 20), ("blocks", 1), ("files", 1)):
        values = ", ".join(f"{rest[what] / unit:,.1f}" if unit > 1 else f"{rest[what]:,}" for rest in report.rests)
        print(f"  at rest, {what}{' (MiB)' if unit > 1 else ''}: {values}")
    if report.rests:
        counters = ", ".join(f"{count:,} {name}" for name, count in sorted(report.rests[-1]["counters"].items()))
        print(f"  the router counted: {counters}")
    print(f"  the router had {report.peak >> 20} MiB at most, and computed for {report.cpu:.0f} s")
    for problem in report.ledger.problems:
        print(f"PROBLEM {problem}")
    problems = counts["problems"]
    print(f"{problems} problems; again with --seed {options.seed}" if problems else "no problems")


if __name__ == "__main__":
    main()
