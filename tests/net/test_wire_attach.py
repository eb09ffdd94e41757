"""What an attach is answered with: what the router does is said, what it does not do is left out or refused."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.net import frames
from tests.net.conftest import Start
from tests.net.frames import (
    ATTACH,
    COORDINATOR,
    DETACH,
    OPEN,
    RECEIVER,
    SENDER,
    SOURCE,
    TARGET,
    TRANSFER,
    Frame,
    described,
    mapped,
    symbol,
    symbols,
    ubyte,
    uint,
)
from tests.net.links import ACCEPTED
from tests.net.raw import RawClient
from tests.net.routers import RunningRouter

HELLO = b"\0Sw\xa1\5hello"
ALL_OUTCOMES = [f"amqp:{outcome}:list" for outcome in ("accepted", "rejected", "released", "modified")]

ADDRESS, DURABLE, EXPIRES, TIMEOUT, DYNAMIC, PROPERTIES, MODE, FILTER, DEFAULT, OUTCOMES, CAPABILITIES = range(11)
"""Where the fields of a source are; those of a target go as far as the properties, and then the capabilities."""


def fields(named: dict[int, object]) -> list[object]:
    return [named.get(at) for at in range(max(named, default=-1) + 1)]


def attach(
    role: bool,
    source: dict[int, object] | None,
    target: dict[int, object] | bytes | None,
    *,
    unsettled: bytes | None = None,
    incomplete: bool = False,
    largest: bytes | None = None,
    offered: bytes | None = None,
    desired: bytes | None = None,
    properties: bytes | None = None,
) -> bytes:
    """An attach frame with everything that may be in it."""
    ends = [
        described(descriptor, *fields(end)) if isinstance(end, dict) else end
        for descriptor, end in ((SOURCE, source), (TARGET, target))
    ]
    count = uint(0) if role is SENDER else None
    more = (unsettled, incomplete, count, largest, offered, desired, properties)
    return frames.frame(described(ATTACH, "link", uint(0), role, ubyte(2), ubyte(0), *ends, *more))


async def answer(router: RunningRouter, role: bool, *ends: Any, **options: Any) -> tuple[RawClient, Frame]:
    """A client that attaches, and the router's attach frame, its list of fields filled up."""
    client: RawClient = await router.dial(RawClient())
    await client.greeted()
    client.say(attach(role, *ends, **options))
    attached = await client.hears(ATTACH)
    attached.fields.extend([None] * (14 - len(attached.fields)))
    return client, attached


def source(attached: Frame) -> dict[int, object]:
    """What the source in an attach frame says that is not the default."""
    return {at: value for at, value in enumerate(attached.fields[5].value) if value not in (None, 0, False)}


def target(attached: Frame) -> dict[int, object]:
    return {at: value for at, value in enumerate(attached.fields[6].value) if value not in (None, 0, False)}


# -- the address's end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, {}),
        ({FILTER: mapped({symbol("jms-selector"): described(0x8C, "colour = 'green'")})}, {}),
        ({MODE: symbol("copy")}, {}),
        ({MODE: symbol("move")}, {MODE: "move"}),
        ({EXPIRES: symbol("never"), TIMEOUT: uint(60)}, {}),
        ({EXPIRES: symbol("connection-close")}, {}),
        ({EXPIRES: symbol("session-end")}, {}),
        ({EXPIRES: symbol("link-detach")}, {EXPIRES: "link-detach"}),
        ({DURABLE: uint(1)}, {}),
        ({CAPABILITIES: symbols("queue", "topic", "shared")}, {}),
        ({CAPABILITIES: symbol("queue")}, {}),
        ({DEFAULT: described(0x26)}, {}),
        ({OUTCOMES: symbols(*ALL_OUTCOMES)}, {OUTCOMES: ALL_OUTCOMES}),
        ({OUTCOMES: symbols("amqp:declared:list", ALL_OUTCOMES[0])}, {OUTCOMES: ALL_OUTCOMES[:1]}),
        ({OUTCOMES: symbol(ALL_OUTCOMES[1])}, {OUTCOMES: ALL_OUTCOMES[1:2]}),
        ({OUTCOMES: "no symbol"}, {}),
    ],
)
@ensureDeferred
async def test_a_source_says_only_what_the_router_does(
    router: RunningRouter, asked: dict[int, object], said: dict[int, object]
) -> None:
    client, attached = await answer(router, RECEIVER, {ADDRESS: "x", **asked}, {})
    assert source(attached) == {ADDRESS: "x", **said}
    client.say(frames.flow(1))
    producer = await router.sender("x")
    await producer.credited()
    producer.send(HELLO)
    await client.hears(TRANSFER)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, {}),
        ({DURABLE: uint(2), EXPIRES: symbol("never"), TIMEOUT: uint(60)}, {}),
        ({EXPIRES: symbol("link-detach")}, {EXPIRES: "link-detach"}),
        ({MODE: symbols("queue")}, {}),  # in a target, that is where the capabilities are
    ],
)
@ensureDeferred
async def test_a_target_says_only_what_the_router_does(
    router: RunningRouter, asked: dict[int, object], said: dict[int, object]
) -> None:
    await router.receiver("x", credit=1)
    client, attached = await answer(router, SENDER, {}, {ADDRESS: "x", **asked})
    assert target(attached) == {ADDRESS: "x", **said}
    await client.hears(frames.FLOW, 2)


