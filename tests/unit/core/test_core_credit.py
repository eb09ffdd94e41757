"""What producers may send, and what consumers are sent of what they ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.fakes import SHIPPED, Stage
from txrouter.core import credit as flow
from txrouter.core.outcomes import ACCEPTED, RELEASED

# -- the arithmetic --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credit", "target", "unsettled", "expected"),
    [
        (0, 250, 0, 250),
        (125, 250, 0, 125),
        (126, 250, 0, 0),
        (0, 0, 0, 0),
        (3, 0, 0, 0),
        (0, 1, 0, 1),
        (1, 1, 0, 0),
        (0, 250, 4_900, 100),
        (50, 250, 4_900, 50),
        (120, 250, 4_900, 0),
        (0, 250, 5_001, 0),
    ],
)
def test_credit_is_refilled_when_half_of_it_is_used(credit: int, target: int, unsettled: int, expected: int) -> None:
    assert flow.refill(credit, target, unsettled, 5_000) == expected


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_a_refill_never_exceeds_the_target_nor_what_may_be_unsettled(
    credit: int, target: int, unsettled: int, most: int
) -> None:
    granted = flow.refill(credit, target, unsettled, most)
    assert granted >= 0
    assert granted == 0 or credit + granted <= target
    assert granted == 0 or unsettled + credit + granted <= most


@pytest.mark.parametrize(
    ("granted", "in_flight", "expected"), [(5, 0, 5), (5, 7, 3), (5, 10, 0), (5, 11, 0), (0, 0, 0), (-1, 0, 0)]
)
def test_of_a_consumers_credit_as_much_is_used_as_it_may_have_in_flight(
    granted: int, in_flight: int, expected: int
) -> None:
    assert flow.usable(granted, in_flight, 10) == expected


@given(st.integers(1, 1 << 30), st.integers(1, 1 << 22), st.integers(1, 300))
def test_what_is_shared_is_never_exceeded_but_by_the_least_that_everybody_gets(
    total: int, most: int, count: int
) -> None:
    least = min(most, 1000)
    given_away = 0
    for _ in range(count):
        given_away += flow.share(total - given_away, most, least)
    assert given_away <= total + least * count


def test_while_there_is_plenty_each_gets_all_it_can_use() -> None:
    assert flow.share(1000, 100, 10) == 100


def test_when_little_is_left_the_next_gets_a_quarter_of_it() -> None:
    assert flow.share(200, 100, 10) == 50


def test_when_nothing_is_left_there_is_still_the_least() -> None:
    assert flow.share(-5, 100, 10) == 10


# -- producers -------------------------------------------------------------------------------------


def test_a_producer_gets_no_credit_while_there_is_no_consumer() -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.turn()
    assert producer.granted == 0


def test_an_anonymous_producer_gets_credit_at_once() -> None:
    assert Stage().producer(None).granted == 250


def test_credit_follows_when_the_first_consumer_arrives() -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.consumer("q")
    assert producer.granted > 0


def test_a_consumer_without_credit_is_worth_a_small_backlog() -> None:
    stage = Stage()
    stage.consumer("q")
    assert stage.producer("q").granted == flow.BACKLOG


def test_credit_is_what_all_consumers_can_take_and_a_small_backlog() -> None:
    stage = Stage()
    for credit in (3, 4, 0):
        stage.consumer("q", credit)
    assert stage.producer("q").granted == 3 + 4 + flow.BACKLOG


def test_every_producer_is_granted_all_of_it_so_that_an_idle_one_starves_nobody() -> None:
    stage = Stage()
    stage.consumer("q", credit=10)
    assert [stage.producer("q").granted for _ in range(3)] == [10] * 3


def test_one_producer_has_at_most_the_link_capacity() -> None:
    stage = Stage(link_capacity=20)
    stage.consumer("q", credit=1_000)
    producer = stage.producer("q")
    assert producer.granted == 20
    for _ in range(50):
        producer.sends()
        stage.turn()
        assert 0 < producer.may_send <= 20


def test_credit_comes_back_when_a_delivery_leaves_not_when_it_is_settled() -> None:
    stage = Stage(link_capacity=10)
    consumer = stage.consumer("q", credit=1_000)
    producer = stage.producer("q")
    for _ in range(20):
        producer.sends_many(producer.may_send)
        stage.turn()
    assert producer.sent == 200
    assert consumer.in_flight == 200


def test_credit_comes_back_in_batches() -> None:
    stage = Stage(link_capacity=10)
    stage.consumer("q", credit=1_000)
    producer = stage.producer("q")
    grants = []
    for _ in range(100):
        before = producer.granted
        producer.sends()
        stage.turn()
        grants.append(producer.granted - before)
    assert {each for each in grants if each} == {5}


def test_what_is_held_counts_against_the_credit_of_its_producer() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    producer.sends_many(producer.may_send)
    stage.turn()
    assert producer.may_send == 0
    assert producer.credit == producer.held == flow.BACKLOG
    consumer.grants(3)
    assert producer.may_send == 0
    assert producer.credit == producer.held == flow.BACKLOG - 3


@SHIPPED
def test_a_message_is_always_at_hand_for_a_consumer_that_takes_one_at_a_time(factory: object) -> None:
    stage = Stage(factory)
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    producer.sends_many(producer.may_send)
    for _ in range(50):
        consumer.grants(1)
        consumer.settles(consumer.got[-1], ACCEPTED)
        stage.turn()
        producer.sends_many(producer.may_send)
    assert len(consumer.got) == 50


def test_pre_settled_deliveries_bring_credit_back_at_once() -> None:
    stage = Stage(link_capacity=10)
    consumer = stage.consumer("q", credit=1_000)
    producer = stage.producer("q")
    for _ in range(20):
        producer.sends_many(producer.may_send, presettled=True)
        stage.turn()
    assert len(consumer.got) == 200
    assert consumer.in_flight == 0
    assert not producer.unsettled


def test_a_producer_has_at_most_so_many_unsettled() -> None:
    stage = Stage(link_capacity=10, max_unsettled=25)
    consumer = stage.consumer("q", credit=1_000)
    producer = stage.producer("q")
    for _ in range(20):
        producer.sends_many(producer.may_send)
        stage.turn()
    assert producer.sent == 25
    assert producer.may_send == 0
    for message in list(consumer.got[:10]):
        consumer.settles(message, ACCEPTED)
    stage.turn()
    assert producer.may_send == 10


def test_a_throttled_producer_goes_on_whoever_ends_what_is_unsettled() -> None:
    stage = Stage(link_capacity=10, max_unsettled=10)
    consumer = stage.consumer("q", credit=1_000)
    producer = stage.producer("q")
    one, two, three, *_ = producer.sends_many(producer.may_send)
    stage.turn()
    assert producer.may_send == 0
    producer.settles(one)
    stage.turn()
    assert producer.may_send == 1
    consumer.settles(two, RELEASED)
    stage.turn()
    assert producer.may_send == 2
    assert three.outcome is None
    stage.consumer("q", credit=9)
    consumer.leaves()
    assert producer.may_send == 9


def test_who_sends_more_than_it_may_is_ended() -> None:
    stage = Stage(link_capacity=2)
    stage.consumer("q", credit=10)
    producer = stage.producer("q")
    sent = producer.sends_many(2)
    stage.turn()
    assert not producer.ended
    sent += producer.sends_many(producer.may_send)
    sent.append(producer.sends_anyway())
    stage.turn()
    assert producer.ended
    assert all(message.over for message in sent)


def test_who_sends_ahead_of_held_messages_more_than_it_may_is_ended_once_it_matters() -> None:
    stage = Stage(link_capacity=2)
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    producer.sends_many(producer.may_send)
    producer.sends_anyway()
    consumer.grants(3)
    assert producer.ended


# -- the last consumer leaves ----------------------------------------------------------------------


def test_the_last_consumer_leaves_and_the_credit_is_asked_back() -> None:
    stage = Stage()
    first, last = stage.consumer("q", 5), stage.consumer("q", 5)
    producer = stage.producer("q")
    first.leaves()
    assert producer.drains_asked == 0
    last.leaves()
    assert producer.drains_asked == 1
    producer.gives_back()
    assert (producer.credit, producer.may_send) == (0, 0)


def test_what_still_comes_is_released() -> None:
    stage = Stage()
    consumer = stage.consumer("q", 5)
    producer = stage.producer("q")
    consumer.leaves()
    message, lost = producer.sends(), producer.sends(presettled=True)
    assert message.outcome is RELEASED
    assert lost.over
    assert (stage.counters["released"], stage.counters["dropped"]) == (1, 1)
    producer.gives_back()
    assert producer.credit == 0


def test_a_producer_without_credit_is_not_asked_for_any() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=flow.BACKLOG)
    producer = stage.producer("q")
    producer.sends_many(producer.may_send)
    consumer.leaves()
    assert producer.drains_asked == 0
    assert producer.credit == 0


def test_a_producer_is_not_asked_twice() -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.consumer("q", 5).leaves()
    stage.router.stop()
    assert producer.drains_asked == 1


@pytest.mark.parametrize("answered", ["before", "after", "partly", "never"])
def test_a_consumer_that_comes_back_finds_the_producer_ready(answered: str) -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.consumer("q", 5).leaves()
    if answered == "before":
        producer.gives_back()
    consumer = stage.consumer("q", 5)
    if answered == "after":
        producer.gives_back()
    elif answered == "partly":
        producer.gives_back(3)
    assert 5 <= producer.may_send == producer.credit
    producer.sends_many(5)
    assert len(consumer.got) == 5


def test_a_producer_that_never_answers_a_drain_is_fed_again() -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.consumer("q", 1).leaves()
    assert producer.drains_asked == 1
    stage.consumer("q", 100)
    producer.sends()
    stage.turn()
    assert producer.may_send == 99


def test_credit_that_is_given_back_unasked_is_granted_again() -> None:
    stage = Stage()
    stage.consumer("q", 5)
    producer = stage.producer("q")
    producer.gives_back()
    assert producer.may_send == 5


def test_a_producer_that_leaves_hungry_is_fed_no_more() -> None:
    stage = Stage()
    stage.consumer("q", 500)
    producer = stage.producer("q")
    producer.sends_many(producer.may_send)
    granted = producer.granted
    producer.leaves()
    assert producer.granted == granted


# -- consumers -------------------------------------------------------------------------------------


@SHIPPED
def test_a_consumer_with_credit_1_that_never_settles_gets_1_and_another_the_rest(factory: object) -> None:
    stage = Stage(factory)
    stuck, healthy = stage.consumer("q", credit=1), stage.consumer("q", credit=250)
    producer = stage.producer("q")
    for _ in range(20):
        message = producer.sends()
        if message.sent_to == [healthy]:
            healthy.settles(message, ACCEPTED)
        stage.turn()
    assert (len(stuck.got), len(healthy.got)) == (1, 19)


@SHIPPED
def test_a_consumer_with_credit_0_gets_none_and_never_wedges_the_address(factory: object) -> None:
    stage = Stage(factory)
    stuck, healthy = stage.consumer("q", credit=0), stage.consumer("q", credit=10)
    producer = stage.producer("q")
    for _ in range(100):
        message = producer.sends()
        healthy.settles(message, ACCEPTED)
        healthy.grants(1)
    assert (len(stuck.got), len(healthy.got)) == (0, 100)


@SHIPPED
def test_a_consumer_is_never_sent_more_than_its_credit(factory: object) -> None:
    stage = Stage(factory)
    one, two = stage.consumer("q", credit=2), stage.consumer("q", credit=3)
    producer = stage.producer("q")
    held = producer.sends_many(8)[5:]
    assert (len(one.got), len(two.got)) == (2, 3)
    assert [message.is_held for message in held] == [True] * 3


def test_a_consumer_that_drains_gets_what_there_is_and_then_has_no_credit() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    producer = stage.producer("q")
    producer.sends_many(3)
    consumer.sets_credit(10)
    consumer.drains()
    assert len(consumer.got) == 3
    assert consumer.credit == stage.address().free == 0
    assert producer.sends().is_held
    consumer.grants(1)
    assert len(consumer.got) == 4


def test_a_consumer_can_take_credit_back() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=10)
    consumer.sets_credit(2)
    assert consumer.credit == stage.address().free == 2
    stage.producer("q").sends_many(3)
    assert len(consumer.got) == 2


def test_a_consumer_has_at_most_so_many_in_flight_whatever_it_grants() -> None:
    stage = Stage(max_in_flight=3)
    consumer = stage.consumer("q", credit=1_000_000)
    producer = stage.producer("q")
    assert consumer.credit == stage.address().free == 3
    producer.sends_many(producer.may_send)
    assert len(consumer.got) == consumer.in_flight == 3
    assert consumer.credit == 0
    for settled in range(1, 3):
        consumer.settles(consumer.got[settled - 1], ACCEPTED)
        stage.turn()
        producer.sends()
        assert len(consumer.got) == 3 + settled
        assert consumer.in_flight == 3
    consumer.settles(consumer.got[2], ACCEPTED)
    stage.turn()
    assert consumer.credit == 1


def test_pre_settled_deliveries_do_not_count_as_in_flight() -> None:
    stage = Stage(max_in_flight=3)
    consumer = stage.consumer("q", credit=100)
    producer = stage.producer("q")
    while len(consumer.got) < 11:
        producer.sends(presettled=True)
        stage.turn()
    assert consumer.in_flight == 0
    assert consumer.credit + consumer.withheld == 89


def test_a_consumer_that_takes_credit_back_beyond_the_cap_is_understood() -> None:
    stage = Stage(max_in_flight=3)
    consumer = stage.consumer("q", credit=100)
    producer = stage.producer("q")
    first, *_ = producer.sends_many(3)
    consumer.sets_credit(0)
    consumer.settles(first, ACCEPTED)
    stage.turn()
    assert consumer.credit == 0
    assert producer.sends().is_held


def test_a_suspended_consumer_is_passed_over_and_then_has_its_credit_again() -> None:
    stage = Stage()
    slow, other = stage.consumer("q", credit=5), stage.consumer("q", credit=1)
    producer = stage.producer("q")
    stage.router.suspend(slow)
    assert (slow.credit, stage.address().free) == (0, 1)
    producer.sends_many(3)
    assert (len(slow.got), len(other.got)) == (0, 1)
    stage.router.resume(slow)
    stage.turn()
    assert (len(slow.got), slow.credit) == (2, 3)


def test_credit_that_comes_while_a_consumer_is_suspended_counts_afterwards() -> None:
    stage = Stage(max_in_flight=10)
    slow = stage.consumer("q", credit=1)
    stage.router.suspend(slow)
    slow.grants(4)
    assert slow.credit == 0
    stage.router.resume(slow)
    assert slow.credit == stage.address().free == 5
    stage.router.suspend(slow)
    slow.sets_credit(2)
    stage.router.resume(slow)
    assert slow.credit == stage.address().free == 2


def test_suspending_twice_is_no_more_than_once() -> None:
    stage = Stage()
    slow = stage.consumer("q", credit=5)
    stage.router.suspend(slow)
    stage.router.suspend(slow)
    stage.router.resume(slow)
    stage.router.resume(slow)
    assert slow.credit == stage.address().free == 5


def test_the_free_credit_of_an_address_is_the_sum_over_its_consumers() -> None:
    stage = Stage()
    one, two = stage.consumer("q", 3), stage.consumer("q", 4)
    assert stage.address().free == 7
    stage.producer("q").sends_many(2)
    assert stage.address().free == one.credit + two.credit == 5
    two.leaves()
    assert stage.address().free == one.credit


def test_a_consumer_that_has_left_has_no_credit_that_counts() -> None:
    stage = Stage()
    stays, leaves = stage.consumer("q", 1), stage.consumer("q", 5)
    leaves.leaves()
    leaves.sets_credit(9)
    stage.router.suspend(leaves)
    stage.router.resume(leaves)
    assert stage.address().free == stays.credit == 1


def test_a_producer_that_ran_out_is_fed_when_a_consumer_gives_credit_again() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=10)
    producers = [stage.producer("q"), stage.producer("q")]
    producers[0].sends_many(10)
    stage.turn()
    assert producers[0].may_send == 0
    consumer.grants(10)
    stage.turn()
    assert producers[0].may_send == 10
