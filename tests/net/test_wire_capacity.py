"""What consumers say of their capacity, by their links and by HTTP, over real sockets."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import proton
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from tests.net.asking import Asker
from tests.net.authorities import Issued
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, Error, Receiver, State
from tests.net.routers import LOOPBACK, RunningRouter, quiet
from tests.net.waiting import reactor, something_came, wait_until

QUICK: dict[str, object] = {"every": 0.1, "timeout": 5}


class HealthAddress(Resource):
    """Answers what a test says, whatever the path is."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answer: bytes | None = b"up"
        """None for none at all."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        """How often each path was asked for."""
        self.seen = Headers()
        """What came with the last question."""
        self.open = 0
        """Questions that wait for an answer."""
        self.port = 0

    def render_GET(self, request: Any) -> Any:
        self.asked[request.uri.decode()] += 1
        self.seen = request.requestHeaders
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        something_came()
        if self.answer is not None:
            return self.answer
        self.open += 1
        request.notifyFinish().addBoth(self._finished)
        return NOT_DONE_YET

    def _finished(self, _reason: object) -> None:
        self.open -= 1
        something_came()

    def url(self, path: str = "/health") -> str:
        """Where it is, as a config has it."""
        return f"http://{{host}}:{self.port}{path}"


@pytest_twisted.async_yield_fixture
async def health() -> AsyncIterator[HealthAddress]:
    """A health address on loopback."""
    health = HealthAddress()
    site = Site(health, timeout=None)
    site.noisy = False
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
    health.port = port.getHost().port
    yield health
    await port.stopListening()


def asking(health: HealthAddress, **more: object) -> dict[str, object]:
    """The table of a config that has it asked."""
    return {"url": health.url(), **QUICK, **more}


def known(router: RunningRouter) -> dict[str, Any]:
    """What is known of the only consumer."""
    [consumer] = router.core.capacities.consumers()
    return router.core.capacities.describe(consumer)


async def drained(router: RunningRouter, drained: bool = True) -> None:
    """Wait until the only consumer is, or is not."""
    await wait_until(lambda: known(router)["drained"] == drained)


@ensureDeferred
async def test_the_log_hears_nothing_of_questions_that_are_answered(start: Start, health: HealthAddress) -> None:
    router = await start(capacity=[asking(health)])
    said: list[str | None] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        health.answer = b"50%"
        consumer = await router.receiver("x", credit=1)
        (known,) = router.core.addresses["x"].consumers
        await wait_until(lambda: known.capacity == 0.5)
        await quiet(consumer)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not [text for text in said if text and "HTTP11Client" in text]


# -- drain ---------------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_one_that_drains_gets_nothing_new_and_loses_nothing(start: Start, health: HealthAddress) -> None:
    router = await start(capacity=[asking(health, links=["out"])])
    out = await router.receiver("x", credit=10, name="out")
    producer = await router.sender("x")
    await producer.credited()
    before = producer.send(b"\0Sw\xa1\5hello")
    await out.count(1)
    health.answer = b"drain"
    await wait_until(lambda: router.core.addresses["x"].on_duty == 0)
    other = await router.receiver("x", credit=10, takes=ACCEPTED)
    await producer.credited()
    for _ in range(3):
        assert await producer.send(b"\0Sw\xa1\5hello").over() == ACCEPTED
    out.messages[0].settle(ACCEPTED)
    assert await before.over() == ACCEPTED
    assert (len(out.messages), len(other.messages)) == (1, 3)
    health.answer = b"ready"
    await wait_until(lambda: router.core.addresses["x"].on_duty == 2)
    other.client.close()
    await producer.credited()
    producer.send(b"\0Sw\xa1\5hello")
    await out.count(2)


@ensureDeferred
async def test_where_all_drain_messages_are_held_until_one_is_ready(start: Start, health: HealthAddress) -> None:
    router = await start(capacity=[asking(health)])
    out = await router.receiver("x", credit=10)
    producer = await router.sender("x")
    await producer.credited()
    health.answer = b"maint"
    await drained(router)
    sent = producer.send(b"\0Sw\xa1\5hello")
    await quiet(producer, out)
    assert (len(out.messages), sent.settled) == (0, False)
    assert len(router.core.addresses["x"].held) == 1
    health.answer = b"up"
    await out.count(1)


@ensureDeferred
async def test_status_503_is_as_good_as_the_word_down(start: Start, health: HealthAddress) -> None:
    health.status = 503
    router = await start(capacity=[asking(health)])
    await router.receiver("x", credit=10)
    await drained(router)
    assert known(router)["said"]["health"]["said"] == "down"
    health.status = 200
    await drained(router, False)


@ensureDeferred
async def test_an_operator_drains_a_consumer(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=10)
    [link] = router.core.addresses["x"].consumers
    router.core.capacities.tell(link, "drain")
    producer = await router.sender("x")
    await quiet(producer, consumer)
    assert producer.credit == 0
    router.core.capacities.tell(link, None)
    router.service._pacemaker.turn.wake()
    await producer.credited()


# -- numbers -------------------------------------------------------------------------------------------------------


async def shares(router: RunningRouter, consumers: list[Receiver], messages: int) -> list[int]:
    """Who gets how many."""
    producer = await router.sender("x")
    for _ in range(messages):
        await producer.credited()
        producer.send(b"\0Sw\xa1\5hello", presettled=True)
    await wait_until(lambda: sum(len(each.messages) for each in consumers) == messages)
    return [len(each.messages) for each in consumers]


WEIGHTED: list[object] = [{"pattern": "x", "distribution": "weighted"}]


@ensureDeferred
async def test_a_share_follows_what_a_health_address_says(start: Start, health: HealthAddress) -> None:
    health.answer = b'{"load": [{"free": 3}]}'
    router = await start(capacity=[asking(health, links=["big"], field="load[0].free")], address=WEIGHTED)
    consumers = [await router.receiver("x", credit=100, name=name) for name in ("big", "small")]
    await wait_until(lambda: 3.0 in [each.capacity for each in router.core.addresses["x"].consumers])
    assert await shares(router, consumers, 40) == [30, 10]


@ensureDeferred
async def test_a_share_follows_the_config_whatever_a_link_says(start: Start) -> None:
    router = await start(capacity=[{"links": ["b*"], "value": 4}], address=WEIGHTED)
    properties: dict[str, object] = {"capacity": 9}
    consumers = [await router.receiver("x", credit=100, name="big", properties=properties)]
    consumers.append(await router.receiver("x", credit=100, name="small"))
    assert await shares(router, consumers, 40) == [32, 8]


@ensureDeferred
async def test_a_percentage_is_of_what_the_link_says(start: Start, health: HealthAddress) -> None:
    health.answer = b"up 75%"
    router = await start(capacity=[asking(health, property="gpus")])
    await router.receiver("x", properties={"gpus": 8})
    await wait_until(lambda: known(router)["capacity"] == 6.0)


@ensureDeferred
async def test_a_property_that_a_rule_names_has_to_be_allowed(start: Start) -> None:
    rules = [{"users": ["*"], "receive": ["x"]}]
    router = await start(capacity=[{"property": "gpus"}, {"client_urls": ["http://{host}/"]}], access=rules)
    for properties in {"gpus": 8}, {"health-url": "http://127.0.0.1/"}, {"capacity": 1}:
        consumer = await router.receiver("x", properties=properties)
        assert consumer.error is not None
        assert consumer.error.name == "amqp:unauthorized-access"
    assert (await router.receiver("x", properties={"cpus": 8})).open


# -- who is asked --------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_all_who_share_an_address_are_asked_for_once(start: Start, health: HealthAddress) -> None:
    router = await start(capacity=[asking(health, every=60, expires=100)])
    client = await router.client()
    for _ in range(5):
        await client.receiver("x")
    await wait_until(lambda: health.asked and not health.open)
    await quiet(client)
    assert health.asked == {"/health": 1}


@ensureDeferred
async def test_a_container_has_its_place_in_a_path(start: Start, health: HealthAddress) -> None:
    router = await start(capacity=[asking(health, url=health.url("/of/{container}"))])
    await (await router.client("a/b?c")).receiver("x")
    await wait_until(lambda: health.asked)
    assert set(health.asked) == {"/of/a%2Fb%3Fc"}


@ensureDeferred
async def test_a_client_says_where_it_is_asked_if_it_may(start: Start, health: HealthAddress) -> None:
    router = await start(capacity=[{"client_urls": [health.url("/")], **QUICK}])
    await router.receiver("x", properties={"health-url": f"http://127.0.0.1:{health.port}/mine"})
    await router.receiver("x", properties={"health-url": f"http://127.0.0.2:{health.port}/other"})
    await router.receiver("x")
    await wait_until(lambda: health.asked)
    assert set(health.asked) == {"/mine"}
    assert router.core.counters["refused_health_urls"] == 1


@ensureDeferred
async def test_who_has_left_is_not_asked_for_and_the_question_ends(start: Start, health: HealthAddress) -> None:
    health.answer = None
    router = await start(capacity=[asking(health)])
    consumer = await router.receiver("x")
    await wait_until(lambda: health.open)
    consumer.client.abort()
    await wait_until(lambda: not health.open)
    assert router.core.counters["failed_health_checks"] == 0


# -- what is no answer ---------------------------------------------------------------------------------------------


async def failure(router: RunningRouter) -> str:
    """What was wrong with the answer that the only consumer's health address gave."""
    await wait_until(lambda: router.core.counters["failed_health_checks"])
    assert (known(router)["capacity"], known(router)["drained"]) == (1.0, False)
    return str(known(router)["health"]["error"])


