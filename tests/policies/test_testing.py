"""The router to try policies with, and the contract: that it finds what is wrong with a policy."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Hashable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test
from zope.interface import implementer
from zope.interface.verify import verifyObject

from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDescribed,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IProducer,
    IRanking,
    IReassigning,
    IReplyWatcher,
    ISelective,
)
from txrouter.policies import pull
from txrouter.testing import FakeConsumer, FakeDelivery, FakeProducer, FakeRouter, PolicyContract


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher, IDescribed)
class First:
    """The first consumer with credit gets everything. A plain policy to break; it notes what it is told."""

    def __init__(self) -> None:
        self.consumers: list[IConsumer] = []
        self.told: list[tuple[object, ...]] = []

    def add(self, consumer: IConsumer) -> None:
        self.consumers.append(consumer)
        self.told.append(("add", consumer.id, consumer.credit))

    def remove(self, consumer: IConsumer) -> None:
        self.consumers.remove(consumer)
        self.told.append(("remove", consumer.id, consumer.in_flight))

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return next((consumer for consumer in self.consumers if consumer.credit > 0), None)

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        self.told.append(("sent", consumer.id, consumer.credit, consumer.in_flight))

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self.told.append(("settled", consumer.id, consumer.in_flight, outcome, seconds))

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        self.told.append(("credit", consumer.id, consumer.credit, delta))

    def capacity_changed(self, consumer: IConsumer) -> None:
        self.told.append(("capacity", consumer.id, consumer.capacity))

    def describe(self) -> dict[str, object]:
        return {"consumers": [consumer.id for consumer in self.consumers]}


class Waits(First):
    """Everything waits for the consumer that came first."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return self.consumers[0] if self.consumers else None


@implementer(IReassigning)
class Restless(Waits):
    """Everything waits for one consumer; when something does already, for another."""

    reassign: Callable[[IConsumer], None]

    def select(self, delivery: IDelivery) -> IConsumer | None:
        if self.consumers and self.consumers[0].waiting:
            self.consumers.append(self.consumers.pop(0))
            self.reassign(self.consumers[-1])
            return None
        return super().select(delivery)


@implementer(IReplyWatcher)
class Asks(First):
    """Hears of replies."""

    reply_seconds = 10.0

    def asked(self, consumer: IConsumer, delivery: IDelivery, request: int) -> None:
        self.told.append(("asked", consumer.id))

    def answered(self, consumer: IConsumer, request: int, seconds: float | None) -> None:
        self.told.append(("answered", consumer.id, seconds))


@pytest.fixture
def first() -> First:
    return First()


@pytest.fixture
def router(first: First) -> FakeRouter:
    return FakeRouter(first)


# -- the fakes ---------------------------------------------------------------------------------------------------------


def test_fakes_are_what_a_policy_sees() -> None:
    for interface, fake in (
        (IProducer, FakeProducer("p")),
        (IConsumer, FakeConsumer("c")),
        (IDelivery, FakeDelivery()),
    ):
        verifyObject(interface, fake)


def test_fields_of_a_message_are_read_by_their_name() -> None:
    delivery = FakeDelivery({"group_id": "g"}, {"colour": "red"})
    assert (delivery.field("group_id"), delivery.field("subject")) == ("g", None)
    assert (delivery.application_property("colour"), delivery.application_property("size")) == ("red", None)
    with pytest.raises(KeyError, match="group-id"):
        delivery.field("group-id")


def test_a_policy_is_told_after_the_numbers_have_changed(router: FakeRouter, first: First) -> None:
    a = router.attach("a", credit=1)
    router.send()
    router.grant(a, 2)
    router.send(FakeDelivery(presettled=True))
    router.set_credit(a, 0)
    router.set_capacity(a, 3.0)
    router.settle(a, "rejected", 0.5)
    assert first.told == [
        ("add", "a", 1),
        ("sent", "a", 0, 1),
        ("credit", "a", 2, 2),
        ("sent", "a", 1, 1),
        ("credit", "a", 0, -1),
        ("capacity", "a", 3.0),
        ("settled", "a", 0, "rejected", 0.5),
    ]


def test_of_what_a_consumer_has_in_flight_when_it_leaves_nothing_more_is_told(router: FakeRouter, first: First) -> None:
    a = router.attach("a", credit=2, in_flight=1)
    router.send()
    first.told.clear()
    router.detach(a)
    assert first.told == [("remove", "a", 2)]


def test_a_message_is_held_until_there_is_credit(router: FakeRouter) -> None:
    a = router.attach("a")
    assert [router.send(), router.send()] == [None, None]
    router.grant(a, 1)
    assert (a.in_flight, len(router.held)) == (1, 1)


def test_held_messages_are_let_go_when_the_last_consumer_leaves(router: FakeRouter) -> None:
    a = router.attach("a")
    router.send()
    router.detach(a)
    assert router.held == []


