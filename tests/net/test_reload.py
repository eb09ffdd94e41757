"""A running router takes another config: over real sockets, while messages are under way."""

from __future__ import annotations

from collections import defaultdict
from itertools import cycle
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.net.asking import Asker
from tests.net.clients import Client
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, Sender
from tests.net.routers import LOOPBACK, RunningRouter, message
from tests.net.waiting import reactor, wait_until
from txrouter.changes import changes
from txrouter.config import Config, ConfigError

MESSAGES = 400
"""Of each producer."""


def config(router: RunningRouter, **tables: Any) -> Config:
    """The same, but for these tables."""
    return Config.from_dict(
        {"router": {"id": router.core.id, "stop_timeout": 0}, "listener": [{"endpoint": LOOPBACK}], **tables}
    )


def policy(router: RunningRouter, distribution: str, **more: Any) -> Config:
    """The same, but this is how jobs are distributed."""
    return config(router, address=[{"pattern": "jobs", "distribution": distribution, **more}])


async def sends_all(producer: Sender, name: int) -> list[Any]:
    """A producer sends its messages, each as soon as it may."""
    sent = []
    for number in range(MESSAGES):
        await producer.credited()
        sent.append(producer.send(message([name, number])))
    return sent


@ensureDeferred
async def test_switching_loses_and_doubles_nothing_and_keeps_the_order_of_every_pair(router: RunningRouter) -> None:
    consumers = [await router.receiver("jobs", credit=credit, takes=ACCEPTED) for credit in (1, 3, 10, 50)]
    for consumer in consumers:
        consumer.told = lambda _received, consumer=consumer: consumer.flow(1)
    producers = [await router.sender("jobs") for _ in range(3)]
    sending = gatherResults(
        [Deferred.fromCoroutine(sends_all(producer, name)) for name, producer in enumerate(producers)]
    )
    policies = cycle(["round-robin", "weighted", "closest", "power-of-two", "priority", "exclusive", "pull"])
    by_priority = cycle([False, True])
    switches = 0
    while not sending.called:
        came = sum(len(consumer.messages) for consumer in consumers)
        await wait_until(
            lambda came=came: sending.called or sum(len(each.messages) for each in consumers) >= came + 40  # type: ignore[misc]
        )
        router.service.reload(policy(router, next(policies), priority=next(by_priority)))
        switches += 1
    sent = [each for several in await sending for each in several]
    outcomes = [await each.over() for each in sent]
    assert outcomes == [ACCEPTED] * (3 * MESSAGES)
    assert switches > 10
    assert sorted(tuple(body) for each in consumers for body in each.bodies) == [  # type: ignore[arg-type]
        (name, number) for name in range(3) for number in range(MESSAGES)
    ]
    for consumer in consumers:
        by_producer: dict[object, list[Any]] = defaultdict(list)
        for body in consumer.bodies:
            by_producer[body[0]].append(body[1])  # type: ignore[index]
        assert all(numbers == sorted(numbers) for numbers in by_producer.values())


@ensureDeferred
async def test_what_is_held_goes_by_the_new_policy(router: RunningRouter) -> None:
    far, near = (
        await router.receiver("jobs", credit=0),
        await router.receiver("jobs", credit=0, properties={"priority": 9}),
    )
    producer = await router.sender("jobs")
    await producer.credited()
    producer.send(message("held"))
    router.service.reload(policy(router, "priority"))
    for consumer in (far, near):
        consumer.flow(1)
    assert (await near.next()).message.body == "held"


@ensureDeferred
async def test_access_rules_count_for_connections_from_then_on(router: RunningRouter) -> None:
    before = await router.client()
    router.service.reload(config(router, access=[{"users": ["*"], "send": ["free"]}]))
    assert (await before.sender("secret")).open
    after = await router.client()
    assert (await after.sender("secret")).closed
    assert (await after.sender("free")).open


@ensureDeferred
async def test_limits_count_for_connections_from_then_on(router: RunningRouter) -> None:
    before = await router.client()
    router.service.reload(config(router, limits={"max_links": 1}))
    for client, open in ((before, True), (await router.client(), False)):
        session = client.new_session()
        await client.sender("a", session=session)
        assert (await client.sender("b", session=session)).open is open


