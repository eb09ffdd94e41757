"""`least-in-flight`: as `pull` (`test_pull`), but that it is the fewest in flight however long each takes."""

from __future__ import annotations

import pytest

from tests.policies.routers import router_of
from txrouter.policies import least_in_flight
from txrouter.testing import FakeRouter


@pytest.fixture
def router() -> FakeRouter:
    return router_of(least_in_flight)


def test_how_long_a_consumer_takes_makes_no_difference(router: FakeRouter) -> None:
    for id in "ab":
        router.attach(id, credit=1)
    takers = ""
    for _ in range(200):
        consumer = router.send()
        assert consumer is not None
        takers += consumer.id
        router.settle(consumer, "accepted", 100.0 if consumer.id == "a" else 1.0)
        router.grant(consumer, 1)
    assert takers == "ab" * 100


def test_it_has_another_name() -> None:
    assert (least_in_flight.factory.name, least_in_flight.balanced.name) == ("least-in-flight", "balanced")
