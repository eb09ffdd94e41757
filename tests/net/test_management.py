"""Requests to the router itself, at `$management`, over real sockets."""

from __future__ import annotations

import uuid
from typing import Any

import proton
import pytest
import pytest_twisted

from tests.net.asking import MANAGEMENT, Asker
from tests.net.conftest import Start
from tests.net.links import ACCEPTED
from tests.net.routers import RunningRouter, quiet, relay
from tests.net.waiting import wait_until
from txrouter.amqp.management import CONFLICT, FORBIDDEN, LONGEST, MOST, NOT_FOUND, Refused, Request


def say_back(request: Request) -> None:
    request.answer({"said": request.text("say"), "by": request.user.name})


@pytest.fixture
def asked(router: RunningRouter) -> RunningRouter:
    """A router that says back what it is told."""
    router.service.management.operations["say"] = say_back
    return router


@pytest_twisted.ensureDeferred
async def test_a_request_is_answered_and_accepted(asked: RunningRouter) -> None:
    asker = await Asker.at(asked)
    assert await asker.outcome(asker.request("say", say="hä")) == ACCEPTED
    answer = await asker.answer()
    assert (answer.status, answer.description) == (200, "OK")
    assert answer.body == {"said": "hä", "by": "anonymous"}


@pytest.mark.parametrize("id", ["one", b"\x00one", 7, 2**64 - 1, uuid.UUID(int=5)], ids=repr)
@pytest_twisted.ensureDeferred
async def test_an_answer_has_the_id_of_its_request(asked: RunningRouter, id: Any) -> None:
    asker = await Asker.at(asked)
    assert (await asker.ask("say", say="x", id=id)).correlation_id == id


@pytest_twisted.ensureDeferred
async def test_a_correlation_id_comes_before_a_message_id(asked: RunningRouter) -> None:
    asker = await Asker.at(asked)
    request = asker.request("say", say="x")
    request.correlation_id = "this"
    asker.sender.send(request)
    assert (await asker.answer()).correlation_id == "this"


@pytest_twisted.ensureDeferred
async def test_an_answer_goes_to_any_address(asked: RunningRouter) -> None:
    asker = await Asker.at(asked)
    there = await asked.receiver("answers.here", credit=1)
    asker.sender.send(asker.request("say", say="x", reply_to="/answers.here"))
    assert b"said" in bytes((await there.next()).data)


@pytest.mark.parametrize("to", [MANAGEMENT, f"/{MANAGEMENT}", f"amqp:/_topo/0/r1/{MANAGEMENT}"])
@pytest_twisted.ensureDeferred
async def test_an_anonymous_producer_may_ask_too(asked: RunningRouter, to: str) -> None:
    asker, producer = await Asker.at(asked), await relay(asked)
    request = asker.request("say", say="x")
    request.address = to
    assert await producer.send(request).over() == ACCEPTED
    assert (await asker.answer()).body["said"] == "x"


@pytest_twisted.ensureDeferred
async def test_a_presettled_request_is_answered(asked: RunningRouter) -> None:
    asker = await Asker.at(asked)
    asker.sender.send(asker.request("say", say="x"), presettled=True)
    assert (await asker.answer()).status == 200


@pytest_twisted.ensureDeferred
async def test_many_requests_are_answered_in_order(asked: RunningRouter) -> None:
    asker = await Asker.at(asked)
    for number in range(3 * MOST):
        await asker.sender.credited()
        asker.sender.send(asker.request("say", say="x", id=number))
    await asker.answers.count(3 * MOST)
    assert [each.message.correlation_id for each in asker.answers.messages] == [*range(3 * MOST)]


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_done_is_said(asked: RunningRouter) -> None:
    def refuse(_request: Request) -> None:
        raise Refused(NOT_FOUND, "there is none")

    def fail(_request: Request) -> None:
        raise RuntimeError

    asked.service.management.operations |= {"refuse": refuse, "fail": fail}
    asker = await Asker.at(asked)
    answers = [await asker.ask(each) for each in ("unknown", "say", "refuse", "fail")]
    known = ", ".join(sorted(asked.service.management.operations))
    assert [(each.status, each.description) for each in answers] == [
        (501, f"there is no operation 'unknown'; there is {known}"),
        (400, "say is missing"),
        (404, "there is none"),
        (500, "the router failed to answer"),
    ]
    assert [event for event, _ in asked.reports] == ["request failed"]


