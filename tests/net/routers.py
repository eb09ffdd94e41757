"""A router under test: the whole service, in the test's own reactor."""

from __future__ import annotations

import itertools
from typing import Any

import proton
from twisted.internet.endpoints import clientFromString, connectProtocol

from tests.net.clients import Client
from tests.net.links import Receiver, Sender
from tests.net.waiting import reactor, wait_until
from txrouter.config import Config
from txrouter.core.addresses import is_reserved
from txrouter.core.links import Address
from txrouter.core.router import Router
from txrouter.service import RouterService

LOOPBACK = "tcp:0:interface=127.0.0.1"


class RunningRouter:
    """A `RouterService` on a port of its own.

    :param config: the tables of its config.
    """

    _containers = itertools.count()

    def __init__(self, config: dict[str, Any]) -> None:
        tables = {"listener": [{"endpoint": LOOPBACK}], **config}
        tables["router"] = {"id": "r1", "stop_timeout": 0, **tables.get("router", {})}
        self.service = RouterService(Config.from_dict(tables), reactor)
        self.core: Router = self.service.router
        self.reports: list[tuple[str, dict[str, object]]] = []
        """What it reported."""
        self.forgiven: set[str] = set()
        """Failures that a test is about."""
        self.core.report = self._report
        self.port = 0
        self._peers: list[Any] = []

    def _report(self, event: str, fields: dict[str, object]) -> None:
        self.reports.append((event, fields))

    async def start(self) -> None:
        """Have it listen."""
        self.service.startService()
        ports: list[Any] = await self.service.when_listening()
        self.port = getattr(ports[0].getHost(), "port", 0)

    async def end(self) -> None:
        """Have all clients gone, see that the router forgot them, and stop it."""
        for peer in self._peers:
            if peer.transport.connected:
                peer.transport.abortConnection()
        await wait_until(lambda: not self.connections)
        if self.service.running:
            await self.service.stopService()
        assert not self.core.addresses
        assert self.failures == []

    @property
    def used(self) -> dict[str, Address]:
        """The addresses that somebody is attached to who is not the router itself."""
        return {name: each for name, each in self.core.addresses.items() if not is_reserved(name)}

    @property
    def connections(self) -> list[Any]:
        """The connections that it has."""
        return self.service._connections()

    @property
    def failures(self) -> list[tuple[str, dict[str, object]]]:
        """What it reported that no client, whatever it does, should be able to cause."""
        unforgivable = {"connection failed", "attach failed", "policy failed"} - self.forgiven
        return [each for each in self.reports if each[0] in unforgivable]

    async def dial(self, peer: Any, endpoint: Any = None) -> Any:
        """Connect any protocol to it, by TCP if nothing else is said."""
        endpoint = endpoint or clientFromString(reactor, f"tcp:127.0.0.1:{self.port}")
        self._peers.append(await connectProtocol(endpoint, peer))
        return peer

    async def client(self, container: str | None = None, **options: Any) -> Client:
        """A client whose connection is open."""
        peer: Client = await self.dial(Client(container or f"client{next(self._containers)}", **options))
        await peer.opened()
        return peer

    async def sender(self, address: object, **options: Any) -> Sender:
        """A sender on a connection of its own."""
        return await (await self.client()).sender(address, **options)

    async def receiver(self, address: object, **options: Any) -> Receiver:
        """A receiver on a connection of its own."""
        return await (await self.client()).receiver(address, **options)


def message(body: Any = "hello", **fields: object) -> proton.Message:
    """A message."""
    return proton.Message(body, **fields)


async def relay(router: RunningRouter) -> Sender:
    """An anonymous producer with credit."""
    producer = await router.sender(None)
    await producer.credited()
    return producer


async def quiet(*links: Sender | Receiver | Client) -> None:
    """Wait until the router has nothing more for any of these, whatever they have said to it and to each other through
    it so far."""
    clients = list(dict.fromkeys(link if isinstance(link, Client) else link.client for link in links))
    for client in clients + clients[-2::-1]:
        await client.sync()


async def ahead(router: RunningRouter, messages: int, address: str = "x") -> tuple[Sender, Receiver]:
    """A producer that may send so many messages, and a consumer that has no credit for any: they will wait."""
    consumer = await router.receiver(address, credit=messages)
    producer = await router.sender(address)
    await producer.credited(messages)
    consumer.drain()
    await wait_until(lambda: not consumer.credit)
    consumer.link.drain_mode = False
    return producer, consumer
