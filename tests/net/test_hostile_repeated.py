"""Hostile clients by the hundred, one after another: a router in a process of its own has no more memory then."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred

from tests.effort import EFFORT
from tests.net.conversations import CONVERSATIONS, Conversation
from tests.net.measured import MeasuredRouter
from tests.net.neighbourhood import Neighbourhood

TIMES = 200
AT_A_TIME = 20
CHEAP = 1_000
"""Bytes that one says at most."""
MAY_GROW = 256 << 10
"""Bytes that the process may have more after a round than before: some 300 for each client, and the least that the
router makes for one is many times as much."""
ROUNDS = 4
"""In the first ones the C library finds out how much it needs; but what is forgotten of a client is more every time."""


def cheapest() -> list[Conversation]:
    """Of those that end in each way, the one that needs the fewest bytes; and of these, the cheapest few."""
    found: dict[str, Conversation] = {}
    for each in sorted(CONVERSATIONS.values(), key=lambda each: sum(map(len, each.pieces))):
        found.setdefault(each.ends, each)
    return [each for each in found.values() if sum(map(len, each.pieces)) <= CHEAP][: 4 * EFFORT]


async def _grown(router: MeasuredRouter, neighbourhood: Neighbourhood) -> int:
    """By how much the process has more memory after all have said it so many times."""
    before = _resident(router)
    for conversation in cheapest():
        for _ in range(TIMES // AT_A_TIME):
            await neighbourhood.suffers_many(conversation, AT_A_TIME)
        await neighbourhood.neighbours.unaffected()
    return _resident(router) - before


def _resident(router: MeasuredRouter) -> int:
    router.has()  # for which it collects its garbage
    return router.resident()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what a process has")
@ensureDeferred
async def test_what_is_cheap_to_say_costs_no_memory_however_often_it_is_said() -> None:
    router = MeasuredRouter()
    try:
        neighbourhood = await Neighbourhood.of(router)
        grown: list[int] = []
        while len(grown) < ROUNDS and (not grown or grown[-1] > MAY_GROW):
            grown.append(await _grown(router, neighbourhood))
        assert grown[-1] <= MAY_GROW, grown
    finally:
        await router.end()
