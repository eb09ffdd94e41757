"""Distribution policies that do what none should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from zope.interface import implementer

from txrouter.interfaces import (
    ICreditWatcher,
    IDeliveryWatcher,
    IDistributionPolicy,
    IDistributionPolicyFactory,
)


@implementer(IDistributionPolicy)
class Raises:
    """Its mistake is everywhere."""

    def add(self, consumer: Any) -> None:
        pass

    def remove(self, consumer: Any) -> None:
        pass

    def select(self, delivery: Any) -> Any:
        raise ZeroDivisionError


class ReturnsNonsense(Raises):
    def select(self, delivery: Any) -> Any:
        return "the second from the left"


class ReturnsOneThatLeft(Raises):
    """It knows one consumer, the first."""

    def add(self, consumer: Any) -> None:
        self.first = getattr(self, "first", consumer)

    def select(self, delivery: Any) -> Any:
        return self.first


class ReturnsOneWithoutCredit(ReturnsOneThatLeft):
    """Whoever came last, though it may have none."""

    def add(self, consumer: Any) -> None:
        self.first = consumer


@implementer(ICreditWatcher, IDeliveryWatcher)
class RaisesInEveryFacet(Raises):
    def add(self, consumer: Any) -> NoReturn:
        raise ZeroDivisionError

    def remove(self, consumer: Any) -> NoReturn:
        raise ZeroDivisionError

    def sent(self, consumer: Any, delivery: Any) -> NoReturn:
        raise ZeroDivisionError

    def settled(self, consumer: Any, delivery: Any, outcome: str, seconds: float) -> NoReturn:
        raise ZeroDivisionError

    def credit_changed(self, consumer: Any, delta: int) -> NoReturn:
        raise ZeroDivisionError


@dataclass(frozen=True)
class Options:
    pass


@implementer(IDistributionPolicyFactory)
class Factory:
    summary = "not for use"
    options = Options

    def __init__(self, policy: type[Raises]) -> None:
        self.name = policy.__name__
        self._policy = policy

    def build(self, options: object, random: object) -> Raises:
        return self._policy()


raises = Factory(Raises)
returns_nonsense = Factory(ReturnsNonsense)
returns_one_that_left = Factory(ReturnsOneThatLeft)
returns_one_without_credit = Factory(ReturnsOneWithoutCredit)
raises_in_every_facet = Factory(RaisesInEveryFacet)
