"""What a policy hears; and that one that fails, in whatever way, costs nobody a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zope.interface import implementer

from tests.unit.core.fakes import FakeConsumer, Stage, Sticky, WatchingPolicy, distribution
from txrouter.core.outcomes import ACCEPTED, LOST, RELEASED, Outcome
from txrouter.core.policies import PolicyError
from txrouter.interfaces import ICapacityWatcher, IConsumer, IDelivery, IDistributionPolicy, IReassigning

# -- what it hears ---------------------------------------------------------------------------------


def heard(stage: Stage, *kinds: str) -> list[tuple[object, ...]]:
    """What the policy of `q` was told, of the kinds named or of all."""
    told: list[tuple[object, ...]] = stage.address().policy.heard
    return [each for each in told if not kinds or each[0] in kinds]


def test_a_policy_hears_of_consumers() -> None:
    stage = Stage(WatchingPolicy)
    one, two = stage.consumer("q"), stage.consumer("q")
    one.leaves()
    assert heard(stage) == [("add", one), ("add", two), ("remove", one)]


def test_a_policy_hears_of_credit_unless_it_is_used_by_a_send() -> None:
    stage = Stage(WatchingPolicy)
    consumer = stage.consumer("q", credit=5)
    stage.producer("q").sends_many(2)
    consumer.grants(1)
    stage.router.suspend(consumer)
    stage.router.resume(consumer)
    consumer.drains()
    changes = [delta for _, _, delta in heard(stage, "credit_changed")]
    assert changes == [5, 1, -4, 4, -4]


def test_a_policy_hears_of_sends_and_settlements_with_the_time_between() -> None:
    stage = Stage(WatchingPolicy)
    consumer = stage.consumer("q", credit=5)
    message = stage.producer("q").sends()
    stage.later(1.5)
    consumer.settles(message, ACCEPTED)
    assert heard(stage, "sent", "settled") == [
        ("sent", consumer, message),
        ("settled", consumer, message, "accepted", 1.5),
    ]


def test_a_policy_does_not_hear_of_settlements_of_pre_settled_deliveries() -> None:
    stage = Stage(WatchingPolicy)
    consumer = stage.consumer("q", credit=5)
    message = stage.producer("q").sends(presettled=True)
    assert heard(stage, "sent", "settled") == [("sent", consumer, message)]


@pytest.mark.parametrize("state", ["accepted", "rejected", "released", "modified", "settled"])
def test_a_policy_hears_each_outcome_by_its_name(state: str) -> None:
    stage = Stage(WatchingPolicy)
    consumer = stage.consumer("q", credit=5)
    consumer.settles(stage.producer("q").sends(), Outcome(state))
    assert [outcome for _, _, _, outcome, _ in heard(stage, "settled")] == [state]


def test_a_policy_hears_that_a_producer_settled() -> None:
    stage = Stage(WatchingPolicy)
    stage.consumer("q", credit=5)
    producer = stage.producer("q")
    producer.settles(producer.sends())
    producer.sends()
    producer.leaves()
    assert [outcome for _, _, _, outcome, _ in heard(stage, "settled")] == ["settled", "settled"]


def test_a_policy_hears_of_every_consumer_that_is_offered_a_message() -> None:
    stage = Stage(WatchingPolicy)
    one, two = stage.consumer("q", credit=5), stage.consumer("q", credit=5)
    message = stage.producer("q").sends()
    one.settles(message, RELEASED)
    two.settles(message, ACCEPTED)
    assert heard(stage, "sent", "settled") == [
        ("sent", one, message),
        ("settled", one, message, "released", 0.0),
        ("sent", two, message),
        ("settled", two, message, "accepted", 0.0),
    ]


def test_what_a_consumer_had_in_flight_when_it_left_is_said_by_remove() -> None:
    stage = Stage(WatchingPolicy)
    one, two = stage.consumer("q", credit=1), stage.consumer("q", credit=1)
    message = stage.producer("q").sends()
    one.leaves()
    assert message.outcome is LOST
    assert heard(stage)[-1] == ("remove", one)
    assert one.in_flight == 1
    assert two.got == []


def test_the_numbers_have_become_what_they_are_when_a_policy_is_told() -> None:
    numbers: list[tuple[str, int, int]] = []

    class Looks(WatchingPolicy):
        def credit_changed(self, consumer: Any, delta: int) -> None:
            numbers.append(("credit", consumer.credit, consumer.in_flight))

        def sent(self, consumer: Any, delivery: IDelivery) -> None:
            numbers.append(("sent", consumer.credit, consumer.in_flight))

        def settled(self, consumer: Any, delivery: IDelivery, outcome: str, seconds: float) -> None:
            numbers.append(("settled", consumer.credit, consumer.in_flight))

    stage = Stage(Looks)
    consumer = stage.consumer("q", credit=2)
    producer = stage.producer("q")
    consumer.settles(producer.sends(), ACCEPTED)
    producer.sends(presettled=True)
    assert numbers == [("credit", 2, 0), ("sent", 1, 1), ("settled", 1, 0), ("sent", 0, 0)]


def test_a_policy_hears_of_capacity_if_it_wants_to() -> None:
    @implementer(ICapacityWatcher)
    class Weighs(WatchingPolicy):
        def capacity_changed(self, consumer: Any) -> None:
            self.heard.append(("capacity_changed", consumer.capacity))

    stage, deaf = Stage(Weighs), Stage(WatchingPolicy)
    stage.router.set_capacity(stage.consumer("q"), 3.0)
    assert heard(stage)[-1] == ("capacity_changed", 3.0)
    consumer = deaf.consumer("q")
    deaf.router.set_capacity(consumer, 3.0)
    assert (consumer.capacity, len(heard(deaf))) == (3.0, 1)


def test_a_policy_with_no_facets_hears_nothing_more_than_it_must() -> None:
    @implementer(IDistributionPolicy)
    class Bare:
        def __init__(self) -> None:
            self.consumer: Any = None

        def add(self, consumer: Any) -> None:
            self.consumer = consumer

        def remove(self, consumer: Any) -> None:
            self.consumer = None

        def select(self, delivery: IDelivery) -> Any:
            return self.consumer

    stage = Stage(Bare)
    consumer = stage.consumer("q", credit=1)
    producer = stage.producer("q")
    first, second = producer.sends(), producer.sends()
    consumer.settles(first, ACCEPTED)
    consumer.grants(1)
    assert consumer.got == [first, second]
    assert stage.counters["policy_errors"] == 0


# -- ways to fail ----------------------------------------------------------------------------------


class Broken(WatchingPolicy):
    """Raises in what `fails` names, once `armed`."""

    fails = ""
    armed = True

    def _maybe(self, where: str) -> None:
        if self.armed and where == self.fails:
            raise RuntimeError(f"{where} failed")

    def add(self, consumer: Any) -> None:
        super().add(consumer)
        self._maybe("add")

    def remove(self, consumer: Any) -> None:
        super().remove(consumer)
        self._maybe("remove")

    def select(self, delivery: IDelivery) -> Any:
        self._maybe("select")
        return super().select(delivery)

    def credit_changed(self, consumer: Any, delta: int) -> None:
        self._maybe("credit_changed")

    def sent(self, consumer: Any, delivery: IDelivery) -> None:
        self._maybe("sent")

    def settled(self, consumer: Any, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self._maybe("settled")


@pytest.mark.parametrize("where", ["add", "remove", "select", "credit_changed", "sent", "settled"])
def test_a_policy_that_raises_costs_nobody_a_message_and_is_counted(where: str) -> None:
    stage = Stage(type("Raises", (Broken,), {"fails": where}))
    one, two = stage.consumer("q", credit=2), stage.consumer("q", credit=2)
    policy = stage.address().policy
    producer = stage.producer("q")
    direct = producer.sends_many(4)
    held = producer.sends_many(2)
    held.append(producer.sends(presettled=True))
    for message, outcome in zip(direct, (ACCEPTED, RELEASED, ACCEPTED), strict=False):
        message.sent_to[0].settles(message, outcome)
    two.grants(5)
    one.leaves()
    for message in two.got:
        if not message.over:
            two.settles(message, ACCEPTED)
    stage.turn()
    assert all(message.over for message in direct + held)
    assert {message.outcome for message in direct + held} == {ACCEPTED, None}
    assert held[-1].sent_to == [two]
    assert stage.counters["policy_errors"] > 0
    reported = [fields for event, fields in stage.reports if event == "policy failed"]
    assert len(reported) == stage.counters["policy_errors"]
    assert {(each["address"], each["policy"], str(each["error"])) for each in reported} == {
        ("q", policy, f"{where} failed")
    }
    two.leaves()
    producer.leaves()
    assert stage.router.addresses == {}


def returns(choose: Callable[[WatchingPolicy], object]) -> type[WatchingPolicy]:
    """A policy that selects what a function says."""

    class Returns(WatchingPolicy):
        def select(self, delivery: IDelivery) -> Any:
            return choose(self)

    return Returns


class Unhashable:
    """Can be no key."""

    __hash__ = None  # type: ignore[assignment]


class Devious:
    """Raises when it is compared, shown or asked anything."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    def __hash__(self) -> int:
        raise RuntimeError("do not look me up")

    def __repr__(self) -> str:
        raise RuntimeError("do not show me")


