"""A consumer of a multicast address that does not read what it is sent: all others have theirs, and it is cut."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.frames import ATTACH, RECEIVER, attach, flow
from tests.net.links import ACCEPTED
from tests.net.neighbourhood import Neighbours
from tests.net.waiting import wait_until

BODY = b"\0Su\xb0" + (30_000).to_bytes(4, "big")
WAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "dropped": ({"when_full": "drop", "drop_seconds": 0}, False),
    "dropped, pre-settled": ({"when_full": "drop", "drop_seconds": 0}, True),
    "blocked": ({"when_full": "block", "block_seconds": 60}, False),
    "detached": ({"when_full": "detach", "drop_seconds": 0}, False),
}


@pytest.mark.parametrize("way", WAYS)
@ensureDeferred
async def test_a_consumer_that_never_reads_costs_nobody_a_copy(start: Start, way: str) -> None:
    options, presettled = WAYS[way]
    shared = {"pattern": "x", "distribution": "multicast", "options": options}
    router = await start(address=[shared], limits={"write_timeout": 0.3})
    neighbours = await Neighbours.of(router)
    raw = await (await neighbours.stranger()).greeted()
    raw.say(attach(RECEIVER), flow(100_000))
    await raw.hears(ATTACH)
    healthy = [await router.receiver("x", credit=100_000, takes=ACCEPTED) for _ in range(2)]
    raw.stop_reading()
    producer = await router.sender("x")
    counters = router.core.counters
    sent: list[Any] = []
    while not counters["stalled"]:
        await wait_until(lambda: producer.credit or counters["stalled"])
        if producer.credit:
            sent.append(producer.send(BODY + len(sent).to_bytes(4, "big") * 7_500, presettled=presettled))
        await producer.client.sync()
    await neighbours.unaffected()
    await wait_until(lambda: all(len(each.messages) == len(sent) for each in healthy))
    for each in healthy:
        assert [int.from_bytes(message.data[-4:], "big") for message in each.messages] == list(range(len(sent)))
    if not presettled:
        assert {await each.over() for each in sent} == {ACCEPTED}
    assert all(consumer.in_flight == 0 for consumer in router.core.addresses["x"].consumers)
    assert len(router.core.addresses["x"].consumers) == len(healthy)
