"""One address of a router, as the tests of a policy have it, and who gets its messages."""

from __future__ import annotations

import random
from typing import Any

from txrouter.testing import FakeDelivery, FakeRouter

__all__ = ["router_of", "sent_to"]


def router_of(module: Any, **options: Any) -> FakeRouter:
    """A router with the policy of that module."""
    return FakeRouter(module.factory.build(module.Options(**options), random.Random(1)))


def sent_to(router: FakeRouter, count: int, *, presettled: bool = False) -> str:
    """Who gets the next messages, by id; `-` for one that is held."""
    takers = (router.send(FakeDelivery(presettled=presettled)) for _ in range(count))
    return "".join("-" if consumer is None else consumer.id for consumer in takers)
