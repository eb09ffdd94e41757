"""What hostile clients say, byte by byte: one table for every test that has somebody say it.

Each conversation is pieces of bytes. A piece is said when all that came of the one before has been served, and the
neighbours have sent what they may (see `tests.net.neighbourhood`): to `waiting` goes what nobody takes, to `taken` what
is taken, `fed` has messages for whoever wants them, and `shared` is multicast.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.net import frames
from tests.net.frames import (
    AMQP,
    RECEIVER,
    SASL,
    SENDER,
    attach,
    begin,
    binary,
    close,
    described,
    disposition,
    encoded,
    end,
    flow,
    frame,
    mapped,
    open_,
    symbol,
    symbols,
    transfer,
    ubyte,
    uint,
    ushort,
)

__all__ = ["CONVERSATIONS", "Conversation"]

HELLO = b"\0Sw\xa1\5hello"


@dataclass(frozen=True)
class Conversation:
    """What a client says, and what it deserves."""

    pieces: tuple[bytes, ...]
    ends: str = "lives"
    """`lives`: the connection, and it can be used. `cut`: it is lost, without a close frame. Else the condition with
    which the router closes it."""
    detached: str | None = None
    """The condition with which the router detaches a link, where it does."""


CONVERSATIONS: dict[str, Conversation] = {}


def _say(name: str, *pieces: bytes, ends: str = "lives", detached: str | None = None) -> None:
    assert name not in CONVERSATIONS, name
    CONVERSATIONS[name] = Conversation(pieces, ends, detached)


# -- values, and performatives with odd fields -------------------------------------------------------------------------


def _open(container: object = "raw", **fields: object) -> bytes:
    names = (
        "hostname",
        "max_frame",
        "channel_max",
        "idle",
        "locales",
        "more_locales",
        "offered",
        "desired",
        "properties",
    )
    assert set(fields) <= set(names)
    return frame(described(frames.OPEN, container, *(fields.get(name) for name in names)))


def _attach(role: object = SENDER, address: object = "waiting", **fields: object) -> bytes:
    """An attach, any field of which can be something else; `channel` is the frame's."""
    channel = fields.pop("channel", 0)
    assert isinstance(channel, int)
    values: dict[str, object] = {
        "name": "link",
        "handle": uint(0),
        "role": role,
        "modes": ubyte(2),
        "settles": ubyte(0),
        "source": described(frames.SOURCE, address if role is RECEIVER else None),
        "target": described(frames.TARGET, address if role is SENDER else None),
        "unsettled": None,
        "incomplete": None,
        "count": uint(0) if role is SENDER else None,
        "size": None,
        "offered": None,
        "desired": None,
        "properties": None,
    }
    assert set(fields) <= set(values)
    return frame(described(frames.ATTACH, *(values | fields).values()), channel=channel)


def _source(
    address: object = "fed", *, dynamic: bool = False, filters: object = None, outcomes: object = None
) -> bytes:
    return described(frames.SOURCE, address, None, None, None, dynamic, None, None, filters, None, outcomes, None)


def _flow(*fields: int | bool | None) -> bytes:
    return frame(
        described(frames.FLOW, *(each if each is None or isinstance(each, bool) else uint(each) for each in fields))
    )


def _state(first: int, last: int, state: object, *, role: bool = RECEIVER, settled: bool = True) -> bytes:
    return frame(described(frames.DISPOSITION, role, uint(first), uint(last), settled, state))


def _nested(constructor: bytes, depth: int) -> bytes:
    """Lists or maps within each other, each of which says rightly how long it is."""
    value = b"\x40"
    for _ in range(depth):
        body = (b"\x40" + value) if constructor == b"\xd1" else value
        value = (
            constructor
            + (4 + len(body)).to_bytes(4, "big")
            + (2 if constructor == b"\xd1" else 1).to_bytes(4, "big")
            + body
        )
    return value


def _nulls(count: int) -> bytes:
    """An array of so many values, in ten bytes."""
    return b"\xf0" + (5).to_bytes(4, "big") + count.to_bytes(4, "big") + b"\x40"


def _arrays(depth: int) -> bytes:
    """Arrays of arrays."""
    value = (5).to_bytes(4, "big") + (0).to_bytes(4, "big") + b"\x40"
    for _ in range(depth):
        body = b"\xf0" + value
        value = (4 + len(body)).to_bytes(4, "big") + (1).to_bytes(4, "big") + body
    return b"\xf0" + value


def _entries(count: int) -> bytes:
    """A map of that many entries."""
    return mapped({symbol(f"k{number}"): ubyte(number % 256) for number in range(count)})


