"""Listeners that speak TLS, seen by clients."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from pytest_twisted import ensureDeferred
from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.net import frames
from tests.net.authorities import FOR_SERVERS, Issued, authority
from tests.net.clients import Client
from tests.net.conftest import Start
from tests.net.frames import AMQP
from tests.net.links import ACCEPTED
from tests.net.processes import RouterProcess
from tests.net.raw import RawClient
from tests.net.routers import LOOPBACK, RunningRouter
from tests.net.waiting import reactor, wait_until
from txrouter.net import tls
from txrouter.net.tls import client_options, tls_problem

ROOT = authority()
SERVER = ROOT.issue("localhost", "localhost", "127.0.0.1")
CLIENTS = authority("authority of clients")
NOVA = CLIENTS.issue("nova")


class TLSClient(Client):
    """A client that knows what TLS came to."""

    problem = ""

    def connectionLost(self, reason: Any = None) -> None:
        self.problem = tls_problem(reason.value)
        super().connectionLost(reason)

    @property
    def sees(self) -> x509.Certificate:
        """The router's certificate."""
        transport: Any = self.transport
        return transport.getPeerCertificate().to_cryptography()  # type: ignore[no-any-return]

    @property
    def version(self) -> str:
        """The version of TLS."""
        transport: Any = self.transport
        return str(transport.getHandle().get_protocol_version_name())


class Files:
    """Files for a listener and its clients."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = str(SERVER.write(path / "server.pem"))
        self.root = self._of("root", ROOT)
        self.clients = self._of("clients", CLIENTS)

    def _of(self, name: str, issued: Issued) -> str:
        (self.path / name).write_bytes(issued.pem)
        return str(self.path / name)

    def replace(self, name: str, content: bytes) -> None:
        """As tools that renew certificates do it."""
        (self.path / "new").write_bytes(content)
        (self.path / "new").rename(self.path / name)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate of the router, and those that vouch for it and for clients."""
    return Files(tmp_path)


async def listening(start: Start, files: Files, **listener: Any) -> RunningRouter:
    """A router that speaks TLS."""
    return await start(listener=[{"endpoint": LOOPBACK, "certificate": files.server, **listener}])


async def connect(
    router: RunningRouter, files: Files, certificate: Issued | None = None, *, host: str = "localhost", via: Any = None
) -> TLSClient:
    """A client that was let in, or was not: with a certificate, and under a server name."""
    shown = [str(certificate.write(files.path / "shown"))] if certificate else []
    options = client_options(host, [files.root], shown)
    return await by_options(router, options, via)


async def by_options(router: RunningRouter, options: Any, via: Any = None) -> TLSClient:
    plain = via or clientFromString(reactor, f"tcp:127.0.0.1:{router.port}")
    client: TLSClient = await router.dial(TLSClient("secret"), wrapClientTLS(options, plain))
    await client.opened()
    return client


async def works(*clients: Client) -> None:
    """See that a message gets through."""
    consumer = await clients[-1].receiver("x", credit=1, takes=ACCEPTED)
    producer = await clients[0].sender("x")
    await producer.credited()
    assert await producer.send(b"\0Sw\xa1\5hello").over() == ACCEPTED
    for link in producer, consumer:
        link.link.close()
        link.client.flush()
        await link.client.sync()


def refusals(router: RunningRouter) -> list[object]:
    """Why it turned clients away."""
    return [fields["error"] for event, fields in router.reports if event == "handshake refused"]


# -- versions ----------------------------------------------------------------------------------------------------------

TLS_1_1, TLS_1_2 = b"\3\2", b"\3\3"
ALERT, HANDSHAKE = b"\x15", b"\x16"
PROTOCOL_VERSION = 70


def hello(version: bytes) -> bytes:
    """What a client begins with that speaks no version above this one."""
    extensions = bytes.fromhex("000a 0004 0002 0017  000b 0002 0100  000d 0004 0002 0403")
    ciphers = bytes.fromhex("0004 c02b c009")
    body = version + bytes(32) + b"\0" + ciphers + b"\1\0" + len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return HANDSHAKE + b"\3\1" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize(
    ("minimum", "version", "refused"),
    [("1.2", TLS_1_1, True), ("1.2", TLS_1_2, False), ("1.3", TLS_1_1, True), ("1.3", TLS_1_2, True)],
)
@ensureDeferred
async def test_old_versions_are_refused(
    start: Start, files: Files, minimum: str, version: bytes, refused: bool
) -> None:
    router = await listening(start, files, minimum_tls=minimum)
    raw = await router.dial(RawClient())
    raw.say(hello(version))
    await wait_until(lambda: len(raw.received) >= 7)
    if refused:
        assert raw.received[:1] == ALERT
        assert raw.received[6] == PROTOCOL_VERSION
        await wait_until(lambda: raw.lost and not router.connections)
        assert refusals(router) == ["TLS: unsupported protocol"]
        assert router.core.counters["refused_handshakes"] == 1
    else:
        assert raw.received[:1] == HANDSHAKE


