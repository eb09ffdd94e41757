"""Giving an address another policy while it is in use: nothing is lost or doubled, and everything keeps its order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.fakes import SHIPPED, Alphabetic, Choosy, Full, Stage, Sticky, WatchingPolicy, distribution
from txrouter.core.addresses import AddressTable
from txrouter.core.outcomes import ACCEPTED, RELEASED
from txrouter.core.policies import Unavailable
from txrouter.interfaces import IDelivery
from txrouter.policies import adaptive, multicast, pull, round_robin, sticky, unavailable, weighted


def switch(stage: Stage, factory: object, options: object = None, by_priority: bool = False) -> None:
    """The address `q` is given another policy, by a table in which all addresses have it."""
    stage.router.policies.use(AddressTable(distribution(factory, options, by_priority)))


def test_the_new_policy_hears_of_the_consumers_that_are_there() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=1), stage.consumer("q")
    switch(stage, WatchingPolicy)
    assert stage.address().policy.heard == [("add", one), ("add", two)]
    assert one.place is two.place is None


@SHIPPED
def test_what_is_in_flight_goes_on(factory: object) -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=2)
    first = stage.producer("q").sends()
    switch(stage, factory)
    second = stage.producer("q").sends()
    for message in (first, second):
        consumer.settles(message, ACCEPTED)
    assert (first.outcome, second.outcome) == (ACCEPTED, ACCEPTED)
    assert stage.counters["policy_errors"] == 0


@SHIPPED
def test_what_is_held_keeps_its_order(factory: object) -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    sent = [producer.sends() for producer in [stage.producer("q"), stage.producer("q")] * 3]
    switch(stage, factory)
    consumer.grants(9)
    assert consumer.got == sent


def test_what_waits_for_one_consumer_goes_where_the_new_policy_says_in_the_order_it_came() -> None:
    stage = Stage(Sticky)
    slow, other = stage.consumer("q", id="slow"), stage.consumer("q", id="other")
    producer = stage.producer("q")
    first = producer.sends(group_id="slow")
    stage.later(0.1)
    second = producer.sends()
    stage.later(0.1)
    third = producer.sends(group_id="slow")
    switch(stage, pull.factory)
    other.grants(3)
    assert other.got == [first, second, third]
    assert slow.waiting == 0


def test_what_one_policy_declined_another_takes_at_once() -> None:
    stage = Stage(Choosy)
    consumer = stage.consumer("q", credit=1)
    message = stage.producer("q").sends(subject="x")
    switch(stage, pull.factory)
    stage.turn()
    assert consumer.got == [message]


@pytest.mark.parametrize("module", [adaptive, pull, sticky, weighted], ids=lambda each: each.factory.name)
def test_with_10_000_consumers_it_is_over_when_the_turn_is(module: Any) -> None:
    stage = Stage(Full)
    consumers = [stage.consumer("q", credit=1) for _ in range(10_000)]
    sent = stage.producer("q").sends_many(20)
    assert stage.router.in_flight() == 1
    switch(stage, module.factory, module.Options())
    stage.turn()
    assert {message.consumer for message in sent} <= set(consumers)
    assert (stage.router.in_flight(), len(stage.address().held)) == (20, 0)


def test_what_is_held_can_be_put_into_another_order_and_back() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    for subject in "cabd":
        stage.producer("q").sends(subject=subject)
        stage.later(0.1)
    switch(stage, Alphabetic)
    consumer.grants(2)
    switch(stage, pull.factory)
    consumer.grants(2)
    assert [each.field("subject") for each in consumer.got] == list("abcd")


def test_what_is_held_can_be_put_in_order_by_priority() -> None:
    stage = Stage()
    consumer = stage.consumer("q")
    for priority in (4, 9, 0):
        stage.producer("q").sends(priority=priority)
    switch(stage, pull.factory, by_priority=True)
    consumer.grants(3)
    assert [each.field("priority") for each in consumer.got] == [9, 4, 0]


def test_what_was_given_back_goes_to_nobody_twice() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=1), stage.consumer("q")
    message = stage.producer("q").sends()
    one.settles(message, RELEASED)
    switch(stage, round_robin.factory)
    one.grants(1)
    assert message.is_held
    two.grants(1)
    assert two.got == [message]


def test_what_is_given_back_afterwards_is_ranked_by_the_new_policy() -> None:
    class Backwards(Alphabetic):
        def rank(self, delivery: IDelivery) -> float:
            return -super().rank(delivery)

    stage = Stage(Alphabetic)
    one, two = stage.consumer("q"), stage.consumer("q")
    messages = [stage.producer("q").sends(subject=subject) for subject in "ab"]
    one.grants(2)
    switch(stage, Backwards)
    for message in messages:
        one.settles(message, RELEASED)
    two.grants(2)
    assert [each.field("subject") for each in two.got] == ["b", "a"]


def test_an_address_can_become_multicast() -> None:
    stage = Stage()
    one, two = stage.consumer("q"), stage.consumer("q")
    message = stage.producer("q").sends()
    switch(stage, multicast.factory)
    for consumer in (one, two):
        consumer.grants(1)
    for consumer in (one, two):
        consumer.settles(message, ACCEPTED)
    assert message.outcome == ACCEPTED
    assert len(message.sent_to) == 2


def test_what_is_held_waits_for_slow_consumers_as_the_new_policy_says() -> None:
    stage = Stage()
    one, two = stage.consumer("q"), stage.consumer("q")
    message = stage.producer("q").sends()
    switch(stage, multicast.factory, multicast.Options("block", block_seconds=2.0))
    one.grants(1)
    stage.later(1.9)
    assert message.is_held
    stage.later(0.1)
    assert message.sent_to == [one]
    assert two.unsettled == {}


def test_what_was_given_back_before_an_address_became_multicast_finds_a_consumer() -> None:
    stage = Stage()
    one, two = stage.consumer("q", credit=1), stage.consumer("q")
    message = stage.producer("q").sends()
    switch(stage, multicast.factory)
    one.settles(message, RELEASED)
    assert message.is_held
    two.grants(1)
    assert two.got == [message]


def test_copies_that_are_in_flight_when_an_address_is_multicast_no_more_settle_as_they_would() -> None:
    stage = Stage(multicast.factory)
    consumers = [stage.consumer("q", credit=1), stage.consumer("q", credit=1)]
    message = stage.producer("q").sends()
    switch(stage, pull.factory)
    for consumer in consumers:
        consumer.settles(message, ACCEPTED)
    assert message.outcome == ACCEPTED
    assert [consumer.in_flight for consumer in consumers] == [0, 0]


def test_what_waited_for_a_copy_to_each_goes_to_one_and_expires_only_in_its_own_time() -> None:
    stage = Stage(multicast.factory, multicast.Options("block", block_seconds=2.0))
    one, two = stage.consumer("q"), stage.consumer("q")
    message = stage.producer("q").sends(ttl=3_000)
    switch(stage, pull.factory)
    stage.later(2.5)
    assert message.is_held
    stage.later(0.5)
    assert stage.counters["expired"] == 1
    assert one.got == two.got == []


def test_only_addresses_whose_distribution_is_another_get_a_new_policy() -> None:
    stage = Stage()
    stage.consumer("q")
    stage.consumer("r")
    kept = stage.address("r").policy
    table = AddressTable(distribution(pull.factory))
    table.add_pattern("q", distribution(round_robin.factory))
    assert stage.router.policies.use(table) == ["q"]
    assert stage.address("r").policy is kept


def test_new_addresses_have_the_new_distribution() -> None:
    stage = Stage()
    switch(stage, WatchingPolicy)
    stage.consumer("q")
    assert isinstance(stage.address().policy, WatchingPolicy)


def test_an_address_that_has_become_unavailable_keeps_its_links_and_gets_no_others() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    producer = stage.producer("q")
    switch(stage, unavailable.factory)
    message = producer.sends()
    assert consumer.got == [message]
    with pytest.raises(Unavailable):
        stage.consumer("q")


def test_producers_get_the_credit_that_the_new_policy_has_for_them() -> None:
    stage = Stage(multicast.factory)
    stage.consumer("q", credit=99)
    stage.consumer("q", credit=1)
    producer = stage.producer("q")
    before = producer.may_send
    switch(stage, pull.factory)
    stage.turn()
    assert producer.may_send > before


def test_a_policy_that_fails_when_it_hears_of_consumers_is_used_all_the_same() -> None:
    class Deaf(Full):
        def add(self, consumer: object) -> None:
            raise RuntimeError("what?")

    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    switch(stage, Deaf)
    message = stage.producer("q").sends()
    assert stage.counters["policy_errors"] == 1
    assert message.is_held
    consumer.leaves()


def test_a_policy_that_cannot_be_built_leaves_the_address_the_one_it_has_and_what_it_holds() -> None:
    class Broken(Full):
        def __init__(self) -> None:
            raise RuntimeError("not today")

    stage = Stage(Sticky)
    slow = stage.consumer("q", id="slow")
    message = stage.producer("q").sends(group_id="slow")
    policy = stage.address().policy
    switch(stage, Broken)
    assert stage.counters["policy_errors"] == 1
    assert stage.address().policy is policy
    slow.grants(1)
    assert slow.got == [message]


def test_a_router_that_is_being_stopped_begins_nothing_new_with_another_policy() -> None:
    stage = Stage()
    consumer = stage.consumer("q", credit=1)
    producer = stage.producer("q")
    stage.router.stop()
    switch(stage, round_robin.factory)
    assert producer.sends().outcome == RELEASED
    assert consumer.got == []
