"""Addresses whose held messages leave by priority."""

from __future__ import annotations

import pytest

from tests.unit.core.fakes import FakeConsumer, FakeProducer, Stage, Sticky
from txrouter.core.access import Permit, Rule, Rules
from txrouter.core.outcomes import RELEASED
from txrouter.core.users import User
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


# -- whose priorities count --------------------------------------------------------------------------------------------


def may(stage: Stage, producer: FakeProducer, **rule: bool) -> None:
    """The producer's client may do what this rule says, and nothing else."""
    access = Rules([Rule(("*",), **rule)]).of("alice", 0)  # type: ignore[arg-type]
    assert access is not None
    producer.permit = Permit(stage.router, "c1", User("alice"), access)


def test_the_priorities_of_a_producer_that_may_set_none_do_not_count(stage: Stage) -> None:
    producer, consumer = waiting(stage)
    other = stage.producer("q")
    may(stage, producer)
    may(stage, other, priority=True)
    nine, low, five = producer.sends(priority=9), producer.sends(priority=0), other.sends(priority=5)
    consumer.grants(9)
    assert consumer.got == [five, nine, low]
    assert stage.counters["unauthorized_priorities"] == 2
    about = {"connection": "c1", "host": "", "user": "'alice'", "action": "priority", "address": "q"}
    assert stage.reports == [("access refused", {**about, "error": "no rule allows it"})] * 2


def test_a_message_that_says_no_priority_or_the_usual_one_is_not_counted(stage: Stage) -> None:
    producer, _ = waiting(stage)
    may(stage, producer)
    producer.sends()
    producer.sends(priority=4)
    assert stage.counters["unauthorized_priorities"] == 0


def test_a_message_that_waits_more_than_once_is_counted_once() -> None:
    stage = Stage(Sticky, by_priority=True)
    first, other = stage.consumer("q"), stage.consumer("q")
    producer = stage.producer("q")
    may(stage, producer)
    message = producer.sends(priority=9, group_id=first.id)
    first.leaves()
    other.grants(1)
    other.settles(message, RELEASED)
    assert stage.counters["unauthorized_priorities"] == 1


def test_where_priorities_do_not_count_anyway_nobody_is_reported() -> None:
    stage = Stage(pull.factory)
    producer, _ = waiting(stage)
    may(stage, producer)
    producer.sends(priority=9)
    assert not stage.counters
    assert not stage.reports


@pytest.mark.parametrize("allowed", [False, True])
def test_what_stays_when_its_producer_leaves_keeps_the_priority_it_was_held_as(stage: Stage, allowed: bool) -> None:
    producer, consumer = waiting(stage)
    may(stage, producer, priority=allowed)
    other = stage.producer("q")
    kept, four = producer.sends(presettled=True, priority=9), other.sends()
    producer.leaves()
    consumer.grants(9)
    assert consumer.got == ([kept, four] if allowed else [four, kept])
