"""`txrouter explain` and `txrouter record` with a router."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.links import ACCEPTED
from tests.net.routers import RunningRouter, message
from tests.net.talks import Command, Talk
from tests.net.waiting import wait_until


@pytest.fixture
def commands(router: RunningRouter) -> Iterator[list[Command]]:
    """Processes that are to be gone when the test is over."""
    started: list[Command] = []
    yield started
    for command in started:
        command.kill()


def lines(talk: Talk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in talk.printed]


async def recording(router: RunningRouter) -> None:
    """Wait until somebody records."""
    await wait_until(lambda: router.core.observations._observed)


# -- explain ---------------------------------------------------------------------------------------


@ensureDeferred
async def test_an_explanation_is_printed(router: RunningRouter) -> None:
    await router.receiver("jobs", credit=7)
    talk = await Talk(router).explain("jobs", "--seconds", "0.01").end()
    assert talk.ok
    [text] = talk.printed
    assert text.startswith("jobs at r1: pull\n1 consumer, 0 producers, 0 held; 0 sent in ")
    assert "CONSUMER" in text


@ensureDeferred
async def test_an_explanation_for_programs_is_one_line(router: RunningRouter) -> None:
    await router.receiver("jobs", credit=7)
    talk = await Talk(router).explain("jobs", "--seconds", "0.01", "--json").end()
    [said] = lines(talk)
    assert said["consumers"][0]["credit"] == 7


@pytest.mark.parametrize("what", ["explain", "record"])
@ensureDeferred
async def test_an_address_that_nobody_uses_is_said_to_be(router: RunningRouter, what: str) -> None:
    talk = await getattr(Talk(router), what)("jobs").end()
    assert talk.failure == "nobody is attached to jobs"
    assert not talk.printed


@ensureDeferred
async def test_who_may_not_ask_is_told_so(start: Start) -> None:
    router = await start(access=[{"users": ["ops"], "send": ["$management"]}, {"users": ["*"], "dynamic": True}])
    talk = await Talk(router).explain("jobs").end()
    assert talk.failure == (
        "the server refuses $management: amqp:unauthorized-access: 'anonymous' may not send to $management"
    )


@ensureDeferred
async def test_who_may_have_no_temporary_address_is_told_so(start: Start) -> None:
    router = await start(access=[{"users": ["*"], "send": ["$management"]}])
    talk = await Talk(router).explain("jobs").end()
    assert talk.failure == (
        "the server refuses a temporary address: amqp:unauthorized-access: 'anonymous' may not have a temporary address"
    )


@ensureDeferred
async def test_a_router_that_does_not_answer_is_given_up(router: RunningRouter, monkeypatch: Any) -> None:
    await router.receiver("jobs")
    router.service.management.operations["explain"] = lambda request: None
    monkeypatch.setattr("txrouter.client.client.PATIENCE", 0.2)
    talk = await Talk(router).explain("jobs", "--seconds", "0.01").end()
    assert "did not answer" in talk.failure


# -- record ----------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_trace_is_printed_and_summed_up(router: RunningRouter) -> None:
    await router.receiver("jobs", credit=10, takes=ACCEPTED)
    producer = await router.sender("jobs")
    await producer.credited(3)
    talk = Talk(router).record("jobs", "--messages", "3")
    await recording(router)
    for _ in range(3):
        producer.send(message())
    await talk.end()
    assert talk.ok
    head, *middle, end = lines(talk)
    assert head["address"] == "jobs"
    assert len(middle) == end["messages"] == 3
    assert talk.outcomes == {"accepted": 3}
    assert talk.client.report.times.count == 3


@ensureDeferred
async def test_a_recording_that_is_stopped_says_so_in_its_last_line(router: RunningRouter) -> None:
    await router.receiver("jobs", credit=10)
    talk = Talk(router).record("jobs")
    await wait_until(lambda: talk.paper.lines)
    await talk.stop()
    assert talk.ok
    end = lines(talk)[-1]
    assert (end["messages"], end["dropped"], end["why"]) == (0, 0, "interrupted")


@ensureDeferred
async def test_what_cannot_be_printed_is_not_asked_for_and_what_is_missing_is_said(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txrouter.management.record.WAITING", 5)
    monkeypatch.setattr("txrouter.client.ask.CREDIT", 2)
    consumer = await router.receiver("jobs", credit=100, takes=ACCEPTED)
    consumer.told = lambda _received: consumer.flow(1)
    producer = await router.sender("jobs")
    talk = Talk(router).record("jobs", "--messages", "30")
    talk.paper.room_for = 1
    await wait_until(lambda: talk.paper.lines)
    for number in range(60):
        await producer.credited()
        await producer.send(message(number)).over()
    talk.paper.room_for = float("inf")
    talk.paper.room()
    while not talk.over:
        await producer.credited()
        await producer.send(message()).over()
    assert talk.ok
    end = lines(talk)[-1]
    assert end["messages"] == 30
    assert end["dropped"] == sum(line["dropped"] for line in lines(talk)[:-1] if "dropped" in line)
    assert talk.said == [f"{end['dropped']:,} lines are missing: they did not come through in time"]


@ensureDeferred
async def test_a_trace_is_written_to_a_file(router: RunningRouter, commands: list[Command], tmp_path: Path) -> None:
    await router.receiver("jobs", credit=10)
    file = tmp_path / "trace"
    commands.append(Command(router, "record", "jobs", "--seconds", "0.1", "-o", str(file)))
    assert await commands[0].end() == 0
    assert commands[0].out == ""
    assert commands[0].err == "recorded 0 from jobs\n"
    assert json.loads(file.read_text().splitlines()[-1])["why"] == "seconds"


@ensureDeferred
async def test_a_file_that_cannot_be_written_is_said_to_be(
    router: RunningRouter, commands: list[Command], tmp_path: Path
) -> None:
    commands.append(Command(router, "record", "jobs", "-o", str(tmp_path / "no" / "trace")))
    assert await commands[0].end() == 1
    assert commands[0].err == f"txrouter record: cannot write {tmp_path}/no/trace: No such file or directory\n"


@ensureDeferred
async def test_an_explanation_is_all_that_is_printed(router: RunningRouter, commands: list[Command]) -> None:
    await router.receiver("jobs", credit=10)
    commands.append(Command(router, "explain", "jobs", "--seconds", "0.1", "--json"))
    assert await commands[0].end() == 0
    assert commands[0].err == ""
    assert commands[0].json[0]["address"] == "jobs"
