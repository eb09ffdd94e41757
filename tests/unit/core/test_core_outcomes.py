"""What becomes of a delivery, and what its producer is told."""

from __future__ import annotations

import pytest

from tests.unit.core.fakes import FakeConsumer, Message, Stage
from txrouter.core.outcomes import ACCEPTED, LOST, RELEASED, SETTLED, Outcome, modified, rejected

REJECTED = Outcome("rejected", origin="the error is there")
MODIFIED = modified(delivery_failed=False)
FAILED = modified(delivery_failed=True)
NOT_HERE = modified(delivery_failed=False, undeliverable_here=True)
FAILED_NOT_HERE = modified(delivery_failed=True, undeliverable_here=True)


def said(message: Message) -> tuple[str, bool]:
    """The state that the producer was told, and whether with delivery-failed."""
    assert message.outcome is not None
    return message.outcome.state, message.outcome.delivery_failed


def state(message: Message) -> str:
    """The state that the producer was told."""
    return said(message)[0]


@pytest.mark.parametrize("outcome", [ACCEPTED, REJECTED, RELEASED, MODIFIED, FAILED, NOT_HERE, SETTLED], ids=repr)
def test_the_producer_is_told_the_outcome_of_the_only_consumer(outcome: Outcome) -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=2)
    message = stage.producer("q").sends()
    assert message.outcome is None
    consumer.settles(message, outcome)
    assert message.outcome is outcome
    assert consumer.in_flight == 0


@pytest.mark.parametrize("outcome", [ACCEPTED, REJECTED, MODIFIED, FAILED, SETTLED], ids=repr)
def test_an_outcome_that_is_final_is_not_offered_to_another(outcome: Outcome) -> None:
    stage = Stage()
    first, other = stage.consumer("q", credit=1), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    taker = message.sent_to[0]
    taker.settles(message, outcome)
    stage.turn()
    assert message.outcome is outcome
    assert len(first.got) + len(other.got) == 1


# -- released --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [RELEASED, NOT_HERE, FAILED_NOT_HERE], ids=repr)
def test_what_a_consumer_releases_is_offered_to_the_next_that_has_not_released_it(outcome: Outcome) -> None:
    stage = Stage()
    consumers = [stage.consumer("q", credit=9) for _ in range(3)]
    message = stage.producer("q").sends()
    for turn in range(2):
        message.sent_to[-1].settles(message, outcome)
        assert message.outcome is None
        assert len(message.sent_to) == turn + 2
    assert set(message.sent_to) == set(consumers)
    message.sent_to[-1].settles(message, ACCEPTED)
    assert message.outcome is ACCEPTED
    assert [consumer.in_flight for consumer in consumers] == [0, 0, 0]


def test_released_is_told_only_when_nobody_is_left() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    one.settles(message, RELEASED)
    assert message.outcome is None
    two.settles(message, RELEASED)
    assert message.outcome is RELEASED
    assert (stage.counters["resent"], stage.counters["released"]) == (1, 1)


def test_a_released_message_waits_for_a_consumer_that_may_have_it() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    one.settles(message, RELEASED)
    stage.turn()
    assert message.is_held
    assert one.got == [message]
    two.grants(1)
    assert two.got == [message]


def test_a_released_message_goes_to_a_consumer_that_comes_later() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    one.settles(message, RELEASED)
    late = stage.consumer("q", credit=1)
    assert late.got == [message]
    assert two.got == []


def test_a_released_message_is_offered_before_those_that_were_never_sent() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=1), stage.consumer("q", credit=0)
    producer = stage.producer("q")
    released, held = producer.sends(), producer.sends()
    one.settles(released, RELEASED)
    two.sets_credit(2)
    stage.turn()
    assert two.got == [released, held]


def test_a_released_message_is_released_when_the_last_who_might_take_it_leaves() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    one.settles(message, RELEASED)
    assert message.is_held
    two.leaves()
    assert message.outcome is RELEASED


