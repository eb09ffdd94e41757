"""Who gets in, over real sockets: proton's own client where it knows the mechanism, else a small one of ours."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import proton
import proton.utils
import pytest
from pytest_twisted import ensureDeferred
from scramp import ScramClient
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from tests.net import frames
from tests.net.authorities import Issued, authority
from tests.net.clients import Client
from tests.net.conftest import Start
from tests.net.frames import AMQP, SASL, binary, described, frame, symbol, taken_apart
from tests.net.links import ACCEPTED
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter
from tests.net.talks import Talk
from tests.net.waiting import reactor, wait_until
from txrouter.core.users import User
from txrouter.net.checkers import Threads
from txrouter.net.passwords import Secret, store

TCP = "tcp:0:interface=127.0.0.1"
SCRAMS = ["SCRAM-SHA-256", "SCRAM-SHA-1"]
INIT, CHALLENGE, RESPONSE, OUTCOME = 0x41, 0x42, 0x43, 0x44
HOST = "127.0.0.1"

# Twisted's own doing
with_tls = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    """A password file in which alice is."""
    path = tmp_path / "passwords"
    store(path, "alice", Secret.of("pencil", 4096))
    return path


def init(mechanism: str, response: bytes = b"") -> bytes:
    return frame(described(INIT, symbol(mechanism), binary(response)), kind=1)


class Guest(RawClient):
    """Says who it is, frame by frame."""

    @property
    def answers(self) -> list[frames.Frame]:
        """The SASL frames that came."""
        return taken_apart(self.received.removeprefix(SASL))[0]

    async def hears_number(self, count: int) -> frames.Frame:
        """Wait for so many frames, and return the last."""
        await wait_until(lambda: self.lost or len(self.answers) >= count)
        return self.answers[count - 1]


async def open_to_alice(start: Start, passwords: Path, **keys: object) -> RunningRouter:
    """A router with a listener that lets alice in."""
    listener = {"endpoint": TCP, "passwords": str(passwords), "plain_without_tls": True, **keys}
    return await start(listener=[listener])


def users(router: RunningRouter) -> list[User]:
    return [protocol.connection.user for protocol in router.connections if protocol.connection is not None]


# -- PLAIN -------------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_protons_client_with_its_password_gets_in_and_the_router_knows_who_it_is(
    start: Start, passwords: Path
) -> None:
    router = await open_to_alice(start, passwords)
    client = await router.client(login=("alice", "pencil"))
    sender, receiver = await client.sender("x"), await client.receiver("x", credit=1, takes=ACCEPTED)
    assert await sender.send(b"hello").over() == ACCEPTED
    assert len(receiver.messages) == 1
    alice = User("alice", "PLAIN", HOST)
    assert users(router) == [alice]
    address = router.core.addresses["x"]
    assert [*(each.user for each in address.producers), *(each.user for each in address.consumers)] == [alice, alice]


@pytest.mark.parametrize("login", [("alice", "guessed"), ("bob", "pencil")])
@ensureDeferred
async def test_who_has_no_password_is_told_so_counted_and_named_in_the_log(
    start: Start, passwords: Path, login: tuple[str, str]
) -> None:
    router = await open_to_alice(start, passwords)
    client = await router.client(login=login)
    await client.gone()
    assert not client.open
    assert client.engine.sasl().outcome == proton.SASL.AUTH
    assert router.core.counters["refused_logins"] == 1
    ((event, fields),) = router.reports
    assert event == "login refused"
    assert fields["user"] == repr(login[0])
    assert (fields["mechanism"], fields["host"]) == ("PLAIN", HOST)
    assert login[1] not in str(fields)


@ensureDeferred
async def test_protons_blocking_client(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)

    def connect(password: str) -> None:
        proton.utils.BlockingConnection(
            f"127.0.0.1:{router.port}",
            timeout=10,
            user="alice",
            password=password,
            allowed_mechs="PLAIN",
            allow_insecure_mechs=True,
        ).close()

    await deferToThread(connect, "pencil")
    with pytest.raises(proton.ConnectionException, match="unauthorized"):
        await deferToThread(connect, "guessed")


@ensureDeferred
async def test_txrouter_send_and_receive(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)
    server = f"amqp://alice:pencil@127.0.0.1:{router.port}"
    receiving = Talk(server).receive("x", "--count", "1")
    assert (await Talk(server).send("x").end()).ok
    assert (await receiving.end()).ok
    refused = await Talk(server.replace("pencil", "guessed")).send("x").end()
    assert refused.failure == "the server does not let us in with this user and password"
    refused = await Talk(f"127.0.0.1:{router.port}").send("x").end()
    assert refused.failure == (
        "the server does not let us in without a user and password, as in amqp://user:password@host"
    )


@ensureDeferred
async def test_a_new_password_counts_for_who_comes_next(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)
    first = await router.client(login=("alice", "pencil"))
    store(passwords, "alice", Secret.of("brush", 4096))
    second = await router.client(login=("alice", "brush"))
    third = await router.client(login=("alice", "pencil"))
    await third.gone()
    assert first.open
    assert second.open


@ensureDeferred
async def test_a_line_that_is_wrong_by_now_is_reported(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)
    with passwords.open("a") as file:
        file.write("bob secret\n")
    assert (await router.client(login=("alice", "pencil"))).open
    what = "line 3 is no user with keys as `txrouter passwd` writes them"
    assert router.reports == [("password file", {"file": str(passwords), "error": what})]


@with_tls
@ensureDeferred
async def test_over_tls_plain_needs_no_permission(start: Start, passwords: Path, certificate: Path) -> None:
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}"
    router = await open_to_alice(start, passwords, endpoint=endpoint, plain_without_tls=False)
    trusted = optionsForClientTLS("localhost", trustRoot=Certificate.loadPEM(certificate.read_bytes()))
    plain = clientFromString(reactor, f"tcp:127.0.0.1:{router.port}")
    client = await router.dial(Client("secret", login=("alice", "pencil")), wrapClientTLS(trusted, plain))
    await client.opened()
    assert users(router) == [User("alice", "PLAIN", HOST)]


@ensureDeferred
async def test_without_tls_plain_is_not_offered_and_not_taken(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords, plain_without_tls=False)
    guest = await router.dial(Guest())
    guest.say(SASL, init("PLAIN", b"\0alice\0pencil"))
    await wait_until(lambda: guest.lost)
    offer, outcome = guest.answers
    assert offer.fields == [SCRAMS]
    assert (outcome.performative, outcome.fields) == (OUTCOME, [1])
    assert router.core.counters["refused_logins"] == 1


# -- who says nothing --------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_amqp_where_sasl_is_required_is_refused(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)
    bare = await router.dial(Guest())
    bare.say(AMQP, frames.open_())
    await wait_until(lambda: bare.lost)
    assert bare.received == SASL
    assert router.core.counters["refused_handshakes"] == 1


@ensureDeferred
async def test_amqp_before_the_outcome_goes_no_further_than_who_sends_it(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)
    guest = await router.dial(Guest())
    attach = frames.attach(frames.SENDER)
    guest.say(SASL, init("PLAIN", b"\0alice\0guessed"), AMQP, frames.open_(), frames.begin(), attach)
    await wait_until(lambda: guest.lost)
    assert [each.performative for each in guest.answers][1:] == [OUTCOME]
    assert not router.used


@ensureDeferred
async def test_amqp_in_place_of_a_response_is_refused(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)
    guest = await router.dial(Guest())
    first = ScramClient([SCRAMS[0]], "alice", "pencil").get_client_first()
    guest.say(SASL, init(SCRAMS[0], first.encode()), frames.open_())
    await wait_until(lambda: guest.lost)
    assert [each.performative for each in guest.answers][1:] == [CHALLENGE]
    assert router.core.counters["refused_handshakes"] == 1


@ensureDeferred
async def test_nobody_may_be_welcome_beside_those_with_passwords(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords, mechanisms=["SCRAM-SHA-256", "ANONYMOUS"])
    assert (await router.client(sasl=True)).open
    assert (await router.client()).open
    assert users(router) == [User("anonymous", "ANONYMOUS", HOST), User("anonymous", "", HOST)]


# -- SCRAM -------------------------------------------------------------------------------------------------------------


async def proves(router: RunningRouter, mechanism: str, user: str, password: str) -> tuple[Guest, ScramClient]:
    """Somebody who has said all there is to say by SCRAM, and has the outcome."""
    guest = await router.dial(Guest())
    client = ScramClient([mechanism], user, password)
    guest.say(SASL, init(mechanism, client.get_client_first().encode()))
    challenge = await guest.hears_number(2)
    client.set_server_first(challenge.fields[0].decode())
    guest.say(frame(described(RESPONSE, binary(client.get_client_final().encode())), kind=1))
    await guest.hears_number(3)
    return guest, client


@pytest.mark.parametrize("mechanism", SCRAMS)
@ensureDeferred
async def test_scram_lets_in_who_proves_to_know_the_password(start: Start, passwords: Path, mechanism: str) -> None:
    router = await open_to_alice(start, passwords)
    guest, client = await proves(router, mechanism, "alice", "pencil")
    code, data = guest.answers[2].fields
    assert code == 0
    client.set_server_final(data.decode())
    guest.received = b""
    await guest.greeted()
    assert users(router) == [User("alice", mechanism, HOST)]


@pytest.mark.parametrize("user", ["alice", "bob"])
@ensureDeferred
async def test_scram_tells_nobody_who_is_there(start: Start, passwords: Path, user: str) -> None:
    router = await open_to_alice(start, passwords)
    guest, _ = await proves(router, "SCRAM-SHA-256", user, "guessed")
    await wait_until(lambda: guest.lost)
    assert guest.answers[2].fields == [1]
    assert guest.answers[1].fields[0].endswith(b",i=4096")
    assert router.core.counters["refused_logins"] == 1


# -- EXTERNAL ----------------------------------------------------------------------------------------------------------


CLIENTS = authority("authority of clients")
SERVER = Issued("localhost", names=("localhost",))


async def guest_with_certificate(start: Start, path: Path) -> tuple[RunningRouter, Guest]:
    """A router whose listener knows clients by their certificates, and a client with that of alice."""
    server, clients = str(SERVER.write(path / "server.pem")), path / "clients.pem"
    clients.write_bytes(CLIENTS.pem)
    listener = {"endpoint": TCP, "certificate": server, "client_ca": str(clients), "mechanisms": ["EXTERNAL"]}
    router = await start(listener=[listener])
    alice = CLIENTS.issue("alice")
    options = PrivateCertificate.loadPEM(alice.pem + alice.key_pem).options(Certificate.loadPEM(SERVER.pem))
    plain = clientFromString(reactor, f"tcp:127.0.0.1:{router.port}")
    return router, await router.dial(Guest(), wrapClientTLS(options, plain))


@with_tls
@pytest.mark.parametrize("said", [b"", b"alice"])
@ensureDeferred
async def test_external_is_who_the_certificate_says(start: Start, tmp_path: Path, said: bytes) -> None:
    router, guest = await guest_with_certificate(start, tmp_path)
    guest.say(SASL, init("EXTERNAL", said))
    assert (await guest.hears_number(2)).fields == [0]
    guest.received = b""
    await guest.greeted()
    assert users(router) == [User("alice", "EXTERNAL", HOST)]


@with_tls
@ensureDeferred
async def test_external_is_nobody_else(start: Start, tmp_path: Path) -> None:
    router, guest = await guest_with_certificate(start, tmp_path)
    guest.say(SASL, init("EXTERNAL", b"bob"))
    await wait_until(lambda: guest.lost)
    assert guest.answers[1].fields == [1]
    assert users(router) == []
    assert router.reports[0][1]["error"] == "the certificate is of 'alice'"


# -- while a checker thinks --------------------------------------------------------------------------------------------


@implementer(ICredentialsChecker)
class Slow:
    """A checker that does not answer until a test has it."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.asked = 0
        self.given_up = 0
        self.answer: Deferred[Any] = Deferred(self._give_up)

    def _give_up(self, answer: Deferred[Any]) -> None:
        self.given_up += 1

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        self.asked += 1
        return self.answer