def _bytewise(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[at : at + 1] for at in range(len(data)))


OPENED = AMQP + open_() + begin()
SENDS = OPENED + attach(SENDER, "waiting")
ANONYMOUS = OPENED + attach(SENDER, None)
TAKES = OPENED + attach(RECEIVER, "fed") + flow(20)
SHARES = OPENED + attach(RECEIVER, "shared") + flow(20)
INIT = frame(described(0x41, symbol("ANONYMOUS"), binary(b"guest"), "localhost"), kind=1)
DEEP = 3_000
TOO_MUCH = "amqp:resource-limit-exceeded"

# -- before AMQP -------------------------------------------------------------------------------------------------------

NOT_AMQP = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "nothing but zeros": bytes(1000),
    "noise": Random(1).randbytes(1000),
    "AMQP 0-9-1": b"AMQP\0\0\x09\x01",
    "AMQP 2.0": b"AMQP\0\2\0\0",
    "AMQP's own TLS": b"AMQP\2\1\0\0",
    "an unknown protocol of AMQP": b"AMQP\7\1\0\0",
    "a header in lower case": b"amqp\0\1\0\0",
    "open without a header": open_(),
    "PROXY, to a listener that knows nothing of it": b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n" + AMQP,
}
for _name, _data in NOT_AMQP.items():
    _say(_name, _data, ends="cut")
NOT_SASL: dict[str, tuple[bytes, int | None]] = {
    "a mechanism that is not offered": (frame(described(0x41, symbol("PLAIN"), binary(b"\0user\0secret")), kind=1), 1),
    "a SASL frame of AMQP's type": (frame(described(0x41, symbol("ANONYMOUS")), kind=0), None),
    "the server's outcome": (frame(described(0x44, ubyte(0)), kind=1), None),
    "a SASL frame of zeros": (frame(bytes(20), kind=1), None),
    "a SASL frame of two gigabytes": (frame(b"", kind=1, size=0x7FFFFFFF), None),
    "a mechanism with a long name": (frame(described(0x41, symbol("x" * 600)), kind=1), None),
    "AMQP within SASL": (AMQP + open_(), None),
}
for _name, (_data, _) in NOT_SASL.items():
    _say(_name, SASL + _data, ends="cut")
_say("empty SASL frames without end", SASL, frame(kind=1) * 1000, ends="cut")
_say("a SASL layer that begins again", SASL + INIT, SASL + INIT, ends="cut")
_say("SASL twice over", SASL + INIT + INIT, ends="cut")
_say("SASL, a byte at a time", *_bytewise(SASL + INIT), OPENED)
_say(
    "an answer as long as can be", SASL, frame(described(0x41, symbol("ANONYMOUS"), binary(bytes(460))), kind=1), OPENED
)
_say("a header, a byte at a time", *_bytewise(AMQP), open_() + begin())
_say("open, a byte at a time", AMQP, *_bytewise(open_()), begin())
_say("two headers", AMQP + AMQP, ends="amqp:connection:framing-error")
_say("a header behind open", OPENED, AMQP, ends="amqp:connection:framing-error")

# -- frames that are none ----------------------------------------------------------------------------------------------

BROKEN_FRAMES = {
    "smaller than a frame can be": (frame(b"abc", size=3), "amqp:connection:framing-error"),
    "larger than allowed, as it says": (frame(b"abc", size=0x7FFFFFFF), "amqp:connection:framing-error"),
    "larger than allowed, as it is": (frame(bytes(40_000)), "amqp:connection:framing-error"),
    "a body that begins in the header": (frame(described(0x11), offset=1), "amqp:connection:framing-error"),
    "a body that begins behind its end": (frame(described(0x11), offset=200), "amqp:connection:framing-error"),
    "a frame of another protocol": (frame(described(0x11), kind=7), "amqp:decode-error"),
    "a SASL frame": (frame(described(0x41), kind=1), "amqp:decode-error"),
    "an unknown performative": (frame(described(0x99)), "amqp:decode-error"),
    "an outcome instead of a performative": (frame(described(0x24)), "amqp:decode-error"),
    "a body that is no performative": (frame(b"\xa1\3abc"), "amqp:decode-error"),
    "no AMQP type at all": (frame(b"\xff" * 20), "amqp:decode-error"),
    "a descriptor without an end": (frame(b"\0" * 1000), "amqp:decode-error"),
    "a list longer than its frame": (frame(b"\0\x53\x11\xd0\x7f\xff\xff\xff\0\0\0\5"), "amqp:decode-error"),
    "a map instead of a list": (frame(b"\0\x53\x11\xc1\1\0"), "amqp:decode-error"),
}
for _name, (_data, _condition) in BROKEN_FRAMES.items():
    _say(f"a broken frame: {_name}", OPENED, _data, ends=_condition)
    _say(f"a broken frame instead of open: {_name}", AMQP + _data, ends="amqp:connection:framing-error")
