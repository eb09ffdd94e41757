"""The command `txrouter`. Each subcommand imports only what it needs."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from txrouter import __version__

if TYPE_CHECKING:
    from txrouter.registry import Listing, Option
    from txrouter.tap import Program

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, or the process's own.

    :return: the exit status: 0, or 1 where something was wrong, which has been said on stderr.
    :raise SystemExit: likewise, from deeper down; with status 2 for a command line that cannot be understood.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["demo"]:  # whose options are its own
        from txrouter.demo import main as demo

        return demo(given[1:])
    options = _parser().parse_args(given)
    status: int = options.command(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="txrouter",
        description="An AMQP 1.0 message router that gives each message to the consumer that should have it.",
        epilog="`txrouter COMMAND --help` says more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"txrouter {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    _add_run(commands.add_parser("run", help="run a router"))
    _add_check(commands.add_parser("check", help="check a config"))
    _add_can(commands.add_parser("can", help="say whether a user may do something, as send to an address"))
    _add_passwd(commands.add_parser("passwd", help="give a user a password"))
    _add_new_policy(commands.add_parser("new-policy", help="write a package with a distribution policy of your own"))
    _add_policies(commands.add_parser("policies", help="list the distribution policies and wrappers"))
    _add_send(commands.add_parser("send", help="send messages, and say what became of them"))
    _add_receive(commands.add_parser("receive", help="receive messages"))
    _add_explain(
        commands.add_parser("explain", help="ask a running router who gets what is sent to an address, and why")
    )
    _add_record(commands.add_parser("record", help="record what comes to an address of a running router"))
    _add_reload(commands.add_parser("reload", help="have a running router read its config again, or say what is new"))
    _add_simulate(commands.add_parser("simulate", help="try distribution policies without a router"))
    commands.add_parser("demo", help="show what a router does, with real traffic", add_help=False)
    return parser


# ---- run -----------------------------------------------------------------------------------------------------------

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _add_run(run: argparse.ArgumentParser) -> None:
    run.description = (
        "Run a router in the foreground until SIGTERM or Ctrl-C, which stop it in order; a second one ends it at once. "
        "It logs to stderr, and says there when it is ready."
    )
    run.epilog = "Without options it listens on port 5672 of the loopback interface and distributes by `pull`."
    run.add_argument("-c", "--config", metavar="FILE", help="the TOML file that says what the router does")
    run.add_argument(
        "-l",
        "--listen",
        metavar="ENDPOINT",
        action="append",
        default=[],
        help="listen on this Twisted server endpoint as well, as in tcp:5672 (repeatable)",
    )
    run.add_argument(
        "-d",
        "--distribution",
        metavar="PATTERN=POLICY",
        action="append",
        default=[],
        help="distribute messages to these addresses by this policy, as in 'jobs.#=weighted' (repeatable)",
    )
    level = run.add_mutually_exclusive_group()
    level.add_argument("-q", "--quiet", dest="level", action="store_const", const="warn", help="log only what is wrong")
    level.add_argument("-v", "--verbose", dest="level", action="store_const", const="debug", help="log more")
    run.set_defaults(command=_run, level="info")


def _run(options: argparse.Namespace) -> int:
    from txrouter import tap

    line = options.config, options.listen, options.distribution
    config = tap.load(*line)
    _log_to_stderr(options.level)
    from twisted.internet import reactor as installed

    reactor: Any = installed
    program = tap.Program(config, reactor, tap.source(*line))
    # it says that it is ready before the reactor minds signals: one that comes in between has to wait
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    reactor.callWhenRunning(signal.pthread_sigmask, signal.SIG_UNBLOCK, _STOP_SIGNALS)
    program.startService()
    reactor.addSystemEventTrigger("before", "shutdown", _stop, program)
    reactor.run()
    return 0


def _stop(program: Program) -> Any:
    # whoever asks twice does not want to wait for what is in flight
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    return program.stopService()


def _log_to_stderr(level: str) -> None:
    from twisted.logger import (
        FilteringLogObserver,
        LogLevel,
        LogLevelFilterPredicate,
        globalLogBeginner,
        textFileLogObserver,
    )

    wanted = LogLevelFilterPredicate(defaultLogLevel=LogLevel.levelWithName(level))
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [wanted])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


# ---- send and receive ----------------------------------------------------------------------------------------------


def _add_send(send: argparse.ArgumentParser) -> None:
    from txrouter.client import arguments

    def run(given: argparse.Namespace) -> int:
        options = arguments.send_options(send, given)
        from txrouter.client import program

        return program.send(options)

    arguments.add_send(send)
    send.set_defaults(command=run)


def _add_receive(receive: argparse.ArgumentParser) -> None:
    from txrouter.client import arguments

    def run(given: argparse.Namespace) -> int:
        options = arguments.receive_options(receive, given)
        from txrouter.client import program

        return program.receive(options)

    arguments.add_receive(receive)
    receive.set_defaults(command=run)


# ---- explain, record and reload ------------------------------------------------------------------------------------


def _add_explain(explain: argparse.ArgumentParser) -> None:
    from txrouter.client import questions

    def run(given: argparse.Namespace) -> int:
        options = questions.explain_options(explain, given)
        from txrouter.client import program

        return program.explain(options)

    questions.add_explain(explain)
    explain.set_defaults(command=run)


def _add_record(record: argparse.ArgumentParser) -> None:
    from txrouter.client import questions

    def run(given: argparse.Namespace) -> int:
        options = questions.record_options(record, given)
        from txrouter.client import program

        return program.record(options)

    questions.add_record(record)
    record.set_defaults(command=run)


def _add_reload(reload: argparse.ArgumentParser) -> None:
    from txrouter.client import questions

    def run(given: argparse.Namespace) -> int:
        options = questions.reload_options(reload, given)
        from txrouter.client import program

        return program.reload(options)

    questions.add_reload(reload)
    reload.set_defaults(command=run)


# ---- check ---------------------------------------------------------------------------------------------------------


def _add_check(check: argparse.ArgumentParser) -> None:
    check.description = "Print what a config means, or everything that is wrong with it, without starting anything."
    check.add_argument("file", metavar="FILE", help="the TOML file to check")
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    from txrouter.config import Config, ConfigError
    from txrouter.config_words import summary

    try:
        config = Config.load(options.file)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{options.file}: {problem}", file=sys.stderr)
        return 1
    print(f"{options.file}: ok")
    _print_table(summary(config), indent="  ")
    return 0


# ---- can -----------------------------------------------------------------------------------------------------------


def _add_can(can: argparse.ArgumentParser) -> None:
    can.description = (
        "Say whether a user may do something by the access rules of a config, and which rule it is that decides. "
        "Nothing is started."
    )
    can.epilog = "It exits with 0 for yes, with 1 for no, and with 2 if there is no answer."
    can.add_argument("user", metavar="USER", help="the user's name; `anonymous` for whoever does not say one")
    can.add_argument(
        "action",
        metavar="ACTION",
        choices=["send", "receive", "dynamic", "anonymous_producer", "capacity", "priority", "control"],
        help="send or receive, with an ADDRESS; or dynamic, anonymous_producer, capacity, priority, control: "
        "the keys of a rule",
    )
    can.add_argument("address", metavar="ADDRESS", nargs="?", help="the address, for send and receive")
    can.add_argument("-c", "--config", metavar="FILE", help="the TOML file with the rules")
    can.add_argument(
        "--listener",
        metavar="N",
        type=int,
        default=0,
        help="the listener the user comes by, counted from 0; the first, if not said",
    )

    def run(given: argparse.Namespace) -> int:
        from txrouter.can import run

        return run(can, given)

    can.set_defaults(command=run)


# ---- simulate ------------------------------------------------------------------------------------------------------


def _add_simulate(simulate: argparse.ArgumentParser) -> None:
    from txrouter.simulation.arguments import add_arguments

    add_arguments(simulate)


# ---- passwd --------------------------------------------------------------------------------------------------------


def _add_passwd(passwd: argparse.ArgumentParser) -> None:
    passwd.description = (
        "Give a user a password, in a file that a listener's `passwords` names; it is made if it is not there. The "
        "password is asked for, or is the first line of what comes by a pipe. Only what is needed to recognise it is "
        "kept. A router that runs knows of the change at once."
    )
    passwd.add_argument("file", metavar="FILE", help="the password file")
    passwd.add_argument("user", metavar="USER", help="the user's name")
    what = passwd.add_mutually_exclusive_group()
    what.add_argument("--delete", action="store_true", help="take the user out of the file")
    what.add_argument(
        "--iterations",
        metavar="N",
        type=int,
        help="how often it is hashed, 4096 to 10000000, 15000 if not said: what each guess costs, and each login",
    )
    passwd.set_defaults(command=_passwd)


def _passwd(options: argparse.Namespace) -> int:
    from txrouter.passwd import run

    return run(options)


# ---- new-policy ----------------------------------------------------------------------------------------------------


def _add_new_policy(new_policy: argparse.ArgumentParser) -> None:
    new_policy.description = (
        "Write a package with a distribution policy that works, its tests and its entry point, to make your own of it. "
        "Nothing that is there is overwritten."
    )
    new_policy.add_argument("name", metavar="NAME", help="the policy's name: lower case, with hyphens between words")
    new_policy.add_argument("--directory", metavar="DIR", help="where to write it; txrouter-NAME, if not said")
    new_policy.set_defaults(command=_new_policy)


def _new_policy(options: argparse.Namespace) -> int:
    from txrouter.new_policy import run

    return run(options)


# ---- policies ------------------------------------------------------------------------------------------------------


def _add_policies(policies: argparse.ArgumentParser) -> None:
    policies.description = (
        "List the distribution policies and wrappers that are installed, with their options and where they come from. "
        "A wrapper is used by writing it before a policy, as in 'outlier + pull'."
    )
    policies.add_argument("--json", action="store_true", help="as JSON")
    policies.set_defaults(command=_policies)


def _policies(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from txrouter.registry import Registry

    listing = Registry().listing()
    if options.json:
        print(json.dumps([asdict(policy) for policy in listing], indent=2, default=repr))
        return 0
    rows: list[tuple[str, ...]] = [("NAME", "FROM", "WHAT IT DOES")]
    for policy in listing:
        if policy.kind == "wrapper" and ("WRAPPER", *rows[0][1:]) not in rows:
            rows += [("", "", ""), ("WRAPPER", *rows[0][1:])]
        rows += _describe(policy)
    _print_table(rows)
    return 0


def _describe(policy: Listing) -> list[tuple[str, ...]]:
    says = policy.summary if policy.error is None else f"cannot be used: {policy.error}"
    return [(policy.name, policy.source, says), *(("", "", f"  {_signature(option)}") for option in policy.options)]


def _signature(option: Option) -> str:
    default = "required" if option.required else f"default {json.dumps(option.default, default=repr)}"
    choices = re.sub(r"Literal\[([^]]*)\]", lambda found: found[1].replace("'", '"').replace(", ", " | "), option.type)
    kind = re.sub(r"tuple\[(.*), \.\.\.\]", r"list of \1", choices)
    return f"{option.name}: {kind}, {default}"


def _print_table(rows: Sequence[tuple[str, ...]], indent: str = "") -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print((indent + "  ".join(cells)).rstrip())
