"""Long messages beside small ones on the same connections: the small ones wait for a few frames and no more.

What is counted is what the router writes between a small message's arrival there and its departure, not time. Beyond
that it waits for what is in the sockets already, as everything on a connection does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.net.clients import Client
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, Receiver, Sender, Sent
from tests.net.routers import RunningRouter, quiet
from tests.net.waiting import wait_until
from tests.net.watching import Watched

KIB, MIB = 1 << 10, 1 << 20
FRAME = 32 * KIB
A_FEW = 8 * FRAME
SMALL = b"\0Sw\xa1\5small"
TOGETHER = pytest.mark.parametrize("together", [False, True], ids=["sessions of their own", "one session"])
"""Whether the links of a connection are in the same session."""


@dataclass
class Scene:
    """Long messages on their way from one client to another, and a link for small ones beside them."""

    router: RunningRouter
    sends: Client
    receives: Client
    long: list[Sent]
    long_producers: list[Sender]
    long_consumers: list[Receiver]
    producer: Sender
    consumer: Receiver
    written: Watched

    def goes_on(self, size: int) -> None:
        """So much more of each long message."""
        for at in range(0, size, 64 * KIB):
            for each in self.long:
                each.write(bytes(min(64 * KIB, size - at)))

    async def fill(self, most: int = 32 * MIB) -> None:
        """Send more of the long messages until nothing more is taken: a little is left in the producer's hands."""
        size, left, sessions = 0, -1, {each.link.session for each in self.long_producers}
        while size < most:
            waiting = sum(session.outgoing_bytes for session in sessions)
            if waiting and waiting == left:
                return
            left = waiting
            if waiting < 256 * KIB * len(self.long):
                self.goes_on(128 * KIB)
                size += 128 * KIB * len(self.long)
            await self.sends.sync()
        raise AssertionError("all of it was taken")

    async def sends_small(self, behind: int = 0, before: int = 0) -> Sent:
        """A small message comes to the router, sent between two parts of each long one."""
        arrived: list[Any] = []
        route = self.router.core.route

        def watched(delivery: Any) -> bool:
            if delivery.address == "small" and not arrived:
                arrived.append(delivery)
                self.written.mark()
            return route(delivery)

        self.router.core.route = watched  # type: ignore[method-assign]
        self.goes_on(behind)
        sent = self.producer.send(SMALL)
        self.goes_on(before)
        await wait_until(lambda: arrived)
        return sent

    async def waited_for(self) -> int:
        """How many bytes of long messages were written before the small one."""
        await wait_until(lambda: self.written.transfers_before(SMALL) is not None)
        sizes = self.written.transfers_before(SMALL)
        assert sizes is not None
        return sum(sizes)

    async def ends(self, small: Sent) -> None:
        """Everything comes to its end."""
        (await self.consumer.next()).accept()
        assert await small.over() == ACCEPTED
        for each in self.long:
            each.end()
        for consumer in self.long_consumers:
            (await consumer.next()).accept()
        assert [await each.over() for each in self.long] == [ACCEPTED] * len(self.long)


async def scene(
    router: RunningRouter,
    *,
    long: int = 1,
    copies: int = 1,
    together: bool = False,
    received_together: bool = True,
    window: int = 0,
    frame: int = FRAME,
) -> Scene:
    """Long messages that have begun to arrive. `window` is that of the consumer's sessions."""
    sends, receives = await router.client(), await router.client(max_frame=frame)
    session, received_in = sends.new_session(), receives.new_session(window)

    def out() -> Any:
        return session if together else sends.new_session()

    def into() -> Any:
        return received_in if received_together else receives.new_session(window)

    wanted = [f"long-{number}" for number in range(long)] * copies
    consumers = [await receives.receiver(address, credit=1, session=into()) for address in wanted]
    consumer = await receives.receiver("small", credit=10, session=received_in)
    producers = [await sends.sender(f"long-{number}", session=out()) for number in range(long)]
    producer = await sends.sender("small", session=session)
    for each in (*producers, producer):
        await each.credited()
    messages = [each.begin() for each in producers]
    made = Scene(router, sends, receives, messages, producers, consumers, producer, consumer, Watched(router, receives))
    made.goes_on(100 * KIB)
    await wait_until(lambda: all(each.coming for each in consumers))
    return made