@pytest_twisted.ensureDeferred
async def test_a_request_without_an_operation_is_told_so(asked: RunningRouter) -> None:
    asker = await Asker.at(asked)
    asker.sender.send(asker.request(None))
    assert (await asker.answer()).status == 400


@pytest.mark.parametrize(
    ("fields", "condition"),
    [
        ({"reply_to": None}, "amqp:invalid-field"),
        ({"reply_to": "/"}, "amqp:invalid-field"),
        ({"reply_to": MANAGEMENT}, "amqp:not-allowed"),
        ({"reply_to": f"_topo/0/r1/{MANAGEMENT}"}, "amqp:not-allowed"),
        ({"say": "x" * LONGEST}, "amqp:link:message-size-exceeded"),
        ({"say": "x" * 300_000}, "amqp:link:message-size-exceeded"),
    ],
    ids=["no reply-to", "no address", "to itself", "to itself by a longer name", "too long", "much too long"],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_answered_is_rejected(asked: RunningRouter, fields: Any, condition: str) -> None:
    asker = await Asker.at(asked)
    outcome = await asker.outcome(asker.request("say", **fields))
    assert outcome.name == "rejected"
    assert outcome.error is not None
    assert outcome.error.name == condition
    assert asked.core.counters["refused_requests"] == 1
    assert (await asker.ask("say", say="and on it goes")).status == 200


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_read_is_rejected(asked: RunningRouter) -> None:
    asker = await Asker.at(asked)
    outcome = await asker.outcome(b"\x00\x53\x73\xff")
    assert outcome.error is not None
    assert outcome.error.name == "amqp:decode-error"


@pytest.mark.parametrize("place", ["nobody.there", "no.credit"])
@pytest_twisted.ensureDeferred
async def test_an_answer_that_nobody_can_take_is_dropped_and_counted(asked: RunningRouter, place: str) -> None:
    await asked.receiver("no.credit")
    asker = await Asker.at(asked)
    assert await asker.outcome(asker.request("say", say="x", reply_to=place)) == ACCEPTED
    assert asked.core.counters["dropped_answers"] == 1


@pytest_twisted.ensureDeferred
async def test_a_client_that_goes_before_it_is_answered_disturbs_nobody(asked: RunningRouter) -> None:
    asker, other = await Asker.at(asked), await Asker.at(asked)
    for _ in range(MOST):
        asker.sender.send(asker.request("say", say="x"))
    asker.sender.client.abort()
    assert (await other.ask("say", say="x")).status == 200


@pytest_twisted.ensureDeferred
async def test_only_so_many_requests_are_being_answered_at_a_time(asked: RunningRouter) -> None:
    waiting: list[Request] = []
    asked.service.management.operations["wait"] = waiting.append
    asker = await Asker.at(asked)
    for number in range(MOST):
        await asker.sender.credited()
        asker.sender.send(asker.request("wait", id=number))
    await wait_until(lambda: len(waiting) == MOST)
    assert (await asker.ask("say", say="x")).status == 503
    waiting[0].answer({})
    assert (await asker.answer()).correlation_id == 0
    assert (await asker.ask("say", say="x")).status == 200


@pytest_twisted.ensureDeferred
async def test_what_is_still_being_answered_when_the_router_stops_is_ended(asked: RunningRouter) -> None:
    def wait(request: Request) -> None:
        request.stop = lambda: stopped.append(request.answer({}, 503, "it stops"))

    stopped: list[bool] = []
    asked.service.management.operations["wait"] = wait
    asker = await Asker.at(asked)
    await asker.outcome(asker.request("wait"))
    await asked.service.stopService()
    assert stopped == [True]


@pytest_twisted.ensureDeferred
async def test_nobody_else_receives_what_is_for_the_router(asked: RunningRouter) -> None:
    client = await asked.client()
    for name in (MANAGEMENT, f"_topo/0/r1/{MANAGEMENT}", f"{MANAGEMENT}/x"):
        receiver = await client.receiver(name)
        assert receiver.error is not None
        assert receiver.error.name == "amqp:not-found"


@pytest.mark.parametrize("distribution", ["unavailable", "multicast", "round-robin"])
@pytest_twisted.ensureDeferred
async def test_the_distribution_of_all_addresses_is_not_that_of_the_router_itself(
    start: Start, distribution: str
) -> None:
    pattern = {"pattern": "#", "distribution": distribution}
    router = await start(address=[pattern, {"pattern": "temp.*", "distribution": "pull"}])
    router.service.management.operations["say"] = say_back
    asker = await Asker.at(router)
    assert (await asker.ask("say", say="x")).status == 200


# -- who may ask -----------------------------------------------------------------------------------


RULES = {"users": ["*"], "send": ["jobs", "#", "*"], "dynamic": True}


@pytest_twisted.ensureDeferred
async def test_where_no_rule_names_it_those_on_the_machine_may_ask(start: Start) -> None:
    router = await start(access=[RULES])
    router.service.management.operations["say"] = say_back
    asker = await Asker.at(router)
    assert (await asker.ask("say", say="x")).status == 200


@pytest.mark.parametrize("access", [[], [RULES]], ids=["no rules", "rules for all but it"])
@pytest_twisted.ensureDeferred
async def test_where_no_rule_names_it_those_elsewhere_may_not_ask(
    start: Start, monkeypatch: pytest.MonkeyPatch, access: Any
) -> None:
    router = await start(access=access)
    monkeypatch.setattr("txrouter.core.users.User.is_here", False)
    client = await router.client()
    sender = await client.sender(MANAGEMENT)
    assert sender.error is not None
    assert sender.error.name == "amqp:unauthorized-access"
    assert [event for event, _ in router.reports] == ["access refused"]
    assert router.core.counters["unauthorized_links"] == 1


@pytest_twisted.ensureDeferred
async def test_an_anonymous_producer_elsewhere_may_not_ask(
    asked: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txrouter.core.users.User.is_here", False)
    producer = await relay(asked)
    outcome = await producer.send(proton.Message(address=MANAGEMENT, reply_to="x")).over()
    assert outcome.error is not None
    assert outcome.error.name == "amqp:unauthorized-access"
    assert asked.core.counters["unauthorized_messages"] == 1


@pytest_twisted.ensureDeferred
async def test_where_a_rule_names_it_only_who_is_in_such_a_rule_may_ask(start: Start) -> None:
    router = await start(access=[RULES, {"users": ["alice"], "send": [f"/{MANAGEMENT}"]}])
    sender = await (await router.client()).sender(MANAGEMENT)
    assert sender.error is not None
    assert sender.error.name == "amqp:unauthorized-access"


CHANGES: list[dict[str, object]] = [
    {"operation": "reload"},
    {"operation": "set-capacity", "consumer": "x", "value": "drain"},
]


@pytest.mark.parametrize("asked_for", CHANGES, ids=lambda each: str(each["operation"]))
@pytest.mark.parametrize(
    ("access", "may"),
    [
        ([], True),
        ([RULES], True),
        ([{**RULES, "send": [MANAGEMENT]}], False),
        ([{**RULES, "send": [MANAGEMENT]}, {"users": ["alice"], "control": True}], False),
        ([{**RULES, "send": [MANAGEMENT], "control": True}], True),
    ],
    ids=["no rules", "none names it", "may ask", "another may control", "may control"],
)
@pytest_twisted.ensureDeferred
async def test_what_changes_the_router_is_for_those_who_may_control_it(
    start: Start, access: Any, may: bool, asked_for: dict[str, object]
) -> None:
    router = await start(access=access)
    asker = await Asker.at(router)
    operation = str(asked_for["operation"])
    answer = await asker.ask(operation, **{name: each for name, each in asked_for.items() if name != "operation"})
    assert (answer.status == FORBIDDEN) is not may
    if not may:
        assert answer.body == {"error": "'anonymous' may not change what the router does"}
        assert [event for event, _ in router.reports] == ["access refused"]


@pytest_twisted.ensureDeferred
async def test_who_may_only_ask_may_see_what_a_reload_would_change(start: Start) -> None:
    router = await start(access=[{**RULES, "send": [MANAGEMENT]}])
    answer = await (await Asker.at(router)).ask("reload", dry_run=True)
    assert answer.status == CONFLICT  # this router has no file


@pytest_twisted.ensureDeferred
async def test_an_answer_goes_only_where_who_asks_may_send(start: Start) -> None:
    rules = {"users": ["*"], "send": [MANAGEMENT], "receive": ["jobs"], "dynamic": True}
    router = await start(access=[rules])
    router.service.management.operations["say"] = say_back
    asker = await Asker.at(router)
    victim = await router.receiver("jobs", credit=1)
    outcome = await asker.outcome(asker.request("say", say="x", reply_to="jobs"))
    assert outcome.error is not None
    assert outcome.error.name == "amqp:unauthorized-access"
    assert (await asker.ask("say", say="x")).status == 200
    await quiet(asker.sender, victim)
    assert not victim.messages


# -- what it is left with --------------------------------------------------------------------------


async def at_rest(router: RunningRouter) -> None:
    """Wait until every request is done with, and see that there is room for as many as before."""
    management = router.service.management
    await wait_until(lambda: not management._asked and not management.in_flight)
    await wait_until(lambda: management.credit == MOST)
    assert not management._open


@pytest.mark.parametrize("anonymous", [False, True], ids=["with a target", "anonymous"])
@pytest_twisted.ensureDeferred
async def test_whatever_is_asked_there_is_room_for_as_much_as_before(asked: RunningRouter, anonymous: bool) -> None:
    asker = await Asker.at(asked)
    producer = await relay(asked) if anonymous else asker.sender
    requests: list[Any] = [
        asker.request("say", say="x"),
        asker.request("unknown"),
        asker.request("say", say="x", reply_to=None),
        asker.request("say", say="x" * 20_000),
        asker.request("say", say="x" * 40_000),
        asker.request("say", say="x" * 200_000),
    ]
    for number in range(120):
        request = requests[number % len(requests)]
        request.address = MANAGEMENT
        await producer.credited()
        producer.send(request, presettled=number % 5 == 0)
    counters = asked.core.counters
    await wait_until(lambda: counters["requests"] + counters["refused_requests"] == 120)
    assert counters["refused_requests"] == 80
    await at_rest(asked)


@pytest.mark.parametrize("size", [100, 30_000, 100_000])
@pytest_twisted.ensureDeferred
async def test_a_request_that_never_ends_is_none(asked: RunningRouter, size: int) -> None:
    asker, other = await Asker.at(asked), await Asker.at(asked)
    for _ in range(3):
        begun = other.sender.begin()
        begun.write(asker.request("say", say="x" * size).encode()[:-10])
        await quiet(other.sender)
        begun.abort()
        await quiet(other.sender)
    begun = other.sender.begin()
    begun.write(b"\x00")
    other.sender.client.abort()
    assert (await asker.ask("say", say="x")).status == 200
    await at_rest(asked)


@pytest_twisted.ensureDeferred
async def test_requests_of_clients_that_go_are_done_with(asked: RunningRouter) -> None:
    for _ in range(5):
        asker = await Asker.at(asked)
        for number in range(MOST):
            asker.sender.send(asker.request("say", say="x"), presettled=number % 2 == 0)
        asker.sender.client.abort()
    await at_rest(asked)