@pytest.mark.parametrize(
    "nonsense",
    ["a name", 0, 1, True, False, "", [], {}, object(), Unhashable(), Devious(), NotImplemented],
    ids=lambda each: type(each).__name__,
)
def test_a_policy_that_returns_nonsense_is_counted_and_the_first_with_credit_is_used(nonsense: object) -> None:
    stage = Stage(returns(lambda policy: nonsense))
    empty, first, _second = (stage.consumer("q", credit) for credit in (0, 2, 2))
    sent = stage.producer("q").sends_many(2)
    assert (empty.got, first.got) == ([], sent)
    assert stage.counters["policy_errors"] == 2
    assert len(stage.reports) == 2


def test_a_policy_that_returns_a_consumer_that_has_left_is_counted() -> None:
    left: list[FakeConsumer] = []
    stage = Stage(returns(lambda policy: left[0]))
    left.append(stage.consumer("q", credit=2))
    stays = stage.consumer("q", credit=2)
    left[0].leaves()
    message = stage.producer("q").sends()
    assert stays.got == [message]
    assert stage.counters["policy_errors"] == 1
    error = stage.reports[0][1]["error"]
    assert isinstance(error, PolicyError)
    assert "no consumer of the address" in str(error)


def test_a_policy_that_returns_a_consumer_of_another_address_is_counted() -> None:
    foreign: list[FakeConsumer] = []
    stage = Stage(returns(lambda policy: foreign[0]))
    foreign.append(stage.consumer("other", credit=2))
    own = stage.consumer("q", credit=2)
    message = stage.producer("q").sends()
    assert (own.got, foreign[0].got) == ([message], [])
    assert stage.counters["policy_errors"] == 1


