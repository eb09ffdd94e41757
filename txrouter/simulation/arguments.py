"""The command line of `txrouter simulate`. What it takes to do it is imported when it is done."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["SCENARIOS", "add_arguments"]

SCENARIOS = Path(__file__).parent / "scenarios"
"""Those that txrouter comes with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Make it the parser of the command."""
    names = ", ".join(sorted(file.stem for file in SCENARIOS.glob("*.toml")))
    parser.description = (
        "Try distribution policies without a router: the same core and policies, on a clock that takes no time. "
        "Says how long messages take from when they are to be sent until their work is done, and what no router "
        "can beat."
    )
    parser.epilog = f"Scenarios that txrouter comes with: {names}."
    parser.add_argument(
        "scenario", metavar="SCENARIO", nargs="?", help="a TOML file, or the name of one that txrouter comes with"
    )
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="have the messages come that `txrouter record` wrote to FILE, instead of those of the scenario; without "
        "one, to the consumers that were there then",
    )
    parser.add_argument(
        "-d",
        "--distribution",
        metavar="POLICY",
        action="append",
        default=[],
        help="compare this policy, instead of those that the scenario names (repeatable)",
    )
    parser.add_argument("--messages", type=int, metavar="N", help="so many messages, instead of what the scenario says")
    parser.add_argument("--seed", type=int, metavar="N", help="another seed: other costs, arrivals and choices")
    parser.add_argument("--json", action="store_true", help="print JSON, with what each consumer did and had")
    parser.add_argument("--chart", metavar="FILE", help="draw the figures: FILE ends in .svg, or in .html for a page")
    parser.add_argument("--show", action="store_true", help="print the scenario itself")
    parser.set_defaults(command=_run)


def _run(given: argparse.Namespace) -> int:
    from txrouter.simulation.program import run

    return run(given)
