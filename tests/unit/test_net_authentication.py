"""Who comes through the door, by which checkers, and what others can learn from being turned away. Without sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scramp import ScramClient
from twisted.cred.checkers import ANONYMOUS, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from zope.interface import alsoProvides

from tests.net.frames import AMQP, SASL, taken_apart
from tests.unit.amqp.test_mechanisms import AUTH, CHALLENGE, OK, OUTCOME, SYS_TEMP, answered, init, keys, response
from txrouter.amqp.mechanisms import ScramKeys
from txrouter.amqp.sasl import Negotiation
from txrouter.core.users import User
from txrouter.net.authentication import Door, Entry, IScram, served_by
from txrouter.net.checkers import PasswordChecker
from txrouter.net.passwords import PasswordFile, Secret, store

HOST = "192.0.2.7"
PLAIN = init("PLAIN", b"\0alice\0pencil")


class Visitor:
    """A connection, as its entry sees it."""

    def __init__(self, door: Door, *, tls: bool = True) -> None:
        transport: Any = StringTransport(peerAddress=IPv4Address("TCP", HOST, 1))
        self.transport = transport
        if tls:
            alsoProvides(self.transport, ISSLTransport)
            self.transport.getPeerCertificate = lambda: None
        self.user: User | None = None
        self.data = b""
        self.failure = ""
        self.unjudged = False
        self.entry = Entry(door, self)

    def write(self, data: memoryview) -> int:
        self.transport.write(bytes(data))
        return len(data)

    def let_in(self, user: User, data: bytes) -> None:
        assert self.user is None
        self.user, self.data = user, data

    def turned_away(self, negotiation: Negotiation) -> None:
        assert self.failure == ""
        self.failure, self.unjudged = negotiation.failure, negotiation.unjudged

    @property
    def reading(self) -> bool:
        return bool(self.transport.producerState == "producing")

    def says(self, *data: bytes) -> list[Any]:
        """Say this, and return what is answered."""
        for each in data:
            self.entry.receive(each)
        return self.hears()

    def hears(self) -> list[Any]:
        said: bytes = self.transport.value()
        self.transport.clear()
        return answered(said)

    def mechanisms(self) -> list[str]:
        """What it is offered."""
        self.entry.receive(SASL)
        ((frame,), _) = taken_apart(self.transport.value().removeprefix(SASL))
        self.transport.clear()
        (names,) = frame.fields
        return list(names)


class Checker:
    """Answers when a test says so."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.cancelled = 0
        self.answer: Deferred[Any] = Deferred(self._cancel)

    def _cancel(self, answer: Deferred[Any]) -> None:
        self.cancelled += 1

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        self.asked.append(credentials)
        return self.answer


