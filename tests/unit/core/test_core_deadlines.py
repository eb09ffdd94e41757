"""Messages for which it is too late, by what their policy says: they are turned away, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zope.interface import implementer

from tests.unit.core.fakes import Message, Stage, WatchingPolicy, distribution
from txrouter.core.deliveries import Malformed
from txrouter.core.outcomes import RELEASED
from txrouter.interfaces import IDelivery, IExpiring, ITimed
from txrouter.policies import pull


@implementer(IExpiring, ITimed)
class Impatient(WatchingPolicy):
    """Every message has as many seconds as it says in its subject."""

    clock: Callable[[], float]

    def select(self, delivery: IDelivery) -> Any:
        late = isinstance(delivery.field("subject"), float) and self.deadline(delivery) <= self.clock()
        return None if late else super().select(delivery)

    def deadline(self, delivery: IDelivery) -> Any:
        seconds: Any = delivery.field("subject")
        return None if seconds is None else delivery.arrived + seconds


@pytest.fixture
def stage() -> Stage:
    return Stage(Impatient)


def ended(message: Message) -> str | None:
    """Why it was rejected."""
    return message.outcome.condition if message.outcome is not None else None


EXPIRED = "amqp:message-expired"


def test_what_is_held_is_turned_away_when_it_is_too_late(stage: Stage) -> None:
    consumer = stage.consumer()
    message, other = stage.producer().sends(subject=1.5), stage.producer().sends()
    stage.later(1.4)
    assert message.is_held
    stage.later(0.1)
    assert ended(message) == EXPIRED
    assert stage.counters["expired"] == 1
    consumer.grants(9)
    assert consumer.got == [other]


def test_the_time_to_live_counts_as_well(stage: Stage) -> None:
    stage.consumer()
    sooner, later = stage.producer().sends(subject=2.0, ttl=1_000), stage.producer().sends(subject=1.0, ttl=2_000)
    stage.later(1.0)
    assert (ended(sooner), ended(later)) == (EXPIRED, EXPIRED)


def test_what_is_too_late_when_it_comes_is_turned_away_at_once(stage: Stage) -> None:
    consumer = stage.consumer(credit=9)
    message = stage.producer().sends(subject=0.0)
    assert ended(message) == EXPIRED
    assert consumer.got == []


def test_what_is_released_too_late_goes_to_nobody_else(stage: Stage) -> None:
    one, two = stage.consumer(credit=1), stage.consumer(credit=1)
    message = stage.producer().sends(subject=1.0)
    stage.later(1.0)
    one.settles(message, RELEASED)
    assert ended(message) == EXPIRED
    assert two.got == []


def test_credit_that_comes_in_the_same_turn_is_too_late(stage: Stage) -> None:
    """The timer that would turn it away has not been served yet."""
    consumer = stage.consumer()
    message = stage.producer().sends(subject=1.0)
    stage.router.now += 1.0
    consumer.grants(1)
    assert ended(message) == EXPIRED
    assert consumer.got == []


def test_a_policy_that_takes_over_is_asked_about_what_is_held() -> None:
    stage = Stage(pull.factory)
    stage.consumer()
    message = stage.producer().sends(subject=1.0)
    stage.later(0.5)
    stage.router.policies.replace(stage.address(), distribution(Impatient))
    stage.later(0.5)
    assert ended(message) == EXPIRED


def test_a_policy_that_is_replaced_says_nothing_more(stage: Stage) -> None:
    stage.consumer()
    message = stage.producer().sends(subject=1.0)
    stage.router.policies.replace(stage.address(), distribution(pull.factory))
    stage.later(2.0)
    assert message.is_held


@pytest.mark.parametrize("subject", ["soon", float("nan")])
def test_where_a_policy_cannot_say_it_is_never_too_late(stage: Stage, subject: object) -> None:
    stage.consumer()
    message = stage.producer().sends(subject=subject)
    stage.later(1e6)
    assert message.is_held
    assert bool(stage.counters["policy_errors"]) is (subject == "soon")


def test_what_cannot_be_read_for_it_is_refused(stage: Stage) -> None:
    stage.consumer()
    assert ended(stage.producer().sends(subject=Malformed)) == "amqp:decode-error"


def test_what_a_policy_that_takes_over_cannot_read_is_refused_at_its_time() -> None:
    stage = Stage(pull.factory)
    stage.consumer()
    message = stage.producer().sends(subject=Malformed, ttl=1_000)
    stage.router.policies.replace(stage.address(), distribution(Impatient))
    stage.later(1.0)
    assert ended(message) == "amqp:decode-error"
