"""Addresses whose held messages leave by priority."""

from __future__ import annotations

import pytest

from tests.unit.core.fakes import FakeConsumer, FakeProducer, Stage, Sticky
from txrouter.core.outcomes import RELEASED
from txrouter.policies import pull


@pytest.fixture
def stage() -> Stage:
    return Stage(by_priority=True)


def waiting(stage: Stage) -> tuple[FakeProducer, FakeConsumer]:
    """A producer that may send some, and a consumer that has no credit."""
    consumer = stage.consumer("q")
    return stage.producer("q"), consumer


def test_the_highest_priority_goes_first(stage: Stage) -> None:
    producer, consumer = waiting(stage)
    low, high, middle = (producer.sends(priority=priority) for priority in (1, 9, 5))
    consumer.grants(9)
    assert consumer.got == [high, middle, low]


def test_among_equals_the_first_goes_first(stage: Stage) -> None:
    producer, consumer = waiting(stage)
    one, other = producer, stage.producer("q")
    sent = [one.sends(priority=7), other.sends(priority=7), one.sends(priority=7)]
    consumer.grants(9)
    assert consumer.got == sent


def test_a_message_that_says_nothing_is_of_priority_four(stage: Stage) -> None:
    producer, consumer = waiting(stage)
    three, none, five = producer.sends(priority=3), producer.sends(), producer.sends(priority=5)
    consumer.grants(9)
    assert consumer.got == [five, none, three]


def test_a_later_one_of_higher_priority_goes_before_those_that_are_held(stage: Stage) -> None:
    producer, consumer = waiting(stage)
    held = producer.sends(priority=4)
    consumer.sets_credit(1)
    late = producer.sends(priority=9)
    stage.turn()
    assert (consumer.got, held.is_held) == ([late], True)


def test_what_is_in_flight_is_left_where_it_is(stage: Stage) -> None:
    consumer = stage.consumer("q", credit=1)
    producer = stage.producer("q")
    low, high = producer.sends(priority=0), producer.sends(priority=9)
    assert (consumer.got, high.is_held) == ([low], True)


def test_what_was_given_back_waits_by_priority_too(stage: Stage) -> None:
    one, other = stage.consumer("q", credit=2), stage.consumer("q")
    producer = stage.producer("q")
    low, high = producer.sends(priority=1), producer.sends(priority=8)
    one.settles(low, RELEASED)
    one.settles(high, RELEASED)
    other.grants(9)
    assert other.got == [high, low]


def test_what_waits_for_one_consumer_goes_by_priority() -> None:
    stage = Stage(Sticky, by_priority=True)
    first = stage.consumer("q")
    producer = stage.producer("q")
    low, high = (producer.sends(priority=priority, group_id=first.id) for priority in (1, 8))
    assert first.waiting == 2
    first.grants(9)
    assert first.got == [high, low]


def test_where_it_is_not_asked_for_the_order_is_as_it_came() -> None:
    stage = Stage(pull.factory)
    producer, consumer = waiting(stage)
    sent = [producer.sends(priority=priority) for priority in (1, 9, 5)]
    consumer.grants(9)
    assert consumer.got == sent


def test_a_message_that_leaves_unsent_leaves_its_place(stage: Stage) -> None:
    producer, consumer = waiting(stage)
    first, second = producer.sends(priority=9), producer.sends(priority=9)
    producer.settles(first)
    consumer.grants(9)
    assert consumer.got == [second]