_say("empty frames, ten thousand", OPENED, frame() * 10_000)
_say("empty frames on every channel", OPENED, b"".join(frame(channel=channel) for channel in range(0, 65_536, 16)))
_say("empty frames before open", AMQP + frame() * 1000, OPENED[8:])
_say("an empty frame with a long header", OPENED, frame(bytes(1000), offset=252))

# -- frames in the wrong place -----------------------------------------------------------------------------------------

OUT_OF_PLACE = {
    "begin before open": ([AMQP, begin()], "amqp:connection:framing-error"),
    "attach before open": ([AMQP, attach(SENDER)], "amqp:not-allowed"),
    "transfer before open": ([AMQP, transfer(0)], "amqp:not-allowed"),
    "attach before begin": ([AMQP, open_(), attach(SENDER)], "amqp:not-allowed"),
    "flow before begin": ([AMQP, open_(), frames.flow(5)], "amqp:not-allowed"),
    "transfer before begin": ([AMQP, open_(), transfer(0)], "amqp:not-allowed"),
    "disposition before begin": ([AMQP, open_(), disposition(0, 0)], "amqp:not-allowed"),
    "detach before begin": ([AMQP, open_(), frames.detach()], "amqp:not-allowed"),
    "end before begin": ([AMQP, open_(), end()], "amqp:not-allowed"),
    "begin on a channel too high": ([AMQP, open_(), begin(256)], "amqp:connection:framing-error"),
    "an idle time-out of a millisecond": ([AMQP, open_(idle_timeout=1)], "amqp:not-allowed"),
}
for _name, (_pieces, _condition) in OUT_OF_PLACE.items():
    _say(_name, *_pieces, ends=_condition)

IN_A_SESSION = {
    "a second open": (open_(), "amqp:illegal-state"),
    "an attach without a name": (attach(SENDER, name=None), "amqp:invalid-field"),
    "an attach with an empty name": (attach(SENDER, name=""), "amqp:invalid-field"),
    "a second link of the same name": (attach(SENDER, "known", name="out", handle=7), "amqp:invalid-field"),
    "a transfer on an unknown handle": (transfer(0, handle=7), "amqp:invalid-field"),
    "a transfer on a link that receives": (transfer(0, handle=1), "amqp:illegal-state"),
    "a transfer without a tag": (frame(described(frames.TRANSFER, uint(0)) + HELLO), "amqp:invalid-field"),
    "a transfer out of sequence": (transfer(0) + transfer(77), "amqp:session:invalid-field"),
    "a flow on an unknown handle": (flow(1, handle=7), "amqp:invalid-field"),
    "a detach of an unknown handle": (frames.detach(7), "amqp:invalid-field"),
    "a disposition of four billion messages": (disposition(0, 0xFFFFFFFF), "amqp:not allowed"),
    "a disposition that ends before it begins": (disposition(9, 3), "amqp:not allowed"),
    "more than the session's window": (
        b"".join(transfer(0, b"\0Su\xb0\x10\0\0\0" + bytes(32_000), more=True) for _ in range(140)),
        "amqp:session:window-violation",
    ),
}
HARMLESS = {
    "a disposition of messages that never were": disposition(5, 9),
    "a disposition by the wrong end": disposition(0, 0, role=SENDER),
    "a name that is no text": attach(SENDER, name=b"\xa1\2\xff\xfe", handle=2),
    "an address that is no text": _attach(
        handle=uint(2), name="odd", target=described(frames.TARGET, b"\xa1\2\xff\xfe")
    ),
    "a flow of as much credit as can be said": flow(0xFFFFFFFF, handle=1),
    "an empty frame": frame(),
    "an attach whose handle is in use": attach(SENDER, "another", name="another", handle=0),
    "a begin on a channel in use": begin(),
}
LINKED = (
    OPENED
    + attach(SENDER, "waiting", name="out")
    + attach(RECEIVER, "received", name="in", handle=1)
    + flow(10, handle=1)
)
for _name, (_data, _condition) in IN_A_SESSION.items():
    _say(_name, LINKED, _data, ends=_condition)
for _name, _data in HARMLESS.items():
    _say(_name, LINKED, _data)

# -- open --------------------------------------------------------------------------------------------------------------

