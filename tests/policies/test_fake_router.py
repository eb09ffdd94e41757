"""`FakeRouter` tells a policy what the router itself tells it, in the same order, with the same numbers."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from zope.interface import implementer

from tests.unit.core import fakes
from txrouter.core.outcomes import ACCEPTED, RELEASED, Outcome, modified, rejected
from txrouter.interfaces import (
    ICapacityWatcher,
    IConsumer,
    ICreditWatcher,
    IDelivery,
    IDeliveryWatcher,
    IDistributionPolicy,
)
from txrouter.policies.pull import Pull
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter

OUTCOMES = [ACCEPTED, rejected("x", "y"), modified(delivery_failed=True), RELEASED]


@implementer(IDistributionPolicy, ICapacityWatcher, ICreditWatcher, IDeliveryWatcher)
class Noting:
    """Does as another policy does, and notes what it is told."""

    policy: Any

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def _note(self, what: str, consumer: IConsumer, *more: object) -> None:
        numbers = (consumer.credit, consumer.in_flight, consumer.waiting, consumer.capacity)
        self.told.append((what, consumer.id, *numbers, *more))

    def add(self, consumer: IConsumer) -> None:
        self._note("add", consumer)
        self.policy.add(consumer)

    def remove(self, consumer: IConsumer) -> None:
        self._note("remove", consumer)
        self.policy.remove(consumer)

    def select(self, delivery: IDelivery) -> IConsumer | None:
        choice: IConsumer | None = self.policy.select(delivery)
        return choice

    def sent(self, consumer: IConsumer, delivery: IDelivery) -> None:
        self._note("sent", consumer, delivery.presettled)
        self.policy.sent(consumer, delivery)

    def settled(self, consumer: IConsumer, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self._note("settled", consumer, outcome, seconds)
        self.policy.settled(consumer, delivery, outcome, seconds)

    def credit_changed(self, consumer: IConsumer, delta: int) -> None:
        self._note("credit", consumer, delta)
        self.policy.credit_changed(consumer, delta)

    def capacity_changed(self, consumer: IConsumer) -> None:
        self._note("capacity", consumer)


class Waiting(Pull):
    """Everything waits for whoever came first."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        return next(iter(self._consumers), None)


class Alike(RuleBasedStateMachine):
    """The same events at the router's core and at the fake one."""

    policy: ClassVar[type] = Pull
    consumers = Bundle("consumers")

    @initialize()
    def build(self) -> None:
        self.stage = fakes.Stage(Noting)
        self.stage.producer()
        self.real: Any = self.stage.address().policy
        self.real.policy = self.policy()
        self.policy_of_fake = Noting()
        self.policy_of_fake.policy = self.policy()
        self.fake = FakeRouter(self.policy_of_fake)
        self.pairs: dict[str, tuple[fakes.FakeConsumer, FakeConsumer]] = {}

    @rule(target=consumers, credit=st.integers(0, 3))
    def attaches(self, credit: int) -> str:
        real = self.stage.consumer()
        fake = self.fake.attach(real.id)
        self.pairs[real.id] = real, fake
        self.grants(real.id, credit)
        return real.id

    @rule(consumer=consumers, credit=st.integers(1, 3))
    def grants(self, consumer: str, credit: int) -> None:
        real, fake = self.pairs[consumer]
        real.grants(credit)
        self.fake.grant(fake, credit)

    @rule(consumer=consumers)
    def drains(self, consumer: str) -> None:
        real, fake = self.pairs[consumer]
        real.drains()
        self.fake.set_credit(fake, 0)

    @rule(consumer=consumers, capacity=st.sampled_from([1.0, 2.0]))
    def changes_capacity(self, consumer: str, capacity: float) -> None:
        real, fake = self.pairs[consumer]
        self.stage.router.set_capacity(real, capacity)
        self.fake.set_capacity(fake, capacity)

    @rule(presettled=st.booleans())
    def message_arrives(self, presettled: bool) -> None:
        producer = self.stage.producer()
        if producer.may_send:
            producer.sends(presettled)
            self.fake.send(FakeDelivery(presettled=presettled))

    @rule(consumer=consumers, index=st.integers(0, 9), outcome=st.sampled_from(OUTCOMES))
    def settles(self, consumer: str, index: int, outcome: Outcome) -> None:
        real, fake = self.pairs[consumer]
        if fake.in_flight:
            index %= fake.in_flight
            real.settles(list(real.unsettled.values())[index], outcome)  # type: ignore[arg-type]
            self.stage.turn()
            self.fake.settle(fake, outcome.state, index=index)

    @rule(consumer=consumes(consumers))
    def leaves(self, consumer: str) -> None:
        real, fake = self.pairs.pop(consumer)
        real.leaves()
        self.fake.detach(fake)

    @invariant()
    def policies_are_told_alike(self) -> None:
        assert self.policy_of_fake.told == self.real.told


class AlikeWaiting(Alike):
    policy = Waiting


TestAlike = Alike.TestCase
TestAlikeWaiting = AlikeWaiting.TestCase
TestAlike.settings = TestAlikeWaiting.settings = settings(TestAlike.settings, max_examples=50)
