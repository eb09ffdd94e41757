"""`txrouter demo`: the same messages through a real router, under one distribution policy after the other.

Eight consumers of unequal speed and four producers, all ordinary AMQP clients in processes of their own. `script` is
the whole of it and `run` one phase; `work` makes the messages from a seed, and `ideal` says what no router can beat.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

__all__ = ["main"]

POLICIES = "round-robin,weighted,pull"


def main(argv: list[str] | None = None) -> int:
    """Run the demo.

    :param argv: what follows `txrouter demo`; by default the process's own arguments.
    :return: the exit status: 0 if all went well, 1 if a message was lost or the router died, 130 if interrupted.
    """
    options = parse(argv)
    from txrouter.demo.reports import DemoError

    # a supervisor's SIGTERM or a closed terminal ends everything in order, as Ctrl-C does
    before = {sign: signal.signal(sign, signal.default_int_handler) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        from txrouter.demo.script import demonstrate  # proton and all; it takes a while

        demonstrate(options)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except DemoError as error:
        print(f"txrouter demo: {error}", file=sys.stderr)
        return 1
    finally:
        for sign, previous in before.items():
            signal.signal(sign, previous)
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """:raise SystemExit: the arguments make no sense, or help was asked for."""
    parser = argparse.ArgumentParser(prog="txrouter demo", description="The same messages under several policies.")
    parser.add_argument("--duration", type=positive, default=18.0, metavar="SECONDS", help="of traffic per policy (18)")
    parser.add_argument("--load", type=positive, default=0.8, help="work that arrives / work that can be done (0.8)")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and costs (1)")
    parser.add_argument("--policies", type=names, default=names(POLICIES), metavar="A,B,…", help=f"({POLICIES})")
    parser.add_argument("--chart", default="txrouter-demo.svg", metavar="FILE", help="(txrouter-demo.svg)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    options = parser.parse_args(argv)
    for path in filter(None, (options.chart, options.json)):
        if not os.path.isdir(os.path.dirname(path) or "."):
            parser.error(f"there is no directory to write {path} in")
    if not options.chart.endswith(".svg"):
        parser.error(f"--chart {options.chart}: a chart is written to a file that ends in .svg")
    return options


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def names(text: str) -> list[str]:
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("no policy is named")
    return list(dict.fromkeys(found))