_say("a container id of 8,000 bytes", AMQP + _open("x" * 8000) + begin())
_say(
    "a container id of two gigabytes",
    AMQP + frame(b"\0\x53\x10\xd0\0\0\0\x20\0\0\0\1\xb1\x7f\xff\xff\xff" + b"x" * 20),
    ends="amqp:connection:framing-error",
)
_say("no container id", AMQP + _open(None) + begin())
_say("a host name of 8,000 bytes", AMQP + _open(hostname="x" * 8000) + begin())
_say("a host name of zeros", AMQP + _open(hostname="\0" * 100) + begin())
_say("capabilities by the thousand", AMQP + _open(desired=symbols(*["x"] * 1500), offered=symbols()) + begin())
_say("locales by the thousand", AMQP + _open(locales=symbols(*["x"] * 1500)) + begin())
_say("open with properties by the thousand", AMQP + _open(properties=_entries(700)) + begin())
for _name, _data in {
    "descriptors": b"\0" * 5000 + b"\x40",
    "maps": _nested(b"\xd1", 700),
    "lists": _nested(b"\xd0", 800),
    "arrays": _arrays(800),
    "maps that are cut off": b"\xc1\xff\1" * 2000,
}.items():
    _say(f"open with properties of nested {_name}", AMQP + _open(properties=_data))
_say(
    "open with fields of wrong types",
    AMQP + _open(hostname=uint(1), max_frame="x", channel_max=b"\x41"),
)
_say("open with hundreds of fields", AMQP + frame(described(frames.OPEN, "raw", *[None] * 300)) + begin())
_say("open with no field at all", AMQP + frame(b"\0\x53\x10\x45") + begin())
_say(
    "a largest channel of zero",
    AMQP + _open(channel_max=ushort(0)) + begin(),
    begin(1),
    ends="amqp:connection:framing-error",
)
_say("a largest frame of nothing", AMQP + open_(max_frame=0) + begin() + attach(RECEIVER, "fed") + flow(5))
_say("a largest frame of a byte", AMQP + open_(max_frame=1) + begin() + attach(RECEIVER, "fed") + flow(5))
_say(
    "a largest frame of four gigabytes",
    AMQP + open_(max_frame=0xFFFFFFFF) + begin() + attach(RECEIVER, "fed") + flow(5),
)
_say("an idle time-out of weeks", AMQP + open_(idle_timeout=0xFFFFFFFF) + begin())

# -- sessions ----------------------------------------------------------------------------------------------------------

_say("every session there is", OPENED, b"".join(begin(channel) for channel in range(1, 200)))
_say("a begin for more sessions than there are", OPENED, begin(0xFFFF), ends="amqp:connection:framing-error")
_say("sessions begun and ended a thousand times", OPENED, *[(begin(1) + end(1)) * 100] * 10)
_say("sessions ended twice", OPENED, begin(1) + end(1) + end(1), ends="amqp:not-allowed")
_say("a session without a window", AMQP + open_() + begin(window=0) + attach(RECEIVER, "fed") + flow(20))
_say(
    "a session with every field at its end",
    AMQP + open_() + frame(described(frames.BEGIN, None, *[uint(0xFFFFFFFF)] * 4)),
)
_say(
    "a begin with properties without end",
    OPENED,
    frame(described(frames.BEGIN, None, *[uint(9)] * 4, None, None, _arrays(DEEP)), channel=1),
)
_say(
    "links where there may be none",
    AMQP + open_() + frame(described(frames.BEGIN, None, uint(0), uint(1000), uint(1000), uint(0))),
    b"".join(attach(SENDER, "waiting", name=f"l{at}", handle=at) for at in range(100)),
    ends="cut",
)
_say(
    "a begin that answers one that never was",
    OPENED,
    frame(described(frames.BEGIN, ushort(77), *[uint(9)] * 3), channel=1),
    ends="amqp:invalid-field",
)
_say(
    "an end with an error of 30,000 bytes",
    OPENED,
    begin(1) + frame(described(frames.END, described(frames.ERROR, symbol("x" * 30_000))), channel=1),
)
_say("a transfer in a session that was ended", SENDS, end(), transfer(0), ends="amqp:not-allowed")
_say(
    "a session ended with all that is in it",
    TAKES + attach(SENDER, "taken", name="out", handle=1),
    transfer(0, handle=1) + end(),
    begin(),
)

# -- links -------------------------------------------------------------------------------------------------------------

