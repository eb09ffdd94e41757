"""Consumers in order: what `Lowest` is to do, and that it does not grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from txrouter.policies.lowest import ROOM, Lowest
from txrouter.testing import FakeConsumer

CONSUMERS = [FakeConsumer(str(number)) for number in range(5)]


@given(st.lists(st.tuples(st.sampled_from(range(5)), st.none() | st.integers(0, 3)), max_size=200))
def test_the_first_has_the_lowest_load_and_has_been_there_longest(moves: list[tuple[int, int | None]]) -> None:
    lowest = Lowest()
    there: dict[FakeConsumer, int] = {}
    for index, load in moves:
        consumer = CONSUMERS[index]
        there.pop(consumer, None)
        if load is None:
            lowest.discard(consumer)
        else:
            lowest.put(consumer, load)
            there[consumer] = load
        assert lowest.first() is min(there, key=lambda each: there[each], default=None)
        assert (consumer in lowest) is (load is not None)


def test_it_does_not_grow_by_being_moved_about() -> None:
    lowest = Lowest()
    for number in range(10_000):
        lowest.put(CONSUMERS[number % 2], 10_000 - number % 7)
    assert len(lowest._heap) <= ROOM + 2 * 2 + 1