def test_a_message_waits_for_the_consumer_that_the_policy_wants() -> None:
    router = FakeRouter(Waits())
    a, b = router.attach("a"), router.attach("b", credit=10)
    assert [router.send(), router.send()] == [None, None]
    assert (a.waiting, b.in_flight) == (2, 0)
    router.grant(a, 1)
    assert (a.waiting, a.in_flight) == (1, 1)
    router.detach(a)
    assert (a.waiting, b.in_flight) == (0, 1)


def test_a_released_message_goes_to_one_that_has_not_released_it(router: FakeRouter) -> None:
    a, b = router.attach("a", credit=9), router.attach("b", credit=9)
    assert router.send() is a
    assert router.settle(a, "released") is b
    assert router.settle(b, "released") is None
    assert router.held == []


def test_a_released_message_is_held_for_one_that_has_no_credit_yet(router: FakeRouter) -> None:
    a, b = router.attach("a", credit=9), router.attach("b")
    router.send()
    assert router.settle(a, "released") is None
    router.grant(b, 1)
    assert b.in_flight == 1


def test_a_delivery_in_the_middle_can_be_settled(router: FakeRouter) -> None:
    a, b = router.attach("a", credit=2), router.attach("b", credit=2)
    for number in range(2):
        router.send(FakeDelivery({"message_id": number}))
    assert router.settle(a, "released", index=1) is b
    with pytest.raises(IndexError):
        router.settle(a, index=1)


@pytest.mark.parametrize("choice", ["a", 7, FakeConsumer("a"), FakeConsumer("unknown")])
def test_what_is_no_consumer_of_the_address_is_refused(choice: Any) -> None:
    class Confused(First):
        def select(self, delivery: IDelivery) -> IConsumer | None:
            return choice  # type: ignore[no-any-return]

    router = FakeRouter(Confused())
    router.attach("a", credit=1)
    with pytest.raises(AssertionError, match="not attached"):
        router.send()


def test_a_message_that_nobody_is_there_for_is_not_held(router: FakeRouter) -> None:
    assert router.send() is None
    assert router.held == []


def test_another_policy_takes_over_what_is_in_flight_and_held(router: FakeRouter) -> None:
    a = router.attach("a", credit=1)
    router.send(), router.send()
    other = First()
    router.replace(other)
    router.settle(a)
    router.grant(a, 1)
    assert other.told == [
        ("add", "a", 0),
        ("settled", "a", 0, "accepted", 0.0),
        ("credit", "a", 1, 1),
        ("sent", "a", 0, 1),
    ]


def test_a_reply_is_given_up_after_the_time_that_the_policy_says() -> None:
    router = FakeRouter(Asks())
    router.attach("a", credit=2)
    for id in range(2):
        router.send(FakeDelivery({"reply_to": "answers", "message_id": id}))
        router.later(4.0)
    router.later(3.0)
    assert (router.requests, router.policy.told[-1]) == (1, ("answered", "a", None))
    router.reply()
    assert (router.requests, router.policy.told[-1]) == (0, ("answered", "a", 7.0))


def test_a_message_is_a_request_if_its_reply_can_be_known() -> None:
    router = FakeRouter(Asks())
    router.attach("a", credit=2)
    router.send(FakeDelivery({"reply_to": "answers"}))
    router.send(FakeDelivery({"message_id": 1}))
    assert router.requests == 0


def test_without_hypothesis_it_says_what_is_missing() -> None:
    program = "import sys; sys.modules['hypothesis'] = None; import txrouter.testing"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stderr.endswith("ImportError: txrouter.testing needs hypothesis: pip install hypothesis\n")


# -- the contract ------------------------------------------------------------------------------------------------------


class Forgetful(First):
    """Goes on selecting who has left."""

    def remove(self, consumer: IConsumer) -> None:
        pass


class Lazy(First):
    """Selects nobody, although there is credit."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return None


class Deaf(First):
    """Knows only the credit that a consumer came with."""

    def __init__(self) -> None:
        super().__init__()
        self.able: set[IConsumer] = set()

    def add(self, consumer: IConsumer) -> None:
        super().add(consumer)
        if consumer.credit:
            self.able.add(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return next((each for each in self.consumers if each.credit > 0 and each in self.able), None)


class Blind(First):
    """Does not see that credit is used up by what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.able: dict[IConsumer, None] = {}

    def add(self, consumer: IConsumer) -> None:
        super().add(consumer)
        self.credit_changed(consumer, 0)

    def remove(self, consumer: IConsumer) -> None:
        super().remove(consumer)
        self.able.pop(consumer, None)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        if consumer.credit:
            self.able[consumer] = None
        else:
            self.able.pop(consumer, None)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return next(iter(self.able), None)


class Impulsive(First):
    """Draws from a generator that it was not given."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        able = [consumer for consumer in self.consumers if consumer.credit > 0]
        return random.SystemRandom().choice(able) if able else None


class ByAddress(First):
    """Depends on where objects lie in memory."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return min((each for each in self.consumers if each.credit > 0), key=id, default=None)