def test_nor_does_it_wait_for_credit_of_one_that_has_released_it() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=1), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    one.settles(message, RELEASED)
    assert (message.is_held, one.credit) == (True, 0)
    two.leaves()
    assert message.outcome is RELEASED


def test_a_message_that_is_not_kept_is_released_to_its_producer_at_once() -> None:
    stage = Stage()
    one, other = stage.consumer("q", credit=9), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    message.kept = False
    message.sent_to[0].settles(message, RELEASED)
    assert message.outcome is RELEASED
    assert len(one.got) + len(other.got) == 1


def test_a_message_is_counted_against_its_producers_credit_once_however_often_it_is_sent() -> None:
    stage = Stage()
    consumers = [stage.consumer("q", credit=9) for _ in range(4)]
    producer = stage.producer("q")
    message = producer.sends()
    for _ in consumers:
        message.sent_to[-1].settles(message, RELEASED)
    stage.turn()
    assert producer.credit == producer.may_send


def test_a_released_message_that_waits_does_not_count_against_its_producers_credit() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=0)
    producer = stage.producer("q")
    for _ in range(2):
        one.settles(producer.sends(), RELEASED)
        stage.turn()
        assert producer.credit == producer.may_send
    producer.settles(next(iter(stage.address().returned)))  # type: ignore[arg-type]
    two.leaves()
    assert producer.credit == producer.may_send


# -- delivery-failed -------------------------------------------------------------------------------


def test_delivery_failed_stays_set_when_nobody_else_wants_it() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    one.settles(message, FAILED_NOT_HERE)
    two.settles(message, RELEASED)
    assert said(message) == ("modified", True)


def test_what_the_last_consumer_says_is_told_as_it_is_if_it_says_delivery_failed_too() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    one.settles(message, FAILED_NOT_HERE)
    last = Outcome("modified", delivery_failed=True, undeliverable_here=True, origin="its annotations")
    two.settles(message, last)
    assert message.outcome is last


def test_delivery_failed_stays_set_when_another_modifies_without() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    one.settles(message, FAILED_NOT_HERE)
    two.settles(message, NOT_HERE)
    assert said(message) == ("modified", True)
    assert message.outcome is not None
    assert message.outcome.undeliverable_here


def test_delivery_failed_stays_set_while_it_waits_for_another_that_leaves() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    one.settles(message, FAILED_NOT_HERE)
    assert message.is_held
    two.leaves()
    assert said(message) == ("modified", True)


def test_delivery_failed_stays_set_when_all_consumers_leave() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    one.settles(message, FAILED_NOT_HERE)
    assert message.is_held
    one.leaves()
    two.leaves()
    assert said(message) == ("modified", True)


def test_delivery_failed_is_not_set_where_nobody_has_seen_it() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    one.settles(message, NOT_HERE)
    two.leaves()
    assert said(message) == ("released", False)


@pytest.mark.parametrize("outcome", [ACCEPTED, REJECTED], ids=repr)
def test_a_failure_does_not_matter_once_another_consumer_has_decided(outcome: Outcome) -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    one.settles(message, FAILED_NOT_HERE)
    two.settles(message, outcome)
    assert message.outcome is outcome


# -- consumers that are lost -----------------------------------------------------------------------


def test_a_message_that_was_sent_to_a_lost_consumer_is_modified_and_never_sent_again() -> None:
    stage = Stage()
    lost, other = stage.consumer("q", credit=1), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    assert message.sent_to == [lost]
    lost.leaves()
    assert message.outcome is LOST
    assert said(message) == ("modified", True)
    assert other.got == []


def test_a_message_that_was_not_sent_yet_goes_to_another() -> None:
    stage = Stage()
    lost, other = stage.consumer("q", credit=1), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    lost.leaves(seen=False)
    assert message.sent_to == [lost, other]
    other.settles(message, ACCEPTED)
    assert message.outcome is ACCEPTED


