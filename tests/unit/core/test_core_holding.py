"""What waits in the router: in which order it goes, for whom it waits, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.fakes import (
    SHIPPED,
    Alphabetic,
    Choosy,
    FakeConsumer,
    Full,
    Late,
    Message,
    Stage,
    Sticky,
    StickyAndChoosy,
    WatchingPolicy,
)
from txrouter.core.deliveries import Malformed
from txrouter.core.outcomes import ACCEPTED, RELEASED, modified
from txrouter.interfaces import IDelivery


def rejected_with(message: Message) -> str:
    """The condition that the producer was told the message was rejected with."""
    assert message.outcome is not None
    assert message.outcome.state == "rejected"
    return message.outcome.condition


# -- order -----------------------------------------------------------------------------------------


@SHIPPED
def test_what_is_held_goes_in_the_order_it_came_whoever_sent_it(factory: object) -> None:
    stage = Stage(factory)
    consumer = stage.consumer("q")
    one, two, anonymous = stage.producer("q"), stage.producer("q"), stage.producer(None)
    sent = [one.sends(), two.sends(), anonymous.sends(to="q"), one.sends(), anonymous.sends(to="q"), two.sends()]
    consumer.grants(4)
    consumer.grants(9)
    assert consumer.got == sent


@SHIPPED
def test_a_new_message_does_not_overtake_those_that_are_held(factory: object) -> None:
    stage = Stage(factory)
    consumer = stage.consumer("q")
    one, two, anonymous = stage.producer("q"), stage.producer("q"), stage.producer(None)
    first, second = one.sends(), two.sends()
    consumer.sets_credit(3)
    third = anonymous.sends(to="q")
    stage.turn()
    assert consumer.got == [first, second, third]


def test_nothing_held_is_offered_before_the_turn_ends() -> None:
    stage = Stage()
    late, early = stage.consumer("q"), stage.consumer("q")
    stage.router.now = 1.0
    producer = stage.producer("q")
    first = producer.sends()
    late.sets_credit(1)
    early.sets_credit(1)
    assert (late.got, early.got, first.is_held) == ([], [], True)
    stage.turn()
    assert len(late.got) + len(early.got) == 1


def test_held_messages_are_offered_when_a_consumer_arrives() -> None:
    stage = Stage()
    stage.consumer("q")
    held = stage.producer("q").sends()
    late = stage.consumer("q", credit=1)
    assert late.got == [held]


def test_everything_held_is_served_in_one_turn_as_far_as_credit_reaches() -> None:
    stage = Stage()
    one, two = stage.consumer("q"), stage.consumer("q")
    sent = stage.producer("q").sends_many(7)
    one.sets_credit(2)
    two.sets_credit(3)
    stage.turn()
    assert len(one.got) == 2
    assert len(two.got) == 3
    assert [message.is_held for message in sent] == [False] * 5 + [True] * 2


def test_the_turn_of_a_router_in_which_nothing_happens_does_nothing() -> None:
    stage = Stage()
    stage.consumer("q", credit=1)
    producer = stage.producer("q")
    before = producer.granted
    stage.turn()
    stage.turn()
    assert producer.granted == before


# -- a policy that lets a message wait for one consumer --------------------------------------------


def sticky() -> tuple[Stage, FakeConsumer, FakeConsumer]:
    """A stage with consumers `a`, without credit, and `b`, with 9."""
    stage = Stage(Sticky)
    return stage, stage.consumer("q", id="a"), stage.consumer("q", id="b", credit=9)


def test_a_message_can_wait_for_one_consumer_although_another_has_credit() -> None:
    stage, a, b = sticky()
    message = stage.producer("q").sends(group_id="a")
    assert (a.waiting, b.got) == (1, [])
    a.grants(1)
    assert a.got == [message]
    assert (a.waiting, a.credit) == (0, 0)


def test_others_pass_a_message_that_waits_for_one_consumer() -> None:
    stage, a, b = sticky()
    producer = stage.producer("q")
    waits, passes, also_waits = producer.sends(group_id="a"), producer.sends(group_id="b"), producer.sends(group_id="a")
    assert b.got == [passes]
    a.grants(1)
    assert a.got == [waits]
    a.grants(1)
    assert a.got == [waits, also_waits]


def test_a_message_does_not_overtake_those_that_wait_for_the_same_consumer() -> None:
    stage, a, _b = sticky()
    one, two = stage.producer("q"), stage.producer("q")
    first, second = one.sends(group_id="a"), one.sends(group_id="a")
    a.sets_credit(3)
    third = two.sends(group_id="a")
    stage.turn()
    assert a.got == [first, second, third]


def test_what_waited_for_a_consumer_that_leaves_goes_to_others_in_its_order() -> None:
    stage, a, b = sticky()
    sent = stage.producer("q").sends_many(3, group_id="a")
    a.leaves()
    assert b.got == sent


def test_what_waited_for_a_consumer_that_leaves_waits_for_others() -> None:
    stage, a, b = sticky()
    b.sets_credit(1)
    first, second = stage.producer("q").sends_many(2, group_id="a")
    a.leaves()
    assert (b.got, second.is_held) == ([first], True)
    b.grants(1)
    assert b.got == [first, second]


def test_what_waited_for_the_last_consumer_is_released() -> None:
    stage = Stage(Sticky)
    a = stage.consumer("q", id="a")
    producer = stage.producer("q")
    message, presettled = producer.sends(group_id="a"), producer.sends(presettled=True, group_id="a")
    a.leaves()
    assert message.outcome is RELEASED
    assert presettled.over
    assert stage.counters["dropped"] == 1


def test_what_waits_for_one_consumer_counts_against_its_producers_credit() -> None:
    stage, a, _b = sticky()
    producer = stage.producer("q")
    producer.sends_many(3, group_id="a")
    assert producer.held == 3
    assert producer.credit == producer.may_send + 3
    a.grants(2)
    assert producer.held == 1
    assert producer.credit == producer.may_send + 1


def test_a_producer_that_leaves_takes_what_waits_for_one_consumer_with_it() -> None:
    stage, a, _b = sticky()
    producer = stage.producer("q")
    producer.sends_many(3, group_id="a")
    presettled = producer.sends(presettled=True, group_id="a")
    producer.leaves()
    assert a.waiting == 1
    a.grants(5)
    assert a.got == [presettled]


def test_a_message_held_for_anybody_can_come_to_wait_for_one() -> None:
    stage = Stage(Sticky)
    b = stage.consumer("q", id="b")
    anybody, group = stage.producer("q").sends(), stage.producer("q").sends(group_id="a")
    assert [anybody.is_held, group.is_held] == [True, True]
    a = stage.consumer("q", id="a")
    assert a.waiting == 0
    b.grants(5)
    assert (a.waiting, b.got) == (1, [anybody])
    a.grants(1)
    assert a.got == [group]


def test_a_suspended_consumer_is_waited_for() -> None:
    stage, a, _b = sticky()
    a.grants(2)
    stage.router.suspend(a)
    message = stage.producer("q").sends(group_id="a")
    assert a.waiting == 1
    stage.router.resume(a)
    stage.turn()
    assert a.got == [message]


def test_a_released_message_is_not_stuck_to_who_released_it() -> None:
    stage, a, b = sticky()
    a.grants(5)
    message = stage.producer("q").sends(group_id="a")
    a.settles(message, RELEASED)
    assert b.got == [message]


# -- a policy that declines ------------------------------------------------------------------------


def test_a_policy_can_decline_although_there_is_credit() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q", credit=9)
    message = stage.producer("q").sends(subject="x")
    assert message.is_held
    assert consumer.got == []


def test_messages_of_another_kind_pass_one_that_was_declined() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q", credit=9)
    producer = stage.producer("q")
    declined, passes = producer.sends(subject="x"), producer.sends()
    stage.turn()
    assert declined.is_held
    assert consumer.got == [passes]


def test_a_message_never_overtakes_another_of_its_kind() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q", credit=9)
    declined, behind = stage.producer("q").sends(subject="x"), stage.producer("q").sends(subject="x")
    stage.address().policy.open.add("x")
    assert (declined.is_held, behind.is_held) == (True, True)
    stage.turn()
    assert consumer.got == [declined, behind]


def test_of_each_kind_that_is_declined_one_is_offered() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q")
    for subject in "xxyyx":
        stage.producer("q").sends(subject=subject)
    asked = []
    policy = stage.address().policy
    stage.address().select = lambda delivery: asked.append(delivery) or policy.select(delivery)  # type: ignore[func-returns-value]
    consumer.grants(9)
    assert [each.field("subject") for each in asked] == ["x", "y"]


def test_where_a_policy_knows_no_kinds_nothing_passes_one_that_was_declined() -> None:
    stage = Stage(Full)
    consumer = stage.consumer("q", credit=9)
    first, declined, behind = stage.producer("q").sends_many(3)
    stage.turn()
    assert consumer.got == [first]
    consumer.settles(first, ACCEPTED)
    stage.turn()
    assert consumer.got == [first, declined]
    assert behind.is_held


def test_a_policy_is_asked_again_when_it_wanted_to_be() -> None:
    stage = Stage(Late)
    consumer = stage.consumer("q", credit=9)
    message = stage.producer("q").sends()
    stage.later(1.9)
    assert message.is_held
    stage.later(0.1)
    assert consumer.got == [message]


def test_when_nobody_is_attached_any_more_no_policy_wants_to_be_asked_again() -> None:
    stage = Stage(Late)
    consumer, producer = stage.consumer("q", credit=9), stage.producer("q")
    producer.sends()
    assert stage.router.next_deadline() == 2.0
    consumer.leaves()
    producer.leaves()
    assert stage.router.next_deadline() is None


def test_what_is_held_is_offered_in_the_order_that_the_policy_says() -> None:
    stage = Stage(Alphabetic)
    consumer = stage.consumer("q")
    sent = {subject: stage.producer("q").sends(subject=subject) for subject in "cabdb"}
    consumer.grants(2)
    consumer.grants(9)
    assert [each.field("subject") for each in consumer.got] == list("abbcd")
    assert consumer.got[2] is sent["b"]


def test_priority_counts_more_than_the_order_that_the_policy_says() -> None:
    stage = Stage(Alphabetic, by_priority=True)
    consumer = stage.consumer("q")
    for subject, priority in (("b", 4), ("c", 9), ("a", 4), ("d", 9)):
        stage.producer("q").sends(subject=subject, priority=priority)
    consumer.grants(9)
    assert [each.field("subject") for each in consumer.got] == list("cdab")


@pytest.mark.parametrize("wrong", [None, "xy", float("nan")])
def test_what_the_policy_knows_no_order_for_is_offered_last(wrong: object) -> None:
    stage = Stage(Alphabetic)
    consumer = stage.consumer("q")
    last, first = stage.producer("q").sends(subject=wrong), stage.producer("q").sends(subject="z")
    consumer.grants(9)
    assert consumer.got == [first, last]


def test_a_declined_message_is_offered_again_when_a_consumer_settles() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q", credit=9)
    sent = stage.producer("q").sends()
    declined = stage.producer("q").sends(subject="x")
    stage.address().policy.open.add("x")
    stage.turn()
    assert declined.is_held
    consumer.settles(sent, ACCEPTED)
    stage.turn()
    assert consumer.got == [sent, declined]


def test_a_declined_message_is_offered_again_when_a_consumer_arrives() -> None:
    stage = Stage(Choosy)
    stage.consumer("q", credit=9)
    declined = stage.producer("q").sends(subject="x")
    stage.address().policy.open.add("x")
    stage.consumer("q")
    assert not declined.is_held


def test_adopted_messages_keep_their_order_where_one_is_declined() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q", credit=9)
    producer = stage.producer("q")
    declined, behind = producer.sends_many(2, presettled=True, subject="x")
    producer.leaves()
    stage.address().policy.open.add("x")
    consumer.grants(1)
    assert consumer.got == [declined, behind]


def test_what_waited_for_a_consumer_that_leaves_is_offered_although_others_are_declined() -> None:
    stage = Stage(StickyAndChoosy)
    a, b = stage.consumer("q", id="a"), stage.consumer("q", credit=9, id="b")
    declined = stage.producer("q").sends(subject="x")
    sent = stage.producer("q").sends_many(3, group_id="a")
    a.leaves()
    assert declined.is_held
    assert b.got == sent


def test_an_adopted_message_passes_a_declined_one_of_another_producer() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q", credit=9)
    declined = stage.producer("q").sends(subject="x")
    message = Message(stage.producer("q"), stage.address(), True, 0.0, {})
    stage.router.holding.adopt(message)
    stage.turn()
    assert declined.is_held
    assert consumer.got == [message]


# -- time to live ----------------------------------------------------------------------------------


def test_a_held_message_whose_time_to_live_runs_out_is_rejected_and_never_delivered() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    message = stage.producer("q").sends(ttl=1_500)
    stage.later(1.49)
    assert message.is_held
    stage.later(0.01)
    assert rejected_with(message) == "amqp:message-expired"
    consumer.grants(1)
    assert consumer.got == []
    assert stage.counters["expired"] == 1


def test_time_to_live_counts_from_arrival_not_from_when_it_is_held() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=1), stage.consumer("q")
    message = stage.producer("q").sends(ttl=1_000)
    stage.later(0.8)
    one.settles(message, RELEASED)
    assert message.is_held
    stage.later(0.3)
    assert rejected_with(message) == "amqp:message-expired"
    two.grants(1)
    assert two.got == []


def test_a_message_that_came_back_after_its_time_is_not_held_at_all() -> None:
    stage = Stage()
    one, _two = stage.consumer("q", credit=1), stage.consumer("q")
    message = stage.producer("q").sends(ttl=1_000)
    stage.later(2.0)
    assert message.outcome is None
    one.settles(message, RELEASED)
    assert rejected_with(message) == "amqp:message-expired"


def test_time_to_live_does_not_matter_once_a_consumer_has_the_message() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    message = stage.producer("q").sends(ttl=10)
    stage.later(60.0)
    consumer.settles(message, ACCEPTED)
    assert message.outcome is ACCEPTED


def test_the_absolute_expiry_time_is_ignored() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    message = stage.producer("q").sends(absolute_expiry_time=60_000)
    stage.later(3_600.0)
    assert stage.router.holding.next_deadline() is None
    consumer.grants(1)
    assert consumer.got == [message]


def test_a_message_that_waits_for_one_consumer_expires_too() -> None:
    stage, a, _b = sticky()
    message = stage.producer("q").sends(group_id="a", ttl=1_000)
    stage.later(1.0)
    assert rejected_with(message) == "amqp:message-expired"
    assert a.waiting == 0


def test_a_pre_settled_message_that_expires_is_dropped() -> None:
    stage = Stage()
    stage.consumer("q")
    producer = stage.producer("q")
    message = producer.sends(presettled=True, ttl=1_000)
    stage.later(1.0)
    assert message.over
    assert (stage.counters["expired"], stage.counters["dropped"]) == (1, 1)
    assert producer.credit == producer.may_send


def test_an_adopted_message_expires() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    producer.sends(presettled=True, ttl=1_000)
    producer.leaves()
    stage.later(1.0)
    consumer.grants(1)
    assert consumer.got == []


def test_messages_expire_each_in_its_time_whatever_their_order() -> None:
    stage = Stage()
    stage.consumer("q")
    producer = stage.producer("q")
    slow, quick, forever, same = (producer.sends(ttl=ttl) for ttl in (3_000, 1_000, None, 1_000))
    assert stage.router.holding.next_deadline() == 1.0
    stage.later(1.0)
    assert [message.over for message in (slow, quick, forever, same)] == [False, True, False, True]
    assert stage.router.holding.next_deadline() == 3.0
    stage.later(9.0)
    assert [message.over for message in (slow, quick, forever, same)] == [True, True, False, True]
    assert stage.router.holding.next_deadline() is None


def test_nothing_has_to_be_done_for_what_has_left() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    stage.producer("q").sends(ttl=1_000)
    consumer.grants(1)
    assert stage.router.holding.next_deadline() is None


def test_credit_comes_back_for_what_expires() -> None:
    stage = Stage()
    stage.consumer("q")
    producer = stage.producer("q")
    producer.sends_many(producer.may_send, ttl=1_000)
    assert producer.may_send == 0
    stage.later(1.0)
    assert producer.may_send == producer.credit > 0


def test_a_message_that_has_waited_in_the_wire_may_be_too_old_when_it_is_taken_up() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    stage.later(5.0)
    message = Message(producer, stage.address(), False, 3.0, {"ttl": 1_000})
    producer.unsettled[message] = message
    producer.sent += 1
    assert stage.router.route(message)
    assert rejected_with(message) == "amqp:message-expired"
    assert consumer.got == []


def test_what_is_remembered_of_deadlines_is_bounded_by_what_is_held() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    for _ in range(1_000):
        message = producer.sends(ttl=3_600_000)
        assert message.is_held
        consumer.grants(1)
        consumer.settles(message, ACCEPTED)
    assert len(stage.router.holding._expiry._heap) < 200


def test_a_released_message_that_waits_is_remembered_once_however_often_it_is_offered() -> None:
    stage = Stage()
    one, _two = stage.consumer("q", credit=1), stage.consumer("q")
    message = stage.producer("q").sends(ttl=3_600_000)
    one.settles(message, RELEASED)
    for _ in range(1_000):
        one.grants(1)
        one.sets_credit(0)
    assert message.is_held
    assert len(stage.router.holding._expiry._heap) < 200


# -- what cannot be read ---------------------------------------------------------------------------


def test_a_message_that_cannot_be_read_passes_where_nobody_has_to_read_it() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    message = stage.producer("q").sends(ttl=Malformed, to=Malformed)
    assert consumer.got == [message]


def test_a_message_that_cannot_be_read_is_rejected_where_it_would_be_held() -> None:
    stage = Stage()
    stage.consumer("q")
    producer = stage.producer("q")
    message = producer.sends(ttl=Malformed)
    assert rejected_with(message) == "amqp:decode-error"
    assert stage.counters["rejected"] == 1
    assert producer.credit == producer.may_send


def test_a_message_that_cannot_be_read_is_rejected_where_the_policy_wants_to() -> None:
    stage = Stage(Sticky)
    stage.consumer("q", credit=1)
    message = stage.producer("q").sends(group_id=Malformed)
    assert rejected_with(message) == "amqp:decode-error"
    assert stage.counters["policy_errors"] == 0


def test_a_pre_settled_message_that_cannot_be_read_is_dropped() -> None:
    stage = Stage(Sticky)
    stage.consumer("q", credit=1)
    message = stage.producer("q").sends(presettled=True, group_id=Malformed)
    assert message.over
    assert stage.counters["dropped"] == 1


def test_a_held_message_that_cannot_be_read_later_is_rejected_and_the_next_one_goes() -> None:
    stage = Stage(Sticky)
    consumer = stage.consumer("q")
    bad, good = stage.producer("q").sends(), stage.producer("q").sends()
    bad.fields = {"group_id": Malformed}
    consumer.grants(1)
    assert rejected_with(bad) == "amqp:decode-error"
    assert consumer.got == [good]


@pytest.mark.parametrize("seen", [True, False])
def test_a_message_that_comes_back_and_cannot_be_read_goes_to_any_other(seen: bool) -> None:
    stage = Stage(Sticky)
    one, two = stage.consumer("q", credit=1), stage.consumer("q", credit=1)
    message = stage.producer("q").sends()
    message.fields = {"group_id": Malformed}
    if seen:
        one.settles(message, modified(delivery_failed=False, undeliverable_here=True))
    else:
        one.leaves(seen=False)
    assert two.got == [message]


def test_one_that_comes_back_cannot_be_read_and_would_be_held_is_rejected() -> None:
    stage = Stage()
    one, _two = stage.consumer("q", credit=1), stage.consumer("q")
    message = stage.producer("q").sends(ttl=Malformed)
    one.settles(message, RELEASED)
    assert rejected_with(message) == "amqp:decode-error"


def test_a_field_that_amqp_does_not_have_is_a_fault_of_the_policy() -> None:
    class Wrong(WatchingPolicy):
        def select(self, delivery: IDelivery) -> Any:
            raise KeyError("colour")

    stage = Stage(Wrong)
    consumer = stage.consumer("q", credit=1)
    message = stage.producer("q").sends()
    assert consumer.got == [message]
    assert stage.counters["policy_errors"] == 1
