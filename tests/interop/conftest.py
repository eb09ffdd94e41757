"""Programs of others, and routers for them in the test's own process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.interop.install import Client
from tests.interop.programs import Program
from tests.net.conftest import router, start

__all__ = ["router", "run", "run_for_all", "start"]

Run = Callable[..., Program]


def require(client: Client) -> Path:
    """Where a client is installed. Where it is not, the test is skipped; in CI it fails."""
    if client.absence:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {client.name}: {client.absence}")
    return client.directory


async def _run() -> AsyncIterator[Run]:
    programs: list[Program] = []

    def run(*command: str | Path, **options: Any) -> Program:
        programs.append(Program(*command, **options))
        return programs[-1]

    yield run
    for program in programs:
        await program.kill()


@pytest_twisted.async_yield_fixture
async def run() -> AsyncIterator[Run]:
    """What a test calls to run a program, as in `run("command", "argument")`. None outlives the test."""
    async for each in _run():
        yield each


@pytest_twisted.async_yield_fixture(scope="module")
async def run_for_all() -> AsyncIterator[Run]:
    """As `run`, for programs that all tests of a module use."""
    async for each in _run():
        yield each
