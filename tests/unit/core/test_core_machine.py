"""Whatever clients do, in whatever order: no message is lost or doubled, no credit invented, and nothing stays behind.

With the effort of `make test-long` these are more than 100,000 steps: see `tests.effort`, also for others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from tests.effort import EFFORT, SEED, histories, seed_shown
from tests.unit.core.fakes import StickyAndChoosy, WatchingPolicy, distribution
from tests.unit.core.machine import STEPS, RouterMachine
from txrouter.chains import chain
from txrouter.interfaces import IDelivery
from txrouter.policies import closest, outlier, pull, round_robin, slow_start, weighted


class PullMachine(RouterMachine):
    pass


class RoundRobinMachine(RouterMachine):
    policy = round_robin.factory


class WeightedMachine(RouterMachine):
    policy = weighted.factory


class ClosestMachine(RouterMachine):
    policy = closest.factory


class SwitchingMachine(RouterMachine):
    switches = True


class MulticastMachine(RouterMachine):
    names = ("m.auto", "m.block", "m.drop", "m.detach")


class MixedMachine(RouterMachine):
    names = ("q", "m.auto", "q", "m.drop")


class StickyAndChoosyMachine(RouterMachine):
    policy = StickyAndChoosy
    always_willing = False


@dataclass(frozen=True)
class Hasty(outlier.Options):
    """A single failure is too much."""

    failures: int = 1
    seconds: float = 1.0


class HastyWrapper(type(outlier.wrapper)):  # type: ignore[misc]
    options = Hasty


class WrappedMachine(RouterMachine):
    policy = chain((slow_start.wrapper, closest.wrapper), pull.factory)


class OutlierMachine(RouterMachine):
    policy = chain((HastyWrapper(), slow_start.wrapper), round_robin.factory)
    always_willing = False


class Patient(WatchingPolicy):
    """Everything is for the first consumer, and waits for it."""

    def select(self, delivery: IDelivery) -> Any:
        return self.consumers[0] if self.consumers else None


class ReassigningMachine(RouterMachine):
    policy = chain((HastyWrapper(),), distribution(Patient).factory)
    always_willing = False


class Mad(WatchingPolicy):
    """Chooses anybody, nobody or nonsense, and raises wherever it can."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(1)
        self.left: list[Any] = []

    def _raises(self) -> None:
        if self.random.random() < 0.1:
            raise RuntimeError("mad")

    def add(self, consumer: Any) -> None:
        super().add(consumer)
        self._raises()

    def remove(self, consumer: Any) -> None:
        super().remove(consumer)
        self.left.append(consumer)
        self._raises()

    def select(self, delivery: IDelivery) -> Any:
        self._raises()
        return self.random.choice([*self.consumers, *self.left[-1:], None, "nonsense", []])

    def credit_changed(self, consumer: Any, delta: int) -> None:
        self._raises()

    def sent(self, consumer: Any, delivery: IDelivery) -> None:
        self._raises()

    def settled(self, consumer: Any, delivery: IDelivery, outcome: str, seconds: float) -> None:
        self._raises()


class MadMachine(RouterMachine):
    policy = Mad
    always_willing = False
    sane = False


@pytest.mark.parametrize(
    ("machine", "share"),
    [
        (PullMachine, 2),
        (RoundRobinMachine, 1),
        (WeightedMachine, 1),
        (ClosestMachine, 1),
        (SwitchingMachine, 2),
        (MulticastMachine, 2),
        (MixedMachine, 1),
        (StickyAndChoosyMachine, 2),
        (WrappedMachine, 1),
        (OutlierMachine, 1),
        (ReassigningMachine, 2),
        (MadMachine, 2),
    ],
)
def test_whatever_clients_do_the_books_balance(machine: type[RouterMachine], share: int) -> None:
    before = STEPS[machine.__name__]
    count = 20 * share
    with seed_shown():
        run_state_machine_as_test(seed(SEED)(machine), settings=histories(count))
    assert STEPS[machine.__name__] - before > 40 * count * EFFORT, "that was too short"
