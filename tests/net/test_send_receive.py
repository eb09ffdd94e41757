"""`txrouter send` and `txrouter receive`, through a real router."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from proton import Message
from pytest_twisted import ensureDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from tests.net.authorities import Issued, authority
from tests.net.clients import DYNAMIC
from tests.net.conftest import Start
from tests.net.links import ACCEPTED
from tests.net.routers import LOOPBACK, RunningRouter, ahead, quiet
from tests.net.talks import Paper, Talk
from tests.net.waiting import reactor, wait_until
from txrouter.client.messages import Repeated


async def attached(router: RunningRouter, address: str = "x", consumers: int = 1) -> None:
    """Wait until so many consumers of an address are there, with credit."""
    await wait_until(lambda: address in router.core.addresses)
    place = router.core.addresses[address]
    await wait_until(lambda: len(place.consumers) >= consumers and place.free)


# -- messages and outcomes -----------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_hundred_messages_go_through_in_order(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "100")
    sending = await Talk(router).send("x", "--count", "100").end()
    await receiving.end()
    assert receiving.printed == [f"message {number}" for number in range(1, 101)]
    assert sending.outcomes == receiving.outcomes == {"accepted": 100}
    assert sending.ok
    assert receiving.ok
    assert sending.client.report.times.count == 100


@ensureDeferred
async def test_presettled_messages_have_no_outcome_and_are_sent_all_the_same(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "100")
    sending = await Talk(router).send("x", "--count", "100", "--settled").end()
    await receiving.end()
    assert len(receiving.printed) == 100
    assert sending.outcomes == receiving.outcomes == {}
    assert sending.client.report.presettled == receiving.client.report.presettled == 100
    assert sending.ok


@pytest.mark.parametrize(
    ("settle", "outcome"),
    [
        ("accept", "accepted"),
        ("reject", "rejected"),
        ("reject --condition app:no", "rejected app:no"),
        ("reject --condition app:no --description nope", "rejected app:no: nope"),
        ("release", "released"),
        ("modify", "modified"),
        ("modify --failed", "modified delivery-failed"),
        ("modify --undeliverable", "modified undeliverable-here"),
        ("modify --failed --undeliverable", "modified delivery-failed, undeliverable-here"),
    ],
)
@ensureDeferred
async def test_the_sender_reports_how_the_receiver_settles(router: RunningRouter, settle: str, outcome: str) -> None:
    receiving = Talk(router).receive("x", "--count", "2", "--settle", *settle.split())
    sending = await Talk(router).send("x", "--count", "2").end()
    await receiving.end()
    assert sending.outcomes == receiving.outcomes == {outcome: 2}
    assert sending.ok == (settle == "accept")
    assert not sending.failure
    assert receiving.ok


@ensureDeferred
async def test_one_that_settles_nothing_takes_what_it_gave_credit_for(router: RunningRouter) -> None:
    stuck = Talk(router).receive("x", "--settle", "none", "--credit", "2")
    sending = Talk(router).send("x", "--count", "5")
    await stuck.got(2)
    other = await Talk(router).receive("x", "--count", "3").end()
    assert other.outcomes == {"accepted": 3}
    assert stuck.outcomes == {"unknown": 2}
    await stuck.stop()
    await sending.end()
    assert sending.outcomes == {"accepted": 3, "modified delivery-failed": 2}
    assert not sending.ok


@ensureDeferred
async def test_a_message_keeps_all_its_fields(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "1", "--json")
    fields = "--durable --priority 7 --ttl 60 --subject s --reply-to r -p a=1 -p b:=2"
    await Talk(router).send("x", *fields.split()).end()
    await receiving.end()
    [line] = receiving.printed
    assert json.loads(line) == {
        "address": "x",
        "size": 67,
        "settled": False,
        "header": {"durable": True, "priority": 7, "ttl": 60.0, "first_acquirer": False, "delivery_count": 0},
        "delivery_annotations": {},
        "message_annotations": {},
        "properties": {"message_id": 1, "subject": "s", "reply_to": "r"},
        "application_properties": {"a": "1", "b": 2},
        "body_section": "value",
        "body": "message 1",
    }


@ensureDeferred
async def test_a_long_message_goes_through_whole(router: RunningRouter) -> None:
    body = os.urandom(5_000_000)
    receiving = Talk(router).receive("x", "--count", "2")
    sending = await Talk(router).send("x", "--count", "2", bodies=Repeated(2, lambda number: body)).end()
    await receiving.end()
    assert receiving.paper.lines == [body, body]
    assert sending.ok


@ensureDeferred
async def test_a_message_that_is_too_long_for_the_server_is_not_sent(start: Start) -> None:
    router = await start(limits={"max_message_size": 1000})
    await router.receiver("x", credit=10)
    sending = await Talk(router).send("x", bodies=Repeated(1, lambda number: "x" * 1000)).end()
    assert sending.failure == "the server takes messages of 1,000 bytes at most there; this one has 1,020"


@ensureDeferred
async def test_an_anonymous_link_is_used_if_asked_for(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "2")
    await attached(router)
    sending = await Talk(router).send("x", "--count", "2", "--anonymous").end()
    await receiving.end()
    assert sending.outcomes == {"accepted": 2}


@ensureDeferred
async def test_a_message_that_cannot_be_read_is_rejected(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "1")
    sender = await router.sender("x")
    await sender.credited()
    state = await sender.send(b"\x00\x53\x77\xa1\x01\xff").over()  # a string that is no UTF-8
    await receiving.end()
    assert state.name == "rejected"
    assert state.error is not None
    assert state.error.name == "amqp:decode-error"
    assert receiving.said[0].startswith("a message that cannot be read: ")
    assert receiving.printed == []


@ensureDeferred
async def test_an_aborted_message_leaves_the_credit_it_took(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "2", "--credit", "1")
    sender = await router.sender("x")
    for body in ("a", "b"):
        await sender.credited()
        half = sender.begin()
        half.write(b"\x00" * 100_000)  # long enough to be passed on at once
        await wait_until(lambda: not router.core.addresses["x"].free)
        half.abort()
        await sender.credited()
        await sender.send(Message(body)).over()
    await receiving.end()
    assert receiving.printed == ["a", "b"]


# -- credit and speed ----------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_receiver_never_gives_more_credit_than_it_was_told(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--credit", "3", "--delay", "0.01", "--count", "10")
    sender = await router.sender("x")
    await sender.credited()
    [consumer] = router.core.addresses["x"].consumers
    most = 0
    sent = [sender.send(Message(str(number))) for number in range(10)]
    while not receiving.over:
        most = max(most, consumer.credit + consumer.in_flight)
        await deferLater(reactor, 0)
    assert most == 3
    assert [await each.over() for each in sent] == [ACCEPTED] * 10


@ensureDeferred
async def test_a_receiver_takes_no_message_more_than_its_count(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "3", "--credit", "100")
    await attached(router)
    assert router.core.addresses["x"].free == 3
    sending = Talk(router).send("x", "--count", "5")
    await receiving.end()
    await sending.end()
    assert receiving.printed == ["message 1", "message 2", "message 3"]
    assert sending.outcomes == {"accepted": 3, "released": 2}


@ensureDeferred
async def test_a_slow_receiver_settles_one_message_after_the_other(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--delay", "0.05", "--count", "4")
    sending = await Talk(router).send("x", "--count", "4").end()
    await receiving.end()
    assert receiving.client.report.seconds >= 0.14
    assert sending.client.report.times.longest >= 0.19


@ensureDeferred
async def test_a_slow_sender_sends_when_it_is_time(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "4")
    await attached(router)
    sending = await Talk(router).send("x", "--count", "4", "--rate", "10", "--timeout", "0.05", "--settled").end()
    await receiving.end()
    assert sending.ok
    assert sending.client.report.seconds >= 0.19


@ensureDeferred
async def test_nothing_is_asked_for_while_nobody_reads_what_came(router: RunningRouter) -> None:
    receiving = Talk(router)
    receiving.paper = Paper(room_for=10)
    receiving.receive("x", "--credit", "10", "--count", "20")
    sending = Talk(router).send("x", "--count", "20")
    await receiving.got(10)
    place = router.core.addresses["x"]
    await wait_until(lambda: not place.free)
    receiving.paper.room_for = 1000
    receiving.paper.room()
    await receiving.end()
    assert len(receiving.printed) == 20
    await sending.end()


@ensureDeferred
async def test_the_capacity_of_a_receiver_is_what_the_router_goes_by(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--capacity", "3", "--link-property", "rank:=1")
    await attached(router)
    [consumer] = router.core.addresses["x"].consumers
    assert consumer.capacity == 3
    assert consumer.properties == {"capacity": 3.0, "rank": 1}
    await receiving.stop()


# -- endings -------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_receiver_that_is_stopped_gives_back_what_it_has_not_worked_on(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--delay", "0.05", "--credit", "10")
    sending = Talk(router).send("x", "--count", "10")
    await receiving.got(2)
    await receiving.stop()
    done = receiving.outcomes["accepted"]
    assert receiving.ok
    await sending.end()
    assert sending.outcomes == {"accepted": done, "released": 10 - done}


@ensureDeferred
async def test_a_sender_that_is_stopped_waits_for_what_is_on_its_way(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--delay", "0.05", "--credit", "2")
    sending = Talk(router).send("x", "--count", "100")
    await wait_until(lambda: sending.client.report.outcomes.total() >= 1)
    await sending.stop()
    report = sending.client.report
    assert 0 < report.messages < 100
    assert sending.outcomes == {"accepted": report.messages}
    assert not sending.ok
    assert not sending.failure
    await receiving.stop()


@ensureDeferred
async def test_a_drain_takes_what_there_is_and_ends(router: RunningRouter) -> None:
    sender = await router.sender(None)
    await sender.credited()
    receiving = await Talk(router).receive("x", "--drain").end()
    assert receiving.printed == []
    assert receiving.ok


@ensureDeferred
async def test_a_drain_works_on_all_that_it_got(router: RunningRouter) -> None:
    producer, _ = await ahead(router, 4)
    sent = [producer.send(Message(str(number))) for number in range(4)]
    receiving = await Talk(router).receive("x", "--drain", "--delay", "0.02", "--credit", "3").end()
    assert receiving.printed == ["0", "1", "2", "3"]
    assert receiving.ok
    assert [await each.over() for each in sent] == [ACCEPTED] * 4


@ensureDeferred
async def test_a_receiver_ends_when_nothing_has_come_for_long_enough(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--timeout", "0.5")
    await Talk(router).send("x", "--count", "2").end()
    await receiving.end()
    assert len(receiving.printed) == 2
    assert receiving.ok


@ensureDeferred
async def test_a_receiver_that_got_less_than_it_should_says_so(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--timeout", "0.5", "--count", "3")
    await Talk(router).send("x", "--count", "2").end()
    await receiving.end()
    assert receiving.failure == "nothing came for 0.5 s: 2 of 3 messages received"


@ensureDeferred
async def test_a_sender_without_credit_says_so(router: RunningRouter) -> None:
    sending = await Talk(router).send("x", "--timeout", "0.1").end()
    assert sending.failure == "nothing happened for 0.1 s: the server gave no credit (has the address a consumer?)"
    assert sending.client.report.messages == 0


@ensureDeferred
async def test_a_sender_without_credit_explains_what_it_waits_for(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txrouter.client.send.HINT_AFTER", 0.05)
    sending = Talk(router).send("x")
    await wait_until(lambda: sending.said)
    assert sending.said == ["waiting: the server gives no credit for x yet; it may have no consumer"]
    await sending.stop()


@ensureDeferred
async def test_a_sender_without_outcomes_says_so(router: RunningRouter) -> None:
    stuck = await router.receiver("x", credit=2)
    sending = await Talk(router).send("x", "--count", "2", "--timeout", "0.5").end()
    assert sending.failure == "nothing happened for 0.5 s: 2 messages have no outcome"
    assert sending.outcomes == {"unknown": 2}
    assert len(stuck.messages) == 2


@pytest.mark.parametrize("what", ["send", "receive"])
@ensureDeferred
async def test_a_link_that_is_refused_is_said_to_be(router: RunningRouter, what: str) -> None:
    talk = await getattr(Talk(router), what)("$management/x").end()
    assert talk.failure == "the server refuses $management/x: amqp:not-found: $management/x is reserved"


@pytest.mark.parametrize("what", ["send", "receive"])
@ensureDeferred
async def test_a_server_that_is_stopped_is_said_to_be(router: RunningRouter, what: str) -> None:
    talk: Talk = getattr(Talk(router), what)("x")
    await wait_until(lambda: "x" in router.core.addresses)
    await router.service.stopService()
    await talk.end()
    assert talk.failure == "the server closed the connection: amqp:connection:forced: the router is being stopped"


@pytest.mark.parametrize("what", ["send", "receive"])
@ensureDeferred
async def test_a_connection_that_is_lost_is_said_to_be(router: RunningRouter, what: str) -> None:
    talk: Talk = getattr(Talk(router), what)("x")
    await wait_until(lambda: "x" in router.core.addresses)
    for connection in router.connections:
        connection.abort()
    await talk.end()
    assert talk.failure.startswith("the connection was lost: ")


@ensureDeferred
async def test_a_server_that_is_not_there_is_said_not_to_be() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        talk = await Talk(port).send("x").end()
    assert talk.failure == f"cannot connect to 127.0.0.1:{port}: Connection refused"


class Answering(Protocol):
    """A server that says one thing, whatever it is asked, and nothing more."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(self.answer)
        self.answer = b""


