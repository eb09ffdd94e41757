"""What is fuzzed: a function of bytes for everything that parses some, which raises only if it finds a fault.

A target knows more than that nothing may crash. What comes in pieces has to mean the same as what comes at once; what
another parser finds, ours has to find too; what is over must leave nothing behind.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any, Final

import proton
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.fuzz.place import Place
from txrouter.amqp import sections
from txrouter.amqp.mechanisms import MECHANISMS, Certified, Password, ScramKeys, ScramProof, ScramUser
from txrouter.amqp.sasl import Negotiation
from txrouter.amqp.sasl_frames import MAX_FRAME
from txrouter.client import shown
from txrouter.config import Config, ConfigError
from txrouter.core.addresses import MAX_LENGTH, AddressTable, Distribution, normalise, tokens
from txrouter.core.deliveries import Malformed
from txrouter.net.passwords import Secret, _read
from txrouter.net.protocol import RouterFactory
from txrouter.net.proxied import behind_haproxy
from txrouter.policies import pull

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
        assert negotiation.remainder.startswith(b"AMQP\0\1\0\0")
    elif negotiation.state == "open":
        assert len(negotiation._input) < MAX_FRAME + 8
    else:
        assert negotiation.failure
        assert negotiation.remainder == b""
        assert negotiation.receive(said) == b""


# -- sections ----------------------------------------------------------------------------------------------------------

_ALIKE: Final = {
    "to": "address",
    "subject": "subject",
    "reply_to": "reply_to",
    "group_id": "group_id",
}
"""Texts of a message, by our name and proton's."""


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
    if data.count(b"\x53\x73") + data.count(b"amqp:properties:list") > 1:
        return  # of several sections of a kind proton takes the last
    if any(_found(sections.field, data, name, True)[0] == "malformed" for name in sections.FIELDS):
        return  # of a field of the wrong type it makes what it can
    decoded = proton.Message()
    try:
        decoded.decode(data)
    except Exception:
        return  # it says that of messages too that we can read as far as we want
    for name, theirs in _ALIKE.items():
        kind, ours = _found(sections.field, data, name, True)
        if kind == "value" and isinstance(ours, str) and "\0" not in ours:
            known = getattr(decoded, theirs)
            assert known == ours or known is None, (name, known, ours)


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
    """The same, in frames of the right length: a channel, two bytes of length, and a body each."""
    said = [b"AMQP\0\1\0\0"]
    at = 0
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        body = data[at + 3 : at + 3 + size]
        said.append((8 + len(body)).to_bytes(4, "big") + bytes((2, 0, 0, data[at])) + body)
        at += 3 + size
    _here().suffers([b"".join(said)])


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


# -- files -------------------------------------------------------------------------------------------------------------


_FILES: Final = {"auth", "certificate", "client_ca", "passwords", "private_key"}


def _reaches_out(data: object) -> bool:
    """Whether a config names files that are to be read, or modules to be imported: those would not be ours."""
    if isinstance(data, list):
        return any(map(_reaches_out, data))
    if not isinstance(data, dict):
        return False
    return (
        bool(_FILES & set(data))
        or any(":" in str(data.get(key, "")) for key in ("distribution", "default_distribution"))
        or ("endpoint" in data and not str(data["endpoint"]).startswith(("tcp:", "unix:x")))
        or any(map(_reaches_out, data.values()))
    )


def config(data: bytes) -> None:
    """A config file."""
    try:
        given = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return
    if _reaches_out(given):
        return
    try:
        found = Config.from_dict(given)
    except ConfigError as error:
        problems = error.problems
    else:
        problems = ()
        _use(found)
    assert all(problem.isprintable() for problem in problems), problems


def _use(found: Config) -> None:
    found.table()
    rules = found.rules().of("alice", 0)
    assert rules is None or rules.decide("send", "x").why


def passwords(data: bytes) -> None:
    """A password file."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        return
    contents = _read(lines)
    assert set(contents.wrong) <= set(range(1, len(lines) + 1))
    for secret in contents.users.values():
        assert all(isinstance(keys, ScramKeys) for keys in secret.keys.values())


# -- addresses ---------------------------------------------------------------------------------------------------------


def _matches(pattern: list[str], path: list[str]) -> bool:
    """As the definition of patterns has it, and slowly."""
    reached = {0}
    for token in pattern:
        if token == "#":
            reached = set(range(min(reached, default=len(path) + 1), len(path) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(path) and token in ("*", path[at])}
    return len(path) in reached


def address(data: bytes) -> None:
    """A pattern and an address, on a line each."""
    try:
        pattern, _, name = data.decode().partition("\n")
    except UnicodeDecodeError:
        return
    table = AddressTable(Distribution(pull.factory, None))
    found = Distribution(pull.factory, "found")
    try:
        path = normalise(name)
        table.add_pattern(pattern, found)
    except ValueError:
        return
    assert len(path) <= MAX_LENGTH
    assert (table.find(path) is found) == _matches(tokens(normalise(pattern)), tokens(path))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    each.__name__.replace("_", "-"): each
    for each in (sasl, message, client_message, connection, frames, proxy, config, passwords, address)
}
"""By their names, which are those of the directories with their corpora too."""
