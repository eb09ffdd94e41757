"""What can be measured: each shape of traffic as data, and how its name on the command line is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

STAMP_SIZE = 8  # the first bytes of a body: when it was sent
LINKS_PER_SESSION = 250
MAX_SESSIONS = 60
_FLAT_SESSIONS = 40
_FLAT_LIMIT = 100
_FLAT_CREDIT = 1000  # more than a producer is ever given: so one consumer has as much to give as many


class ShapeError(ValueError):
    """A shape's name that makes no sense."""


@dataclass(frozen=True)
class Traffic:
    """Messages of one size from producers to consumers.

    Link ``i`` belongs to address ``i % addresses``. The links of a side are laid out over its connections in order, up
    to 250 to a session. ``sessions`` are opened on every connection whether links need them or not, so that shapes can
    be compared.
    """

    name: str
    summary: str
    key: str = "cpu_us"
    producers: int = 1
    producer_connections: int = 1
    consumers: int = 1
    consumer_connections: int = 1
    sessions: int = 1
    addresses: int = 1
    credit: int = 100  # each consumer's window
    size: int = 100  # bytes of body
    settled: bool = False
    limit: int = 0  # most messages a producer connection has unsettled; 0: its credit alone decides
    rate: int = 0  # messages per second; 0: as fast as they go
    multicast: bool = False  # every consumer gets every message
    answered: bool = False  # each message is a request, and gets a reply at its producer's temporary address
    place: bytes = b"bench"  # what its addresses begin with

    def address(self, link: int) -> bytes:
        """Where that link is attached."""
        return b"%s/%d" % (b"multicast" if self.multicast else self.place, link % self.addresses)

    @property
    def copies(self) -> int:
        """How many arrive for each that is sent, replies included."""
        return self.consumers if self.multicast else 1 + self.answered

    @property
    def one_at_a_time(self) -> bool:
        """Whether the time from send to outcome is what is measured."""
        return self.limit == 1

    @property
    def head(self) -> bytes:
        """The encoded message before its body, which is one data section."""
        length = bytes((0xA0, self.size)) if self.size < 256 else b"\xb0" + self.size.to_bytes(4, "big")
        return b"\x00\x53\x75" + length


@dataclass(frozen=True)
class Idle:
    """Clients that do nothing: a connection, a session and one consumer link each, each on an address of its own."""

    name: str
    summary: str
    clients: int
    key: str = "kib_per_client"


@dataclass(frozen=True)
class Huge:
    """One message of ``size`` bytes, streamed through."""

    name: str
    summary: str
    size: int
    key: str = "growth_mib"


@dataclass(frozen=True)
class Isolation:
    """Modest clients at a fixed rate, first alone, then beside a greedy one that does ``greed`` as fast as it can."""

    name: str
    summary: str
    greed: str
    rate: int  # messages per second of each modest producer
    key: str = "p99_ratio"

    @property
    def modest(self) -> Traffic:
        """The modest clients: a producer and a consumer on each address, each with a connection of its own."""
        return Traffic(
            self.name,
            self.summary,
            producers=MODEST,
            producer_connections=MODEST,
            consumers=MODEST,
            consumer_connections=MODEST,
            addresses=MODEST,
            rate=self.rate,
            place=b"modest",
        )


Shape: TypeAlias = Traffic | Idle | Huge | Isolation

MODEST = 9
_MODEST_RATE = 200
GREEDS = {
    "small": "small messages",
    "64KiB": "messages of 64 KiB",
    "stream": "a message without end",
    "settled": "pre-settled messages",
    "producers": "100 producers, one connection",
    "addresses": "100 addresses, one connection",
    "anonymous": "an anonymous producer, 100 addresses",
    "attaches": "attaches and detaches",
    "connects": "connects",
    "flows": "flow frames",
    "echoes": "flow frames to be answered",
    "dispositions": "dispositions",
    "ranges": "dispositions of many at once",
}

DEFAULT = (
    *(f"{n}-{n}:{credit}{mode}" for n in (1, 4) for credit in (10, 100) for mode in ("", ":settled")),
    "body:64KiB",
    "ping",
    "rate:2000",
    "fanout:1000",
    "multicast:4",
    "requests:4",
)

GRAMMAR = f"""\
shapes:
  P-C:CREDIT[:settled]  P producers to C consumers, a connection each, one address, 100-byte bodies, pre-settled or not
  body:BYTES            one producer, one consumer, credit 100, bodies of that size
  ping                  one message at a time: latency is from send to outcome
  rate:N                N messages a second
  multicast:N[:settled] one producer, N consumers with a connection each, a copy of each message to each, credit 100;
                        everything is counted by copies
  requests:N[:settled]  N clients with a temporary address each, N servers that answer there by an anonymous producer;
                        credit 100, and as many requests of each client without an answer; replies are counted too
  fanout:N              one producer, N consumers on one address, on four connections, credit 10
  consumers:N           flatness: one producer, N consumers on one address; connections, sessions and messages in flight
                        are the same for every N from 1 to 10000
  addresses:N           flatness: N addresses with one producer and one consumer each; likewise
  idle:N                N idle clients: memory of the router for each
  huge:BYTES            one message of that size, streamed: how far the router's memory grows
  isolation:GREED[:N]   9 modest producers, N messages a second each (200), first alone, then beside a greedy client;
                        times are from send to outcome. What the greedy one does, as fast as it can, is one of
                        {", ".join(list(GREEDS)[:7])},
                        {", ".join(list(GREEDS)[7:])}
BYTES may end in KiB, MiB or GiB. Default: {" ".join(DEFAULT)}"""