_say("the highest handle", OPENED, _attach(handle=uint(0x7FFFFFFF)))
_say("a handle beyond the highest", OPENED, _attach(handle=uint(0xFFFFFFFF)), ends="amqp:connection:framing-error")
_say("handles far apart", OPENED, b"".join(_attach(handle=uint(77_777 * at), name=f"l{at}") for at in range(200)))
_say("a handle of the wrong type", OPENED, _attach(handle="x"))
_say("a role of the wrong type", OPENED, _attach(role="x"))
_say("settle modes that are none", OPENED, _attach(modes=ubyte(200), settles=ubyte(99)))
_say("neither source nor target", OPENED, _attach(source=None, target=None))
_say(
    "a consumer with neither source nor target",
    OPENED,
    _attach(RECEIVER, source=None, target=None),
    detached="amqp:invalid-field",
)
_say("a source that is no source", OPENED, _attach(RECEIVER, source=described(0x99, "fed")))
_say("a source that is a map", OPENED, _attach(RECEIVER, source=_entries(5)), detached="amqp:invalid-field")
_say("a name of 30,000 bytes", OPENED, _attach(name="x" * 30_000))
_say("a name of zeros", OPENED, _attach(name="\0" * 100), ends="amqp:invalid-field")
_say("the longest address", OPENED, _attach(address="x" * 2048))
_say("an address too long", OPENED, _attach(address="x" * 2049), detached="amqp:invalid-field")
_say("an address of 30,000 bytes", OPENED, _attach(RECEIVER, address="x" * 30_000), detached="amqp:invalid-field")
_say(
    "an address of separators",
    OPENED,
    _attach(address="/." * 1000),
    _attach(RECEIVER, address="./" * 1000, handle=uint(1), name="in"),
)
_say(
    "an address of wildcards",
    OPENED,
    _attach(address="#.*.#.*" * 200),
    _attach(RECEIVER, address="#", handle=uint(1), name="in"),
)
_say("an address with line breaks", OPENED, _attach(address="x\r\n[error] forged\x1b[2J\0y"))
_say("a reserved address", OPENED, _attach(address="$management/x"), detached="amqp:not-found")
_say(
    "a temporary address that never was",
    OPENED,
    _attach(address="_topo/0/r1/temp.aaaaaaaaaaaaaaa"),
    detached="amqp:not-found",
)
_say("another router's address", OPENED, _attach(RECEIVER, address="_topo/0/r2/x"), detached="amqp:not-found")
_say("link properties by the thousand", OPENED, _attach(RECEIVER, properties=_entries(2500)), ends=TOO_MUCH)
for _name, _data in {
    "descriptors": b"\0" * DEEP + b"\x40",
    "maps": _nested(b"\xd1", DEEP),
    "lists": _nested(b"\xd0", DEEP),
    "arrays": _arrays(DEEP),
    "nulls": b"\xd0" + (4 + 32_000).to_bytes(4, "big") + (32_000).to_bytes(4, "big") + b"\x40" * 32_000,
}.items():
    _ends = "lives" if _name == "descriptors" else TOO_MUCH
    _say(f"link properties of nested {_name}", OPENED, _attach(RECEIVER, properties=_data), ends=_ends)
    _say(f"a filter of nested {_name}", OPENED, _attach(RECEIVER, source=_source(filters=_data)))
    _say(f"outcomes of nested {_name}", OPENED, _attach(RECEIVER, source=_source(outcomes=_data)), ends=_ends)
