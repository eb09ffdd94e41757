"""The command lines of `txrouter send` and `txrouter receive`: from arguments to options. Pure."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from txrouter.client.options import Fields, ReceiveOptions, SendOptions
from txrouter.client.server import DEFAULT_SERVER, Server, parse_server, split_address

__all__ = [
    "add_receive",
    "add_send",
    "add_server",
    "at_least",
    "connect_options",
    "positive",
    "receive_options",
    "seconds",
    "send_options",
    "target",
]

SEND_EXAMPLES = """\
examples:
  txrouter send jobs                                  one message, "message 1"
  txrouter send jobs --body 'resize 7' --count 3      the same three times
  txrouter send jobs --count 100000 --size 1000       as fast as consumers let it, 1,000 bytes each
  txrouter send jobs --count 60 --rate 1              one a second
  tail -f work.log | txrouter send jobs --lines       each line as it comes
  txrouter send jobs --request --body 'how are you'   waits for the reply, and prints it
  txrouter send amqp://user:password@example.com/jobs --property urgent:=true --ttl 30

The exit status is 0 if every message was accepted (with --settled: sent; with --request: answered as well), else 1.
"""

RECEIVE_EXAMPLES = """\
examples:
  txrouter receive jobs                               prints bodies until Ctrl-C
  txrouter receive jobs --count 1 --json              one message with all its fields
  txrouter receive jobs --credit 1 --delay 0.5        a slow consumer, one message at a time
  txrouter receive jobs --settle reject --condition app:no-such-job
  txrouter receive jobs --settle none                 a stuck consumer: takes what it has credit for, and keeps it
  txrouter receive jobs --capacity 3                  three times the share, where the policy is `weighted`
  txrouter receive jobs --echo                        answers requests
  txrouter receive --dynamic                          from a temporary address, which it says

