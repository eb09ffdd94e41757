"""A router whose clients would have more memory than it may have: it lives, and so do those that take little."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pytest_twisted import ensureDeferred
from twisted.internet.error import ConnectError

from tests.net.clients import Client
from tests.net.links import ACCEPTED, Receiver, Sender
from tests.net.processes import RouterProcess
from tests.net.waiting import reactor, wait_until

MIB = 1 << 20
CEILING = 160 * MIB
KEPT = b"\0Su\xb0\0\0\x75\x30" + bytes(30_000)
"""A message that the router keeps until it is settled."""
TOO_MANY = 12
"""Hoards that would be more than twice the ceiling together."""
GRANTED = TOO_MANY * 250 * len(KEPT)
"""What their producers may have credit for when it comes to an end."""


class Hoard:
    """A producer that sends as much as it may, and a consumer that settles none of it: up to 30 MB."""

    def __init__(self, producer: Sender, consumer: Receiver) -> None:
        self._producer = producer
        self._consumer = consumer

    @classmethod
    async def of(cls, router: RouterProcess, address: str) -> Hoard:
        """A new one."""
        consumer = await (await router.client(f"{address}-consumer")).receiver(address, credit=1000)
        return cls(await (await router.client(f"{address}-producer")).sender(address), consumer)

    @property
    def lost(self) -> bool:
        """Whether its consumer was cut off."""
        return self._consumer.client.lost

    def grows(self) -> None:
        """Send what may be sent."""
        self._consumer.messages.clear()  # this process is not to have all of it
        for _ in range(self._producer.credit if not self._producer.client.lost else 0):
            self._producer.send(KEPT)

    def gone(self) -> None:
        """Be gone."""
        for link in (self._producer, self._consumer):
            link.client.abort()


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[RouterProcess]:
    config = tmp_path / "router.toml"
    config.write_text(f"limits.max_memory = {CEILING}\n")
    router = RouterProcess(config=config)
    try:
        yield router
    finally:
        await router.end()


async def hoards(router: RouterProcess) -> list[Hoard]:
    """Some that would have too much together."""
    return [await Hoard.of(router, f"hoard-{number}") for number in range(TOO_MANY)]


async def is_refused(router: RouterProcess) -> bool:
    """Whether it cuts somebody off who comes now."""
    try:
        client: Client = await router.client("another")
    except ConnectError:
        return True
    return not client.open


@ensureDeferred
async def test_clients_that_hoard_messages_are_cut_off_at_the_ceiling_and_others_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as router:
        consumer = await (await router.client("consumer")).receiver("modest", credit=10, takes=ACCEPTED)
        producer = await (await router.client("producer")).sender("modest")
        too_many = await hoards(router)

        def one_is_lost() -> bool:
            for each in too_many:
                each.grows()
            return any(each.lost for each in too_many)

        await wait_until(one_is_lost, patience=60)
        assert await producer.send(b"\0Sw\xa1\4next").over() == ACCEPTED
        assert not consumer.client.lost
        assert router.peak() < CEILING + GRANTED


@ensureDeferred
async def test_near_the_ceiling_new_connections_are_refused_and_when_there_is_enough_again_they_are_not(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as router:
        too_many = await hoards(router)
        deadline = reactor.seconds() + 60
        while not await is_refused(router):
            assert reactor.seconds() < deadline
            for each in too_many:
                each.grows()
        for each in too_many:
            each.gone()
        await wait_until(lambda: router.resident() < CEILING // 2)
        while await is_refused(router):
            pass