_say(
    "links with 65,000 properties in ten bytes each",
    OPENED,
    b"".join(_attach(RECEIVER, properties=_nulls(65_000), name=f"l{at}", handle=uint(at)) for at in range(100)),
    ends=TOO_MUCH,
)
_say(
    "links with 65,000 outcomes in ten bytes each",
    OPENED,
    b"".join(_attach(RECEIVER, source=_source(outcomes=_nulls(65_000)), name=f"l{at}") for at in range(100)),
    ends=TOO_MUCH,
)
_say("capabilities of a link by the thousand", OPENED, _attach(desired=symbols(*["x"] * 6000)))
_say("an unsettled map by the thousand", OPENED, _attach(unsettled=_entries(2500)))
_say("a capacity that is no number", OPENED, _attach(RECEIVER, properties=mapped({symbol("capacity"): "lots"})))
_say(
    "a capacity without end",
    OPENED,
    _attach(RECEIVER, properties=mapped({symbol("capacity"): b"\x82\x7f\xf0" + bytes(6)})),
)
_say(
    "temporary addresses by the hundred",
    OPENED,
    b"".join(
        _attach(RECEIVER, source=_source(None, dynamic=True), name=f"l{at}", handle=uint(at)) for at in range(200)
    ),
)
_say(
    "temporary addresses come and go",
    OPENED,
    *[(_attach(RECEIVER, source=_source(None, dynamic=True)) + frames.detach()) * 50] * 4,
)
_say(
    "links come and go",
    OPENED,
    *[(attach(SENDER, "x") + frames.detach() + attach(RECEIVER, "x") + frames.detach()) * 50] * 4,
)
_say(
    "refused links come and go",
    OPENED,
    *[(attach(SENDER, "$management/x") + frames.detach()) * 100] * 2,
    detached="amqp:not-found",
)
_say(
    "refused links that stay",
    OPENED,
    b"".join(attach(SENDER, "$management/x", name=f"l{at}", handle=at) for at in range(250)),
    detached="amqp:not-found",
)
_say(
    "refused links without end",
    OPENED,
    *(
        b"".join(attach(SENDER, "$management/x", name=f"l{at}", handle=at) for at in range(first, first + 100))
        for first in range(0, 600, 100)
    ),
    detached="amqp:resource-limit-exceeded",
    ends="amqp:resource-limit-exceeded",
)
_say(
    "more links than there are",
    OPENED,
    b"".join(attach(SENDER, "x", name=f"l{at}", handle=at) for at in range(258)),
    detached="amqp:resource-limit-exceeded",
)
_say("a link detached twice", SENDS, frames.detach() + frames.detach(), ends="amqp:invalid-field")
_say("a detach that says nothing", SENDS, frame(b"\0\x53\x16\x45"))
_say(
    "a detach with an error of 30,000 bytes",
    SENDS,
    frame(described(frames.DETACH, uint(0), True, described(frames.ERROR, symbol("x"), "y" * 30_000))),
)
_say("a transfer on a link that was detached", SENDS, frames.detach(), transfer(0), ends="amqp:invalid-field")
_say(
    "a link detached and not closed, again and again",
    OPENED,
    *[(attach(RECEIVER, "fed") + flow(5) + frames.detach(closed=False)) * 20] * 5,
)

# -- flow --------------------------------------------------------------------------------------------------------------

_say("drains by the thousand", TAKES, *[(flow(20, drain=True) + flow(20)) * 200] * 5)
_say("credit given and taken by the thousand", TAKES, *[(flow(0) + flow(0xFFFFFFFF)) * 200] * 5)
_say("echoes by the thousand", TAKES, flow(20, echo=True) * 1000)
_say(
    "flows of a session by the thousand",
    TAKES,
    frame(described(frames.FLOW, uint(0), uint(1000), uint(0), uint(1000))) * 1000,
)
_say("a flow that counts from elsewhere", TAKES, flow(20, count=0x80000000), flow(20, count=0xFFFFFFFF))
_say(
    "a flow of a window that is none", TAKES, _flow(0, 0, 0, 0, 0, 0, 20), _flow(0, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0, 0, 20)
)
_say("a flow that is ahead of what was sent", TAKES, _flow(0xFFFF, 10, 77, 10, 0, 0, 20))
_say("a flow without anything", TAKES, frame(b"\0\x53\x13\x45"))
_say("a producer that gives credit", SENDS, flow(1000) + flow(1000, drain=True))
_say("a producer that says what it has", SENDS, flow(0, available=0xFFFFFFFF) * 500)
_say(
    "a flow with properties without end",
    TAKES,
    frame(
        described(
            frames.FLOW,
            uint(0),
            uint(9),
            uint(0),
            uint(9),
            uint(0),
            uint(0),
            uint(9),
            None,
            False,
            False,
            _arrays(DEEP),
        )
    ),
)

# -- transfers ---------------------------------------------------------------------------------------------------------

