"""`least-in-flight`: the fewest in flight, however long each takes; and among equals who has waited longest."""

from __future__ import annotations

import pytest

from tests.policies.routers import router_of, sent_to
from txrouter.policies import least_in_flight
from txrouter.testing import FakeRouter


@pytest.fixture
def router() -> FakeRouter:
    return router_of(least_in_flight)


def test_whoever_has_the_fewest_in_flight_is_next(router: FakeRouter) -> None:
    for id, in_flight in ("a", 3), ("b", 1), ("c", 2):
        router.attach(id, credit=10, in_flight=in_flight)
    assert sent_to(router, 4) == "bcba"


def test_among_equals_whoever_has_waited_longest_is_next(router: FakeRouter) -> None:
    a, b, c = (router.attach(id, credit=10) for id in "abc")
    assert sent_to(router, 3) == "abc"
    for consumer in c, a, b:
        router.settle(consumer)
    assert sent_to(router, 3) == "cab"


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
