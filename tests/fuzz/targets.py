"""What is fuzzed: a function of bytes for everything that parses some, which raises only if it finds a fault.

A target knows more than that nothing may crash. What comes in pieces has to mean the same as what comes at once; what
another parser finds, ours has to find too; what is over must leave nothing behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import proton
from cproton_ffi import lib
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.fuzz.place import Place
from tests.fuzz.texts import access, address, config, passwords, server
from txrouter.amqp import sections
from txrouter.amqp.data import extent, read_map, read_symbols
from txrouter.amqp.mechanisms import MECHANISMS, Certified, Password, ScramProof, ScramUser
from txrouter.amqp.sasl import Negotiation
from txrouter.amqp.sasl_frames import MAX_FRAME
from txrouter.client import shown
from txrouter.core.deliveries import Malformed
from txrouter.net.passwords import Secret
from txrouter.net.protocol import RouterFactory
from txrouter.net.proxied import behind_haproxy

__all__ = ["TARGETS"]


def pieces(data: bytes) -> list[bytes]:
    """The data in pieces of 1 to 16 bytes, as the data say."""
    cut = []
    at = 0
    while at < len(data):
        size = data[at] % 16 + 1
        cut.append(data[at : at + size])
        at += size
    return cut


# -- SASL --------------------------------------------------------------------------------------------------------------

_DOORS: Final = [((*MECHANISMS,), True), (("ANONYMOUS",), True), (("SCRAM-SHA-256", "PLAIN"), False), ((), True)]
_KEYS: Final = Secret.of("pencil", 4096).keys


def _negotiate(door: int, said: list[bytes]) -> tuple[Negotiation, tuple[object, ...]]:
    """What comes of it where alice's password is `pencil`: all that does not depend on chance."""
    mechanisms, allow_bare = _DOORS[door % len(_DOORS)]
    negotiation = Negotiation(mechanisms, allow_bare)
    admitted = []
    for piece in said:
        negotiation.receive(piece)
        while negotiation.state == "asking":
            claim = negotiation.claim
            assert claim is not None
            if isinstance(claim, ScramUser):
                negotiation.challenge(_KEYS[claim.mechanism])
            elif isinstance(claim, Password) and claim.password != "pencil":
                negotiation.reject("wrong")
            elif isinstance(claim, ScramProof) and not claim.right:
                negotiation.reject("no proof")
            elif isinstance(claim, Certified) and claim.user:
                negotiation.reject("somebody else")
            else:
                admitted.append(claim)
                negotiation.admit()
        assert negotiation.state in ("open", "done", "failed")
    outcome = (negotiation.state, negotiation.claimed, negotiation.mechanism, negotiation.rejected, admitted)
    return negotiation, outcome


def sasl(data: bytes) -> None:
    """What a client says before AMQP, at one of several doors."""
    door, said = data[:1], data[1:]
    negotiation, outcome = _negotiate(door[0] if door else 0, [said])
    _, in_pieces = _negotiate(door[0] if door else 0, pieces(said))
    assert outcome == in_pieces
    if negotiation.state == "done":
        assert outcome[-1], "somebody is in whom nobody let in"
        mechanisms, allow_bare = _DOORS[door[0] % len(_DOORS)]
        assert negotiation.mechanism in mechanisms or (allow_bare and not negotiation.mechanism), "by no way there is"
        assert negotiation.remainder.startswith(b"AMQP\0\1\0\0")
    elif negotiation.state == "open":
        assert len(negotiation._input) < MAX_FRAME + 8
    else:
        assert negotiation.failure
        assert negotiation.remainder == b""
        assert negotiation.receive(said) == b""


# -- sections ----------------------------------------------------------------------------------------------------------

_ALIKE: Final = {
    "durable": "durable",
    "priority": "priority",
    "first_acquirer": "first_acquirer",
    "delivery_count": "delivery_count",
    "message_id": "id",
    "user_id": "user_id",
    "to": "address",
    "subject": "subject",
    "reply_to": "reply_to",
    "correlation_id": "correlation_id",
    "content_type": "content_type",
    "content_encoding": "content_encoding",
    "group_id": "group_id",
    "group_sequence": "group_sequence",
    "reply_to_group_id": "reply_to_group_id",
}
"""The fields of a message, by our name and proton's."""


