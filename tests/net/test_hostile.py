"""Hostile clients: whatever one says, a producer and a consumer beside it go on, and the router keeps nothing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.net.conftest import Start
from tests.net.conversations import CONVERSATIONS
from tests.net.ledger import objects
from tests.net.neighbourhood import SHARED, Neighbourhood


@pytest_twisted.async_yield_fixture
async def neighbourhood(start: Start) -> AsyncIterator[Neighbourhood]:
    """A router whose producers and consumers are used to each other."""
    neighbourhood = await Neighbourhood.of(await start(address=SHARED))
    await neighbourhood.rest()
    yield neighbourhood


@pytest.mark.parametrize("what", CONVERSATIONS)
@ensureDeferred
async def test_nobody_notices(neighbourhood: Neighbourhood, what: str) -> None:
    conversation = CONVERSATIONS[what]
    before = objects()
    ending = await neighbourhood.suffers(conversation)
    assert ending == (conversation.ends, conversation.detached)
    await neighbourhood.neighbours.unaffected()
    await neighbourhood.rest()
    assert objects() == before