class Counting:
    """Computes at once, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, function: Callable[..., bool], *arguments: object) -> Deferred[bool]:
        self.count += 1
        return maybeDeferred(function, *arguments)


def asked(door: Door) -> Visitor:
    """Somebody who has said who they are, by PLAIN."""
    visitor = Visitor(door)
    assert visitor.mechanisms() == ["PLAIN"]
    assert visitor.says(PLAIN) == []
    return visitor


@pytest.fixture
def checker() -> Checker:
    return Checker()


@pytest.fixture
def door(checker: Checker) -> Door:
    """A door behind which the checker is."""
    return Door(["PLAIN"], [checker], allow_bare=False)


# -- any checker -------------------------------------------------------------------------------------------------------


def test_a_checker_of_twisted_lets_in_whom_it_knows() -> None:
    known = InMemoryUsernamePasswordDatabaseDontUse(alice=b"pencil")
    visitor = asked_and_answered(Door(["PLAIN"], [known], allow_bare=False), PLAIN)
    assert visitor.says(AMQP + b"more") == []
    assert visitor.user == User("alice", "PLAIN", HOST)
    assert visitor.data == AMQP + b"more"


def asked_and_answered(door: Door, said: bytes, answer: list[Any] = OK) -> Visitor:
    visitor = Visitor(door)
    visitor.mechanisms()
    assert visitor.says(said) == answer
    return visitor


@pytest.mark.parametrize("said", [b"\0alice\0pen", b"\0bob\0pencil"])
def test_a_checker_of_twisted_turns_others_away(said: bytes) -> None:
    known = InMemoryUsernamePasswordDatabaseDontUse(alice=b"pencil")
    visitor = asked_and_answered(Door(["PLAIN"], [known], allow_bare=False), init("PLAIN", said), AUTH)
    assert visitor.user is None
    assert visitor.failure == "there is no such user, or the password is not theirs"


@pytest.mark.parametrize("said", [AMQP, SASL + init("ANONYMOUS") + AMQP])
def test_who_is_nobody_is_anonymous(said: bytes) -> None:
    visitor = Visitor(Door())
    visitor.entry.receive(said)
    assert visitor.user == User("anonymous", "ANONYMOUS" if said != AMQP else "", HOST)


def test_a_checker_is_asked_for_bytes(door: Door, checker: Checker) -> None:
    asked(door)
    (credentials,) = checker.asked
    assert (credentials.username, credentials.password) == (b"alice", b"pencil")


@pytest.mark.parametrize(
    ("avatar", "name"), [("Alice", "Alice"), (b"Alice", "Alice"), (ANONYMOUS, "anonymous"), (7, "7")]
)
def test_a_checker_says_who_it_is(door: Door, checker: Checker, avatar: object, name: str) -> None:
    visitor = asked(door)
    checker.answer.callback(avatar)
    visitor.says(AMQP)
    assert visitor.user == User(name, "PLAIN", HOST)


def test_a_user_without_a_name_is_none(door: Door, checker: Checker) -> None:
    visitor = asked(door)
    checker.answer.callback(b"")
    assert visitor.hears() == AUTH
    assert visitor.user is None


# -- while a checker thinks --------------------------------------------------------------------------------------------


def test_while_a_checker_thinks_nothing_is_read_and_what_came_is_kept(door: Door, checker: Checker) -> None:
    visitor = asked(door)
    assert not visitor.reading
    assert visitor.says(AMQP, b"more") == []
    assert visitor.user is None
    checker.answer.callback(b"alice")
    assert visitor.hears() == OK
    assert visitor.reading
    assert visitor.data == AMQP + b"more"


def test_a_checker_that_says_no_in_the_end(door: Door, checker: Checker) -> None:
    visitor = asked(door)
    checker.answer.errback(UnauthorizedLogin())
    assert visitor.hears() == AUTH
    assert visitor.says(AMQP) == []
    assert visitor.user is None


def test_a_checker_that_breaks_lets_nobody_in_and_the_password_is_not_told(door: Door, checker: Checker) -> None:
    visitor = asked(door)
    checker.answer.errback(OSError("no database for alice with pencil"))
    assert visitor.hears() == SYS_TEMP
    assert (visitor.unjudged, visitor.failure) == (True, "OSError: no database for alice with …")
    assert visitor.user is None


def test_who_gives_up_is_forgotten_and_the_checker_may_stop(door: Door, checker: Checker) -> None:
    visitor = asked(door)
    visitor.entry.give_up()
    assert checker.cancelled == 1
    assert visitor.hears() == []
    assert (visitor.user, visitor.failure) == (None, "")


def test_a_checker_that_answers_too_late_lets_nobody_in(door: Door, checker: Checker) -> None:
    late: Deferred[Any] = Deferred(lambda answer: answer.callback(b"alice"))
    checker.answer = late
    visitor = asked(door)
    visitor.entry.give_up()
    assert visitor.hears() == []
    assert visitor.user is None


# -- the mechanisms ----------------------------------------------------------------------------------------------------


def test_plain_is_offered_under_tls_only(door: Door) -> None:
    assert Visitor(door, tls=True).mechanisms() == ["PLAIN"]
    visitor = Visitor(door, tls=False)
    visitor.entry.receive(SASL)
    assert visitor.failure == "there is no way in for who comes like this"


def test_plain_without_being_offered_it_is_of_no_use(checker: Checker) -> None:
    visitor = Visitor(Door(["PLAIN", "ANONYMOUS"], [checker]), tls=False)
    assert visitor.mechanisms() == ["ANONYMOUS"]
    assert visitor.says(PLAIN) == AUTH
    assert checker.asked == []


def test_plain_without_tls_can_be_permitted(checker: Checker) -> None:
    assert Visitor(Door(["PLAIN"], [checker], plain_without_tls=True), tls=False).mechanisms() == ["PLAIN"]


def test_who_has_shown_no_certificate_is_not_offered_external() -> None:
    assert Visitor(Door(["EXTERNAL", "ANONYMOUS"])).mechanisms() == ["ANONYMOUS"]


def test_a_door_without_a_checker_for_a_mechanism_cannot_be() -> None:
    with pytest.raises(ValueError, match="there is no checker for SCRAM-SHA-256"):
        Door(["SCRAM-SHA-256"], [Checker()])
    with pytest.raises(ValueError, match="there is no way in"):
        Door([], allow_bare=False)


# -- the password file -------------------------------------------------------------------------------------------------

SCRAMS = ["SCRAM-SHA-256", "SCRAM-SHA-1"]


class Passwords:
    """A password file in which alice is, and the door of a listener that has it."""

    def __init__(self, path: Path) -> None:
        store(path, "alice", Secret.of("pencil", 4096))
        self.path = path
        self.compute = Counting()
        self.checker = PasswordChecker(PasswordFile(path, pytest.fail), self.compute)
        self.door = Door([*SCRAMS, "PLAIN"], [self.checker], allow_bare=False)


@pytest.fixture
def passwords(tmp_path: Path) -> Passwords:
    return Passwords(tmp_path / "passwords")


def test_the_password_file_serves_all_mechanisms_with_passwords(passwords: Passwords) -> None:
    assert served_by(passwords.checker) == [*SCRAMS, "PLAIN"]


def test_by_plain(passwords: Passwords) -> None:
    visitor = asked_and_answered(passwords.door, PLAIN)
    visitor.says(AMQP)
    assert visitor.user == User("alice", "PLAIN", HOST)


def by_scram(door: Door, mechanism: str, user: str, password: str) -> tuple[Visitor, list[Any]]:
    """Somebody who has proved to be this user, or not, and what they were answered."""
    visitor = Visitor(door)
    visitor.mechanisms()
    client = ScramClient([mechanism], user, password)
    ((performative, (challenge,)),) = visitor.says(init(mechanism, client.get_client_first().encode()))
    assert performative == CHALLENGE
    assert visitor.reading
    client.set_server_first(challenge.decode())
    answer = visitor.says(response(client.get_client_final().encode()))
    if answer[0][1][0] == 0:
        client.set_server_final(answer[0][1][1].decode())
    return visitor, answer


@pytest.mark.parametrize("mechanism", SCRAMS)
def test_by_scram(passwords: Passwords, mechanism: str) -> None:
    visitor, answer = by_scram(passwords.door, mechanism, "alice", "pencil")
    assert answer[0][:1] == (OUTCOME,)
    visitor.says(AMQP)
    assert visitor.user == User("alice", mechanism, HOST)


@pytest.mark.parametrize("mechanism", SCRAMS)
@pytest.mark.parametrize("user", ["alice", "bob"])
def test_by_scram_who_is_not_there_and_who_has_a_wrong_password_are_told_the_same(
    passwords: Passwords, mechanism: str, user: str
) -> None:
    visitor, answer = by_scram(passwords.door, mechanism, user, "guessed")
    assert answer == AUTH
    assert visitor.user is None
    assert visitor.failure == "there is no such user, or the password is not theirs"


@pytest.mark.parametrize("said", [b"\0alice\0guessed", b"\0bob\0guessed", b"\0alice\0pen\ncil", b"\0a\nb\0pencil"])
def test_by_plain_who_is_not_there_and_who_has_a_wrong_password_take_the_same_steps(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    hashed: list[tuple[str, int]] = []
    real = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        hashed.append((name, iterations))
        return real(name, password, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    visitor = asked_and_answered(passwords.door, init("PLAIN", said), AUTH)
    assert visitor.user is None
    assert hashed == [("sha256", 4096)]
    assert passwords.compute.count == 1


def test_a_change_of_the_file_counts_at_once(passwords: Passwords) -> None:
    store(passwords.path, "bob", Secret.of("brush", 4096))
    asked_and_answered(passwords.door, init("PLAIN", b"\0bob\0brush"))
    store(passwords.path, "alice", Secret.of("ink", 4096))
    asked_and_answered(passwords.door, PLAIN, AUTH)


# -- checkers that get SCRAM wrong -------------------------------------------------------------------------------------


class Gullible:
    """Has no patience for proofs."""

    credentialInterfaces = (IScram,)

    def __init__(self, *, ask: bool) -> None:
        self._ask = ask

    def requestAvatarId(self, credentials: Any) -> bytes:
        if self._ask:
            credentials.check(keys("SCRAM-SHA-256"))
        return b"alice"


@pytest.mark.parametrize("ask", [True, False])
def test_a_checker_that_does_not_wait_for_the_proof_lets_nobody_in(ask: bool) -> None:
    visitor = Visitor(Door(["SCRAM-SHA-256"], [Gullible(ask=ask)], allow_bare=False))
    visitor.mechanisms()
    first = ScramClient(["SCRAM-SHA-256"], "alice", "secret").get_client_first()
    assert visitor.says(init("SCRAM-SHA-256", first.encode()))[-1:] == AUTH
    visitor.says(AMQP)
    assert visitor.user is None
    assert visitor.failure


class Believing(Gullible):
    """Lets in whoever proves it, or does not."""

    def requestAvatarId(self, credentials: Any) -> Any:
        return credentials.check(keys("SCRAM-SHA-256")).addCallback(lambda right: b"alice")


def test_a_checker_that_does_not_look_at_the_proof_lets_nobody_in_either() -> None:
    door = Door(["SCRAM-SHA-256"], [Believing(ask=True)], allow_bare=False)
    visitor, answer = by_scram(door, "SCRAM-SHA-256", "alice", "guessed")
    assert answer == AUTH
    assert visitor.user is None


class Insisting(Gullible):
    """Asks twice."""

    def requestAvatarId(self, credentials: Any) -> Any:
        credentials.check(ScramKeys(bytes(16), bytes(32), bytes(32), 4096))
        return credentials.check(keys("SCRAM-SHA-256"))


def test_a_proof_is_asked_for_once() -> None:
    visitor = Visitor(Door(["SCRAM-SHA-256"], [Insisting(ask=True)], allow_bare=False))
    visitor.mechanisms()
    first = ScramClient(["SCRAM-SHA-256"], "alice", "secret").get_client_first()
    assert visitor.says(init("SCRAM-SHA-256", first.encode()))[-1:] == SYS_TEMP
    assert visitor.unjudged


def test_who_gives_up_in_the_middle_of_the_proof_is_forgotten(passwords: Passwords) -> None:
    visitor = Visitor(passwords.door)
    visitor.mechanisms()
    client = ScramClient(["SCRAM-SHA-256"], "alice", "pencil")
    ((_, (challenge,)),) = visitor.says(init("SCRAM-SHA-256", client.get_client_first().encode()))
    client.set_server_first(challenge.decode())
    visitor.entry.give_up()
    assert visitor.says(response(client.get_client_final().encode())) == []
    assert (visitor.user, visitor.failure) == (None, "")
