"""A consumer that is barred gets nothing new and loses nothing; what others, policies and producers see of it."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer

from tests.unit.core.fakes import FakeConsumer, Stage, Sticky, WatchingPolicy
from txrouter.core.outcomes import ACCEPTED, RELEASED
from txrouter.interfaces import ICapacityWatcher
from txrouter.policies import exclusive, multicast, pull


def bar(stage: Stage, *consumers: FakeConsumer) -> None:
    for consumer in consumers:
        stage.router.rota.bar(consumer)
    stage.turn()


def unbar(stage: Stage, consumer: FakeConsumer) -> None:
    stage.router.rota.unbar(consumer)
    stage.turn()


def test_one_that_is_barred_gets_nothing_new() -> None:
    stage = Stage()
    producer, out, other = stage.producer(), stage.consumer(credit=10), stage.consumer(credit=10)
    bar(stage, out)
    producer.sends_many(4)
    assert (len(out.got), len(other.got)) == (0, 4)


def test_what_it_has_in_flight_goes_on() -> None:
    stage = Stage()
    out = stage.consumer(credit=10)
    message = stage.producer().sends()
    bar(stage, out)
    out.settles(message, ACCEPTED)
    assert (message.outcome, out.in_flight) == (ACCEPTED, 0)


def test_what_it_gives_back_goes_to_another() -> None:
    stage = Stage()
    out = stage.consumer(credit=10)
    message = stage.producer().sends()
    other = stage.consumer(credit=1)
    bar(stage, out)
    out.settles(message, RELEASED)
    assert message.sent_to == [out, other]


def test_what_another_gives_back_waits_for_it() -> None:
    stage = Stage()
    out, other = stage.consumer(credit=1), stage.consumer(credit=10)
    bar(stage, out)
    message = stage.producer().sends()
    other.settles(message, RELEASED)
    assert message.is_held
    unbar(stage, out)
    assert message.sent_to == [other, out]


def test_what_waits_for_it_alone_is_for_any() -> None:
    stage = Stage(Sticky)
    out = stage.consumer(credit=0)
    stage.consumer("q", credit=0)
    producer = stage.producer()
    message = producer.sends(group_id=out.id)
    assert message in (out.queue or ())
    bar(stage, out)
    other = stage.consumer(credit=1)
    assert message.sent_to == [other]


def test_its_credit_is_not_offered_to_producers() -> None:
    stage = Stage()
    out = stage.consumer(credit=100)
    stage.consumer(credit=4)
    bar(stage, out)
    assert (stage.address().free, stage.address().window) == (4, 4)
    assert stage.producer().may_send == 4


def test_credit_it_gives_meanwhile_counts_when_it_may_have_something_again() -> None:
    stage = Stage()
    out = stage.consumer(credit=1)
    bar(stage, out)
    out.grants(2)
    assert (out.credit, out.withheld) == (0, 3)
    unbar(stage, out)
    assert (out.credit, out.withheld) == (3, 0)


def test_the_end_of_a_jam_does_not_end_a_bar() -> None:
    stage = Stage()
    out = stage.consumer(credit=5)
    stage.router.suspend(out)
    bar(stage, out)
    stage.router.resume(out)
    assert out.credit == 0
    stage.router.suspend(out)
    unbar(stage, out)
    assert out.credit == 0
    stage.router.resume(out)
    assert out.credit == 5


def test_where_all_are_barred_messages_are_held() -> None:
    stage = Stage()
    out = stage.consumer(credit=5)
    producer = stage.producer()
    bar(stage, out)
    message = producer.sends()
    stage.turn()
    assert message.is_held
    unbar(stage, out)
    assert message.sent_to == [out]


def test_where_all_are_barred_producers_get_no_credit() -> None:
    stage = Stage()
    outs = stage.consumer(credit=5), stage.consumer(credit=5)
    first = stage.producer()
    bar(stage, *outs)
    assert (first.drains_asked, stage.producer().may_send) == (1, 0)
    first.gives_back()
    assert first.may_send == 0
    unbar(stage, outs[0])
    assert first.may_send > 0


def test_messages_of_an_anonymous_producer_are_held_too() -> None:
    stage = Stage()
    out = stage.consumer(credit=5)
    bar(stage, out)
    assert stage.producer(None).sends(to="q").is_held


def test_when_the_last_on_duty_leaves_messages_wait_for_those_that_are_barred() -> None:
    stage = Stage()
    out, other = stage.consumer(credit=5), stage.consumer(credit=0)
    bar(stage, out)
    producer = stage.producer()
    message = producer.sends()
    other.leaves()
    assert message.is_held
    assert producer.drains_asked == 1


def test_when_those_that_are_barred_leave_too_they_are_released() -> None:
    stage = Stage()
    out = stage.consumer(credit=5)
    producer = stage.producer()
    bar(stage, out)
    message = producer.sends()
    out.leaves()
    assert message.outcome is RELEASED
    assert stage.address().on_duty == 0


@implementer(ICapacityWatcher)
class Watching(WatchingPolicy):
    def settled(self, consumer: Any, delivery: object, outcome: str, seconds: float) -> None:
        self.heard.append(("settled", consumer))

    def capacity_changed(self, consumer: Any) -> None:
        self.heard.append(("capacity_changed", consumer))


def test_to_the_policy_it_has_left_and_comes_again() -> None:
    stage = Stage(Watching)
    out = stage.consumer(credit=5)
    first, second = stage.producer().sends_many(2)
    heard = stage.address().policy.heard
    heard.clear()
    bar(stage, out)
    out.grants(1)
    out.settles(first, ACCEPTED)
    stage.router.set_capacity(out, 3.0)
    assert heard == [("remove", out)]
    heard.clear()
    unbar(stage, out)
    out.settles(second, ACCEPTED)
    assert heard == [("add", out), ("credit_changed", out, 4), ("settled", out)]


def test_a_policy_that_takes_the_place_of_another_hears_nothing_of_it() -> None:
    stage = Stage()
    out, other = stage.consumer(credit=5), stage.consumer(credit=5)
    bar(stage, out)
    stage.switches(stage.address(), WatchingPolicy)
    assert stage.address().policy.consumers == [other]
    unbar(stage, out)
    assert stage.address().policy.consumers == [other, out]


def test_to_bar_twice_is_to_bar_once() -> None:
    stage = Stage(WatchingPolicy)
    out = stage.consumer(credit=5)
    bar(stage, out, out)
    unbar(stage, out)
    unbar(stage, out)
    assert (stage.address().on_duty, out.credit, stage.address().policy.consumers) == (1, 5, [out])


def test_one_that_has_left_is_not_barred() -> None:
    stage = Stage()
    out = stage.consumer(credit=5)
    stage.consumer()
    out.leaves()
    bar(stage, out)
    assert stage.address().on_duty == 1


def test_with_exclusive_another_takes_over() -> None:
    stage = Stage(exclusive.factory)
    out, other = stage.consumer(credit=5), stage.consumer(credit=5)
    producer = stage.producer()
    bar(stage, out)
    assert producer.sends().sent_to == [other]


@pytest.mark.parametrize("presettled", [True, False])
def test_with_multicast_nobody_waits_for_it(presettled: bool) -> None:
    stage = Stage(multicast.factory)
    out, other = stage.consumer(credit=0), stage.consumer(credit=5)
    bar(stage, out)
    message = stage.producer().sends(presettled)
    assert message.sent_to == [other]
    assert stage.counters["multicast_dropped"] == 0


def test_with_multicast_messages_are_held_where_all_are_barred() -> None:
    stage = Stage(multicast.factory)
    out = stage.consumer(credit=5)
    producer = stage.producer()
    bar(stage, out)
    message = producer.sends()
    stage.later(60)
    assert message.is_held
    assert stage.producer().may_send == 0
    unbar(stage, out)
    assert message.sent_to == [out]


def test_a_stopping_router_bars_nobody_to_hold_messages() -> None:
    stage = Stage(pull.factory)
    out = stage.consumer(credit=5)
    producer = stage.producer()
    bar(stage, out)
    stage.router.stop()
    assert producer.sends().outcome is RELEASED


class Observing:
    """Notes what is settled."""

    def __init__(self) -> None:
        self.settlements: list[tuple[Any, str, float]] = []

    def choosing(self, delivery: Any) -> None:
        pass

    def chose(self, delivery: Any, consumer: Any) -> None:
        pass

    def sent(self, consumer: Any, delivery: Any) -> None:
        pass

    def settled(self, consumer: Any, delivery: Any, outcome: str, seconds: float) -> None:
        self.settlements.append((consumer, outcome, seconds))


def test_who_watches_its_address_hears_what_it_settles() -> None:
    stage = Stage()
    out = stage.consumer(credit=10)
    observing = Observing()
    stage.router.observations.begin(stage.address(), observing)
    message = stage.producer().sends()
    bar(stage, out)
    stage.later(2.0)
    out.settles(message, ACCEPTED)
    assert observing.settlements == [(out, "accepted", 2.0)]