@pytest.mark.parametrize("received_together", [False, True], ids=["into several", "into one"])
@pytest.mark.parametrize("long", [1, 8])
@TOGETHER
@ensureDeferred
async def test_a_small_message_among_long_ones_that_flow(
    router: RunningRouter, together: bool, received_together: bool, long: int
) -> None:
    it = await scene(router, long=long, together=together, received_together=received_together)
    for _ in range(8):
        it.goes_on(128 * KIB)
        await it.sends.sync()
    small = await it.sends_small(behind=256 * KIB, before=MIB)
    assert await it.waited_for() < A_FEW
    await it.ends(small)


@pytest.mark.parametrize("long", [1, 8])
@TOGETHER
@ensureDeferred
async def test_a_small_message_to_a_connection_that_is_read_slowly(start: Start, together: bool, long: int) -> None:
    router = await start(limits={"session_window": MIB})
    it = await scene(router, long=long, received_together=together)
    it.receives.stop_reading()
    await it.fill()
    small = await it.sends_small()
    it.receives.go_on_reading()
    assert await it.waited_for() < A_FEW
    await it.ends(small)


@pytest.mark.parametrize("long", [1, 8])
@ensureDeferred
async def test_a_small_message_in_a_session_with_a_small_window(start: Start, long: int) -> None:
    router = await start(limits={"session_window": MIB})
    it = await scene(router, long=long, window=64 * KIB, frame=16 * KIB)
    for each in it.long_consumers:
        each.reading = False
    await it.fill()
    small = await it.sends_small()
    for each in it.long_consumers:
        each.read()
    assert await it.waited_for() < A_FEW
    await it.ends(small)


@pytest.mark.parametrize("window", [0, 64 * KIB])
@ensureDeferred
async def test_a_small_message_beside_copies_of_a_long_one(start: Start, window: int) -> None:
    rule = {"pattern": "long-0", "distribution": "multicast", "options": {"when_full": "block"}}
    router = await start(address=[rule], limits={"session_window": MIB})
    it = await scene(router, copies=6, window=window, frame=16 * KIB)
    if window:
        for each in it.long_consumers:
            each.reading = False
    else:
        it.receives.stop_reading()
    await it.fill()
    small = await it.sends_small()
    for each in it.long_consumers:
        each.read()
    it.receives.go_on_reading()
    assert await it.waited_for() < A_FEW
    await it.ends(small)


@ensureDeferred
async def test_small_messages_beside_one_that_nobody_takes_in_wait_for_nothing(start: Start) -> None:
    router = await start(limits={"session_window": MIB})
    it = await scene(router, received_together=False, window=64 * KIB, frame=16 * KIB)
    it.long_consumers[0].reading = False
    await it.fill()
    for number in range(20):
        await it.producer.credited()
        small = it.producer.send(SMALL)
        (await it.consumer.next()).accept()
        assert await small.over() == ACCEPTED
        it.consumer.flow(1)
        assert len(it.consumer.messages) == number + 1
    it.long_consumers[0].read()
    await it.ends(await it.sends_small())


@ensureDeferred
async def test_what_goes_the_other_way_waits_for_nothing(router: RunningRouter) -> None:
    """A client that receives a long message sends small ones, and hears what becomes of them."""
    it = await scene(router)
    elsewhere = await router.receiver("elsewhere", credit=10, takes=ACCEPTED)
    producer = await it.receives.sender("elsewhere")
    await producer.credited()
    for _ in range(10):
        it.goes_on(256 * KIB)
        assert await producer.send(SMALL).over() == ACCEPTED
    await quiet(elsewhere)
    assert len(elsewhere.messages) == 10
    await it.ends(await it.sends_small())


@ensureDeferred
async def test_many_small_messages_between_pieces_of_long_ones_keep_their_order(router: RunningRouter) -> None:
    it = await scene(router, long=4, together=True)
    it.consumer.takes = ACCEPTED
    sent = []
    for number in range(100):
        it.goes_on(64 * KIB)
        await it.producer.credited()
        sent.append(it.producer.send(b"%d" % number))
        it.consumer.flow(1)
    assert [await each.over() for each in sent] == [ACCEPTED] * 100
    assert [bytes(each.data) for each in it.consumer.messages] == [b"%d" % number for number in range(100)]
    for each in it.long:
        each.end()
    for consumer in it.long_consumers:
        assert (await consumer.next()).data == bytes(100 * KIB + 100 * 64 * KIB)
