"""The SASL mechanisms, each as the steps that it takes, without I/O and without knowing who may come in.

The steps are a generator. What it yields is either a challenge for the client, as bytes, upon which it is sent the
client's response; or a claim, which somebody else has to judge, upon which it is sent what they found. It ends with
what the outcome is to say to a client that is let in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from scramp import ScramException, ScramMechanism

__all__ = [
    "MECHANISMS",
    "Anonymous",
    "Certified",
    "Claim",
    "Password",
    "Rejected",
    "ScramKeys",
    "ScramProof",
    "ScramUser",
    "Steps",
]


@dataclass(frozen=True, slots=True)
class Anonymous:
    """They do not say who they are."""

    user = ""


@dataclass(frozen=True, slots=True)
class Certified:
    """They are whom their certificate says; `user`, if it is not empty, is the one that they want to be."""

    user: str


@dataclass(frozen=True, slots=True)
class Password:
    """They are this user, and this is the password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScramUser:
    """They are this user, and will prove it once they know the salt: what is wanted are the user's `ScramKeys`."""

    user: str
    mechanism: str


@dataclass(frozen=True, slots=True)
class ScramProof:
    """They are this user, and the proof is right; or it is not."""

    user: str
    right: bool


Claim = Anonymous | Certified | Password | ScramUser | ScramProof


class ScramKeys(NamedTuple):
    """What is kept of a password to recognise it by SCRAM, as RFC 5802 has it; the password cannot be told from it."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


class Rejected(Exception):
    """The client did not say who it is in a way that the mechanism knows, or could not prove it."""


Steps = Generator[bytes | Claim, Any, bytes]


def _anonymous(response: bytes | None) -> Steps:
    # the response is a trace, for people; it means nothing
    yield Anonymous()
    return b""


def _external(response: bytes | None) -> Steps:
    # an empty response is one: it says that nobody else is meant
    if response is None:
        response = yield b""
    yield Certified(_text(response))
    return b""


def _plain(response: bytes | None) -> Steps:
    if response is None:
        response = yield b""
    parts = _text(response).split("\0")
    if len(parts) != 3:
        raise Rejected("a response that is not `NUL user NUL password`")
    other, user, password = parts
    if not user or not password:
        raise Rejected("no user, or no password")
    if other not in ("", user):
        raise Rejected("a user who wants to be another")
    yield Password(user, password)
    return b""


def _scram(name: str) -> Callable[[bytes | None], Steps]:
    def steps(response: bytes | None) -> Steps:
        if response is None:
            response = yield b""
        first = _text(response)
        user = _user_named_in(first)
        keys: ScramKeys = yield ScramUser(user, name)
        server = ScramMechanism(name).make_server(lambda user: keys)
        try:
            server.set_client_first(first)
            final = _text((yield server.get_server_first().encode()))
            server.set_client_final(final)
        except (ScramException, Rejected) as error:
            yield ScramProof(user, False)
            raise Rejected(f"no proof: {error}") from None
        yield ScramProof(user, True)
        outcome: str = server.get_server_final()
        return outcome.encode()

    def _user_named_in(first: str) -> str:
        named = []

        def note(user: str) -> ScramKeys:
            named.append(user)
            return ScramKeys(bytes(16), b"", b"", 4096)

        # scramp asks for a user's keys in the middle of reading a message, and cannot wait: this is a rehearsal
        try:
            ScramMechanism(name).make_server(note).set_client_first(first)
        except ScramException as error:
            raise Rejected(str(error)) from None
        return named[0]

    return steps


def _text(response: bytes) -> str:
    try:
        return response.decode()
    except UnicodeDecodeError:
        raise Rejected("a response that is not in UTF-8") from None


MECHANISMS: Final[dict[str, Callable[[bytes | None], Steps]]] = {
    "SCRAM-SHA-256": _scram("SCRAM-SHA-256"),
    "SCRAM-SHA-1": _scram("SCRAM-SHA-1"),
    "EXTERNAL": _external,
    "PLAIN": _plain,
    "ANONYMOUS": _anonymous,
}
"""The steps of each mechanism, from the initial response of the client on; None where it sent none."""