def test_a_message_that_was_not_sent_yet_waits_for_another() -> None:
    stage = Stage()
    lost, other = stage.consumer("q", credit=1), stage.consumer("q", credit=0)
    message = stage.producer("q").sends()
    lost.leaves(seen=False)
    assert message.is_held
    other.grants(1)
    assert other.got == [message]


def test_a_message_that_was_not_sent_yet_is_released_where_there_is_no_other() -> None:
    stage = Stage()
    lost = stage.consumer("q", credit=1)
    message = stage.producer("q").sends()
    lost.leaves(seen=False)
    assert said(message) == ("released", False)


def test_messages_that_were_not_sent_yet_keep_their_order() -> None:
    stage = Stage()
    lost, other = stage.consumer("q", credit=5), stage.consumer("q", credit=0)
    sent = stage.producer("q").sends_many(5)
    other.sets_credit(3)
    lost.leaves(seen=False)
    other.grants(2)
    assert other.got == sent


def test_an_unsent_message_of_which_not_all_is_kept_is_released() -> None:
    stage = Stage()
    lost, other = stage.consumer("q", credit=1), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    message.kept = False
    lost.leaves(seen=False)
    assert message.outcome is RELEASED
    assert other.got == []


def test_a_failure_before_stays_where_the_next_consumer_is_lost_unsent() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=9), stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    one.settles(message, FAILED_NOT_HERE)
    two.leaves(seen=False)
    assert said(message) == ("modified", True)


def test_all_of_a_lost_consumers_deliveries_end() -> None:
    stage = Stage()
    lost = stage.consumer("q", credit=5)
    one, two = stage.producer("q"), stage.producer("q")
    sent = one.sends_many(5) + two.sends_many(3)
    lost.leaves()
    assert [state(message) for message in sent] == ["modified"] * 5 + ["released"] * 3


# -- producers -------------------------------------------------------------------------------------


def test_a_lost_producers_deliveries_in_flight_are_settled_for_the_consumer() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=3)
    producer = stage.producer("q")
    sent = producer.sends_many(5)
    producer.leaves()
    assert all(message.over for message in sent)
    assert (consumer.in_flight, consumer.unsettled) == (0, {})
    assert stage.counters["abandoned"] == 2
    consumer.grants(5)
    assert len(consumer.got) == 3


def test_a_producer_that_settles_first_settles_for_the_consumer() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    producer = stage.producer("q")
    message = producer.sends()
    producer.settles(message)
    assert message.outcome is SETTLED
    assert (consumer.in_flight, consumer.unsettled) == (0, {})


def test_a_producer_can_settle_what_is_held() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    message = producer.sends()
    producer.settles(message)
    assert message.outcome is SETTLED
    consumer.grants(1)
    assert consumer.got == []
    assert producer.credit == producer.may_send


# -- pre-settled -----------------------------------------------------------------------------------


def test_a_pre_settled_message_is_never_in_flight() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    message = stage.producer("q").sends(presettled=True)
    assert consumer.got == [message]
    assert (consumer.in_flight, consumer.credit, stage.router.in_flight()) == (0, 0, 0)


def test_a_pre_settled_message_is_held_like_any_other() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    message = stage.producer("q").sends(presettled=True)
    assert message.is_held
    consumer.grants(1)
    assert consumer.got == [message]


def test_a_pre_settled_message_is_dropped_and_counted_where_no_consumer_is_left() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    producer.sends(presettled=True)
    consumer.leaves()
    producer.sends(presettled=True)
    assert stage.counters["dropped"] == 2
    assert stage.counters["released"] == 0
    producer.gives_back()
    assert producer.credit == 0


def test_a_held_pre_settled_message_outlives_its_producer() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    sent = producer.sends_many(3, presettled=True)
    producer.leaves()
    assert [message.producer for message in sent] == [None] * 3
    consumer.grants(5)
    assert consumer.got == sent
    assert stage.counters["dropped"] == 0