@pytest.mark.parametrize(("highest", "version"), [(TLSVersion.TLSv1_2, "TLSv1.2"), (None, "TLSv1.3")])
@ensureDeferred
async def test_the_versions_of_today_are_spoken(start: Start, files: Files, highest: Any, version: str) -> None:
    router = await listening(start, files)
    client = await by_options(router, CertificateOptions(lowerMaximumSecurityTo=highest))
    assert client.version == version
    await works(client)


@ensureDeferred
async def test_an_ssl_endpoint_refuses_old_versions_too(start: Start, files: Files) -> None:
    router = await start(listener=[{"endpoint": f"ssl:0:interface=127.0.0.1:privateKey={files.server}"}])
    raw = await router.dial(RawClient())
    raw.say(hello(TLS_1_1))
    await wait_until(lambda: raw.lost)
    assert raw.received[6] == PROTOCOL_VERSION


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()])
@ensureDeferred
async def test_other_kinds_of_keys(start: Start, files: Files, key: Any) -> None:
    ROOT.issue("localhost", "localhost", key=key).write(files.path / "server.pem")
    router = await listening(start, files)
    await works(await connect(router, files))


# -- server names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "number"),
    [
        ("localhost", 0),
        ("127.0.0.1", 0),  # no name is said
        ("nobody.example", 0),
        ("a.example", 1),
        ("A.Example", 1),
        ("x.a.example", 0),
        ("x.b.example", 2),
        ("b.example", 0),
        ("x.y.b.example", 0),
    ],
)
@ensureDeferred
async def test_the_server_name_chooses_the_certificate(start: Start, files: Files, host: str, number: int) -> None:
    others = [ROOT.issue("a", "a.example"), ROOT.issue("b", "*.b.example")]
    more = [str(each.write(files.path / f"more{place}")) for place, each in enumerate(others)]
    router = await listening(start, files, certificate=[files.server, *more])
    shown = [SERVER, *others][number]
    client = await connect(router, files, host=host)
    if host in ("nobody.example", "x.a.example", "b.example", "x.y.b.example"):
        assert client.lost, "the client verifies that the name is right"
    else:
        assert client.sees == shown.certificate
        await works(client)


@ensureDeferred
async def test_a_directory_has_a_certificate_for_each_name(start: Start, files: Files) -> None:
    directory = files.path / "directory"
    directory.mkdir()
    a, b = ROOT.issue("a", "a.example"), ROOT.issue("b", "b.example")
    a.write(directory / "a.pem")
    b.write(directory / "b.pem")
    for listener in (
        {"endpoint": f"tls:{directory}:port=0:interface=127.0.0.1"},
        {"endpoint": LOOPBACK, "certificate": str(directory)},
    ):
        router = await start(listener=[listener])
        assert (await connect(router, files, host="a.example")).sees == a.certificate
        assert (await connect(router, files, host="b.example")).sees == b.certificate


@ensureDeferred
async def test_certificates_in_between_are_shown_too(start: Start, files: Files) -> None:
    middle = authority("middle", ROOT)
    server = middle.issue("localhost", "localhost")
    files.replace("server.pem", server.pem + middle.pem + server.key_pem)
    router = await listening(start, files)
    client = await connect(router, files)
    assert client.sees == server.certificate
    await works(client)


@ensureDeferred
async def test_an_ssl_endpoint_names_certificates_in_between_and_a_key_of_their_own(start: Start, files: Files) -> None:
    middle = authority("middle", ROOT)
    server = middle.issue("localhost", "localhost")
    for name, content in ("cert", server.pem), ("key", server.key_pem), ("chain", middle.pem):
        (files.path / name).write_bytes(content)
    at = files.path
    endpoint = f"ssl:0:interface=127.0.0.1:certKey={at}/cert:privateKey={at}/key:extraCertChain={at}/chain"
    router = await start(listener=[{"endpoint": endpoint}])
    await works(await connect(router, files))


# -- certificates of clients -------------------------------------------------------------------------------------------


