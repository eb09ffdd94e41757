"""A policy beside another: what is said of how they compare, and that nobody else notices."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.unit.core.fakes import Asking, Full, Stage, Sticky, WatchingPolicy, distribution
from txrouter.core import shadow as module
from txrouter.core.addresses import AddressTable, Distribution
from txrouter.core.deliveries import Malformed
from txrouter.core.outcomes import ACCEPTED
from txrouter.core.shadow import Shadowed
from txrouter.interfaces import IConsumer, IDelivery
from txrouter.policies import multicast, pull, round_robin, weighted


def beside(decides: Distribution, shadow: object) -> Distribution:
    """The same, with that policy beside it; None for no policy."""
    return dataclasses.replace(decides, shadow=None if shadow is None else distribution(shadow))


def staged(policy: object, shadow: object) -> Stage:
    """A router with both for the address `q`."""
    stage = Stage()
    stage.router.policies.table.add_pattern("q", beside(distribution(policy), shadow))
    return stage


def shadow_of(stage: Stage) -> Shadowed:
    """What runs beside the policy of `q`."""
    shadow = stage.address().shadow
    assert shadow is not None
    return shadow


def report(stage: Stage) -> dict[str, Any]:
    """What is said of it."""
    said = shadow_of(stage).report()
    json.dumps(said)
    return said


class Last(WatchingPolicy):
    """The last consumer with credit."""

    def select(self, delivery: IDelivery) -> Any:
        return next((each for each in reversed(self.consumers) if each.credit > 0), None)


class Never(WatchingPolicy):
    """Nobody."""

    def select(self, delivery: IDelivery) -> Any:
        return None


def test_what_the_policy_says_is_done() -> None:
    stage = staged(WatchingPolicy, Last)
    first, last = stage.consumer("q", credit=5), stage.consumer("q", credit=5)
    stage.producer("q").sends_many(3)
    assert (len(first.got), len(last.got)) == (3, 0)


def test_a_shadow_that_would_choose_the_same_says_so() -> None:
    stage = staged(pull.factory, pull.factory)
    for _ in range(3):
        stage.consumer("q", credit=5)
    stage.producer("q").sends_many(9)
    said = report(stage)
    assert (said["distribution"], said["decisions"], said["differed"], said["part"]) == ("pull", 9, 0, 0.0)


def test_where_it_would_choose_another_both_are_named() -> None:
    stage = staged(WatchingPolicy, Last)
    first, last = stage.consumer("q", credit=5), stage.consumer("q", credit=2)
    stage.producer("q").sends_many(4)
    last.drains()
    stage.producer("q").sends()
    said = report(stage)
    assert (said["decisions"], said["differed"], said["other_consumer"], said["part"]) == (5, 4, 4, 0.8)
    assert said["consumers"] == [
        {"id": first.id, "container": "container", "got": 5, "would_have_got": 1, "share": 1, "would_have_share": 0.2},
        {"id": last.id, "container": "container", "got": 0, "would_have_got": 4, "share": 0, "would_have_share": 0.8},
    ]


def test_what_it_would_have_held_is_counted() -> None:
    stage = staged(WatchingPolicy, Full)
    stage.consumer("q", credit=5)
    stage.producer("q").sends_many(3)
    said = report(stage)
    assert (said["decisions"], said["differed"], said["would_have_held"]) == (3, 2, 2)


def test_what_it_would_have_sent_is_counted_once_however_often_it_is_offered() -> None:
    stage = staged(Never, WatchingPolicy)
    consumer = stage.consumer("q", credit=5)
    stage.producer("q").sends_many(2)
    for _ in range(3):
        consumer.grants(1)
    said = report(stage)
    assert (said["decisions"], said["differed"], said["would_have_sent"]) == (1, 1, 1)
    assert said["consumers"][0]["would_have_got"] == 1


def test_what_both_would_hold_is_a_decision_alike() -> None:
    stage = staged(Never, Never)
    stage.consumer("q", credit=5)
    stage.producer("q").sends_many(2)
    said = report(stage)
    assert (said["decisions"], said["differed"]) == (1, 0)


def test_it_is_told_the_same_with_the_same_numbers() -> None:
    stage = staged(WatchingPolicy, WatchingPolicy)
    consumer = stage.consumer("q", credit=2)
    message = stage.producer("q").sends()
    consumer.settles(message, ACCEPTED)
    heard = shadow_of(stage).shadow.heard
    consumer.leaves()
    stand_in = heard[0][1]
    assert heard == [
        ("add", stand_in),
        ("credit_changed", stand_in, 2),
        ("sent", stand_in, message),
        ("settled", stand_in, message, "accepted", 0.0),
        ("remove", stand_in),
    ]


def test_its_consumers_are_what_a_policy_sees_and_cannot_be_changed() -> None:
    stage = staged(WatchingPolicy, WatchingPolicy)
    consumer = stage.consumer("q", credit=2, colour="red")
    stage.producer("q").sends()
    (seen,) = shadow_of(stage).shadow.consumers
    names = [name for name in IConsumer.names() if name != "place"]
    assert [getattr(seen, name) for name in names] == [getattr(consumer, name) for name in names]
    with pytest.raises(AttributeError):
        seen.credit = 7


def test_its_place_is_its_own() -> None:
    stage = staged(pull.factory, pull.factory)
    one = stage.consumer("q", credit=1)
    (seen,) = shadow_of(stage).shadow._consumers
    assert seen.place is not one.place


def test_only_what_it_wants_to_hear_is_told_to_it() -> None:
    stage = staged(pull.factory, Never)
    stage.consumer("q")
    address = stage.address()
    assert address.kind is address.rank is None
    assert address.capacity_changed is None


def test_what_it_raises_is_counted_apart_and_disturbs_nobody() -> None:
    class Fails(WatchingPolicy):
        def select(self, delivery: IDelivery) -> Any:
            raise RuntimeError("it fails")

        def sent(self, consumer: Any, delivery: IDelivery) -> None:
            raise RuntimeError("it fails again")

    stage = staged(pull.factory, Fails)
    consumer = stage.consumer("q", credit=5)
    stage.producer("q").sends()
    assert len(consumer.got) == 1
    assert (stage.counters["policy_errors"], stage.counters["shadow_errors"], report(stage)["errors"]) == (0, 2, 2)
    reported = [fields for event, fields in stage.reports if event == "shadow failed"]
    assert [(each["address"], each["shadow"], str(each["error"])) for each in reported] == [
        ("q", "of-a-class", "it fails"),
        ("q", "of-a-class", "it fails again"),
    ]


def test_one_that_cannot_be_built_is_not_there() -> None:
    class Unbuildable(WatchingPolicy):
        def __init__(self) -> None:
            raise RuntimeError("not today")

    stage = staged(pull.factory, Unbuildable)
    consumer = stage.consumer("q", credit=1)
    stage.producer("q").sends()
    assert len(consumer.got) == 1
    assert (stage.address().shadow, stage.counters["shadow_errors"]) == (None, 1)


@pytest.mark.parametrize("what", ["a", 7, object()])
def test_what_is_no_consumer_is_its_error(what: object) -> None:
    class Confused(WatchingPolicy):
        def select(self, delivery: IDelivery) -> Any:
            return what

    stage = staged(pull.factory, Confused)
    stage.consumer("q", credit=1)
    stage.producer("q").sends()
    assert (stage.counters["shadow_errors"], report(stage)["decisions"]) == (1, 0)


def test_a_message_that_only_the_shadow_cannot_read_is_sent() -> None:
    stage = staged(WatchingPolicy, Sticky)
    consumer = stage.consumer("q", credit=1)
    stage.producer("q").sends(group_id=Malformed)
    assert len(consumer.got) == 1
    assert stage.counters["shadow_errors"] == 0


def test_the_errors_of_the_policy_are_its_own() -> None:
    class Fails(WatchingPolicy):
        def select(self, delivery: IDelivery) -> Any:
            raise RuntimeError("it fails")

    stage = staged(Fails, pull.factory)
    consumer = stage.consumer("q", credit=1)
    stage.producer("q").sends()
    assert len(consumer.got) == 1
    assert (stage.counters["policy_errors"], stage.counters["shadow_errors"]) == (1, 0)


def test_those_that_have_left_are_summed_up() -> None:
    stage = staged(WatchingPolicy, Last)
    first, _last = stage.consumer("q", credit=5), stage.consumer("q", credit=5)
    stage.producer("q").sends_many(3)
    first.leaves()
    said = report(stage)
    assert said["gone"] == {"consumers": 1, "got": 3, "would_have_got": 0}
    assert [each["would_have_got"] for each in said["consumers"]] == [3]


def test_a_report_is_no_longer_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REPORTED", 2)
    stage = staged(WatchingPolicy, Last)
    first, _, last = [stage.consumer("q", credit=5) for _ in range(3)]
    stage.producer("q").sends_many(2)
    said = report(stage)
    assert {each["id"] for each in said["consumers"]} == {first.id, last.id}
    assert said["left_out"] == 1


# -- replies ---------------------------------------------------------------------------------------------------------


def test_a_shadow_hears_of_replies_though_the_policy_does_not() -> None:
    stage = staged(WatchingPolicy, Asking)
    stage.consumer("answers", credit=1)
    stage.consumer("q", credit=1)
    stage.producer("q").sends(reply_to="answers", message_id=1)
    stage.producer(None).sends(to="answers", correlation_id=1)
    heard = [each[0] for each in shadow_of(stage).shadow.heard]
    assert heard[-3:] == ["sent", "asked", "answered"]


# -- coming and going ------------------------------------------------------------------------------------------------


def use(stage: Stage, policy: Distribution, shadow: object) -> None:
    """Have `q` distributed so from now on."""
    table = AddressTable(distribution(pull.factory))
    table.add_pattern("q", beside(policy, shadow))
    assert stage.router.policies.use(table) == ["q"]


def test_a_shadow_comes_and_goes_and_the_policy_stays() -> None:
    stage = Stage()
    decides = distribution(Asking)
    stage.router.policies.table.add_pattern("q", decides)
    consumer = stage.consumer("q", credit=1)
    stage.consumer("answers", credit=1)
    policy = stage.address().policy
    stage.producer("q").sends(reply_to="answers", message_id=1)
    held = stage.producer("q").sends()
    use(stage, decides, Asking)
    assert shadow_of(stage).policy is policy
    stage.producer(None).sends(to="answers", correlation_id=1)
    consumer.grants(1)
    assert held.sent_to == [consumer]
    assert [each[0] for each in shadow_of(stage).shadow.heard] == ["add", "credit_changed", "sent"]
    use(stage, decides, None)
    assert stage.address().policy is policy
    assert [each[0] for each in policy.heard].count("answered") == 1


def test_with_another_policy_the_shadow_begins_anew() -> None:
    stage = staged(WatchingPolicy, Last)
    stage.consumer("q", credit=2)
    stage.producer("q").sends()
    use(stage, distribution(round_robin.factory), weighted.factory)
    assert (report(stage)["distribution"], report(stage)["decisions"]) == ("weighted", 0)


def test_what_has_come_of_it_is_reported_when_it_ends() -> None:
    stage = staged(WatchingPolicy, Last)
    consumers = [stage.consumer("q", credit=2) for _ in range(2)]
    producer = stage.producer("q")
    producer.sends()
    for each in consumers:
        each.leaves()
    producer.leaves()
    ((event, fields),) = stage.reports
    assert (event, fields["address"], fields["decisions"], fields["differed"]) == ("shadow", "q", 1, 1)


def test_of_a_shadow_that_has_decided_nothing_nothing_is_reported() -> None:
    stage = staged(WatchingPolicy, Last)
    stage.consumer("q").leaves()
    assert stage.reports == []


def test_there_is_none_beside_a_multicast() -> None:
    stage = staged(multicast.factory, pull.factory)
    stage.consumer("q", credit=1)
    assert stage.address().shadow is None