@pytest.fixture
def strange() -> Iterator[Callable[[bytes], int]]:
    """Have a server listen that answers like that; returns its port."""
    ports = []

    def listen(answer: bytes) -> int:
        factory = Factory.forProtocol(lambda: Answering(answer))
        factory.noisy = False
        ports.append(reactor.listenTCP(0, factory, interface="127.0.0.1"))
        return int(ports[-1].getHost().port)

    yield listen
    for port in ports:
        port.stopListening()


@ensureDeferred
async def test_a_server_that_says_nothing_is_not_waited_for_forever(strange: Callable[[bytes], int]) -> None:
    port = strange(b"")
    talk = await Talk(port).send("x", "--timeout", "0.1").end()
    assert talk.failure == f"127.0.0.1:{port} takes connections, but did not answer within 1 s"


@ensureDeferred
async def test_a_server_that_speaks_something_else_is_said_to(strange: Callable[[bytes], int]) -> None:
    talk = await Talk(strange(b"HTTP/1.1 400 Bad Request\r\n\r\n")).send("x").end()
    assert talk.failure.startswith("the server does not speak AMQP 1.0 as it should: ")


ONLY_PLAIN = b"AMQP\x03\x01\x00\x00" + bytes.fromhex("00000016 02010000 005340 c00901 e00601a305") + b"PLAIN"