def _found(find: Callable[[bytes, str, bool], object], data: bytes, name: str, complete: bool) -> tuple[str, object]:
    try:
        return "value", find(data, name, complete)
    except sections.Short:
        assert not complete, "there is no more of it"
        return "short", None
    except Malformed:
        return "malformed", None


def message(data: bytes) -> None:
    """The fields of a message, as policies see them."""
    wanted: list[tuple[Any, str]] = [(sections.field, name) for name in sections.FIELDS]
    for find, name in [*wanted, (sections.application_property, "key")]:
        whole = _found(find, data, name, True)
        for end in (len(data) // 2, len(data)):
            part = _found(find, data[:end], name, False)
            # what arrives later can only make known what is not known yet
            assert part == whole or part[0] == "short" or whole[0] == "malformed", (name, part, whole)
    _compare(data)


def _compare(data: bytes) -> None:
    """See that what we find proton finds too, in a message that it takes for one."""
    if b"amqp:" in data or data.count(b"\x53\x70") > 1 or data.count(b"\x53\x73") > 1:
        return  # proton does not know sections by their symbols; and of several of a kind it takes the last
    if any(_found(sections.field, data, name, True)[0] == "malformed" for name in sections.FIELDS):
        return  # of a field of the wrong type it makes what it can
    decoded = proton.Message()
    try:
        decoded.decode(data)
    except Exception:
        return  # it says that of messages too that we can read as far as we want
    for name, theirs in _ALIKE.items():
        kind, ours = _found(sections.field, data, name, True)
        if kind == "value" and ours is not None and not (isinstance(ours, str) and "\0" in ours):
            try:
                known = getattr(decoded, theirs)
            except Exception:
                continue
            # what is of another type than it should be, proton leaves as it is in a new message
            assert known in (ours, getattr(_NEW, theirs), "None"), (name, known, ours)


_NEW: Final = proton.Message()


def client_message(data: bytes) -> None:
    """A message that `txrouter receive` shows."""
    try:
        received = shown.read(data)
    except ValueError:
        return
    json.loads(shown.as_json(received, address="x", size=len(data), settled=False))
    shown.as_bytes(received, terminal=False)
    text = shown.as_bytes(received, terminal=True).decode()
    assert all(each.isprintable() or each in "\n\t" for each in text), "a terminal would obey it"


def fields(data: bytes) -> None:
    """What a message's fields shall be: proton writes a message with them, and each of them has to be found."""
    wanted = _wanted(data)
    written = proton.Message(data[:40], durable=True, **{_ALIKE[name]: given for name, given in wanted.items()})
    properties: Any = {"other": len(data), "key": wanted.get("subject", True)}
    written.properties = properties
    encoded = bytes(written.encode())
    for find, name, given in [
        *((sections.field, name, given) for name, given in wanted.items()),
        (sections.application_property, "key", properties["key"]),
        (sections.application_property, "other", len(data)),
        (sections.application_property, "none", None),
    ]:
        assert _found(find, encoded, name, True) == ("value", given), name
        for end in range(0, len(encoded), 7):
            assert _found(find, encoded[:end], name, False) in (("short", None), ("value", given)), (name, end)


def _wanted(data: bytes) -> dict[str, Any]:
    pieces = iter([*data.split(b"\n"), *[b""] * 20])
    wanted: dict[str, Any] = {name: next(pieces).decode("utf-8", "replace").replace("\0", "") for name in _TEXTS}
    wanted |= {name: next(pieces).decode("ascii", "ignore").replace("\0", "") for name in _SYMBOLIC}
    wanted |= {name: int.from_bytes(next(pieces)[:size], "big") for name, size in _NUMBERS.items()}
    for name in ("message_id", "correlation_id"):
        given = next(pieces)
        kinds = (
            given.decode("utf-8", "replace"),
            given,
            int.from_bytes(given[:8], "big"),
            UUID(bytes=given[:16].ljust(16)),
        )
        wanted[name] = kinds[len(given) % 4]
    # proton writes nothing of what is empty, or as if it had not been said
    return {name: given for name, given in wanted.items() if given and given != getattr(_NEW, _ALIKE[name])}


_TEXTS: Final = ("to", "subject", "reply_to", "group_id", "reply_to_group_id")
_SYMBOLIC: Final = ("content_type", "content_encoding")
_NUMBERS: Final = {"priority": 1, "delivery_count": 4, "group_sequence": 4}


# -- values ------------------------------------------------------------------------------------------------------------

_MANY: Final = 1_000


def value(data: bytes) -> None:
    """A value that proton has decoded, like the properties of a link."""
    lent = lib.pn_data(0)
    try:
        whole = lib.pn_data_decode(lent, data, len(data)) == len(data)
        count, nesting = extent(lent, _MANY, _MANY)
        assert 0 <= nesting <= count <= _MANY + 1
        found = read_map(lent)
        symbols = read_symbols(lent)
        assert all(isinstance(each, str) for each in symbols)
        assert not (found and symbols)
        if whole:
            _compare_map(data, found, count)
    finally:
        lib.pn_data_free(lent)


def _compare_map(data: bytes, found: dict[str, object], count: int) -> None:
    decoder: Any = proton.Data()
    decoder.decode(data)
    decoder.rewind()
    decoder.next()
    try:
        theirs: Any = decoder.get_object()
    except Exception:
        return  # it makes objects of what it has without looking what that is
    if not isinstance(theirs, dict):
        assert not found
        return
    if count == 1 + 2 * len(theirs):  # it is flat, and no key is there twice
        for key, ours in found.items():
            assert theirs[key] == ours, (key, theirs[key], ours)


# -- connections -------------------------------------------------------------------------------------------------------

_place: Place | None = None


def _here() -> Place:
    global _place
    if _place is None:
        _place = Place()
    return _place


def connection(data: bytes) -> None:
    """What a client says from its AMQP header on."""
    _here().suffers(pieces(data[1:]) if data[:1] == b"\1" else [data[1:]])


def frames(data: bytes) -> None:
    """The same, in frames of the right length: a channel, two bytes of length, and a body each. One with a channel
    above 127 comes together with the one before it."""
    said = [b"AMQP\0\1\0\0"]
    at = 0
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        body = data[at + 3 : at + 3 + size]
        frame = (8 + len(body)).to_bytes(4, "big") + bytes((2, 0, 0, data[at] & 0x7F)) + body
        if data[at] & 0x80:
            said[-1] += frame
        else:
            said.append(frame)
        at += 3 + size
    _here().suffers(said)


class _Listening:
    """An endpoint that keeps the factory that is to listen."""

    def listen(self, factory: Any) -> None:
        self.factory = factory


class _Transport(StringTransport):
    def abortConnection(self) -> None:
        self.loseConnection()  # type: ignore[no-untyped-call]

    def unregisterProducer(self) -> None:
        """Like a socket, and unlike its base class, it does not mind to be told twice."""
        self.producer = None


def _proxied(said: list[bytes]) -> tuple[object, ...]:
    """Where a connection comes from that begins like this, and whether its header was refused."""
    place = _here()
    factory = RouterFactory(place.router, place.turn, "proxied")
    listening = _Listening()
    refused: list[str] = []
    behind_haproxy(listening, lambda _host, why: refused.append(why)).listen(factory)
    protocol = listening.factory.buildProtocol(_PEER)
    transport = _Transport(peerAddress=_PEER)  # type: ignore[no-untyped-call]
    protocol.makeConnection(transport)
    for piece in said:
        if not transport.disconnecting:
            protocol.dataReceived(piece)
    outcome = (bool(refused), protocol.wrappedProtocol.getPeer())
    place.ends_turn()
    protocol.connectionLost(Failure(ConnectionDone()))
    assert not factory.protocols
    place.check()
    return outcome


_PEER: Final = IPv4Address("TCP", "192.0.2.1", 9)


def proxy(data: bytes) -> None:
    """What comes to a listener behind HAProxy."""
    assert _proxied([data]) == _proxied(pieces(data))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        *(sasl, message, fields, client_message, value, connection, frames, proxy),
        *(config, passwords, address, access, server),
    )
}
"""By their names, which are those of the directories with their corpora too."""
