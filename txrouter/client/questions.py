"""The command lines of `txrouter explain`, `txrouter record` and `txrouter reload`: from arguments to options. Pure."""

from __future__ import annotations

import argparse

from txrouter.client.arguments import add_server, at_least, connect_options, positive, target
from txrouter.client.options import AskOptions

__all__ = ["add_explain", "add_record", "add_reload", "explain_options", "record_options", "reload_options"]

EXPLAIN_EXAMPLES = """\
examples:
  txrouter explain jobs                     watches for a second, and says who gets what, and why
  txrouter explain jobs --seconds 5 --samples 20
  txrouter explain jobs --json              everything, for programs

The exit status is 0 if the router has answered, else 1.
"""

RECORD_EXAMPLES = """\
examples:
  txrouter record jobs -o jobs.trace        until Ctrl-C
  txrouter record jobs -o jobs.trace --seconds 60
  txrouter record jobs --messages 100000 | gzip > jobs.trace.gz

The exit status is 0 if there is a trace to its end, also to one by Ctrl-C; else 1.
"""

RELOAD_EXAMPLES = """\
examples:
  txrouter reload --dry-run                 what is different in the file, and from when on it would count
  txrouter reload                           the same, and it counts from now on

The exit status is 0 if the config is right, else 1: then nothing has changed. SIGHUP does the same, and tells the log.
"""


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `txrouter explain`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Ask a running router what an address's policy does: who gets how much, and why."
    parser.epilog = EXPLAIN_EXAMPLES
    _add_address(parser)
    how = parser.add_argument_group("what is shown")
    how.add_argument("--seconds", type=positive, default=1.0, metavar="N", help="watch for so long, 60 at most (1)")
    how.add_argument("--samples", type=at_least(0, 50), default=3, metavar="N", help="so many decisions (3)")
    how.add_argument("--consumers", type=at_least(0, 500), default=50, metavar="N", help="so many consumers (50)")
    how.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(quiet=True)
    add_server(parser, "--server")


def add_record(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `txrouter record`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Record what comes to an address of a running router and what becomes of it, without the messages' bodies: "
        "a trace, for `txrouter simulate`."
    )
    parser.epilog = RECORD_EXAMPLES
    _add_address(parser)
    how = parser.add_argument_group("what is recorded")
    how.add_argument("-o", "--output", metavar="FILE", help="write the trace there (standard output)")
    how.add_argument("--seconds", type=positive, metavar="N", help="stop after so long (on Ctrl-C)")
    how.add_argument("-n", "--messages", type=at_least(1), metavar="N", help="stop after so many (on Ctrl-C)")
    how.add_argument("-q", "--quiet", action="store_true", help="no report and no progress bar")
    parser.set_defaults(json=False)
    add_server(parser, "--server")


def add_reload(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `txrouter reload`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Have a running router read its config again, from the file and the command line that it was started with."
    )
    parser.epilog = RELOAD_EXAMPLES
    parser.add_argument("--dry-run", action="store_true", help="only say what is different")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(quiet=True, timeout=None)
    add_server(parser, "--server")


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="the address, as in jobs, or amqp://host:port/jobs")
    parser.set_defaults(timeout=None)


def explain_options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> AskOptions:
    """The options that were given.

    :raise SystemExit: the address or the server makes no sense.
    """
    address, server = target(parser, given, given.address)
    return AskOptions(
        **connect_options(given, server),
        address=address,
        operation="explain",
        arguments={
            "address": address,
            "seconds": given.seconds,
            "samples": given.samples,
            "consumers": given.consumers,
        },
        takes=given.seconds,
    )


def record_options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> AskOptions:
    """The options that were given.

    :raise SystemExit: the address or the server makes no sense.
    """
    address, server = target(parser, given, given.address)
    limits = {"seconds": given.seconds, "messages": given.messages}
    return AskOptions(
        **connect_options(given, server),
        address=address,
        operation="record",
        arguments={"address": address, **{name: limit for name, limit in limits.items() if limit is not None}},
        output=given.output,
    )


def reload_options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> AskOptions:
    """The options that were given.

    :raise SystemExit: the server makes no sense.
    """
    _, server = target(parser, given, None)
    return AskOptions(
        **connect_options(given, server), operation="reload", arguments={"dry_run": given.dry_run}, takes=0.0
    )