The exit status is 0 if as many messages came as --count says, or it was left to Ctrl-C, --drain or --timeout; else 1.
"""

_FILES = ("file", "ca", "certificate", "private_key")
"""Arguments that may have bytes which are no text."""

SETTLE = ("accept", "reject", "release", "modify", "none")


def add_send(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `txrouter send`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Send messages to an address, and say what became of them."
    parser.epilog = SEND_EXAMPLES
    parser.add_argument("address", metavar="ADDRESS", help="where to send, as in jobs, or amqp://host:port/jobs")
    add_server(parser, "--to")
    what = parser.add_argument_group("what is sent")
    what.add_argument("-n", "--count", type=at_least(1), metavar="N", help="how many messages (1; every line)")
    body = what.add_mutually_exclusive_group()
    body.add_argument("--size", type=at_least(0), metavar="BYTES", help="a body of so many bytes")
    body.add_argument("--body", metavar="TEXT", help="this body (otherwise `message 1`, `message 2`, …)")
    body.add_argument("--file", metavar="FILE", help="this file as the body; - for standard input")
    what.add_argument("--lines", action="store_true", help="each line of FILE, or of standard input, is a message")
    fields = parser.add_argument_group("fields of the messages")
    fields.add_argument("--durable", action="store_true", help="mark as durable")
    fields.add_argument("--priority", type=at_least(0, 255), metavar="N", help="0 to 255 (4)")
    fields.add_argument("--ttl", type=seconds, metavar="SECONDS", help="time to live")
    for name, metavar, text in _PROPERTIES:
        fields.add_argument(f"--{name}", metavar=metavar, help=text)
    fields.add_argument(
        "-p",
        "--property",
        dest="properties",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="an application property; NAME:=VALUE for a number, true or false (repeatable)",
    )
    how = parser.add_argument_group("how it is sent")
    how.add_argument("--rate", type=positive, metavar="N", help="so many messages a second (as fast as can be)")
    how.add_argument("--settled", action="store_true", help="pre-settled: nobody says what becomes of the messages")
    how.add_argument("--anonymous", action="store_true", help="on a link without an address: each message says it")
    how.add_argument("--request", action="store_true", help="ask for replies, and print them")
    _add_common(parser, "stop if nothing has happened for so long (it waits)")


_PROPERTIES = (
    ("id", "TEXT", "message-id (the number of the message)"),
    ("subject", "TEXT", "subject"),
    ("reply-to", "ADDRESS", "where replies should go"),
    ("correlation-id", "TEXT", "correlation-id"),
    ("content-type", "TYPE", "as in text/plain"),
    ("group-id", "TEXT", "group-id"),
    ("user-id", "TEXT", "user-id"),
)


def add_receive(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `txrouter receive`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Receive messages from an address, print them, and settle them."
    parser.epilog = RECEIVE_EXAMPLES
    parser.add_argument(
        "address", metavar="ADDRESS", nargs="?", help="from where, as in jobs, or amqp://host:port/jobs"
    )
    parser.add_argument("--dynamic", action="store_true", help="ask for a temporary address, and say what it is")
    add_server(parser, "--from")
    much = parser.add_argument_group("how much is received")
    much.add_argument("-n", "--count", type=at_least(1), metavar="N", help="stop after N messages (on Ctrl-C)")
    much.add_argument("--credit", type=at_least(1), default=10, metavar="N", help="let N come at a time (10)")
    much.add_argument("--drain", action="store_true", help="take what there is now, and stop")
    much.add_argument("--delay", type=seconds, default=0.0, metavar="SECONDS", help="work on each for so long")
    end = parser.add_argument_group("what becomes of a message")
    end.add_argument("--settle", choices=SETTLE, default="accept", help="accept it (the default), or something else")
    end.add_argument("--condition", metavar="NAME", help="with --settle reject: the error, as in amqp:not-allowed")
    end.add_argument("--description", metavar="TEXT", help="with --condition: the error in words")
    end.add_argument("--failed", action="store_true", help="with --settle modify: delivery-failed")
    end.add_argument("--undeliverable", action="store_true", help="with --settle modify: undeliverable-here")
    end.add_argument("--settled", action="store_true", help="ask the server to send pre-settled")
    answer = end.add_mutually_exclusive_group()
    answer.add_argument("--echo", action="store_true", help="answer each request with what it says")
    answer.add_argument("--reply", metavar="TEXT", help="answer each request with this")
    link = parser.add_argument_group("what the server is told of this consumer")
    link.add_argument("--capacity", type=positive, metavar="N", help="the link property that `weighted` goes by")
    link.add_argument(
        "--link-property",
        dest="link_properties",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="any link property; NAME:=VALUE for a number, true or false (repeatable)",
    )
    _add_common(parser, "stop when nothing has come for so long (never)").add_argument(
        "--body", action=argparse.BooleanOptionalAction, default=True, help="print bodies (the default)"
    )


def add_server(parser: argparse.ArgumentParser, option: str) -> None:
    server = parser.add_argument_group("the server")
    server.add_argument(
        option,
        dest="server",
        metavar="SERVER",
        help="host:port, amqp://user:password@host:port, amqps://… or unix:PATH "
        f"($TXROUTER_SERVER, or else {DEFAULT_SERVER})",
    )
    server.add_argument("--ca", metavar="FILE", help="with amqps: trust these certificates (those of the system)")
    server.add_argument("--insecure", action="store_true", help="with amqps: trust any certificate")
    server.add_argument("--certificate", metavar="FILE", help="with amqps: show this certificate, if the server asks")
    server.add_argument("--private-key", metavar="FILE", help="its private key, if it is not in the same file")


def _add_common(parser: argparse.ArgumentParser, timeout: str) -> argparse._ArgumentGroup:
    common = parser.add_argument_group("how long to wait, and what to say")
    common.add_argument("--timeout", type=positive, metavar="SECONDS", help=timeout)
    common.add_argument("--json", action="store_true", help="messages, and the report, as JSON: one object on a line")
    common.add_argument("-q", "--quiet", action="store_true", help="no report and no progress bar")
    return common


# ---- from arguments to options -------------------------------------------------------------------------------------


def send_options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> SendOptions:
    """The options that were given.

    :raise SystemExit: they contradict each other, or an address or server makes no sense.
    """
    address, server = target(parser, given, given.address)
    if given.lines and (given.size is not None or given.body is not None):
        parser.error("--lines is for --file and standard input")
    if given.request:
        for name in ("settled", "id", "reply_to", "correlation_id"):
            if getattr(given, name):
                parser.error(f"--request does not go with --{name.replace('_', '-')}")
    fields = Fields(
        durable=given.durable,
        priority=given.priority,
        ttl=given.ttl,
        id=given.id,
        user_id=given.user_id,
        address=address if given.anonymous else None,
        subject=given.subject,
        reply_to=given.reply_to,
        correlation_id=given.correlation_id,
        content_type=given.content_type,
        group_id=given.group_id,
        properties=dict(given.properties),
    )
    return SendOptions(
        **connect_options(given, server),
        address=address,
        anonymous=given.anonymous,
        count=given.count or (None if given.lines else 1),
        size=given.size,
        body=given.body,
        file=given.file or ("-" if given.lines else None),
        lines=given.lines,
        settled=given.settled,
        rate=given.rate,
        request=given.request,
        fields=fields,
    )


def receive_options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> ReceiveOptions:
    """The options that were given.

    :raise SystemExit: they contradict each other, or an address or server makes no sense.
    """
    if (given.address is None) != given.dynamic:
        parser.error("an ADDRESS is needed, or --dynamic, and not both")
    address, server = target(parser, given, given.address)
    modified = given.failed or given.undeliverable
    if modified and given.settle != "modify":
        parser.error("--failed and --undeliverable are for --settle modify")
    if given.condition and given.settle != "reject":
        parser.error("--condition is for --settle reject")
    if given.description and not given.condition:
        parser.error("--description is for --condition")
    if given.settle == "none" and (given.count or 0) > given.credit:
        parser.error("--settle none receives no more than --credit messages")
    properties = dict(given.link_properties)
    if given.capacity is not None:
        properties["capacity"] = given.capacity
    return ReceiveOptions(
        **connect_options(given, server),
        address=address or None,
        count=given.count,
        credit=given.credit,
        settle=given.settle,
        failed=given.failed,
        undeliverable=given.undeliverable,
        condition=given.condition,
        description=given.description,
        settled=given.settled,
        drain=given.drain,
        delay=given.delay,
        link_properties=properties,
        body=given.body,
        echo=given.echo,
        reply=given.reply,
    )


def connect_options(given: argparse.Namespace, server: Server) -> dict[str, Any]:
    """What `ConnectOptions` has."""
    return {
        "server": server,
        "ca": given.ca,
        "insecure": given.insecure,
        "certificate": given.certificate,
        "private_key": given.private_key,
        "timeout": given.timeout,
        "json": given.json,
        "quiet": given.quiet,
    }


def target(parser: argparse.ArgumentParser, given: argparse.Namespace, text: str | None) -> tuple[str, Server]:
    """The address, and the server it is at."""
    for name, value in vars(given).items():
        if isinstance(value, str) and name not in _FILES and not _is_text(value):
            parser.error(f"{name} is not UTF-8")
    try:
        of_address, address = (None, "") if text is None else split_address(text)
        if of_address is not None and given.server is not None:
            raise ValueError("the server is in the address, and given once more")
        server = of_address or parse_server(given.server or os.environ.get("TXROUTER_SERVER") or DEFAULT_SERVER)
    except ValueError as error:
        parser.error(str(error))
    if text == "":
        parser.error("an ADDRESS cannot be empty")
    if (given.ca or given.insecure or given.certificate) and not server.tls:
        parser.error("--ca, --insecure and --certificate are for amqps://")
    if given.private_key and not given.certificate:
        parser.error("--private-key is for --certificate")
    return address, server


def _is_text(value: str) -> bool:
    # what a command line has that is no text is here as surrogates
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _pair(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name.removesuffix(":") or not _is_text(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TEXT")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], _scalar(json.loads(value))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is neither a number, nor true, false or null") from None


def _scalar(value: object) -> object:
    if isinstance(value, (list, dict)) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise ValueError
    return value


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    return partial(_integer, least, most)


def _integer(least: int, most: int | None, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < least or (most is not None and value > most):
        raise argparse.ArgumentTypeError(f"{text} is not {least} or more" if most is None else f"{text} is too much")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def positive(text: str) -> float:
    value = _number(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


_LONGEST = 4_294_967.0  # AMQP has milliseconds in 32 bits


def seconds(text: str) -> float:
    value = _number(text)
    if value > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is more than {_LONGEST:,.0f}")
    return value