@ensureDeferred
async def test_a_server_that_wants_a_user_is_said_to(strange: Callable[[bytes], int]) -> None:
    talk = await Talk(strange(ONLY_PLAIN)).send("x").end()
    assert talk.failure == (
        "the server does not let us in without a user and password, as in amqp://user:password@host"
    )


# -- other ways to connect -----------------------------------------------------------------------------------------


@ensureDeferred
async def test_over_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "router.sock"
    await start(listener=[{"endpoint": f"unix:{path}"}])
    receiving = Talk(f"unix:{path}").receive("x", "--count", "1")
    assert (await Talk(f"unix:{path}").send("x").end()).ok
    await receiving.end()


async def over_tls(start: Start, certificate: Path) -> int:
    """The port of a router that listens with TLS."""
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}"
    return (await start(listener=[{"endpoint": endpoint}])).port


@pytest.mark.parametrize(("host", "trust"), [("localhost", "--ca"), ("127.0.0.1", "--insecure")])
@ensureDeferred
async def test_over_tls(start: Start, certificate: Path, host: str, trust: str) -> None:
    server = f"amqps://{host}:{await over_tls(start, certificate)}"
    options = [trust, str(certificate)] if trust == "--ca" else [trust]
    body = os.urandom(1_000_000)
    receiving = Talk(server).receive("x", "--count", "1", *options)
    sending = await Talk(server).send("x", *options, bodies=Repeated(1, lambda number: body)).end()
    assert sending.ok
    await receiving.end()
    assert receiving.paper.lines == [body]


