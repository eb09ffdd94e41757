"""Wrappers around a policy, once over real sockets."""

from __future__ import annotations

import proton
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.links import ACCEPTED, Sender, State
from tests.net.waiting import wait_until

HELLO = b"\0Sw\xa1\5hello"
REJECTED = State("rejected")


def chained(distribution: str, **options: object) -> dict[str, object]:
    return {"address": [{"pattern": "x", "distribution": distribution, "options": options}]}


async def send(producer: Sender, count: int) -> list[State | None]:
    """Messages, each when the one before is over; and how each ended."""
    ended: list[State | None] = []
    for _ in range(count):
        await producer.credited()
        ended.append(await producer.send(HELLO).over())
    return ended


@ensureDeferred
async def test_who_rejects_sits_out(start: Start) -> None:
    router = await start(**chained("outlier + slow-start + round-robin", outlier={"failures": 2}))
    bad = await router.receiver("x", credit=100, takes=REJECTED)
    good = await router.receiver("x", credit=100, takes=ACCEPTED)
    ended = await send(await router.sender("x"), 20)
    assert (ended.count(REJECTED), ended.count(ACCEPTED)) == (2, 18)
    assert (len(bad.messages), len(good.messages)) == (2, 18)


@ensureDeferred
async def test_what_is_held_goes_to_who_comes_back_after_sitting_out(start: Start) -> None:
    router = await start(**chained("outlier + round-robin", outlier={"failures": 2, "seconds": 0.2}))
    bad = await router.receiver("x", credit=100, takes=REJECTED)
    good = await router.receiver("x", credit=5, takes=ACCEPTED)
    await send(await router.sender("x"), 8)
    assert (len(bad.messages), len(good.messages)) == (3, 5)


@ensureDeferred
async def test_what_waits_for_who_sits_out_goes_to_another_in_order(start: Start) -> None:
    router = await start(**chained("outlier + sticky", load=0.0, outlier={"failures": 1}))
    receivers = [await router.receiver("x", credit=1) for _ in range(2)]
    producer = await router.sender("x")
    await producer.credited(3)
    for number in range(3):
        producer.send(proton.Message(f"{number}", group_id="g"))
    consumers = router.core.addresses["x"].consumers
    await wait_until(lambda: sum(each.waiting for each in consumers) == 2)
    await wait_until(lambda: any(receiver.messages for receiver in receivers))
    bad, good = sorted(receivers, key=lambda receiver: len(receiver.messages), reverse=True)
    bad.messages[0].settle(REJECTED)
    bad.flow(10)
    good.flow(10)
    await good.count(2)
    assert (bad.bodies, good.bodies) == (["0"], ["1", "2"])


@ensureDeferred
async def test_only_who_matches_gets_a_message_and_others_pass_one_that_nobody_takes(start: Start) -> None:
    router = await start(**chained("subset + pull", subset={"property": "region", "key": "property:where"}))
    europe = await router.receiver("x", credit=10, takes=ACCEPTED, properties={"region": "eu"})
    elsewhere = await router.receiver("x", credit=10, takes=ACCEPTED, properties={"region": "us,asia"})
    producer = await router.sender("x")
    await producer.credited(4)
    for number, where in enumerate(("mars", "eu", "asia", "us")):
        producer.send(proton.Message(f"{number}", properties={"where": where}))
    await europe.count(1)
    await elsewhere.count(2)
    assert (europe.bodies, elsewhere.bodies) == (["1"], ["2", "3"])
    assert router.core.addresses["x"].policy.describe()["nobody_for"] == ["mars"]
    mars = await router.receiver("x", credit=1, takes=ACCEPTED, properties={"region": "mars"})
    await mars.count(1)
    assert mars.bodies == ["0"]
