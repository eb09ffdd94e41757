"""The simulated world: what happens in it, and what the policies make of it."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest

from tests.unit import noting
from txrouter.simulation.figures import percentile
from txrouter.simulation.ideal import ideal_times
from txrouter.simulation.outcome import Run
from txrouter.simulation.scenario import Scenario
from txrouter.simulation.world import simulate

CONSTANT = {"kind": "constant", "mean": 1.0}
NOTING = "tests.unit.noting:factory"
REGULAR = {"rate": 1.0, "kind": "regular"}


def run(policy: str = "pull", **more: Any) -> Run:
    data = {"messages": 10, "cost": CONSTANT, "arrivals": REGULAR, "consumer": [{"name": "a"}], **more}
    scenario = Scenario.from_dict(data, [policy])
    return simulate(scenario, scenario.policies[0])


def event(at: float, does: str, consumers: str = "a", **more: object) -> dict[str, object]:
    return {"at": at, "consumers": consumers, "does": does, **more}


def one_after_another(**more: Any) -> list[float]:
    """How long five messages take that are there at once, for one consumer."""
    return run(messages=5, arrivals={"rate": 1e9, "kind": "regular", "producers": 1}, **more).times


# -- time --------------------------------------------------------------------------------------------------------------


def test_one_that_is_quick_enough_takes_the_time_of_the_work() -> None:
    assert run().times == pytest.approx([1.0] * 10)


def test_one_that_is_twice_as_fast_takes_half_of_it() -> None:
    assert run(consumer=[{"name": "a", "speed": 2.0}]).times == pytest.approx([0.5] * 10)


def test_what_comes_at_once_is_done_one_after_another() -> None:
    assert one_after_another() == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])


def test_two_slots_do_two_at_a_time() -> None:
    times = one_after_another(consumer=[{"name": "a", "slots": 2, "credit": 2}])
    assert times == pytest.approx([1.0, 1.0, 2.0, 2.0, 3.0])


def test_a_delay_counts_on_the_way_to_the_router_and_to_the_consumer() -> None:
    assert run(delay=0.1, arrivals={"rate": 0.1, "kind": "regular"}).times == pytest.approx([1.2] * 10)


def test_with_one_credit_the_next_message_costs_a_round_trip() -> None:
    first, second, *_ = one_after_another(delay=0.1)
    assert second - first == pytest.approx(1.0 + 2 * 0.1)


def test_with_more_credit_it_does_not() -> None:
    first, second, *_ = one_after_another(delay=0.1, consumer=[{"name": "a", "credit": 5}])
    assert second - first == pytest.approx(1.0)


# -- consumers ---------------------------------------------------------------------------------------------------------


def test_what_one_had_that_leaves_is_sent_again_and_done_by_another() -> None:
    outcome = run(
        messages=4,
        arrivals={"rate": 1e9, "kind": "regular"},
        consumer=[{"name": "a"}, {"name": "b"}],
        event=[event(0.5, "leave")],
    )
    assert (outcome.done, outcome.sent_again, outcome.unfinished) == ([0, 4], 1, 0)


def test_where_nobody_is_left_messages_stay_undone() -> None:
    outcome = run(messages=3, event=[event(1.5, "leave")])
    assert outcome.unfinished == 3


def test_one_that_comes_again_goes_on() -> None:
    outcome = run(messages=3, event=[event(1.5, "leave"), event(10.0, "come")])
    assert outcome.unfinished == 0
    assert outcome.times[0] == pytest.approx(10.0)


def test_one_that_stalls_goes_on_where_it_was() -> None:
    outcome = run(messages=1, event=[event(1.5, "stall"), event(7.0, "go-on")])
    assert outcome.times == pytest.approx([6.5])


def test_one_that_becomes_slower_is_so_with_what_it_works_on_too() -> None:
    outcome = run(messages=1, event=[event(1.5, "speed", speed=0.25)])
    assert outcome.times == pytest.approx([0.5 + 2.0])


def test_one_that_fails_does_nothing_of_what_it_has_and_gets_until_it_goes_on() -> None:
    """It works on the first, and is sent the second and the third while it fails."""
    outcome = run(messages=6, event=[event(1.5, "fail"), event(4.5, "go-on")])
    assert (outcome.done, outcome.unfinished, outcome.sent_again) == ([2], 4, 0)


@pytest.mark.parametrize("says", ["modified", "released"])
def test_what_fails_is_sent_again_where_it_says_so(says: str) -> None:
    consumers = [{"name": "a"}, {"name": "b"}]
    outcome = run("round-robin", consumer=consumers, event=[event(0.5, "fail", outcome=says, after=0.1)])
    assert (outcome.done[0], outcome.unfinished) == (0, 0)
    assert outcome.sent_again > 0


def test_what_was_settled_before_it_failed_is_never_done() -> None:
    outcome = run(messages=2, consumer=[{"name": "a", "settles": "received"}], event=[event(1.5, "fail")])
    assert (outcome.unfinished, outcome.sent_again) == (2, 0)


def test_a_policy_can_let_one_that_fails_sit_out() -> None:
    more: dict[str, Any] = {
        "messages": 500,
        "arrivals": {"load": 0.5},
        "consumer": [{"name": "a"}, {"name": "b", "count": 3}],
        "event": [event(10.0, "fail")],
    }
    assert run("outlier + pull", **more).unfinished < run("pull", **more).unfinished / 5


def test_an_event_is_for_all_that_are_alike() -> None:
    outcome = run(consumer=[{"name": "a", "count": 2}], event=[event(0.1, "leave")], messages=2)
    assert outcome.unfinished == 2


def test_one_that_settles_first_is_sent_more_than_it_can_do() -> None:
    """It seems idle to the router, whatever it has."""
    consumers = [{"name": "a", "settles": "received"}, {"name": "b"}]
    outcome = run(messages=6, arrivals={"rate": 1e9, "kind": "regular"}, consumer=consumers)
    assert outcome.done[0] > outcome.done[1]


# -- the router --------------------------------------------------------------------------------------------------------


def test_the_same_seed_comes_to_the_same() -> None:
    more: dict[str, Any] = {"arrivals": {"load": 0.9}, "messages": 500, "consumer": [{"name": "a", "count": 5}]}
    assert run("power-of-two", **more) == run("power-of-two", **more)


def test_the_policy_is_the_one_that_is_named() -> None:
    consumers = [{"name": "a", "credit": 50, "properties": {"capacity": 3}}, {"name": "b", "credit": 50}]
    outcome = run("weighted", messages=400, arrivals={"rate": 1.0}, cost={"mean": 0.01}, consumer=consumers)
    assert outcome.done == [300, 100]


def test_link_properties_are_the_consumers() -> None:
    consumers = [{"name": "a", "credit": 50}, {"name": "b", "credit": 50, "properties": {"priority": 5}}]
    assert run("priority", consumer=consumers).done == [0, 10]


def test_no_policy_fails() -> None:
    outcome = run("peak-ewma", messages=500, arrivals={"load": 0.9}, consumer=[{"name": "a", "count": 5}])
    assert (outcome.policy_errors, outcome.unfinished) == (0, 0)


def test_it_is_looked_at_what_each_consumer_has() -> None:
    outcome = run(consumer=[{"name": "a"}, {"name": "b"}])
    assert len(outcome.samples) == 200
    assert {len(sample.has) for sample in outcome.samples} == {2}


# -- messages and replies ----------------------------------------------------------------------------------------------


def test_a_policy_sees_the_fields_of_messages() -> None:
    kind = {"subject": "build", "priority": 7, "ttl": 60.0, "groups": 1, "properties": {"zone": "a", "size": 3}}
    run(NOTING, messages=1, message=[kind])
    [seen] = noting.factory.last.seen
    fields = ("subject", "priority", "ttl", "group_id", "reply_to", "durable")
    assert [seen.field(name) for name in fields] == ["build", 7, 60_000, "group-1", None, None]
    assert [seen.application_property(name) for name in ("zone", "size", "other")] == ["a", 3, None]


def test_a_field_that_no_message_has_is_a_mistake() -> None:
    run(NOTING, messages=1)
    [seen] = noting.factory.last.seen
    with pytest.raises(KeyError):
        seen.field("colour")


def test_what_is_held_longer_than_its_time_to_live_is_never_done() -> None:
    outcome = run(messages=5, arrivals={"rate": 1e9, "kind": "regular"}, message=[{"ttl": 2.5}])
    assert outcome.times == pytest.approx([1.0, 2.0, 3.0])
    assert outcome.unfinished == 2


def test_what_waits_at_its_producer_for_longer_is_not_sent() -> None:
    overload = {"rate": 2.0, "kind": "regular"}
    outcome = run(messages=1_000, arrivals=overload, message=[{"ttl": 5.0}])
    assert max(outcome.times) <= 5.0 + 5.0 + 1.0  # at its producer, in the router, and worked on
    assert outcome.unfinished == pytest.approx(500, rel=0.05)


def test_what_a_policy_takes_to_be_too_late_is_never_done() -> None:
    data = {
        "messages": 5,
        "arrivals": {"rate": 1e9, "kind": "regular"},
        "cost": CONSTANT,
        "message": [{"properties": {"useful": 2.5}}],
        "consumer": [{"name": "a"}],
        "policy": [{"distribution": "deadline", "options": {"deadline": "property:useful"}}],
    }
    scenario = Scenario.from_dict(data)
    outcome = simulate(scenario, scenario.policies[0])
    assert outcome.times == pytest.approx([1.0, 2.0, 3.0])
    assert outcome.unfinished == 2


def test_what_is_held_can_leave_by_its_priority() -> None:
    data = {
        "messages": 40,
        "arrivals": {"rate": 1e9},
        "cost": CONSTANT,
        "message": [{"priority": 9}, {"priority": 0}],
        "consumer": [{"name": "a"}],
        "policy": [{"distribution": "pull", "priority": True}],
    }
    scenario = Scenario.from_dict(data)
    jobs = scenario.jobs()
    times = simulate(scenario, scenario.policies[0], jobs).times
    urgent, others = ([time for time, job in zip(times, jobs, strict=True) if job.kind == kind] for kind in (0, 1))
    assert median(urgent) < 0.5 * median(others)  # most still wait at their producers, where they wait in turn


def test_requests_are_replied_to_when_the_work_is_done() -> None:
    run(NOTING, messages=3, delay=0.1, arrivals={"rate": 0.1, "kind": "regular", "replies": True})
    assert noting.factory.last.asked_for == [0, 1, 2]
    assert noting.factory.last.took == pytest.approx([0.1 + 1.0 + 0.1] * 3)


def test_replies_show_who_is_busy_where_settlement_does_not() -> None:
    more: dict[str, Any] = {
        "messages": 2_000,
        "arrivals": {"load": 0.8, "replies": True},
        "consumer": [{"name": "a", "count": 4, "settles": "received", "credit": 100}],
        "cost": {"mean": 1.0},
    }
    assert run(NOTING, **more).percentile(0.99) < 0.8 * run("pull", **more).percentile(0.99)


def test_a_policy_is_woken_when_it_wants_to_be() -> None:
    data = {
        "messages": 1,
        "arrivals": REGULAR,
        "cost": CONSTANT,
        "consumer": [{"name": "a"}],
        "policy": [{"distribution": NOTING, "options": {"until": 5.0}}],
    }
    scenario = Scenario.from_dict(data)
    assert simulate(scenario, scenario.policies[0]).times == pytest.approx([4.0 + 1.0])


UNEQUAL = [{"name": "fast", "count": 2, "speed": 4.0}, {"name": "slow", "count": 4}]


@pytest.mark.parametrize("load", [0.7, 0.9])
@pytest.mark.parametrize("consumers", [[{"name": "a", "count": 8}], UNEQUAL], ids=["equal", "unequal"])
def test_pull_is_as_good_as_the_ideal_where_consumers_take_one_at_a_time(
    consumers: list[dict[str, object]], load: float
) -> None:
    data = {"messages": 20_000, "cost": {"kind": "mixed"}, "arrivals": {"load": load}, "consumer": consumers}
    scenario = Scenario.from_dict(data, ["pull"])
    jobs = scenario.jobs()
    ideal = ideal_times(jobs, [server.speed for server in scenario.servers()])
    outcome = simulate(scenario, scenario.policies[0], jobs)
    assert outcome.percentile(0.99) <= 1.05 * percentile(ideal, 0.99)