@ensureDeferred
async def test_the_clients_own_end_comes_back_as_it_is(router: RunningRouter) -> None:
    own = {ADDRESS: "its own", DURABLE: uint(1), EXPIRES: symbol("never"), MODE: symbols("its-own")}
    _, attached = await answer(router, RECEIVER, {ADDRESS: "x"}, own)
    assert target(attached) == {ADDRESS: "its own", DURABLE: 1, EXPIRES: "never", MODE: ["its-own"]}


@pytest.mark.parametrize("nowhere", [None, {}, {DURABLE: uint(1)}])
@ensureDeferred
async def test_a_producer_without_an_address_is_given_a_target_without_one(
    router: RunningRouter, nowhere: dict[int, object] | None
) -> None:
    """Not a null target: that would say that a detach follows."""
    consumer = await router.receiver("x", credit=1, takes=ACCEPTED)
    client, attached = await answer(router, SENDER, {}, nowhere)
    assert attached.fields[6] is not None
    assert target(attached) == {}
    await client.hears(frames.FLOW, 2)
    client.say(frames.transfer(0, b"\0Ss\xc0\6\3@@\xa1\1x" + HELLO))
    await client.hears(frames.DISPOSITION)
    assert consumer.bodies == ["hello"]


@pytest.mark.parametrize("role", [SENDER, RECEIVER])
@ensureDeferred
async def test_properties_and_capabilities_of_a_link_are_left_out(router: RunningRouter, role: bool) -> None:
    asked = {"offered": symbols("a"), "desired": symbols("SHARED-SUBS"), "properties": mapped({symbol("p"): "q"})}
    _, attached = await answer(router, role, {ADDRESS: "x"}, {ADDRESS: "x"}, **asked)
    assert attached.fields[11:14] == [None, None, None]


@pytest.mark.parametrize("limit", [0, 1000])
@ensureDeferred
async def test_a_producer_is_told_how_large_a_message_may_be(start: Start, limit: int) -> None:
    router = await start(limits={"max_message_size": limit})
    _, attached = await answer(router, SENDER, {}, {ADDRESS: "x"})
    assert (attached.fields[10] or 0) == limit


@ensureDeferred
async def test_a_consumer_that_takes_only_small_messages_is_accepted(router: RunningRouter) -> None:
    _, attached = await answer(router, RECEIVER, {ADDRESS: "x"}, {}, largest=frames.ulong(10))
    assert not attached.fields[10]


# -- addresses that are made for a link --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [SENDER, RECEIVER])
@ensureDeferred
async def test_a_temporary_address_says_how_long_it_lives(router: RunningRouter, role: bool) -> None:
    lifetime = {symbol("lifetime-policy"): described(0x2C)}  # until there are no links; but it is the link's
    dynamic = {DYNAMIC: True, PROPERTIES: mapped(lifetime)}
    _, attached = await answer(router, role, *({}, dynamic) if role is SENDER else (dynamic, {}))
    said = target(attached) if role is SENDER else source(attached)
    assert said[DYNAMIC] is True
    assert str(said[ADDRESS]).startswith("amqp:/_topo/0/r1/temp.")
    assert said[PROPERTIES] == {"lifetime-policy": frames.Described(0x2B, [])}