@ensureDeferred
async def test_a_listener_takes_as_many_connections_as_it_may_from_then_on(router: RunningRouter) -> None:
    await router.client()
    router.service.reload(config(router, limits={"max_connections": 1}))
    one_too_many = await router.dial(Client("one too many"))
    await wait_until(lambda: not one_too_many.transport.connected)


@ensureDeferred
async def test_capacities_count_at_once(router: RunningRouter) -> None:
    await (await router.client("big")).receiver("jobs")
    (consumer,) = router.core.addresses["jobs"].consumers
    router.service.reload(config(router, capacity=[{"containers": ["big"], "value": 5.0}]))
    assert consumer.capacity == 5.0
    router.service.reload(config(router))
    assert consumer.capacity == 1.0


@ensureDeferred
async def test_capacities_count_only_of_those_who_may_say_them(start: Start) -> None:
    access = [{"users": ["*"], "receive": ["jobs"]}]
    router = await start(access=access)
    await router.receiver("jobs", properties={"gpus": 1_000})
    router.service.reload(config(router, access=access, capacity=[{"property": "gpus"}]))
    (consumer,) = router.core.addresses["jobs"].consumers
    assert consumer.capacity == 1.0
    assert router.core.counters["unauthorized_reports"] == 1


@ensureDeferred
async def test_where_capacities_are_as_before_what_consumers_say_wrong_is_said_once(router: RunningRouter) -> None:
    await router.receiver("jobs", properties={"capacity": "a lot"})
    router.service.reload(policy(router, "closest"))
    assert router.core.counters["bad_capacities"] == 1


@ensureDeferred
async def test_the_turn_ends_before_the_next_poll_also_when_a_timer_reloads(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = []
    monkeypatch.setattr(reactor, "wakeUp", lambda: woken.append(True))

    def reload() -> None:
        woken.clear()
        router.service.reload(policy(router, "closest"))
        assert woken == [True]

    await deferLater(reactor, 0, reload)


@ensureDeferred
async def test_new_addresses_have_their_new_policy(start: Start) -> None:
    router = await start(address=[{"pattern": "x", "distribution": "pull"}])
    router.service.reload(config(router, address=[{"pattern": "x", "distribution": "unavailable"}]))
    assert (await (await router.client()).sender("x")).closed


# -- by request ----------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_dry_run_says_what_is_different_and_changes_nothing(router: RunningRouter) -> None:
    await router.receiver("jobs")
    before = router.core.addresses["jobs"].policy
    router.service.source = lambda: policy(router, "closest")
    answer = await (await Asker.at(router)).ask("reload", dry_run=True)
    (change,) = answer.body["changes"]
    assert change["text"] == "jobs: new: closest (at once)"
    assert router.core.addresses["jobs"].policy is before


@ensureDeferred
async def test_a_reload_by_request_counts(router: RunningRouter) -> None:
    await router.receiver("jobs")
    router.service.source = lambda: policy(router, "closest")
    asker = await Asker.at(router)
    assert (await asker.ask("reload")).body["count"] == 1
    assert router.core.addresses["jobs"].distribution.factory.name == "closest"  # type: ignore[attr-defined]
    assert (await asker.ask("reload")).body == {"changes": [], "count": 0}


@ensureDeferred
async def test_a_wrong_config_changes_nothing_and_every_problem_is_told(router: RunningRouter) -> None:
    def wrong() -> Config:
        raise ConfigError(["address[0].distribution: is missing", "limits: must be a table"])

    router.service.source = wrong
    before = router.service.config
    answer = await (await Asker.at(router)).ask("reload")
    assert answer.body["problems"] == ["address[0].distribution: is missing", "limits: must be a table"]
    assert router.service.config is before


@pytest.mark.parametrize("arguments", [{}, {"dry_run": "yes"}])
@ensureDeferred
async def test_what_cannot_be_done_is_refused(router: RunningRouter, arguments: dict[str, Any]) -> None:
    answer = await (await Asker.at(router)).ask("reload", **arguments)
    assert answer.status == (400 if arguments else 409)


@ensureDeferred
async def test_what_counts_after_a_reload_is_what_the_service_says(router: RunningRouter) -> None:
    other = policy(router, "closest")
    router.service.reload(other)
    assert changes(router.service.config, other) == []