def identity(router: RunningRouter) -> str | None:
    """Whom the router sees behind its only connection."""
    [protocol] = router.connections
    certificate = protocol.transport.getPeerCertificate()
    return None if certificate is None else str(certificate.to_cryptography().subject.rfc4514_string())


@pytest.mark.parametrize("host", ["localhost", "a.example"])
@pytest.mark.parametrize("needed", ["required", "optional"])
@ensureDeferred
async def test_a_client_with_a_good_certificate_is_let_in_and_known(
    start: Start, files: Files, needed: str, host: str
) -> None:
    other = str(ROOT.issue("a", "a.example").write(files.path / "more"))
    certificates = [files.server, other]
    router = await listening(
        start, files, certificate=certificates, client_ca=files.clients, client_certificates=needed
    )
    client = await connect(router, files, NOVA, host=host)
    assert identity(router) == "CN=nova"
    await works(client)


@ensureDeferred
async def test_a_client_shows_the_certificates_in_between(start: Start, files: Files) -> None:
    middle = authority("middle", CLIENTS)
    client = middle.issue("cinder")
    file = files.path / "chain"
    file.write_bytes(client.pem + middle.pem + client.key_pem)
    router = await listening(start, files, client_ca=files.clients)
    await works(await by_options(router, client_options("localhost", [files.root], [str(file)])))
    assert identity(router) == "CN=cinder"


@ensureDeferred
async def test_a_client_without_a_certificate_is_let_in_where_that_is_optional(start: Start, files: Files) -> None:
    router = await listening(start, files, client_ca=files.clients, client_certificates="optional")
    client = await connect(router, files)
    assert identity(router) is None
    await works(client)


@ensureDeferred
async def test_no_client_is_asked_where_nobody_vouches_for_them(start: Start, files: Files) -> None:
    router = await listening(start, files)
    await works(await connect(router, files, NOVA))
    assert identity(router) is None


BAD = {
    "of another authority": (
        authority("others").issue("nova"),
        "unknown ca",
        "comes from an authority that is not known",
    ),
    "of an authority of the same name": (
        authority("authority of clients").issue("nova"),
        "alert",
        "cannot be verified (error 7)",
    ),
    "of its own": (Issued("nova"), "unknown ca", "vouches for itself"),
    "that has expired": (CLIENTS.issue("nova", begins=-2, ends=-1), "certificate expired", "has expired"),
    "that is not yet valid": (CLIENTS.issue("nova", begins=1, ends=2), "bad certificate", "is not yet valid"),
    "for servers": (CLIENTS.issue("nova", usage=FOR_SERVERS), "unsupported certificate", "is not for clients"),
}


@pytest.mark.parametrize("host", ["localhost", "a.example"])
@pytest.mark.parametrize("needed", ["required", "optional"])
@pytest.mark.parametrize("what", BAD)
@ensureDeferred
async def test_a_client_with_a_bad_certificate_is_turned_away(
    start: Start, files: Files, what: str, needed: str, host: str
) -> None:
    certificate, told, why = BAD[what]
    other = str(ROOT.issue("a", "a.example").write(files.path / "more"))
    certificates = [files.server, other]
    router = await listening(
        start, files, certificate=certificates, client_ca=files.clients, client_certificates=needed
    )
    client = await connect(router, files, certificate, host=host)
    assert client.lost
    assert told in client.problem
    await wait_until(lambda: not router.connections)
    assert refusals(router) == [f"TLS: the client's certificate CN=nova {why}"]
    await works(await connect(router, files, NOVA))


@pytest.mark.parametrize("highest", [TLSVersion.TLSv1_2, None])
@ensureDeferred
async def test_a_client_without_a_certificate_is_turned_away(start: Start, files: Files, highest: Any) -> None:
    router = await listening(start, files, client_ca=files.clients)
    client = await by_options(router, CertificateOptions(lowerMaximumSecurityTo=highest))
    assert client.lost
    await wait_until(lambda: not router.connections)
    assert refusals(router) == ["TLS: peer did not return a certificate"]
    assert router.core.counters["refused_handshakes"] == 1
    await works(await connect(router, files, NOVA))


# -- the way to other routers -----------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_server_is_not_trusted_for_whom_only_another_authority_vouches(start: Start, files: Files) -> None:
    router = await listening(start, files)
    for trusted in [], [files.clients]:
        client = await by_options(router, client_options("localhost", trusted))
        assert client.problem == "certificate verify failed"


@pytest.mark.parametrize("host", ["a.example", "127.0.0.2"])
@ensureDeferred
async def test_a_server_is_not_trusted_under_another_name(start: Start, files: Files, host: str) -> None:
    router = await listening(start, files)
    assert (await connect(router, files, host=host)).lost