class Meddling(First):
    """Keeps the router's numbers itself."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        choice = super().select(delivery)
        if choice is not None:
            choice.credit -= 1
        return choice


class Moody(First):
    """Is another after it was looked at."""

    def describe(self) -> dict[str, object]:
        self.consumers.reverse()
        return {}


class Unspeakable(First):
    """Describes itself by what is not JSON."""

    def describe(self) -> dict[str, object]:
        return {"consumers": self.consumers}


class Strict(First):
    """Does not expect a consumer to leave before it has settled everything."""

    def remove(self, consumer: IConsumer) -> None:
        assert not consumer.in_flight, "there is something in flight"
        super().remove(consumer)


class Trusting(First):
    """Believes that what it selects is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.selected: IConsumer | None = None

    def select(self, delivery: IDelivery) -> IConsumer | None:
        self.selected = super().select(delivery)
        return self.selected

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        assert consumer is self.selected, "that was not selected"


class Offended(First):
    """Chooses nobody any more once a message was not accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.offended = False

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return None if self.offended else super().select(delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self.offended |= outcome != "accepted"


class Careful(First):
    """Never has more than two messages in flight."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return super().select(delivery) if sum(each.in_flight for each in self.consumers) < 2 else None


class Possessive(First):
    """Expects to have sent all that is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.mine: set[IDelivery] = set()

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        self.mine.add(delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        assert delivery in self.mine, "that was not sent by this policy"


@implementer(ISelective)
class Vague(First):
    """Says of what kind a message is by what cannot be hashed."""

    def kind(self, delivery: IDelivery) -> Hashable:
        return ("like", ["this"])


@implementer(IRanking)
class Rankless(First):
    """Says nothing of where a message stands."""

    def rank(self, delivery: IDelivery) -> float:
        return None  # type: ignore[return-value]


@implementer(IRanking)
class Endless(Rankless):
    """Ranks by what is no number."""

    def rank(self, delivery: IDelivery) -> float:
        return float("nan")


@implementer(IDistributionPolicy, ICreditWatcher)
class Unfinished:  # type: ignore[misc]
    """Declares what it does not have."""

    def add(self, consumer: IConsumer) -> None:
        pass

    def remove(self, consumer: IConsumer) -> None:
        pass

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return None


@implementer(IDistributionPolicyFactory)
class FactoryOf:
    name = "under-test"
    summary = "the policy under test"
    options = pull.Options

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        return self.kind()  # type: ignore[no-any-return]


def complaint(kind: Any, examples: int = 200, **attributes: Any) -> str:
    """What the contract has to say of a policy; nothing, if it is right."""
    machine: Any = type("Contract", (PolicyContract,), {"factory": FactoryOf(kind), **attributes})
    parent = machine.TestCase.settings
    thorough = settings(
        parent, max_examples=examples, derandomize=True, database=None, phases=[Phase.generate], print_blob=False
    )
    try:
        run_state_machine_as_test(machine, settings=thorough)
    except FlakyFailure as failure:  # it chose differently once, and not when that was tried again
        return str(failure.exceptions[0])
    except Exception as error:
        return str(error)
    return ""


def test_the_contract_accepts_a_plain_policy() -> None:
    assert complaint(First, examples=30) == ""


def test_the_contract_accepts_a_policy_that_waits_if_it_says_so() -> None:
    assert complaint(Waits, examples=30, work_conserving=False) == ""
    assert "there is credit of" in complaint(Waits)


def test_the_contract_accepts_a_policy_that_has_what_waits_for_one_consumer_go_to_another() -> None:
    assert complaint(Restless, examples=100, work_conserving=False) == ""


def test_the_contract_accepts_a_policy_that_holds_for_a_time_if_it_says_so() -> None:
    assert complaint(Careful, examples=50, work_conserving=False) == ""


@pytest.mark.parametrize("kind", [Lazy, Offended])
def test_the_contract_finds_that_a_policy_holds_for_ever_unless_it_may(kind: type) -> None:
    assert "would be held for ever" in complaint(kind, work_conserving=False)
    assert complaint(kind, examples=30, work_conserving=False, live=False) == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Forgetful, "not attached"),
        (Lazy, "select returned None; there is credit of"),
        (Deaf, "select returned None; there is credit of"),
        (Blind, "select returned consumer-"),
        (Impulsive, "chose differently"),
        (ByAddress, "chose differently"),
        (Meddling, "select changed a consumer"),
        (Moody, "chose differently"),
        (Unspeakable, "not JSON serializable"),
        (Strict, "there is something in flight"),
        (Trusting, "that was not selected"),
        (Unfinished, "credit_changed"),
        (Possessive, "not sent by this policy"),
        (Vague, "kind returned ('like', ['this']), which is not hashable"),
        (Rankless, "rank returned None, which is no number"),
        (Endless, "rank returned nan, which is no number"),
    ],
)
def test_the_contract_finds_what_is_wrong(kind: type, words: str) -> None:
    assert words in complaint(kind)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("name", "UnderTest", "not lower case with hyphens: 'UnderTest'"),
        ("summary", "two\nlines", "not one line"),
        ("options", dict, "no dataclass"),
    ],
)
def test_the_contract_finds_what_is_wrong_with_a_factory(name: str, value: object, words: str) -> None:
    factory = FactoryOf(First)
    setattr(factory, name, value)
    assert words in complaint(First, factory=factory)
