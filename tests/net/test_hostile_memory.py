"""A router in a process of its own has after a hostile client what it had before it, to a few bytes."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred

from tests.net.conversations import CONVERSATIONS, Conversation
from tests.net.measured import MeasuredRouter, can_measure
from tests.net.neighbourhood import Neighbourhood

AT_A_TIME = 5
ALLOWED = 200
"""Bytes that a client may leave behind. The least that the router or proton makes for one is more."""
TRIES = 20
"""A table may have grown to a size that it keeps, and proton keeps deliveries of a connection to use them again; but
what is forgotten of a client makes it more every time."""


async def _left_behind(router: MeasuredRouter, neighbourhood: Neighbourhood, what: Conversation) -> dict[str, int]:
    """Of what there is more every time that some clients have said it: how much."""
    before = router.has()
    for _ in range(TRIES):
        await neighbourhood.suffers_many(what, AT_A_TIME)
        await neighbourhood.neighbours.unaffected()  # who is silent for long is cut
        after = router.has()
        left = {kind: after[kind] - before[kind] for kind in after if after[kind] > before[kind]}
        if left.get("bytes", 0) <= ALLOWED * AT_A_TIME:
            left.pop("bytes", None)
        if not left:
            break
        before = after
    return left


@pytest.mark.skipif(not can_measure(), reason="the C library does not say what is allocated")
@ensureDeferred
async def test_nothing_of_a_hostile_client_stays_in_memory() -> None:
    router = MeasuredRouter()
    try:
        neighbourhood = await Neighbourhood.of(router)
        left = {what: await _left_behind(router, neighbourhood, each) for what, each in CONVERSATIONS.items()}
        assert {what: each for what, each in left.items() if each} == {}
    finally:
        await router.end()