def slow(checker: Slow) -> list[dict[str, object]]:
    """A listener that has such a checker."""
    return [{"endpoint": TCP, "auth": checker, "plain_without_tls": True}]


@ensureDeferred
async def test_who_says_much_while_a_checker_thinks_is_not_read_and_served_then(start: Start) -> None:
    checker = Slow()
    router = await start(listener=slow(checker))
    guest = await router.dial(Guest())
    guest.say(SASL, init("PLAIN", b"\0alice\0pencil"), AMQP, frames.open_(), frames.begin())
    await wait_until(lambda: checker.asked)
    guest.say(frame() * (4 << 20 >> 3))
    (protocol,) = router.connections
    other = await router.dial(Guest())
    other.say(SASL)
    await other.hears_number(1)
    assert protocol.transport not in reactor.getReaders()
    assert len(protocol._entry._negotiation._input) <= 2 * protocol.transport.bufferSize
    checker.answer.callback(b"alice")
    await wait_until(lambda: len(guest.answers) >= 2)
    assert guest.answers[1].fields == [0]
    await wait_until(lambda: protocol.connection is not None and protocol.connection.container == "raw")
    other.abort()


@ensureDeferred
async def test_the_time_that_a_checker_takes_counts(start: Start) -> None:
    checker = Slow()
    router = await start(listener=slow(checker), limits={"handshake_timeout": 0.3})
    guest = await router.dial(Guest())
    guest.say(SASL, init("PLAIN", b"\0alice\0pencil"))
    await wait_until(lambda: guest.lost)
    assert checker.given_up == 1
    assert router.core.counters["handshake_timeouts"] == 1
    assert [each.performative for each in guest.answers][1:] == []


