"""A router in the test's own process, on a port of loopback, and what it has to look like when a test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.net.authorities import Issued
from tests.net.processes import RouterProcess
from tests.net.routers import RunningRouter
from txrouter.net.passwords import Secret, store

Start = Callable[..., Awaitable[RunningRouter]]


@pytest_twisted.async_yield_fixture
async def start() -> AsyncIterator[Start]:
    """What a test calls to have a router; it takes the tables of a config, as in `limits={"max_links": 2}`."""
    routers: list[RunningRouter] = []

    async def start(**config: Any) -> RunningRouter:
        router = RunningRouter(config)
        routers.append(router)
        await router.start()
        return router

    yield start
    for router in routers:
        await router.end()


@pytest_twisted.async_yield_fixture
async def router(start: Start) -> AsyncIterator[RunningRouter]:
    """A router with the default config."""
    yield await start()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a key, and a certificate for `localhost` that it signed itself."""
    return Issued("localhost", names=("localhost",)).write(tmp_path / "router.pem")


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    """A password file in which alice and bob are."""
    path = tmp_path / "passwords"
    for user in ("alice", "bob"):
        store(path, user, Secret.of("pencil", 4096))
    return path


@pytest_twisted.async_yield_fixture
async def process() -> AsyncIterator[RouterProcess]:
    """A router in a process of its own, with the default config."""
    process = RouterProcess()
    yield process
    await process.end()