# -- what is not done --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [SENDER, RECEIVER])
@pytest.mark.parametrize("incomplete", [False, True])
@ensureDeferred
async def test_a_link_is_not_resumed(router: RunningRouter, role: bool, incomplete: bool) -> None:
    """It begins anew: by its empty map of unsettled deliveries a client knows that none of its own is known here."""
    other: Any = await (router.receiver("x", credit=5, takes=ACCEPTED) if role is SENDER else router.sender("x"))
    left = mapped({frames.binary(b"tag"): described(0x24)})
    client, attached = await answer(router, role, {ADDRESS: "x"}, {ADDRESS: "x"}, unsettled=left, incomplete=incomplete)
    assert attached.fields[7:9] == [None, None]
    if role is SENDER:
        await client.hears(frames.FLOW, 2)
        client.say(frames.transfer(0))
        await client.hears(frames.DISPOSITION)
        assert other.bodies == ["hello"]
    else:
        client.say(frames.flow(1))
        await other.credited()
        other.send(HELLO)
        await client.hears(TRANSFER)


REFUSED: dict[str, tuple[bytes, str, str]] = {
    "a durable subscription": (
        attach(RECEIVER, {ADDRESS: "x", DURABLE: uint(2)}, {}),
        "amqp:not-implemented",
        "there are no durable subscriptions: the router stores nothing",
    ),
    "a subscription that never expires": (
        attach(RECEIVER, {ADDRESS: "x", DURABLE: uint(1), EXPIRES: symbol("never")}, {}),
        "amqp:not-implemented",
        "there are no durable subscriptions: the router stores nothing",
    ),
    "a transaction": (
        attach(SENDER, {}, described(COORDINATOR, symbols("amqp:local-transactions"))),
        "amqp:not-implemented",
        "there are no transactions: the router stores nothing",
    ),
    "a source without an address": (
        attach(RECEIVER, {}, {}),
        "amqp:invalid-field",
        "a source without an address, and not dynamic",
    ),
    "no source at all": (
        attach(RECEIVER, None, {}),
        "amqp:invalid-field",
        "a source without an address, and not dynamic",
    ),
    "an address that is none": (attach(SENDER, {}, {ADDRESS: "/"}), "amqp:invalid-field", "'/' names no address"),
    "an address that is too long": (
        attach(SENDER, {}, {ADDRESS: "x" * 2049}),
        "amqp:invalid-field",
        "an address of 2049 characters; at most 2048 are allowed",
    ),
    "a reserved address": (
        attach(SENDER, {}, {ADDRESS: "$management/x"}),
        "amqp:not-found",
        "$management/x is reserved",
    ),
    "to consume from another router's address": (
        attach(RECEIVER, {ADDRESS: "amqp:/_topo/0/r2/temp.AAAAAAAAAAAAAAA"}, {}),
        "amqp:not-found",
        "_topo/0/r2/temp.AAAAAAAAAAAAAAA is an address of another router: consumers attach to it there",
    ),
    "to consume from a temporary address that is gone": (
        attach(RECEIVER, {ADDRESS: "amqp:/_topo/0/r1/temp.AAAAAAAAAAAAAAA"}, {}),
        "amqp:not-found",
        "the temporary address temp.AAAAAAAAAAAAAAA is gone: its link has ended",
    ),
    "to produce for a temporary address that is gone": (
        attach(SENDER, {}, {ADDRESS: "amqp:/_topo/0/r1/temp.AAAAAAAAAAAAAAA"}),
        "amqp:not-found",
        "the temporary address temp.AAAAAAAAAAAAAAA is gone: its link has ended",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
@ensureDeferred
async def test_what_is_refused_has_a_condition_and_a_reason_and_the_connection_lives_on(
    router: RunningRouter, what: str
) -> None:
    asked, condition, reason = REFUSED[what]
    client: RawClient = await router.dial(RawClient())
    await client.greeted()
    client.say(asked)
    detached = await client.hears(DETACH)
    assert (detached.error, detached.description) == (condition, reason)
    (attached,) = client.heard(ATTACH)
    # no address, which tells a client that a detach follows: a null source or target
    assert attached.fields[5 if attached.fields[2] is SENDER else 6] is None
    client.say(frames.detach(), frames.attach(SENDER, "x", name="another"))
    await client.hears(ATTACH, 2)
    assert len(client.heard(DETACH)) == 1


# -- open --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "desired",
    [None, symbol("ANONYMOUS-RELAY"), symbols("ANONYMOUS-RELAY", "SHARED-SUBS", "DELAYED_DELIVERY"), symbols("x")],
)
@ensureDeferred
async def test_the_router_offers_what_it_can_do_and_no_more(router: RunningRouter, desired: bytes | None) -> None:
    client: RawClient = await router.dial(RawClient())
    client.say(frames.AMQP, frames.open_(desired=desired))
    opened = await client.hears(OPEN)
    offered, *wanted = opened.fields[7:9]
    assert offered == ["ANONYMOUS-RELAY"]
    assert not any(wanted)