_say("a tag of 33 bytes", SENDS, transfer(0, tag=bytes(33)), ends="amqp:invalid-field")
_say("a tag of 3,000 bytes", SENDS, transfer(0, tag=bytes(3000)), ends="amqp:invalid-field")
_say("an empty tag", SENDS, transfer(0, tag=b""))
_say("the same tag again and again", SENDS, b"".join(transfer(number, tag=b"x") for number in range(3)))
_say(
    "tags of 30,000 bytes that are taken",
    OPENED + attach(SENDER, "taken"),
    b"".join(transfer(number, tag=bytes(30_000)) for number in range(9)),
    ends="amqp:invalid-field",
)
_say(
    "more than the credit there is",
    SENDS,
    b"".join(transfer(number) for number in range(20)),
    detached="amqp:link:transfer-limit-exceeded",
)
_say(
    "a message without any credit",
    OPENED + attach(SENDER, "nobody"),
    transfer(0),
    detached="amqp:link:transfer-limit-exceeded",
)
_say(
    "messages that are aborted",
    OPENED + attach(SENDER, "taken"),
    *(
        b"".join(
            transfer(number, bytes(500), more=True) + transfer(number, b"", aborted=True)
            for number in range(first, first + 8)
        )
        for first in range(0, 80, 8)
    ),
)
_say(
    "long messages that are aborted",
    OPENED + attach(SENDER, "taken"),
    *(
        transfer(number, b"\0Su\xb0\0\x10\0\0" + bytes(30_000), more=True)
        + transfer(number, bytes(32_000), more=True)
        + transfer(number, bytes(32_000), more=True)
        + transfer(number, b"", aborted=True)
        for number in range(8)
    ),
)
_say("a message in pieces of nothing", SENDS, *[transfer(0, b"", more=True) * 100] * 20)
_say("a message in pieces of a byte", OPENED + attach(SENDER, "taken"), *[transfer(0, b"\0", more=True) * 100] * 20)
_say(
    "a message that never ends",
    SENDS,
    transfer(0, b"\0Su\xb0\x7f\0\0\0" + bytes(30_000), more=True),
    transfer(0, bytes(30_000), more=True) * 9,
)
_say(
    "two messages at once on a link", SENDS, transfer(0, more=True) + transfer(1, more=True), ends="amqp:invalid-field"
)
_say("a message whose number changes", SENDS, transfer(0, more=True) + transfer(5), ends="amqp:invalid-field")
_say(
    "a message that is unsettled after all",
    SENDS,
    transfer(0, settled=True, more=True) + transfer(0),
    ends="amqp:invalid-field",
)
_say(
    "a message of a format that is none",
    SENDS,
    frame(described(frames.TRANSFER, uint(0), uint(0), binary(b"x"), uint(0xFFFFFFFF), False, False) + HELLO),
)
_say(
    "a message with a state without end",
    SENDS,
    frame(
        described(frames.TRANSFER, uint(0), uint(0), binary(b"x"), uint(0), False, False, None, _arrays(DEEP)) + HELLO
    ),
)
_say(
    "a message that is none",
    ANONYMOUS,
    b"".join(
        transfer(number, data)
        for number, data in enumerate(
            [b"", b"\xff" * 100, b"\0" * 5000, _arrays(500), b"\0Ss\xd0\x7f\xff\xff\xff\0\0\0\5"]
        )
    ),
)
_say(
    "messages to nowhere",
    ANONYMOUS,
    b"".join(transfer(number, b"\0Ss\xc0\x0c\3@@\xa1\7nowhere" + HELLO) for number in range(100)),
)
_say(
    "messages to an address of separators",
    ANONYMOUS,
    b"".join(
        transfer(number, b"\0Ss\xd0\0\0\x08\x0b\0\0\0\3@@\xb1\0\0\x08\0" + b"./" * 1024 + HELLO) for number in range(20)
    ),
)
_say(
    "messages that wait to be taken",
    ANONYMOUS,
    b"".join(transfer(number, b"\0Ss\xc0\x0c\3@@\xa1\7waiting" + HELLO) for number in range(100)),
)
_say(
    "long messages that wait to be taken",
    ANONYMOUS,
    b"".join(transfer(number, b"\0Ss\xc0\x0c\3@@\xa1\7waiting" + HELLO + bytes(30_000)) for number in range(50)),
)
_say(
    "a producer that settles first",
    OPENED + attach(SENDER, "taken"),
    transfer(0) + disposition(0, 0, role=SENDER),
    disposition(0, 9, role=SENDER) * 100,
)
_say(
    "a producer to all that leaves in the middle",
    OPENED + attach(SENDER, "shared"),
    transfer(0) + transfer(1, bytes(30_000), more=True),
)

# -- dispositions ------------------------------------------------------------------------------------------------------

_say("a disposition of two billion messages", TAKES, disposition(0, 0x7FFFFFFE))
_say("dispositions of all there is", TAKES, _state(0, 0xFFFF, described(0x24), settled=False) * 500)
_say("dispositions by the thousand", TAKES, *[_state(0, 5, described(0x26), settled=False) * 200] * 5)
_say(
    "a disposition with a state of 30,000 bytes",
    TAKES,
    _state(0, 20, described(0x27, False, False, mapped({symbol("x-opt-x"): "y" * 30_000})), settled=False),
    disposition(0, 20),
)
_say(
    "a disposition with a state without end",
    TAKES,
    _state(0, 20, described(0x27, False, False, _arrays(DEEP))),
    ends=TOO_MUCH,
)
_say(
    "a rejection that goes on and on",
    TAKES,
    _state(0, 20, described(0x25, described(frames.ERROR, symbol("x" * 10_000), "y" * 10_000, _entries(500)))),
    ends=TOO_MUCH,
)
_say(
    "a rejection nested without end",
    TAKES,
    _state(0, 20, described(0x25, described(frames.ERROR, symbol("x"), "y", _nested(b"\xd1", DEEP)))),
    ends=TOO_MUCH,
)
for _name, _data in {
    "modification": described(0x27, True, False, _nulls(65_000)),
    "rejection": described(0x25, described(frames.ERROR, symbol("x"), "y", _nulls(65_000))),
    "state that is none": described(0x99, _nulls(65_000)),
}.items():
    for _settled in (True, False):
        _say(
            f"a {_name} of all, with 65,000 values in ten bytes, {'settled' if _settled else 'not settled'}",
            TAKES,
            _state(0, 0xFFFF, _data, settled=_settled),
            ends=TOO_MUCH,
        )