def test_files_of_no_use_are_named(files: Files) -> None:
    with pytest.raises(ValueError, match=r"^/no/such: No such file or directory$"):
        client_options("localhost", ["/no/such"])
    with pytest.raises(ValueError, match="there is no private key for any of the certificates"):
        client_options("localhost", [], [files.root])


# -- renewal -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files looked at all the time."""
    monkeypatch.setattr(tls, "LOOK_EVERY", 0.0)


async def renewed(router: RunningRouter, files: Files, issued: Issued) -> TLSClient:
    """Wait until new clients see a certificate; return one of them."""
    for _ in range(30):
        client = await connect(router, files)
        if not client.lost and client.sees == issued.certificate:
            return client
        client.close()
        await client.gone()
        await deferLater(reactor, 0.1)
    raise AssertionError("it was never seen")


LISTENERS = {
    "a certificate of its own": {"endpoint": LOOPBACK, "certificate": "{path}/server.pem"},
    "an ssl endpoint": {"endpoint": "ssl:0:interface=127.0.0.1:privateKey={path}/server.pem"},
    "a directory": {"endpoint": "tls:{path}:port=0:interface=127.0.0.1"},
}


@pytest.mark.parametrize("what", LISTENERS)
@pytest.mark.usefixtures("watchful")
@ensureDeferred
async def test_a_renewed_certificate_is_shown_and_no_connection_is_lost(start: Start, files: Files, what: str) -> None:
    router = await start(listener=[{key: said.format(path=files.path) for key, said in LISTENERS[what].items()}])
    old = await connect(router, files)
    await works(old)
    again = ROOT.issue("localhost", "localhost")
    files.replace("server.pem", again.pem + again.key_pem)
    new = await renewed(router, files, again)
    assert old.sees == SERVER.certificate
    await works(old, new)
    assert not router.core.counters["failed_renewals"]


@pytest.mark.usefixtures("watchful")
@ensureDeferred
async def test_a_broken_renewal_changes_nothing_until_it_is_mended(start: Start, files: Files) -> None:
    router = await listening(start, files)
    again = ROOT.issue("localhost", "localhost")
    files.replace("server.pem", again.pem + SERVER.key_pem)
    await wait_until(lambda: router.core.counters["failed_renewals"])
    await works(await renewed(router, files, SERVER))
    why = {"listener": "listener0", "error": "there is no private key for the certificate CN=localhost"}
    assert router.reports == [("certificate not renewed", why)]
    files.replace("server.pem", again.pem + again.key_pem)
    await works(await renewed(router, files, again))
    assert router.core.counters["failed_renewals"] == 1


@pytest.mark.usefixtures("watchful")
@ensureDeferred
async def test_who_vouches_for_clients_is_renewed_too(start: Start, files: Files) -> None:
    router = await listening(start, files, client_ca=files.clients)
    other = authority("other")
    assert (await connect(router, files, other.issue("nova"))).lost
    files.replace("clients", other.pem)
    for _ in range(30):
        client = await connect(router, files, other.issue("nova"))
        if not client.lost:
            break
        await deferLater(reactor, 0.1)
    await works(client)
    assert (await connect(router, files, NOVA)).lost


# -- below TLS ---------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_over_a_unix_socket(start: Start, files: Files) -> None:
    path = files.path / "socket"
    router = await listening(start, files, endpoint=f"unix:{path}")
    await works(await connect(router, files, via=clientFromString(reactor, f"unix:{path}")))


@implementer(IStreamClientEndpoint)
class Proxied:
    """To a router, as HAProxy connects to it: the first it hears is who the client is."""

    def __init__(self, port: int) -> None:
        self._endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{port}")

    def connect(self, factory: Any) -> Any:
        build = factory.buildProtocol

        def announced(address: Any) -> Any:
            protocol = build(address)
            connected = protocol.makeConnection

            def announce(transport: Any) -> None:
                transport.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 5671\r\n")
                connected(transport)

            protocol.makeConnection = announce
            return protocol

        factory.buildProtocol = announced
        return self._endpoint.connect(factory)


@ensureDeferred
async def test_behind_haproxy(start: Start, files: Files) -> None:
    router = await listening(start, files, endpoint=f"haproxy:{LOOPBACK}", client_ca=files.clients)
    client = await connect(router, files, NOVA, via=Proxied(router.port))
    assert identity(router) == "CN=nova"
    assert router.connections[0].transport.getPeer().host == "192.0.2.1"
    await works(client)