def test_an_adopted_message_is_dropped_where_nobody_is_left() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    message = producer.sends(presettled=True)
    producer.leaves()
    consumer.leaves()
    assert message.over
    assert stage.counters["dropped"] == 1
    assert stage.router.addresses == {}


def test_there_is_room_for_so_many_adopted_messages_only() -> None:
    stage = Stage(max_in_flight=3)
    consumer = stage.consumer("q")
    for _ in range(5):
        producer = stage.producer("q")
        producer.sends(presettled=True)
        producer.leaves()
    assert stage.counters["dropped"] == 2
    consumer.grants(9)
    assert len(consumer.got) == 3


def test_an_adopted_message_is_sent_at_once_where_somebody_can_take_it() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    producer = stage.producer("q")
    message = Message(producer, stage.address(), True, 0.0, {})
    stage.router.holding.adopt(message)
    assert consumer.got == [message]
    assert message.producer is None


# -- the end of the router -------------------------------------------------------------------------


def test_stopping_releases_what_is_held_and_what_still_comes() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    producer, anonymous = stage.producer("q"), stage.producer(None)
    sent, held, dropped = producer.sends(), producer.sends(), producer.sends(presettled=True)
    stage.router.stop()
    assert held.outcome is RELEASED
    assert dropped.over
    assert producer.drains_asked == 1
    consumer.grants(5)
    late, later = producer.sends(), anonymous.sends(to="q")
    assert late.outcome is later.outcome is RELEASED
    assert consumer.got == [sent]


def test_stopping_lets_what_is_in_flight_be_settled() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=3)
    one, two, three = stage.producer("q").sends_many(3)
    stage.router.stop()
    assert stage.router.in_flight() == 3
    consumer.settles(one, ACCEPTED)
    consumer.settles(two, REJECTED)
    assert (one.outcome, two.outcome) == (ACCEPTED, REJECTED)
    assert stage.router.in_flight() == 1
    consumer.leaves()
    assert three.outcome is LOST
    assert stage.router.in_flight() == 0


def test_a_stopped_router_grants_nothing_more() -> None:
    stage = Stage()
    stage.consumer("q", credit=500)
    producer, anonymous = stage.producer("q"), stage.producer(None)
    granted = producer.granted, anonymous.granted
    stage.router.stop()
    producer.sends_many(200)
    anonymous.sends_many(200, to="q")
    producer.gives_back()
    assert (producer.granted, anonymous.granted) == granted


def test_what_is_released_while_stopping_is_told_at_once_and_not_held() -> None:
    stage = Stage()
    consumer, other = stage.consumer("q", credit=3), stage.consumer("q", credit=0)
    released, not_here, lost = stage.producer("q").sends_many(3)
    stage.router.stop()
    consumer.settles(released, RELEASED)
    consumer.settles(not_here, NOT_HERE)
    consumer.leaves(seen=False)
    assert released.outcome is RELEASED
    assert not_here.outcome is NOT_HERE
    assert lost.outcome is RELEASED
    assert other.got == []


# -- what a policy hears ---------------------------------------------------------------------------


def takers(stage: Stage) -> dict[FakeConsumer, int]:
    """How many messages each consumer of `q` got."""
    return {each: len(each.got) for each in stage.address().consumers if isinstance(each, FakeConsumer)}


def test_the_best_known_outcomes_are_shared() -> None:
    assert rejected("amqp:a", "b").state == "rejected"
    assert (ACCEPTED.asks_for_another, RELEASED.asks_for_another, LOST.asks_for_another) == (False, True, False)
    assert NOT_HERE.asks_for_another
    assert not MODIFIED.asks_for_another


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (ACCEPTED, "<Outcome accepted>"),
        (FAILED_NOT_HERE, "<Outcome modified delivery-failed undeliverable-here>"),
        (rejected("amqp:not-found", "it is not there"), "<Outcome rejected amqp:not-found>"),
    ],
)
def test_an_outcome_can_be_read_by_people(outcome: Outcome, shown: str) -> None:
    assert repr(outcome) == shown
