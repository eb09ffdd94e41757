"""oslo.messaging's driver for AMQP 1.0, with the configs that docs/openstack.md offers."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.interop.conftest import Run
from tests.interop.openstack import Client, Cloud, all_answer
from tests.interop.programs import PATIENCE, Program
from tests.net.conftest import Start
from tests.net.routers import RunningRouter
from tests.net.waiting import wait_until

pytestmark = pytest.mark.interop

NAMES = ["s1", "s2", "s3", "s4"]


@dataclass
class Services:
    """A topic with four servers, and who calls them."""

    servers: dict[str, Program]
    client: Client
    heard: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """What they said so far is of another test."""
        self.heard = {name: len(server.said) for name, server in self.servers.items()}

    def said(self, word: str) -> dict[str, list[Any]]:
        """What the servers have said with this word, by the name of the server."""
        said: dict[str, list[Any]] = {}
        for name, server in self.servers.items():
            events = [json.loads(line) for line in server.said[self.heard[name] :]]
            if values := [event[word] for event in events if word in event]:
                said[name] = values
        return said

    async def call(self, method: str, value: object, **target: str) -> Any:
        """What a call returns."""
        return (await self.client.do("call", topic="topic", method=method, value=value, **target))["returned"]


def clean(lines: list[str]) -> bool:
    """Whether a router's log tells of nothing that should not be."""
    return not re.search("Traceback|Unhandled|#(warn|error|critical)", "\n".join(lines))


# Legacy with as much credit as the driver gives unless it is told, so that both are seen.
ROUTABLE = {"addressing_mode": "routable"}
LEGACY = {"addressing_mode": "legacy", "rpc_server_credit": 100}


@pytest_twisted.async_yield_fixture(scope="module", params=[ROUTABLE, LEGACY], ids=["routable", "legacy"])
async def cloud(
    request: pytest.FixtureRequest, run_for_all: Run, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cloud]:
    """A router, and how services say where messages go."""
    cloud = Cloud(run_for_all, tmp_path_factory.mktemp("cloud"), **request.param)
    router = await cloud.start_router()
    yield cloud
    assert clean(await router.stop())


@pytest_twisted.async_yield_fixture(scope="module")
async def all_services(cloud: Cloud) -> AsyncIterator[Services]:
    """Services for tests that leave them as they are."""
    services = Services({name: await cloud.server(name, "topic", "gate") for name in NAMES}, cloud.client())
    await all_answer(services.client, "topic", set(NAMES))
    await all_answer(services.client, "gate", set(NAMES))
    yield services
    for program in (*services.servers.values(), services.client.program):
        await program.kill()


@pytest.fixture
def services(all_services: Services) -> Services:
    """Services that have not said anything yet."""
    all_services.begin()
    return all_services


@pytest_twisted.ensureDeferred
async def test_a_call_is_answered(services: Services) -> None:
    server, answer = await services.call("echo", {"a": [1, "two", None]})
    assert server in NAMES
    assert answer == {"a": [1, "two", None]}


@pytest_twisted.ensureDeferred
async def test_calls_go_round_all_servers(services: Services) -> None:
    answers = [await services.call("echo", number) for number in range(100)]
    assert {server for server, _ in answers} == set(NAMES)


@pytest_twisted.ensureDeferred
async def test_a_cast_arrives_once(services: Services) -> None:
    await services.client.do("cast", topic="topic", method="note", arguments={"value": "one"})
    await wait_until(lambda: services.said("noted"))
    for name in NAMES:  # whatever came to any of them has been said by now
        assert await services.call("echo", 0, server=name) == [name, 0]
    ((server, values),) = services.said("noted").items()
    assert server in NAMES
    assert values == ["one"]


@pytest_twisted.ensureDeferred
async def test_a_fanout_reaches_every_server_once(services: Services) -> None:
    await services.client.do("cast", topic="topic", method="note", arguments={"value": "all"}, fanout=True)
    await wait_until(lambda: len(services.said("noted")) == len(NAMES))
    for name in NAMES:
        assert await services.call("echo", 0, server=name) == [name, 0]
    assert services.said("noted") == {name: ["all"] for name in NAMES}


@pytest_twisted.ensureDeferred
async def test_no_server_misses_one_of_many_fanouts(cloud: Cloud, run: Run, tmp_path: Path) -> None:
    local = cloud.joined(run, tmp_path)
    servers = [await local.server(name, "busy") for name in NAMES]
    client = local.client()
    await all_answer(client, "busy", set(NAMES))
    await client.do("cast", topic="busy", method="note", arguments={"value": 0}, fanout=True, count=500)
    for server in servers:
        await wait_until(lambda: server.said.count('{"noted": 0}') == 500)


@pytest.mark.parametrize("name", NAMES)
@pytest_twisted.ensureDeferred
async def test_a_call_to_a_named_server_reaches_only_it(services: Services, name: str) -> None:
    for number in range(20):
        assert await services.call("echo", number, server=name) == [name, number]


@pytest_twisted.ensureDeferred
async def test_an_exception_comes_back_through_a_call(services: Services) -> None:
    failed = await services.client.do("call", topic="topic", method="fail", value="fly", server="s2")
    assert failed == {"raised": "ValueError", "message": "s2 cannot fly"}


@pytest_twisted.ensureDeferred
async def test_five_megabytes_go_there_and_back(services: Services) -> None:
    assert await services.client.do("call_large", topic="topic", size=5_000_000) == {"same": True}


@pytest_twisted.ensureDeferred
async def test_a_notification_arrives(services: Services) -> None:
    notification = {"publisher": "compute.node-1", "event": "instance.create.end", "payload": {"id": 7}}
    await services.client.do("notify", topic="notifications", **notification)
    await wait_until(lambda: services.said("notified"))
    (values,) = services.said("notified").values()
    assert values == [["compute.node-1", "instance.create.end", {"id": 7}]]