# -- who does not play along -------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_handshake_that_never_ends_is_cut(start: Start, files: Files) -> None:
    endpoint = {"endpoint": LOOPBACK, "certificate": files.server}
    router = await start(listener=[endpoint], limits={"handshake_timeout": 0.3})
    mute, half = [await router.dial(RawClient()) for _ in range(2)]
    half.say(hello(TLS_1_2)[:30])
    healthy = await connect(router, files)
    await wait_until(lambda: mute.lost and half.lost)
    assert router.core.counters["handshake_timeouts"] == 2
    await works(healthy)


@pytest.mark.parametrize(
    "said", [AMQP + frames.open_(), b"GET / HTTP/1.1\r\n\r\n", bytes(100), hello(TLS_1_2)[:-1] + b"x"]
)
@ensureDeferred
async def test_who_does_not_speak_tls_is_turned_away(start: Start, files: Files, said: bytes) -> None:
    router = await listening(start, files)
    healthy = await connect(router, files)
    raw = await router.dial(RawClient())
    raw.say(said)
    await wait_until(lambda: raw.lost)
    assert router.core.counters["refused_handshakes"] == 1
    assert str(refusals(router)[0]).startswith("TLS: ")
    await works(healthy)


@pytest.mark.parametrize("leave", ["hang_up", "abort"])
@ensureDeferred
async def test_who_leaves_in_the_middle_of_a_handshake_leaves_nothing_behind(
    start: Start, files: Files, leave: str
) -> None:
    router = await listening(start, files)
    raw = await router.dial(RawClient())
    raw.say(hello(TLS_1_2))
    await wait_until(lambda: raw.received)
    getattr(raw, leave)()
    await wait_until(lambda: raw.lost and not router.connections)


@ensureDeferred
async def test_what_tls_had_for_a_client_is_freed_when_it_has_left(start: Start, files: Files) -> None:
    """Without waiting for a full collection, which a router hardly ever makes."""
    router = await listening(start, files)
    client = await connect(router, files)
    left = weakref.ref(router.connections[0].transport.getHandle())
    gc.collect()
    gc.disable()
    try:
        client.abort()
        await wait_until(lambda: left() is None)
    finally:
        gc.enable()


@ensureDeferred
async def test_who_speaks_tls_where_nobody_does_is_turned_away(router: RunningRouter, files: Files) -> None:
    client = await connect(router, files)
    assert client.lost
    assert router.core.counters["refused_handshakes"] == 1


@pytest.mark.parametrize("prefix", ["", "haproxy:"])
@ensureDeferred
async def test_a_connection_too_many_is_refused(start: Start, files: Files, prefix: str) -> None:
    endpoint = {"endpoint": prefix + LOOPBACK, "certificate": files.server}
    router = await start(listener=[endpoint], limits={"max_connections": 1})
    client, another = [await connect(router, files, via=Proxied(router.port) if prefix else None) for _ in range(2)]
    assert another.lost
    assert router.core.counters["refused_connections"] == 1
    await works(client)


# -- flow --------------------------------------------------------------------------------------------------------------


@pytest_twisted.async_yield_fixture
async def process(files: Files) -> AsyncIterator[RouterProcess]:
    """A router in a process of its own that speaks TLS."""
    process = RouterProcess(f"ssl:0:interface=127.0.0.1:privateKey={files.server}")
    yield process
    await process.end()


@ensureDeferred
async def test_a_slow_reader_does_not_fill_the_memory(process: RouterProcess, files: Files) -> None:
    options = client_options("localhost", [files.root])
    clients = [await process.client(name, options) for name in ("receives", "sends")]
    consumer, producer = await clients[0].receiver("x", credit=1), await clients[1].sender("x")
    await producer.credited()
    consumer.client.stop_reading()
    before = process.resident()
    piece = Random(1).randbytes(64 << 10)
    sent, session, taken = producer.begin(), producer.link.session, 0
    while session.outgoing_bytes < len(piece):  # as long as the router takes them
        sent.write(piece)
        taken += 1
        await producer.client.sync()
    assert 2 << 20 < taken * len(piece) < 12 << 20
    assert process.resident() - before < 8 << 20
    consumer.client.go_on_reading()
    for _ in range(256 - taken):
        sent.write(piece)
        await wait_until(lambda: session.outgoing_bytes < len(piece))
    sent.end()
    received = await consumer.next()
    received.accept()
    assert received.data == 256 * piece
    assert await sent.over() == ACCEPTED
