"""Watching an address."""

from __future__ import annotations

from typing import Any

from tests.unit.core.fakes import Asking, Stage
from txrouter.core.outcomes import ACCEPTED
from txrouter.policies import round_robin


class Log:
    """An observer that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def choosing(self, delivery: Any) -> None:
        self.heard.append(("choosing", delivery))

    def chose(self, delivery: Any, consumer: Any) -> None:
        self.heard.append(("chose", consumer))

    def sent(self, consumer: Any, delivery: Any) -> None:
        self.heard.append(("sent", consumer))

    def settled(self, consumer: Any, delivery: Any, outcome: str, seconds: float) -> None:
        self.heard.append(("settled", consumer, outcome, seconds))


def calls(stage: Stage) -> tuple[Any, ...]:
    address = stage.address()
    return address.select, address.sent, address.settled


def test_an_observer_hears_what_becomes_of_a_message() -> None:
    stage, log = Stage(), Log()
    consumer = stage.consumer(credit=1)
    producer = stage.producer("q")
    stage.router.observations.begin(stage.address(), log)
    message = producer.sends()
    stage.later(2)
    consumer.settles(message, ACCEPTED)
    assert log.heard == [
        ("choosing", message),
        ("chose", consumer),
        ("sent", consumer),
        ("settled", consumer, "accepted", 2),
    ]


def test_once_nobody_watches_the_policy_is_called_as_before() -> None:
    stage, log = Stage(), Log()
    consumer = stage.consumer(credit=2)
    before = calls(stage)
    stage.router.observations.begin(stage.address(), log)
    stage.router.observations.begin(stage.address(), Log())
    stage.router.observations.end(stage.address(), log)
    assert calls(stage) != before
    stage.producer("q").sends()
    assert log.heard == []
    other = stage.router.observations._observed[stage.address()].observers[0]
    stage.router.observations.end(stage.address(), other)
    assert calls(stage) == before
    assert consumer.in_flight == 1


def test_an_observer_goes_on_with_another_policy() -> None:
    stage, log = Stage(), Log()
    consumer = stage.consumer(credit=2)
    producer = stage.producer("q")
    stage.router.observations.begin(stage.address(), log)
    stage.switches(stage.address(), round_robin.factory)
    stage.turn()
    producer.sends()
    assert ("sent", consumer) in log.heard
    stage.router.observations.end(stage.address(), log)
    assert stage.address().select == stage.address().policy.select


def test_who_comes_in_between_stays_there_and_the_observer_does_not() -> None:
    stage, log = Stage(Asking), Log()
    stage.consumer(credit=9)
    replies = stage.consumer("replies", credit=9)
    producer, replier = stage.producer("q"), stage.producer("replies")
    address = stage.address("replies")
    stage.router.observations.begin(address, log)
    producer.sends(reply_to="replies", message_id=1)  # from here on the messages to `replies` are looked at
    replier.sends(correlation_id=5)
    assert ("sent", replies) in log.heard
    stage.router.observations.end(address, log)
    heard = len(log.heard)
    replier.sends(correlation_id=1)
    assert len(log.heard) == heard
    assert ("answered", stage.address().policy.consumers[0], 0.0) in stage.address().policy.heard


def test_who_comes_in_between_is_heard_behind_all_who_watch() -> None:
    stage, log = Stage(), Log()
    stage.consumer(credit=9)
    stage.router.observations.begin(stage.address(), log)
    stage.router.observations.step_aside(stage.address())
    stage.producer("q").sends()
    assert log.heard == []
    stage.router.observations.follow(stage.address())
    stage.producer("q").sends()
    assert len(log.heard) == 3


def test_an_address_that_is_forgotten_is_not_kept() -> None:
    stage, log = Stage(), Log()
    consumer = stage.consumer(credit=1)
    address = stage.address()
    stage.router.observations.begin(address, log)
    consumer.leaves()
    stage.router.observations.end(address, log)
    assert not stage.router.observations._observed