@pytest.mark.parametrize(
    ("status", "headers", "answer", "why"),
    [
        (500, {}, b"drain", "its status was 500"),
        (404, {}, b"drain", "its status was 404"),
        (302, {"Location": "/elsewhere"}, b"", "its status was 302"),
        (200, {}, b"drain " * 1_000, "it answered with more than 4096 bytes"),
        (200, {}, b"drain " * 10_000, "more than 16384 bytes came"),
        (200, {"X-Long": "x" * 10_000, "X-Longer": "x" * 10_000}, b"drain", "more than 16384 bytes came"),
        (
            200,
            {"Content-Encoding": "gzip"},
            gzip.compress(b" " * 2_000_000 + b"drain"),
            "it answered with more than 4096 bytes",
        ),
        (200, {}, b"\xff", "it answered with what is not UTF-8"),
    ],
    ids=["500", "404", "302", "large", "larger", "headers", "bomb", "binary"],
)
@ensureDeferred
async def test_what_is_no_answer_changes_nothing_and_is_shown(
    start: Start, health: HealthAddress, status: int, headers: dict[str, str], answer: bytes, why: str
) -> None:
    health.status, health.headers, health.answer = status, headers, answer
    router = await start(capacity=[asking(health)])
    await router.receiver("x")
    assert await failure(router) == why
    assert set(health.asked) == {"/health"}