@pytest_twisted.ensureDeferred
async def test_2000_concurrent_calls_over_four_servers(services: Services) -> None:
    went = await services.client.do("calls", topic="topic", gate="gate", count=2000, at_once=2000)
    assert (went["most_waiting"], went["wrong"], went["raised"]) == (2000, 0, {})
    assert sum(went["answers"].values()) == 2000
    assert set(went["answers"]) == set(NAMES)


@pytest_twisted.ensureDeferred
async def test_forty_servers_share_a_connection(cloud: Cloud, run: Run, tmp_path: Path) -> None:
    local = cloud.joined(run, tmp_path)
    topics = [f"topic{number}" for number in range(40)]
    await local.server("many", *topics)  # 121 sessions
    client = local.client()
    for topic in topics:
        for target in {}, {"server": "many"}:
            went = await client.do("call", topic=topic, method="echo", value=topic, **target)
            assert went == {"returned": ["many", topic]}


@pytest_twisted.ensureDeferred
async def test_with_a_credit_of_1_calls_pass_by_a_server_that_is_busy(run: Run, tmp_path: Path) -> None:
    local = Cloud(run, tmp_path, rpc_server_credit=1)
    await local.start_router()
    client = local.client()
    busy, _ = [await local.server(name, "work", "open", threads=1) for name in ("busy", "idle")]
    await all_answer(client, "work", {"busy", "idle"})
    long = client.begin("call", topic="work", server="busy", method="echo_when_open", value="long")
    await busy.says('"waits": "long"')
    short = client.begin("calls", topic="work", count=100, at_once=10)
    await client.over_by(90)
    await client.do("cast", topic="open", server="busy", method="open", arguments={})
    assert await client.over(long) == {"returned": ["busy", "long"]}
    went = await client.over(short)
    assert (sum(went["answers"].values()), went["wrong"], went["raised"]) == (100, 0, {})


@pytest_twisted.ensureDeferred
async def test_calls_survive_servers_killed_and_restarted(cloud: Cloud, run: Run, tmp_path: Path) -> None:
    local = cloud.joined(run, tmp_path)
    client = local.client()
    servers = [await local.server(name, "fragile") for name in NAMES]
    await all_answer(client, "fragile", set(NAMES))

    calling = client.begin("calls", topic="fragile", count=500, at_once=20, timeout=5)
    await client.over_by(100)
    await servers[0].kill()
    went = await client.over(calling)
    assert went["wrong"] == 0
    assert sum(went["raised"].values()) <= 20  # what the one that was killed had in hand
    assert sum(went["answers"].values()) + sum(went["raised"].values()) == 500

    for server in servers[1:]:
        await server.kill()
    calling = client.begin("calls", topic="fragile", count=50, at_once=50)
    for name in NAMES:
        await local.server(name, "fragile")
    went = await client.over(calling)
    assert (sum(went["answers"].values()), went["wrong"], went["raised"]) == (50, 0, {})
    await all_answer(client, "fragile", set(NAMES))


@pytest.mark.parametrize("end", [Program.stop, Program.kill], ids=["stopped", "killed"])
@pytest_twisted.ensureDeferred
async def test_calls_survive_the_router_restarted(
    run: Run, tmp_path: Path, end: Callable[[Program], Awaitable[object]]
) -> None:
    cloud = Cloud(run, tmp_path)
    router = await cloud.start_router()
    await cloud.server("s1", "topic")
    client = cloud.client()
    assert await client.do("call", topic="topic", method="echo", value=1) == {"returned": ["s1", 1]}
    await end(router)
    # before it has seen that, the client may send what then fails, as nobody knows what became of it
    await wait_until(lambda: any("Connection refused" in line for line in client.program.complained), PATIENCE)
    call = client.begin("call", topic="topic", method="echo", value=2)
    await cloud.start_router()
    assert await client.over(call) == {"returned": ["s1", 2]}


@pytest_twisted.ensureDeferred
async def test_the_driver_chooses_routable_addresses_by_itself(router: RunningRouter, run: Run, tmp_path: Path) -> None:
    cloud = Cloud(run, tmp_path)
    cloud.port = router.port
    await cloud.server("s1", "topic")
    assert await cloud.client().do("call", topic="topic", method="echo", value=1) == {"returned": ["s1", 1]}
    assert "openstack.org/om/rpc/anycast/openstack/topic" in router.core.addresses


@pytest_twisted.ensureDeferred
async def test_a_server_is_busy_until_it_has_answered_though_it_accepts_before(
    start: Start, run: Run, tmp_path: Path
) -> None:
    router = await start(address=[{"prefix": "openstack.org/om/rpc/anycast", "distribution": "reply-aware"}])
    cloud = Cloud(run, tmp_path, rpc_server_credit=100)
    cloud.port = router.port
    servers = {name: await cloud.server(name, "work", "open") for name in ("one", "other")}
    client = cloud.client()
    await all_answer(client, "work", set(servers))
    long = client.begin("call", topic="work", method="echo_when_open", value="long")
    waits = '{"waits": "long"}'
    await wait_until(lambda: any(waits in server.said for server in servers.values()), PATIENCE)
    (busy,) = (name for name, server in servers.items() if waits in server.said)
    answers = [await client.do("call", topic="work", method="echo", value=number) for number in range(10)]
    (idle,) = {server for server, _ in (each["returned"] for each in answers)}
    assert idle != busy
    assert len(router.core.replies) == 1
    await client.do("cast", topic="open", server=busy, method="open", arguments={})
    assert await client.over(long) == {"returned": [busy, "long"]}
    assert len(router.core.replies) == 0