def parse(name: str) -> Shape:
    """Read a shape's name. Raises ShapeError if it is none, or asks for more links than proton can have."""
    kind, *arguments = name.split(":")
    try:
        if kind == "ping" and not arguments:
            return Traffic(name, "one message at a time", key="p50_us", limit=1)
        if "-" in kind:
            return _between(name, kind, *arguments)
        return _KINDS[kind](name, *arguments)
    except (KeyError, TypeError, ValueError) as error:
        detail = f": {error}" if isinstance(error, ShapeError) else ""
        raise ShapeError(f"not a shape: {name!r}{detail}") from None


def _between(name: str, kind: str, credit: str, mode: str = "") -> Traffic:
    producers, consumers = (_number(n, 500) for n in kind.split("-"))
    settled, how = _settled(mode)
    summary = f"{producers}→{consumers}, credit {credit}, {how}"
    return Traffic(
        name,
        summary,
        producers=producers,
        producer_connections=producers,
        consumers=consumers,
        consumer_connections=consumers,
        credit=_number(credit, 100_000),
        settled=settled,
    )


def _body(name: str, size: str) -> Traffic:
    return Traffic(name, f"1→1, {size} bodies", size=_bytes(size, STAMP_SIZE, 1 << 24))


def _rate(name: str, rate: str) -> Traffic:
    return Traffic(name, f"{rate} messages a second", key="p50_us", rate=_number(rate, 1_000_000))


def _fanout(name: str, count: str) -> Traffic:
    consumers = _number(count, 4 * MAX_SESSIONS * LINKS_PER_SESSION)
    connections = min(4, consumers)
    sessions = -(-consumers // (connections * LINKS_PER_SESSION))
    return Traffic(
        name,
        f"1→{count}",
        consumers=consumers,
        consumer_connections=connections,
        sessions=sessions,
        credit=10,
    )


def _multicast(name: str, count: str, mode: str = "") -> Traffic:
    settled, how = _settled(mode)
    consumers = _number(count, 500)
    return Traffic(
        name,
        f"a copy to each of {count}, {how}",
        consumers=consumers,
        consumer_connections=consumers,
        settled=settled,
        multicast=True,
    )


def _requests(name: str, count: str, mode: str = "") -> Traffic:
    settled, how = _settled(mode)
    clients = _number(count, 500)
    return Traffic(
        name,
        f"{count} clients ask {count} servers, {how}",
        producers=clients,
        producer_connections=clients,
        consumers=clients,
        consumer_connections=clients,
        settled=settled,
        answered=True,
    )


def _consumers(name: str, count: str) -> Traffic:
    consumers = _number(count, _FLAT_SESSIONS * LINKS_PER_SESSION)
    return Traffic(
        name,
        f"{count} consumers, one address",
        consumers=consumers,
        sessions=_FLAT_SESSIONS,
        limit=_FLAT_LIMIT,
    )


def _addresses(name: str, count: str) -> Traffic:
    addresses = _number(count, _FLAT_SESSIONS * LINKS_PER_SESSION)
    return Traffic(
        name,
        f"1→1 on each of {count}",
        producers=addresses,
        consumers=addresses,
        sessions=_FLAT_SESSIONS,
        addresses=addresses,
        credit=_FLAT_CREDIT,
        limit=_FLAT_LIMIT,
    )


def _idle(name: str, count: str) -> Idle:
    return Idle(name, f"{count} idle clients", _number(count, 100_000))


def _huge(name: str, size: str) -> Huge:
    return Huge(name, f"one message of {size}", _bytes(size, 1, (1 << 32) - 1))


def _isolation(name: str, greed: str, rate: str = str(_MODEST_RATE)) -> Isolation:
    return Isolation(name, f"beside {GREEDS[greed]}", greed, _number(rate, 100_000))


_KINDS: dict[str, Callable[..., Shape]] = {
    "body": _body,
    "rate": _rate,
    "fanout": _fanout,
    "multicast": _multicast,
    "requests": _requests,
    "consumers": _consumers,
    "addresses": _addresses,
    "idle": _idle,
    "isolation": _isolation,
    "huge": _huge,
}


def _settled(mode: str) -> tuple[bool, str]:
    """Whether a mode means pre-settled, and that in words."""
    if mode not in ("", "settled"):
        raise ShapeError(f"{mode!r} is not 'settled'")
    return bool(mode), "pre-settled" if mode else "unsettled"


def _number(text: str, most: int) -> int:
    number = int(text)
    if not 1 <= number <= most:
        raise ShapeError(f"{number} is not from 1 to {most}")
    return number


def _bytes(text: str, least: int, most: int) -> int:
    scale = 1
    for unit, factor in (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)):
        if text.endswith(unit):
            text, scale = text.removesuffix(unit), factor
    size = int(text) * scale
    if not least <= size <= most:
        raise ShapeError(f"{size} bytes is not from {least} to {most}")
    return size