@ensureDeferred
async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(start: Start, certificate: Path) -> None:
    talk = await Talk(f"amqps://localhost:{await over_tls(start, certificate)}").send("x").end()
    assert talk.failure == "TLS failed: certificate verify failed"


@ensureDeferred
async def test_a_certificate_for_another_host_is_not_trusted(start: Start, certificate: Path) -> None:
    port = await over_tls(start, certificate)
    talk = await Talk(f"amqps://127.0.0.1:{port}").send("x", "--ca", str(certificate)).end()
    assert talk.failure == "TLS failed: the certificate is for another host"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@ensureDeferred
async def test_the_certificate_has_to_be_for_the_host(start: Start, tmp_path: Path, host: str) -> None:
    """Whether that has a name or an address."""
    right = Issued("x", names=(host,)).write(tmp_path / "right")
    wrong = Issued("x", names=("127.0.0.2", "localhost.example")).write(tmp_path / "wrong")
    for certificate, ok in (right, True), (wrong, False):
        port = await over_tls(start, certificate)
        talk = await Talk(f"amqps://{host}:{port}").receive("x", "--drain", "--ca", str(certificate)).end()
        assert talk.ok == ok
        assert talk.failure == ("" if ok else "TLS failed: the certificate is for another host")


@ensureDeferred
async def test_a_certificate_is_shown_to_a_server_that_asks(start: Start, certificate: Path, tmp_path: Path) -> None:
    clients = authority("clients")
    (tmp_path / "clients").write_bytes(clients.pem)
    middle = authority("middle", clients)
    mine = middle.issue("nova")
    (tmp_path / "cert").write_bytes(mine.pem + middle.pem)
    (tmp_path / "key").write_bytes(mine.key_pem)
    (tmp_path / "both").write_bytes(mine.key_pem + mine.pem + middle.pem)
    listener = {"endpoint": LOOPBACK, "certificate": str(certificate), "client_ca": f"{tmp_path}/clients"}
    router = await start(listener=[listener])
    server = f"amqps://localhost:{router.port}"
    trust = ["--drain", "--ca", str(certificate)]
    for shown in (
        ["--certificate", f"{tmp_path}/cert", "--private-key", f"{tmp_path}/key", *trust],
        ["--certificate", f"{tmp_path}/both", *trust],
        ["--certificate", f"{tmp_path}/both", "--drain", "--insecure"],
    ):
        assert (await Talk(server).receive("x", *shown).end()).ok
    talk = await Talk(server).receive("x", *trust).end()
    assert talk.failure == "TLS failed: tlsv13 alert certificate required"


