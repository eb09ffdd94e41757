"""A copy for every consumer: who gets one, what the copies come to, and what becomes of a consumer without credit."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests.unit.core.fakes import FakeConsumer, Message, Stage
from txrouter.core.deliveries import Malformed
from txrouter.core.outcomes import ACCEPTED, LOST, RELEASED, SETTLED, Outcome, modified, rejected
from txrouter.policies import multicast

REJECTED = rejected("app:wrong", "it is wrong")
MODIFIED = modified(delivery_failed=False)
NOT_HERE = modified(delivery_failed=False, undeliverable_here=True)


def stage(when_full: Any = "auto", block_seconds: float = 5.0, drop_seconds: float = 0.1, **limits: int) -> Stage:
    return Stage(multicast.factory, multicast.Options(when_full, block_seconds, drop_seconds), **limits)


def consumers(here: Stage, *credits: int) -> list[FakeConsumer]:
    return [here.consumer(credit=credit) for credit in credits]


def numbers(each: FakeConsumer) -> tuple[int, int]:
    """What the router thinks it may be sent, and has not settled."""
    return each.credit, each.in_flight


# -- who gets a copy -------------------------------------------------------------------------------


@pytest.mark.parametrize("presettled", [False, True])
@pytest.mark.parametrize("name", ["q", None])
def test_every_consumer_gets_a_copy_of_every_message(name: str | None, presettled: bool) -> None:
    here = stage()
    everybody = consumers(here, 9, 9, 9)
    sent = here.producer(name).sends_many(3, presettled, to="q")
    assert [each.got for each in everybody] == [sent, sent, sent]
    assert [numbers(each) for each in everybody] == [(6, 0 if presettled else 3)] * 3
    assert here.address().free == 18


def test_without_a_consumer_a_message_is_released() -> None:
    here = stage()
    one = here.consumer(credit=9)
    producer = here.producer()
    one.leaves()
    assert producer.sends().outcome is RELEASED


def test_a_producer_gets_its_credit_back_when_the_copies_have_gone() -> None:
    here = stage()
    consumers(here, 9, 9)
    producer = here.producer()
    producer.sends_many(9)
    assert producer.credit == 0
    assert producer.may_send == 0


def test_who_comes_later_gets_what_is_sent_later() -> None:
    here = stage()
    one = here.consumer(credit=9)
    producer = here.producer()
    first = producer.sends()
    other = here.consumer(credit=9)
    second = producer.sends()
    assert (one.got, other.got) == ([first, second], [second])


# -- what the copies come to -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([ACCEPTED, ACCEPTED], ACCEPTED),
        ([ACCEPTED, REJECTED], REJECTED),
        ([REJECTED, RELEASED], REJECTED),
        ([REJECTED, MODIFIED], REJECTED),
        ([ACCEPTED, RELEASED], ACCEPTED),
        ([ACCEPTED, MODIFIED], ACCEPTED),
        ([ACCEPTED, SETTLED], ACCEPTED),
        ([SETTLED, MODIFIED], SETTLED),
        ([MODIFIED, RELEASED], MODIFIED),
        ([RELEASED, RELEASED], RELEASED),
        ([ACCEPTED, MODIFIED, REJECTED, RELEASED], REJECTED),
    ],
)
def test_the_outcome_that_says_most_is_the_producers_in_whatever_order_they_come(
    said: list[Outcome], told: Outcome
) -> None:
    for order in permutations(said):
        here = stage()
        everybody = consumers(here, *[1] * len(order))
        message = here.producer().sends()
        for each, outcome in zip(everybody, order, strict=True):
            assert message.outcome is None
            each.settles(message, outcome)
        assert message.outcome is told
        assert [each.in_flight for each in everybody] == [0] * len(order)


def test_a_failure_that_one_consumer_reports_stays() -> None:
    here = stage()
    one, two = consumers(here, 1, 1)
    message = here.producer().sends()
    one.settles(message, NOT_HERE)
    two.settles(message, LOST)
    assert message.outcome is not None
    assert (message.outcome.delivery_failed, message.outcome.undeliverable_here) == (True, False)


@pytest.mark.parametrize(("seen", "told"), [(True, LOST), (False, RELEASED)])
def test_copies_of_consumers_that_are_lost_end_as_far_as_they_had_come(seen: bool, told: Outcome) -> None:
    here = stage()
    everybody = consumers(here, 1, 1)
    message = here.producer().sends()
    for each in everybody:
        each.leaves(seen)
    assert message.outcome is told


def test_a_copy_that_is_released_goes_to_nobody_else() -> None:
    here = stage()
    one, two = consumers(here, 1, 9)
    message = here.producer().sends()
    one.settles(message, RELEASED)
    here.turn()
    assert two.got == [message]
    two.settles(message, ACCEPTED)
    assert message.outcome is ACCEPTED


def test_a_producer_that_goes_settles_every_copy() -> None:
    here = stage()
    everybody = consumers(here, 9, 9)
    producer = here.producer()
    producer.sends()
    producer.leaves()
    assert [each.unsettled for each in everybody] == [{}, {}]
    assert [each.in_flight for each in everybody] == [0, 0]


def test_a_producer_that_settles_first_settles_every_copy() -> None:
    here = stage()
    one, two = consumers(here, 9, 9)
    producer = here.producer()
    message = producer.sends()
    one.settles(message, ACCEPTED)
    producer.settles(message)
    assert two.unsettled == {}
    assert producer.unsettled == {}


def test_consumers_that_leave_settling_to_the_producer_are_heard_when_all_have_spoken() -> None:
    here = stage()
    one, two, three = consumers(here, 9, 9, 9)
    producer = here.producer()
    message = producer.sends()
    one.settles(message, RELEASED)
    two.says(message, ACCEPTED)
    assert message.told == []
    three.says(message, RELEASED)
    assert (message.told, message.outcome) == ([ACCEPTED], None)
    producer.settles(message)
    assert (two.in_flight, three.in_flight) == (0, 0)


def test_an_aborted_message_costs_nobody_credit() -> None:
    here = stage()
    everybody = consumers(here, 2, 2)
    producer = here.producer()
    message = Message(producer, producer.target, False, here.router.now, {})
    message.aborted = True
    producer.unsettled[message] = message
    assert here.router.route(message)
    assert [numbers(each) for each in everybody] == [(2, 0), (2, 0)]
    assert here.address().free == 4
    assert message.over
    assert here.counters["aborted"] == 1


# -- a consumer without credit ---------------------------------------------------------------------


def test_an_unsettled_message_waits_for_a_consumer_without_credit() -> None:
    here = stage()
    ready, full = consumers(here, 9, 0)
    producer = here.producer()
    first, second = producer.sends_many(2)
    assert (first.is_held, second.is_held, ready.got) == (True, True, [])
    full.grants(1)
    assert (ready.got, full.got) == ([first], [first])
    full.grants(1)
    assert (ready.got, full.got) == ([first, second], [first, second])


@pytest.mark.parametrize(("when_full", "presettled"), [("auto", True), ("drop", True), ("drop", False)])
def test_what_may_be_dropped_waits_for_a_moment_only(when_full: str, presettled: bool) -> None:
    here = stage(when_full, drop_seconds=0.1)
    ready, full = consumers(here, 9, 0)
    message = here.producer().sends(presettled)
    here.later(0.09)
    assert message.is_held
    here.later(0.02)
    assert (ready.got, full.got) == ([message], [])
    assert here.counters["multicast_dropped"] == 1


def test_a_consumer_whose_credit_comes_a_moment_later_loses_nothing() -> None:
    here = stage("drop")
    one, other = consumers(here, 1, 9)
    producer = here.producer()
    sent = producer.sends_many(2, presettled=True)
    here.later(0.05)
    one.grants(1)
    assert (one.got, other.got) == (sent, sent)


@pytest.mark.parametrize("presettled", [False, True])
def test_with_no_time_at_all_no_message_waits(presettled: bool) -> None:
    here = stage("drop", drop_seconds=0.0)
    ready, full = consumers(here, 9, 0)
    message = here.producer().sends(presettled)
    assert (ready.got, full.got) == ([message], [])
    assert here.counters["multicast_dropped"] == 1


def test_with_drop_a_message_that_nobody_can_take_is_released() -> None:
    here = stage("drop")
    consumers(here, 1, 1)
    producer = here.producer(None)
    first, second = producer.sends(to="q"), producer.sends(to="q")
    here.later(0.2)
    assert first.outcome is None
    assert second.outcome is RELEASED


@pytest.mark.parametrize("presettled", [False, True])
def test_block_lets_every_message_wait(presettled: bool) -> None:
    here = stage("block")
    ready, full = consumers(here, 9, 0)
    message = here.producer().sends(presettled)
    assert message.is_held
    full.grants(1)
    assert (ready.got, full.got) == ([message], [message])


@pytest.mark.parametrize("presettled", [False, True])
def test_detach_ends_a_consumer_that_has_no_credit_left(presettled: bool) -> None:
    here = stage("detach")
    ready, full = consumers(here, 9, 1)
    first, second = here.producer(None).sends_many(2, presettled, to="q")
    here.later(0.2)
    assert full.gone
    assert (ready.got, full.got) == ([first, second], [first])
    assert here.counters["overrun"] == 1


def test_detach_spares_a_consumer_that_has_given_no_credit_yet() -> None:
    here = stage("detach")
    ready, new = consumers(here, 9, 0)
    message = here.producer().sends()
    here.later(0.2)
    assert not new.gone
    assert ready.got == [message]


@pytest.mark.parametrize("when_full", ["auto", "block", "drop", "detach"])
def test_a_consumer_whose_connection_is_busy_is_waited_for(when_full: str) -> None:
    here = stage(when_full)
    ready, busy = consumers(here, 9, 9)
    here.router.suspend(busy)
    message = here.producer(None).sends(presettled=True, to="q")
    assert message.is_held
    here.router.resume(busy)
    here.turn()
    assert (ready.got, busy.got) == ([message], [message])


def test_no_message_waits_longer_than_the_limit() -> None:
    here = stage(block_seconds=2.0)
    ready, full = consumers(here, 9, 0)
    message = here.producer().sends()
    here.later(1.9)
    assert message.is_held
    here.later(0.1)
    assert (ready.got, full.got) == ([message], [])
    assert here.counters["multicast_dropped"] == 1


def test_no_message_waits_longer_because_another_consumer_has_used_up_its_credit() -> None:
    here = stage(block_seconds=5.0)
    stuck, spent = consumers(here, 0, 1)
    first, second = here.producer().sends_many(2)
    here.later(5.0)
    assert (stuck.got, spent.got) == ([], [first])
    assert second.outcome is RELEASED


def test_a_stuck_consumer_is_not_waited_for_again_until_it_gives_credit() -> None:
    here = stage(block_seconds=2.0)
    ready, full = consumers(here, 9, 0)
    producer = here.producer()
    first = producer.sends()
    here.later(2.0)
    second = producer.sends()
    assert ready.got == [first, second]
    full.grants(1)
    third, fourth = producer.sends(), producer.sends()
    assert (full.got, fourth.is_held) == ([third], True)


def test_what_waits_for_a_consumer_goes_when_that_one_leaves() -> None:
    here = stage()
    ready, full = consumers(here, 9, 0)
    message = here.producer().sends()
    full.leaves()
    assert ready.got == [message]


def test_what_waits_is_released_when_the_last_consumer_leaves() -> None:
    here = stage()
    (full,) = consumers(here, 0)
    message = here.producer(None).sends(to="q")
    assert message.is_held
    full.leaves()
    assert message.outcome is RELEASED


def test_what_waits_for_a_consumer_can_expire() -> None:
    here = stage()
    consumers(here, 9, 0)
    message = here.producer().sends(ttl=1_000)
    here.later(1.0)
    assert message.outcome is not None
    assert message.outcome.condition == "amqp:message-expired"


def test_a_message_that_is_late_already_goes_to_nobody() -> None:
    here = stage()
    (one,) = consumers(here, 9)
    producer = here.producer()
    message = Message(producer, producer.target, False, here.router.now - 2.0, {"ttl": 1_000})
    producer.unsettled[message] = message
    assert here.router.route(message)
    assert one.got == []
    assert message.outcome is not None
    assert message.outcome.condition == "amqp:message-expired"


def test_a_message_that_cannot_be_read_where_it_must_be_is_rejected() -> None:
    here = stage()
    consumers(here, 9, 0)
    message = here.producer().sends(ttl=Malformed)
    assert message.outcome is not None
    assert message.outcome.condition == "amqp:decode-error"


def test_what_is_held_is_released_when_the_router_stops() -> None:
    here = stage()
    consumers(here, 9, 0)
    producer = here.producer()
    message = producer.sends()
    here.router.stop()
    assert message.outcome is RELEASED
    assert producer.sends().outcome is RELEASED


# -- credit ----------------------------------------------------------------------------------------


def test_a_producer_may_send_what_the_consumer_with_least_credit_can_take() -> None:
    here = stage()
    consumers(here, 30, 20, 10)
    assert here.producer().may_send == 10


def test_while_all_wait_for_a_consumer_a_producer_may_send_a_few() -> None:
    here = stage()
    consumers(here, 30, 20, 0)
    assert here.producer().may_send == 8


def test_a_consumer_that_stops_giving_credit_does_not_stop_the_producers_for_good() -> None:
    here = stage(block_seconds=1.0)
    stops, goes_on = consumers(here, 30, 50)
    producer = here.producer()
    sent = producer.sends_many(30)
    here.turn()
    sent += producer.sends_many(1)
    here.later(1.0)
    assert goes_on.got == sent
    assert stops.got == sent[:30]
    assert producer.may_send == 19


def test_a_stuck_consumer_is_no_hindrance() -> None:
    here = stage("block", block_seconds=1.0)
    consumers(here, 30, 20, 0)
    producer = here.producer()
    producer.sends()
    here.later(1.0)
    assert producer.may_send > 8


def test_a_consumer_with_all_it_may_have_in_flight_is_full() -> None:
    here = stage("drop", drop_seconds=0.0, max_in_flight=2)
    never_settles, settles = consumers(here, 99, 99)
    producer = here.producer(None)
    for _ in range(3):
        message = producer.sends(to="q")
        settles.settles(message, ACCEPTED)
    assert (len(never_settles.got), len(settles.got)) == (2, 3)


def test_it_describes_who_is_stuck() -> None:
    here = stage(block_seconds=0.0)
    _, full = consumers(here, 9, 0)
    here.producer().sends()
    here.later(0.0)
    policy: Any = here.address().policy
    assert policy.describe() == {"stuck": [full.id]}
