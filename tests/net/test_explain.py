"""`explain` and `record`, asked of a router over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.net.asking import Answer, Asker
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, RELEASED, Receiver
from tests.net.routers import RunningRouter, ahead, message, quiet
from tests.net.waiting import wait_until
from txrouter.client.explained import table
from txrouter.management.record import RECORDINGS
from txrouter.policies.pull import Pull


async def asked(asker: Asker, router: RunningRouter, operation: str, **arguments: Any) -> None:
    """Ask for something that takes its time, and wait until it has begun."""
    before = router.core.counters["requests"]
    asker.sender.send(asker.request(operation, **arguments))
    await wait_until(lambda: router.core.counters["requests"] > before)


async def arrived(messages: int, *receivers: Receiver) -> None:
    """Wait until they have so many together."""
    await wait_until(lambda: sum(len(each.messages) for each in receivers) == messages)


# -- explain ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_it_says_who_got_what_and_why(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    quick = await router.receiver("jobs", credit=100, takes=ACCEPTED)
    stuck = await router.receiver("jobs", credit=1)
    producer = await router.sender("jobs")
    await producer.credited()
    await asked(asker, router, "explain", address="jobs", seconds=10, samples=1)
    for number in range(10):
        await producer.credited()
        producer.send(message())
        await arrived(number + 1, quick, stuck)
    await quiet(quick, stuck)
    await router.service.stopService()  # which has it answer at once
    answer = await asker.answer()
    assert answer.status == 200
    said = answer.body
    assert (said["router"], said["address"], said["policy"], said["options"]) == ("r1", "jobs", "pull", {})
    assert (said["sent"], said["held"], said["consumers_in_all"], said["producers_in_all"]) == (10, 0, 2, 1)
    assert [each["sent"] for each in said["consumers"]] == [9, 1]
    assert [each["got"] for each in said["consumers"]] == [0.9, 0.1]
    assert [each["wanted"] for each in said["consumers"]] == [0.5, 0.5]
    assert [each["in_flight"] for each in said["consumers"]] == [0, 1]
    assert said["consumers"][0]["p95"] is not None
    assert said["consumers"][1]["p95"] is None
    assert said["producers"][0]["container"] == producer.client.connection.container
    first = said["decisions"][0]
    assert first["chosen"] == first["candidates"][0]["consumer"]
    assert first["why"] == Pull.by
    assert [each["score"] for each in first["candidates"]] == [1, 1]


@pytest_twisted.ensureDeferred
async def test_of_a_multicast_address_it_says_who_got_copies_and_how_long_that_took(start: Start) -> None:
    router = await start(address=[{"pattern": "news", "distribution": "multicast"}])
    asker = await Asker.at(router)
    receivers = [await router.receiver("news", credit=100, takes=ACCEPTED) for _ in range(2)]
    producer = await router.sender("news")
    await producer.credited()
    await asked(asker, router, "explain", address="news", seconds=10)
    for _ in range(3):
        assert await producer.send(message()).over() == ACCEPTED
    await quiet(*receivers)
    await router.service.stopService()
    said = (await asker.answer()).body
    assert (said["sent"], [each["sent"] for each in said["consumers"]]) == (6, [3, 3])
    assert all(0 < each["mean"] < 10 for each in said["consumers"])


@pytest_twisted.ensureDeferred
async def test_it_says_why_messages_are_held(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    producer, _consumer = await ahead(router, 1, "jobs")
    await asked(asker, router, "explain", address="jobs", seconds=10, samples=1)
    producer.send(message())
    await quiet(producer)
    await router.service.stopService()
    [decision] = (await asker.answer()).body["decisions"]
    assert (decision["chosen"], decision["why"]) == (None, "nobody has credit: it is held")


@pytest_twisted.ensureDeferred
async def test_it_says_what_a_shadow_would_have_done(start: Start) -> None:
    shadow = {"distribution": "exclusive"}
    router = await start(address=[{"pattern": "jobs", "distribution": "round-robin", "shadow": shadow}])
    consumers = [await router.receiver("jobs", credit=10, takes=ACCEPTED) for _ in range(2)]
    producer = await router.sender("jobs")
    await producer.credited()
    for number in range(4):
        producer.send(message())
        await arrived(number + 1, *consumers)
    asker = await Asker.at(router)
    await asked(asker, router, "explain", address="jobs", seconds=0)
    said = (await asker.answer()).body
    assert (said["shadow"]["decisions"], said["shadow"]["other_consumer"]) == (4, 2)
    assert [each["would_have_got"] for each in said["shadow"]["consumers"]] == [4, 0]
    *_, head, first, second = table(said).splitlines()
    assert head.split() == ["CONSUMER", "CONTAINER", "GOT", "WOULD", "HAVE", "GOT"]
    assert [line.split()[-2:] for line in (first, second)] == [["2", "4"], ["2", "0"]]


@pytest_twisted.ensureDeferred
async def test_nothing_is_in_the_way_once_it_is_over(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    await router.receiver("jobs", credit=1)
    address = router.core.addresses["jobs"]
    assert (await asker.ask("explain", address="jobs", seconds=0.01)).status == 200
    assert address.select == address.policy.select
    assert not router.core.observations._observed


@pytest.mark.parametrize(
    ("arguments", "status", "description"),
    [
        ({}, 400, "address is missing"),
        ({"address": 7}, 400, "address is not a text"),
        ({"address": "/"}, 400, "'/' names no address"),
        ({"address": "nobody"}, 404, "nobody is attached to nobody"),
        ({"address": "$management"}, 404, "nobody is attached to $management"),
        ({"address": "jobs", "seconds": 61}, 400, "seconds is not a number from 0 to 60"),
        ({"address": "jobs", "samples": -1}, 400, "samples is not a number from 0 to 50"),
        ({"address": "jobs", "samples": True}, 400, "samples is not a number from 0 to 50"),
    ],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_what_makes_no_sense_is_said(
    router: RunningRouter, arguments: Any, status: int, description: str
) -> None:
    await router.receiver("jobs")
    asker = await Asker.at(router)
    answer = await asker.ask("explain", **arguments)
    assert (answer.status, answer.description) == (status, description)


@pytest_twisted.ensureDeferred
async def test_a_multicast_is_explained_by_its_consumers(start: Start) -> None:
    router = await start(address=[{"pattern": "news", "distribution": "multicast"}])
    await router.receiver("news", credit=1)
    said = (await (await Asker.at(router)).ask("explain", address="news", seconds=0)).body
    assert (said["policy"], len(said["consumers"]), said["decisions"]) == ("multicast", 1, [])


@pytest_twisted.ensureDeferred
async def test_of_many_consumers_some_are_shown(router: RunningRouter) -> None:
    client = await router.client()
    for _ in range(30):
        await client.receiver("jobs", credit=1)
    said = (await (await Asker.at(router)).ask("explain", address="jobs", seconds=0, consumers=10)).body
    assert (len(said["consumers"]), said["consumers_in_all"]) == (10, 30)


@pytest_twisted.ensureDeferred
async def test_a_router_that_stops_answers_at_once(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    await router.receiver("jobs")
    await asked(asker, router, "explain", address="jobs", seconds=10)
    await router.service.stopService()
    assert (await asker.answer()).status == 200


# -- record ----------------------------------------------------------------------------------------


async def recorded(asker: Asker) -> list[dict[str, Any]]:
    """A trace to its end."""
    lines: list[dict[str, Any]] = []
    while True:
        answer: Answer = await asker.answer()
        lines += answer.body["trace"]
        if answer.status != 206:
            assert answer.status == 200
            return lines


@pytest_twisted.ensureDeferred
async def test_a_trace_has_what_came_and_what_became_of_it(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    consumer = await router.receiver("jobs", credit=2)
    producer = await router.sender("jobs")
    await producer.credited(2)
    await asked(asker, router, "record", address="jobs", messages=2)
    producer.send(message("x" * 100, subject="build", priority=7, ttl=30))
    producer.send(message(), presettled=True)
    (await consumer.next()).accept()
    head, presettled, settled, end = await recorded(asker)
    [listed] = head.pop("consumers")
    assert head == {"txrouter": "trace", "version": 1, "router": "r1", "address": "jobs", "policy": "pull"}
    assert (listed["credit"], listed["in_flight"], listed["capacity"]) == (2, 0, 1.0)
    assert presettled.keys() == {"at", "sent", "consumer", "size"}
    assert (settled["outcome"], settled["subject"], settled["priority"], settled["ttl"]) == ("accepted", "build", 7, 30)
    assert settled["consumer"] == listed["consumer"]
    assert settled["size"] > 100
    assert settled["cost"] == pytest.approx(settled["settled"] - settled["sent"], abs=1e-5)
    assert (end["messages"], end["dropped"], end["why"]) == (2, 0, "messages")


@pytest_twisted.ensureDeferred
async def test_a_recording_ends_when_its_time_is_over(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    await router.receiver("jobs")
    asker.sender.send(asker.request("record", address="jobs", seconds=0.1))
    assert (await recorded(asker))[-1]["why"] == "seconds"
    assert not router.core.observations._observed


@pytest_twisted.ensureDeferred
async def test_a_recording_ends_with_its_client(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    await router.receiver("jobs")
    await asked(asker, router, "record", address="jobs")
    assert router.core.observations._observed
    asker.sender.client.abort()
    await wait_until(lambda: not router.core.observations._observed)


@pytest_twisted.ensureDeferred
async def test_a_recording_ends_with_the_link_that_asked_for_it(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    other = await router.receiver("others", credit=9)
    await router.receiver("jobs")
    await asked(asker, router, "record", address="jobs", reply_to="others")
    await other.next()
    asker.sender.close()
    await wait_until(lambda: not router.core.observations._observed)
    assert not router.service.management._open


@pytest_twisted.ensureDeferred
async def test_a_recording_ends_with_the_router(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    await router.receiver("jobs")
    await asked(asker, router, "record", address="jobs")
    await router.service.stopService()
    assert (await recorded(asker))[-1]["why"] == "stopped"


@pytest_twisted.ensureDeferred
async def test_a_multicast_is_not_recorded(start: Start) -> None:
    router = await start(address=[{"pattern": "news", "distribution": "multicast"}])
    await router.receiver("news", credit=1)
    assert (await (await Asker.at(router)).ask("record", address="news")).status == 409


@pytest_twisted.ensureDeferred
async def test_a_released_message_is_in_the_trace_twice(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    first = await router.receiver("jobs", credit=1, takes=RELEASED)
    producer = await router.sender("jobs")
    await producer.credited()
    second = await router.receiver("jobs")
    await asked(asker, router, "record", address="jobs", messages=2)
    producer.send(message())
    await first.next()
    second.flow(1)
    (await second.next()).accept()
    lines = [line for line in await recorded(asker) if "sent" in line]
    assert [(line["outcome"], line.get("attempt")) for line in lines] == [("released", None), ("accepted", 2)]
    assert "cost" not in lines[0]
    await quiet(producer)


@pytest_twisted.ensureDeferred
async def test_only_so_many_recordings_are_under_way_at_a_time(router: RunningRouter) -> None:
    await router.receiver("jobs")
    first = await Asker.at(router)
    for _ in range(RECORDINGS):
        await first.sender.credited()
        await asked(first, router, "record", address="jobs")
    other = await Asker.at(router)
    assert (await other.ask("record", address="jobs")).status == 503
    first.sender.client.abort()
    await wait_until(lambda: not router.core.observations._observed)
    other.sender.send(other.request("record", address="jobs", seconds=0.01))
    assert (await recorded(other))[-1]["why"] == "seconds"


@pytest_twisted.ensureDeferred
async def test_one_that_is_drained_is_to_get_nothing(router: RunningRouter) -> None:
    asker = await Asker.at(router)
    for _ in range(3):
        await router.receiver("jobs", credit=1)
    drained = next(iter(router.core.addresses["jobs"].consumers))
    router.core.capacities.tell(drained, "drain")
    said = (await asker.ask("explain", address="jobs", seconds=0)).body
    assert [(each["drained"], each["wanted"]) for each in said["consumers"]] == [(True, 0), (False, 0.5), (False, 0.5)]
    assert table(said).count(" drained ") == 1