@ensureDeferred
async def test_certificates_and_keys_that_do_not_fit_are_said_to_be(certificate: Path, tmp_path: Path) -> None:
    other, locked = Issued("other").write(tmp_path / "other"), tmp_path / "locked"
    key = Issued("locked").key
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    (tmp_path / "empty").touch()
    for file, problem in (
        (other, "the private key is not that of the certificate"),
        (locked, "the private key is encrypted"),
        (tmp_path / "empty", "it has no PEM private key"),
    ):
        shown = ["--certificate", str(certificate), "--private-key", str(file)]
        talk = await Talk("amqps://localhost:1").send("x", *shown).end()
        assert talk.failure == f"cannot use {file}: {problem}"


@pytest.mark.parametrize(
    ("content", "problem"), [("", "it has no PEM certificate"), (None, "No such file or directory")]
)
@ensureDeferred
async def test_certificates_that_cannot_be_used_are_said_to_be(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    talk = await Talk("amqps://localhost:1").send("x", "--ca", str(file)).end()
    assert talk.failure == f"cannot use {file}: {problem}"


@ensureDeferred
async def test_what_is_stopped_before_it_is_connected_just_ends(router: RunningRouter) -> None:
    talk = await Talk(router).receive("x").stop()
    assert talk.ok


# -- temporary addresses, requests and answers ---------------------------------------------------------------------


@ensureDeferred
async def test_a_temporary_address_is_said_and_can_be_sent_to(router: RunningRouter) -> None:
    receiving = Talk(router).receive("--dynamic", "--count", "1")
    await wait_until(lambda: receiving.said)
    [said] = receiving.said
    address = said.removeprefix("receiving from ")
    assert address.startswith("amqp:/_topo/0/r1/temp.")
    sending = await Talk(router).send(address).end()
    await receiving.end()
    assert receiving.printed == ["message 1"]
    assert sending.ok


@pytest.mark.parametrize(("answer", "reply"), [(["--echo"], "message {}"), (["--reply", "fine"], "fine")])
@ensureDeferred
async def test_requests_are_answered(router: RunningRouter, answer: list[str], reply: str) -> None:
    receiving = Talk(router).receive("x", "--count", "20", *answer)
    sending = await Talk(router).send("x", "--count", "20", "--request").end()
    await receiving.end()
    assert sorted(sending.printed) == sorted(reply.format(number) for number in range(1, 21))
    assert sending.client.report.replies == 20
    assert sending.client.report.times.count == 20
    assert sending.ok
    assert receiving.client.report.replies == 20
    assert receiving.said == []


@ensureDeferred
async def test_no_more_requests_wait_for_a_reply_than_there_is_room_for(router: RunningRouter) -> None:
    served = await router.receiver("x", credit=250, takes=ACCEPTED)
    sending = Talk(router).send("x", "--request", "--count", "150")
    await served.count(100)
    await quiet(served)
    assert len(served.messages) == 100
    answering = await served.client.sender(served.messages[0].message.reply_to)
    await answering.credited(100)
    for number in range(1, 151):
        await served.count(number)
        await answering.credited()
        answering.send(Message(correlation_id=number))
    await sending.end()
    assert sending.ok


@pytest.mark.parametrize("body", [b"\xff\x00", b"x" * 200_000, "text", ""])
@ensureDeferred
async def test_an_echo_is_what_was_said(router: RunningRouter, body: str | bytes) -> None:
    receiving = Talk(router).receive("x", "--count", "1", "--echo")
    sending = await Talk(router).send("x", "--request", bodies=Repeated(1, lambda number: body)).end()
    await receiving.end()
    assert sending.paper.lines == [body if isinstance(body, bytes) else body.encode()]


@ensureDeferred
async def test_a_request_that_nobody_answers_is_a_failure(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x")
    sending = await Talk(router).send("x", "--request", "--timeout", "0.5").end()
    assert sending.failure == "nothing happened for 0.5 s: 1 request has no reply"
    await receiving.stop()


@ensureDeferred
async def test_a_request_that_was_not_accepted_has_no_reply_to_wait_for(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--settle", "reject", "--count", "1")
    sending = await Talk(router).send("x", "--request").end()
    await receiving.end()
    assert sending.outcomes == {"rejected": 1}
    assert not sending.ok


@ensureDeferred
async def test_a_message_without_reply_to_is_not_answered(router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--echo", "--count", "1")
    await Talk(router).send("x").end()
    await receiving.end()
    assert receiving.said == ["a message without reply-to is not answered"]


@ensureDeferred
async def test_a_reply_to_another_request_is_said_to_be_one(router: RunningRouter) -> None:
    served = await router.receiver("x", credit=1)
    sending = Talk(router).send("x", "--request", "--json")
    await served.count(1)
    request = served.messages[0].message
    answering = await served.client.sender(request.reply_to)
    await answering.credited(2)
    answering.send(Message("wrong", correlation_id="no such"))
    answering.send(Message("right", correlation_id=request.id))
    served.messages[0].accept()
    await sending.end()
    assert sending.said == ["a reply to nothing that was asked: its correlation-id is 'no such'"]
    assert [json.loads(line)["body"] for line in sending.printed] == ["right"]


@ensureDeferred
async def test_an_answer_that_cannot_be_delivered_is_said_not_to_be(router: RunningRouter) -> None:
    gone = await router.receiver(DYNAMIC)
    address = gone.address
    gone.close()
    receiving = Talk(router).receive("x", "--echo", "--count", "1")
    await Talk(router).send("x", "--reply-to", address).end()
    await receiving.end()
    assert receiving.said == ["an answer was not accepted but released"]