@ensureDeferred
async def test_an_answer_that_makes_no_sense_is_counted_and_shown(start: Start, health: HealthAddress) -> None:
    health.answer = b"-5"
    router = await start(capacity=[asking(health)])
    await router.receiver("x")
    await wait_until(lambda: router.core.counters["bad_capacities"])
    assert known(router)["ignored"] == r"health address: '-5' is no number, no percentage and no word for how it is"
    assert known(router)["capacity"] == 1.0


@ensureDeferred
async def test_one_that_does_not_answer_in_time_is_left(start: Start, health: HealthAddress) -> None:
    health.answer = None
    router = await start(capacity=[asking(health, timeout=0.05)])
    await router.receiver("x")
    assert await failure(router) == "it did not answer within 0.05 s"
    health.answer = b"drain"
    await drained(router)
    await wait_until(lambda: not health.open)


@ensureDeferred
async def test_one_that_dribbles_is_left_in_time(start: Start) -> None:
    class Dribbling(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ndrain")

    factory = Factory.forProtocol(Dribbling)
    factory.noisy = False
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
    try:
        url = f"http://{{host}}:{port.getHost().port}/"
        router = await start(capacity=[{"url": url, **QUICK, "timeout": 0.05}])
        await router.receiver("x")
        assert await failure(router) == "it did not answer within 0.05 s"
    finally:
        await port.stopListening()


@ensureDeferred
async def test_one_that_is_not_there_is_no_loss(start: Start, health: HealthAddress) -> None:
    url = "http://127.0.0.1:1/"  # nobody listens at tcpmux
    router = await start(capacity=[asking(health, url=url)])
    await router.receiver("x")
    assert "Connection was refused" in await failure(router)


@pytest.mark.parametrize(("name", "why"), [("localhost", "Mismatch"), ("127.0.0.1", "certificate verify failed")])
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL")  # Twisted's server endpoint does
@ensureDeferred
async def test_an_answer_by_tls_counts_only_with_a_certificate_that_is_trusted(
    start: Start, health: HealthAddress, tmp_path: Path, name: str, why: str
) -> None:
    certificate = Issued(name, names=(name,)).write(tmp_path / "signed-by-itself.pem")
    site = Site(health, timeout=None)
    site.noisy = False
    port = await serverFromString(reactor, f"ssl:0:interface=127.0.0.1:privateKey={certificate}").listen(site)
    try:
        url = f"https://{{host}}:{port.getHost().port}/"
        router = await start(capacity=[{"url": url, **QUICK}])
        await router.receiver("x")
        assert why in await failure(router)
        assert not health.asked
    finally:
        await port.stopListening()


@ensureDeferred
async def test_no_cookie_is_kept(start: Start, health: HealthAddress) -> None:
    health.headers = {"Set-Cookie": "who=router"}
    router = await start(capacity=[asking(health)])
    await router.receiver("x")
    await wait_until(lambda: health.asked["/health"] >= 3)
    assert not health.seen.hasHeader("Cookie")


@ensureDeferred
async def test_what_was_said_last_holds_until_it_expires(start: Start, health: HealthAddress) -> None:
    health.answer = b"drain"
    router = await start(capacity=[asking(health, timeout=0.1, expires=0.3)])
    await router.receiver("x")
    await drained(router)
    health.status = 500
    await drained(router, False)
    assert router.core.counters["stale_capacities"]


@ensureDeferred
async def test_a_router_that_stops_leaves_its_questions(start: Start, health: HealthAddress) -> None:
    health.answer = None
    router = await start(capacity=[asking(health)])
    await router.receiver("x")
    await wait_until(lambda: health.open)
    await router.service.stopService()
    await wait_until(lambda: not health.open)


# -- reports -------------------------------------------------------------------------------------------------------

REPORTS = "$management/capacity"


def report(**said: object) -> proton.Message:
    """What a client says of its capacity."""
    return proton.Message(properties=said)


@ensureDeferred
async def test_a_client_reports_by_a_message_how_much_it_takes(router: RunningRouter) -> None:
    client = await router.client()
    for name in "one", "two":
        await client.receiver("x", name=name)
    await router.receiver("x", name="one")
    reports = await client.sender(REPORTS)
    await reports.credited()

    def capacities() -> list[float]:
        return [each.capacity for each in router.core.addresses["x"].consumers]

    assert await reports.send(report(value=4)).over() == ACCEPTED
    assert capacities() == [4.0, 4.0, 1.0]
    assert await reports.send(report(value="50%", link="two")).over() == ACCEPTED
    assert capacities() == [4.0, 0.5, 1.0]
    assert await reports.send(report(value="ready")).over() == ACCEPTED
    assert capacities() == [1.0, 1.0, 1.0]
    assert router.core.counters["reports"] == 3


@ensureDeferred
async def test_a_client_that_reports_a_drain_gets_nothing_new(router: RunningRouter) -> None:
    consumer = await router.receiver("x", credit=10)
    reports = await consumer.client.sender(REPORTS)
    await reports.credited()
    assert await reports.send(report(value="drain")).over() == ACCEPTED
    producer = await router.sender("x")
    await quiet(producer, consumer)
    assert (producer.credit, known(router)["source"]) == (0, "report")
    assert await reports.send(report(value="drain", seconds=0.01)).over() == ACCEPTED
    await producer.credited()


@pytest.mark.parametrize(
    ("said", "condition", "why"),
    [
        ({"value": -1}, "amqp:invalid-field", "-1 is not from 1e-09 to 1e+15"),
        ({"value": float("nan")}, "amqp:invalid-field", "None is no number"),
        ({}, "amqp:invalid-field", "None is no number"),
        ({"value": True}, "amqp:invalid-field", "True is no number"),
        ({"value": "much"}, "amqp:invalid-field", "'much' is no number, no percentage and no word for how it is"),
        ({"value": b"5"}, "amqp:invalid-field", "b'5' is no number"),
        (
            {"value": 1, "seconds": 0},
            "amqp:invalid-field",
            "it is to hold for a number of seconds above 0, up to a year",
        ),
        ({"value": 1, "link": 5}, "amqp:invalid-field", "link is not a text"),
        ({"value": 1, "link": "other"}, "amqp:not-found", "there is no such consumer of this client"),
    ],
    ids=repr,
)
@ensureDeferred
async def test_a_report_that_does_not_count_is_rejected(
    router: RunningRouter, said: dict[str, object], condition: str, why: str
) -> None:
    consumer = await router.receiver("x", name="link")
    reports = await consumer.client.sender(REPORTS)
    await reports.credited()
    assert await reports.send(report(**said)).over() == State("rejected", error=Error(condition, why))
    assert known(router)["capacity"] == 1.0


@ensureDeferred
async def test_who_proved_nothing_reports_only_by_the_connection_of_its_consumers(router: RunningRouter) -> None:
    mine, another = [await router.client("same") for _ in range(2)]
    await mine.receiver("x")
    for client, capacity, outcome in ((another, 1.0, "rejected"), (mine, 4.0, "accepted")):
        reports = await client.sender(REPORTS)
        await reports.credited()
        assert (await reports.send(report(value=4)).over()).name == outcome
        assert known(router)["capacity"] == capacity


@ensureDeferred
async def test_a_user_reports_by_any_connection_with_the_same_container_id(start: Start, passwords: Path) -> None:
    listener = [{"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True, "mechanisms": ["PLAIN"]}]
    router = await start(listener=listener)
    mine, too = [await router.client("same", login=("alice", "pencil")) for _ in range(2)]
    await mine.receiver("x")
    reports = await too.sender(REPORTS)
    await reports.credited()
    assert await reports.send(report(value=4)).over() == ACCEPTED
    assert known(router)["capacity"] == 4.0


@ensureDeferred
async def test_with_rules_only_those_report_who_may_say_their_capacity(start: Start, passwords: Path) -> None:
    rules = [{"users": ["*"], "receive": ["x"], "anonymous_producer": True}, {"users": ["alice"], "capacity": True}]
    listener = [{"endpoint": LOOPBACK, "passwords": str(passwords), "plain_without_tls": True, "mechanisms": ["PLAIN"]}]
    router = await start(access=rules, listener=listener)
    alice, bob = [await router.client(login=(name, "pencil")) for name in ("alice", "bob")]
    for client in alice, bob:
        await client.receiver("x")
    refused = await bob.sender(REPORTS)
    assert refused.error is not None
    assert refused.error.name == "amqp:unauthorized-access"
    relay = await bob.sender(None)
    await relay.credited()
    outcome = await relay.send(proton.Message(address=REPORTS, properties={"value": 9})).over()
    assert outcome.error is not None
    assert outcome.error.name == "amqp:unauthorized-access"
    reports = await alice.sender(REPORTS)
    await reports.credited()
    assert await reports.send(report(value=4)).over() == ACCEPTED
    assert [each.capacity for each in router.core.addresses["x"].consumers] == [4.0, 1.0]


@ensureDeferred
async def test_nobody_receives_reports(router: RunningRouter) -> None:
    consumer = await router.receiver(REPORTS)
    assert consumer.error == Error("amqp:not-found", "$management/capacity is reserved")


# -- operators -----------------------------------------------------------------------------------------------------


@ensureDeferred
async def test_an_operator_asks_for_capacities_and_sets_one(router: RunningRouter) -> None:
    await router.receiver("x", properties={"capacity": 2})
    await router.receiver("y")
    asker = await Asker.at(router)
    shown = (await asker.ask("capacity", address="x")).body
    [consumer] = shown["consumers"]
    assert (consumer["capacity"], consumer["source"], shown["consumers_in_all"]) == (2.0, "property", 1)
    assert (await asker.ask("capacity", consumers=1)).body["consumers_in_all"] == 3  # one is for the answers
    drained = await asker.ask("set-capacity", consumer=consumer["consumer"], value="drain")
    assert (drained.body["drained"], drained.body["source"]) == (True, "operator")
    again = await asker.ask("set-capacity", consumer=consumer["consumer"], value="ready")
    assert (again.body["drained"], again.body["source"]) == (False, "property")


@ensureDeferred
async def test_what_an_operator_asks_for_may_make_no_sense(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    [consumer] = router.core.capacities.consumers()
    answers = [
        await asker.ask("set-capacity", consumer="nobody", value=1),
        await asker.ask("set-capacity", consumer=consumer.id, value="away"),
        await asker.ask("set-capacity", consumer=consumer.id, value=1, seconds="5"),
        await asker.ask("set-capacity", consumer=consumer.id, value=float("inf")),
        await asker.ask("capacity", address="nowhere"),
    ]
    assert [each.status for each in answers] == [404, 400, 400, 400, 404]