_say("a state that is none", TAKES, _state(0, 3, described(0x99, "x")), _state(4, 8, _entries(3)))
_say("a disposition without a first", TAKES, frame(described(frames.DISPOSITION, True)))
_say("messages given back again and again", TAKES, *[_state(0, 1000, described(0x26)) + flow(20)] * 20)
_say("messages not wanted again and again", TAKES, *[_state(0, 1000, described(0x27, True, True)) + flow(20)] * 20)
_say("messages settled twice", TAKES, disposition(0, 5) * 10)
_say(
    "messages received to a place that is none",
    TAKES,
    _state(0, 5, described(0x23, uint(0xFFFFFFFF), frames.ulong(1 << 63)), settled=False),
)

# -- consumers of all --------------------------------------------------------------------------------------------------

_say("a consumer of all that never settles", SHARES, flow(1000, count=0))
_say("a consumer of all that gives everything back", SHARES, *[_state(0, 1000, described(0x26)) + flow(20)] * 10)
_say(
    "a consumer of all that rejects with all it has",
    SHARES,
    *[_state(0, 1000, described(0x25, described(frames.ERROR, symbol("x"), "y" * 20_000))) + flow(20)] * 5,
)
_say(
    "a consumer of all that comes and goes",
    OPENED,
    *[(attach(RECEIVER, "shared") + flow(5) + frames.detach()) * 10] * 10,
)
_say(
    "a consumer of all without a window",
    AMQP + open_() + begin(window=0) + attach(RECEIVER, "shared") + flow(20),
    begin(1),
)
_say("a consumer of all that drains", SHARES, *[flow(20, drain=True), flow(20)] * 10)

# -- questions to the router itself ------------------------------------------------------------------------------------

ASKS = OPENED + attach(SENDER, "$management")


def _request(reply_to: object = "taken", **properties: object) -> bytes:
    """A request, with these application properties."""
    pairs = mapped({encoded(name): value for name, value in properties.items()})
    return described(0x73, None, None, None, None, reply_to, "x" * 3000) + b"\0\x53\x74" + pairs


EXPLAIN = _request(operation="explain", address="taken", seconds=uint(0))

_say("questions that are no messages", ASKS, *[transfer(at, b"\xff" * 50) for at in range(20)])
_say("questions without a word", ASKS, *[transfer(at, b"") for at in range(20)])
_say(
    "more questions than there is credit for",
    ASKS,
    b"".join(transfer(at, EXPLAIN) for at in range(100)),
    detached="amqp:link:transfer-limit-exceeded",
)
_say("questions, and gone", ASKS, *[transfer(at, EXPLAIN, settled=True) for at in range(16)], close(), ends="")
_say("questions whose answers go to all", ASKS, *[transfer(at, _request("shared", operation="x")) for at in range(3)])
_say("questions whose answers are questions", ASKS, transfer(0, _request("$management", operation="explain")))
_say("questions that are too long", ASKS, *[transfer(at, EXPLAIN + bytes(20_000)) for at in range(20)])
_say("a question without end", ASKS, *[transfer(0, EXPLAIN + bytes(20_000), more=True)] * 10)
_say("a question that is taken back", ASKS, transfer(0, EXPLAIN, more=True), transfer(0, b"", aborted=True))
_say("questions about nothing", ASKS, transfer(0, _request(operation=uint(7))), transfer(1, _request(operation=True)))

# -- the end -----------------------------------------------------------------------------------------------------------

_say("frames behind close", TAKES, close() + flow(1) + attach(SENDER), ends="")
_say(
    "a close with an error without end",
    TAKES,
    frame(described(frames.CLOSE, described(frames.ERROR, symbol("x"), "y" * 20_000, _nested(b"\xd1", 500)))),
    ends="",
)
_say("close twice", OPENED, close() + close(), ends="")