@ensureDeferred
async def test_a_checker_that_breaks_is_told_to_people_and_clients_may_try_again(start: Start) -> None:
    checker = Slow()
    router = await start(listener=slow(checker))
    guest = await router.dial(Guest())
    guest.say(SASL, init("PLAIN", b"\0alice\0pencil"))
    await wait_until(lambda: checker.asked)
    checker.answer.errback(OSError("no database"))
    await wait_until(lambda: guest.lost)
    assert guest.answers[1].fields == [4]
    counters = router.core.counters
    assert (counters["failed_logins"], counters["refused_logins"], counters["refused_handshakes"]) == (1, 0, 0)
    ((event, fields),) = router.reports
    assert (event, fields["user"], fields["error"]) == ("login failed", "'alice'", "OSError: no database")


@ensureDeferred
async def test_a_name_that_is_meant_to_confuse_is_logged_as_it_is(start: Start, passwords: Path) -> None:
    router = await open_to_alice(start, passwords)
    guest = await router.dial(Guest())
    guest.say(SASL, init("PLAIN", b"\0x\n\x1b[2J" + b"y" * 100 + b"\0pencil"))
    await wait_until(lambda: guest.lost)
    assert router.reports[0][1]["user"] == repr("x\n\x1b[2J" + "y" * 58 + "…")


# -- computing ---------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_computing_takes_turns_and_who_gives_up_does_not_take_one() -> None:
    threads = Threads(reactor, at_a_time=1)
    go_on, done = threading.Event(), []

    def compute(number: int) -> int:
        go_on.wait(10)
        done.append(number)
        return number

    first, second, third = (threads(compute, number) for number in range(3))
    second.addErrback(lambda failure: failure.trap(CancelledError))
    second.cancel()
    go_on.set()
    assert [await first, await third] == [0, 2]
    assert done == [0, 2]


@ensureDeferred
async def test_a_turn_lasts_as_long_as_its_thread_whoever_gave_up() -> None:
    threads = Threads(reactor, at_a_time=1)
    go_on = threading.Event()
    first = threads(go_on.wait, 10)
    first.addErrback(lambda failure: failure.trap(CancelledError))
    first.cancel()
    second = threads(go_on.is_set)
    assert not second.called
    go_on.set()
    assert await second


@ensureDeferred
async def test_computing_that_fails_ends_its_turn() -> None:
    threads = Threads(reactor, at_a_time=1)
    with pytest.raises(ZeroDivisionError):
        await threads(divmod, 1, 0)
    assert await threads(divmod, 1, 1) == (1, 0)
