"""Many clients that do anything a client may do, in any order: every message ends, once, and nothing gets stuck."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import NamedTuple

import proton
import pytest
from pytest_twisted import ensureDeferred

from tests.effort import EFFORT, SEED
from tests.net.conftest import Start
from tests.net.links import ACCEPTED, RELEASED, SETTLED, Received, Receiver, Sender, Sent, State
from tests.net.routers import RunningRouter
from tests.net.waiting import wait_until

ADDRESSES = {"p": "pull", "r": "round-robin", "w": "weighted"}
ELSEWHERE = State("modified", undeliverable=True)
STATES = [ACCEPTED, ACCEPTED, ACCEPTED, RELEASED, ELSEWHERE, State("rejected"), State("modified"), SETTLED]
SIZES = [20, 20, 20, 20, 600, 5_000, 40_000, 70_000, 150_000, 400_000]


class Message(NamedTuple):
    """A message that was sent, and by whom."""

    sent: Sent
    producer: Sender
    presettled: bool


class Storm:
    """What goes on between some clients and a router.

    :param seed: what decides it.
    """

    def __init__(self, router: RunningRouter, seed: int) -> None:
        self.router = router
        self.random = Random(seed)
        self.consumers: list[Receiver] = []
        self.producers: list[Sender] = []
        self.all_consumers: list[Receiver] = []
        self.messages: dict[int, Message] = {}
        self.half_sent: dict[Sender, tuple[Sent, int]] = {}
        self.withdrawn: set[int] = set()
        """Aborted, settled early or left behind by their producers."""
        self.said: dict[Received, State] = {}
        """What its consumer has said of each message it has had."""

    # -- what a client does ------------------------------------------------------------------------

    async def step(self) -> None:
        """Do anything."""
        actions = {
            self.add_consumer: 2 if len(self.consumers) < 6 else 0,
            self.remove_consumer: 1 if self.consumers else 0,
            self.add_producer: 2 if len(self.producers) < 6 else 0,
            self.remove_producer: 1 if self.producers else 0,
            self.grant: 10 if self.consumers else 0,
            self.drain: 1 if self.consumers else 0,
            self.answer: 40 if self.consumers else 0,
            self.send: 40 if self.producers else 0,
            self.go_on: 15 if self.half_sent else 0,
            self.settle_first: 2 if self.messages else 0,
            self.catch_up: 10,
        }
        (action,) = self.random.choices(list(actions), list(actions.values()))
        await action()

    async def add_consumer(self) -> None:
        address, credit = self.random.choice(list(ADDRESSES)), self.random.choice([0, 1, 5, 50])
        capacity = self.random.choice([1, 2, 5])
        consumer = await self.router.receiver(address, credit=credit, properties={"capacity": capacity})
        self.consumers.append(consumer)
        self.all_consumers.append(consumer)

    async def remove_consumer(self) -> None:
        consumer = self.consumers.pop(self.random.randrange(len(self.consumers)))
        self.random.choice([consumer.close, consumer.detach, consumer.client.close, consumer.client.abort])()

    async def add_producer(self) -> None:
        self.producers.append(await self.router.sender(self.random.choice([*ADDRESSES, None])))

    async def remove_producer(self) -> None:
        producer = self.producers.pop(self.random.randrange(len(self.producers)))
        self.half_sent.pop(producer, None)
        self.withdrawn |= {number for number, each in self.messages.items() if each.producer is producer}
        self.random.choice([producer.close, producer.detach, producer.client.close, producer.client.abort])()

    async def grant(self) -> None:
        consumer = self.random.choice(self.consumers)
        consumer.link.drain_mode = False
        consumer.flow(self.random.choice([1, 1, 3, 20]))

    async def drain(self) -> None:
        self.random.choice(self.consumers).drain(self.random.choice([0, 5]))

    async def answer(self) -> None:
        consumer = self.random.choice(self.consumers)
        received = [each for each in consumer.unsettled.values() if each.complete]
        if received:
            self.say(self.random.choice(received), self.random.choice(STATES))

    def say(self, received: Received, state: State) -> None:
        self.said[received] = state
        if state != SETTLED and self.random.random() < 0.2:
            received.update(state)
        received.settle(state)

    async def send(self) -> None:
        producer = self.random.choice(self.producers)
        if producer.drain_asked and self.random.random() < 0.5:
            producer.drained()
        if producer.credit <= 0 or producer in self.half_sent:
            return
        number = len(self.messages)
        data = b"\0Ss\xc0\6\3@@\xa1\1" + self.random.choice("prw").encode()
        size = self.random.choice(SIZES)
        data += b"\0Su\xb0" + size.to_bytes(4, "big") + number.to_bytes(8, "big") + bytes(size - 8)
        presettled = self.random.random() < 0.2
        in_pieces = size > 1000 and self.random.random() < 0.5
        if in_pieces:
            sent = producer.begin(presettled=presettled)
            sent.write(data[: size // 2])
            self.half_sent[producer] = sent, len(data) - size // 2
        else:
            sent = producer.send(data, presettled=presettled)
        self.messages[number] = Message(sent, producer, presettled)

    async def go_on(self) -> None:
        producer = self.random.choice(list(self.half_sent))
        sent, left = self.half_sent.pop(producer)
        if self.random.random() < 0.2:
            sent.abort()
            self.withdrawn |= {number for number, each in self.messages.items() if each.sent is sent}
        else:
            sent.write(bytes(left))
            sent.end()

    async def settle_first(self) -> None:
        number = self.random.choice(list(self.messages))
        sent, producer, presettled = self.messages[number]
        on_its_way = sent in producer.unsettled.values() and self.half_sent.get(producer, (None, 0))[0] is not sent
        if producer in self.producers and on_its_way and not presettled:
            sent.settle()
            self.withdrawn.add(number)

    async def catch_up(self) -> None:
        links = self.consumers + self.producers
        if links:
            await self.random.choice(links).client.sync()

    # -- the end -----------------------------------------------------------------------------------

    async def blow_over(self) -> None:
        """Let everything come to its end, with new consumers that take all there is."""
        while self.half_sent:
            await self.go_on()
        for consumer in self.consumers:
            for received in list(consumer.unsettled.values()):
                if received.complete:
                    self.say(received, ACCEPTED)
            consumer.takes = ACCEPTED
        for address in ADDRESSES:
            self.all_consumers.append(await self.router.receiver(address, credit=1000, takes=ACCEPTED))
        await wait_until(lambda: not any(producer.unsettled for producer in self.producers))
        for link in [*self.producers, *self.consumers]:
            await link.client.sync()

    def check(self) -> None:
        """See that every message went to one consumer at a time, and that its producer was told the truth."""
        seen: dict[int, list[State]] = defaultdict(list)
        for consumer in self.all_consumers:
            for received in consumer.messages:
                number = int.from_bytes(received.data[19:27], "big")
                seen[number].append(self.said.get(received, ACCEPTED if consumer.takes else SETTLED))
        for number, (sent, _, presettled) in self.messages.items():
            kept = [state for state in seen[number] if state not in (RELEASED, ELSEWHERE)]
            assert len(kept) <= 1, f"{number} was kept by {len(kept)}"
            if presettled or number in self.withdrawn:
                continue
            assert sent.settled
            if sent.state in (RELEASED, ELSEWHERE):
                assert not kept, f"{number} was kept, and given back"
            elif sent.state in (ACCEPTED, State("rejected"), State("modified")):
                assert kept == [sent.state], f"{number} was {sent.state}, and {kept}"


@pytest.mark.parametrize("seed", range(3 * SEED - 2, 3 * (SEED + EFFORT) - 2))
@ensureDeferred
async def test_whatever_clients_do_every_message_ends_once(start: Start, seed: int) -> None:
    rules = [{"pattern": pattern, "distribution": policy} for pattern, policy in ADDRESSES.items()]
    limits = {"link_capacity": 20, "max_in_flight": 15, "session_window": 1 << 19, "max_held_size": 100_000}
    router = await start(address=rules, limits=limits)
    storm = Storm(router, seed)
    for _ in range(500):
        await storm.step()
    await storm.blow_over()
    storm.check()
    for link in storm.producers:
        link.client.close()
    await wait_until(lambda: not any(address.producers for address in router.used.values()))
    for address in router.used.values():
        assert (len(address.held), len(address.returned)) == (0, 0)
        assert address.free == sum(consumer.credit for consumer in address.consumers)
    assert router.core.in_flight() == 0


def test_a_message_with_its_address_decodes() -> None:
    message = proton.Message()
    message.decode(b"\0Ss\xc0\6\3@@\xa1\1p\0Su\xb0\0\0\0\x14" + bytes(20))
    assert message.address == "p"