@implementer(IReassigning)
class Reassigns(Sticky):
    """What waits for a consumer that is named so is to go to any, when a message is settled."""

    of: Any
    reassign: Callable[[IConsumer], None]

    def settled(self, consumer: Any, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self.reassign(self.of)


@pytest.mark.parametrize("address", ["q", "other"])
def test_a_policy_that_reassigns_what_waits_for_a_consumer_of_another_address_is_counted(address: str) -> None:
    stage = Stage(Reassigns)
    consumers = {name: stage.consumer(name) for name in ("q", "other")}
    settles = stage.consumer("q", credit=1)
    stage.address().policy.of = consumers[address]
    waits = stage.producer(address).sends(group_id=consumers[address].id)
    message = stage.producer("q").sends()
    settles.settles(message, ACCEPTED)
    assert stage.counters["policy_errors"] == (address == "other")
    assert (waits in stage.address(address).held) is (address == "q")


def test_where_nobody_has_credit_a_message_waits_whatever_the_policy_says() -> None:
    stage = Stage(returns(lambda policy: "nonsense"))
    consumer = stage.consumer("q")
    message = stage.producer("q").sends()
    assert message.is_held
    consumer.grants(1)
    assert consumer.got == [message]


def test_where_there_is_no_consumer_a_message_is_released_whatever_the_policy_says() -> None:
    stage = Stage(returns(lambda policy: "nonsense"))
    producer = stage.producer("q")
    stage.consumer("q").leaves()
    assert producer.sends().outcome is RELEASED


def test_a_policy_that_fails_for_what_is_held_or_comes_back_is_counted() -> None:
    stage = Stage(type("Raises", (Broken,), {"fails": "select", "armed": False}))
    one, two = stage.consumer("q", credit=1), stage.consumer("q")
    back, held = stage.producer("q").sends_many(2)
    stage.address().policy.armed = True
    one.settles(back, RELEASED)
    two.grants(2)
    assert two.got == [back, held]
    assert stage.counters["policy_errors"] >= 2


def test_a_policy_that_cannot_be_built_refuses_the_link_and_leaves_nothing_behind() -> None:
    class Refuses:
        name, summary, options = "refuses", "cannot be built", dict

        def build(self, options: object, random: object) -> IDistributionPolicy:
            raise ValueError("the options contradict each other")

    stage = Stage(Refuses())
    with pytest.raises(ValueError, match="contradict"):
        stage.consumer("q")
    with pytest.raises(ValueError, match="contradict"):
        stage.producer("q")
    assert stage.router.addresses == {}


def test_one_address_with_a_broken_policy_does_not_touch_another() -> None:
    stage = Stage(WatchingPolicy)
    stage.router.policies.table.add_pattern("broken", distribution(type("Raises", (Broken,), {"fails": "select"})))
    healthy, other = stage.consumer("q", credit=1), stage.consumer("broken", credit=1)
    stage.producer("q").sends()
    stage.producer("broken").sends()
    assert (len(healthy.got), len(other.got)) == (1, 1)
    assert [fields["address"] for _, fields in stage.reports] == ["broken"]
