"""What the author of this package runs to test it."""

from __future__ import annotations

import random

import pytest
from txrouter_two_choices import Options, factory

from txrouter.testing import FakeRouter, PolicyContract


class TwoChoicesContract(PolicyContract):
    factory = factory


TestTwoChoices = TwoChoicesContract.TestCase


def test_load_is_nearly_even() -> None:
    router = FakeRouter(factory.build(Options(), random.Random(1)))
    consumers = [router.attach(f"consumer-{number}", credit=1000) for number in range(10)]
    for _ in range(1000):
        router.send()
    assert max(consumer.in_flight for consumer in consumers) <= 105


def test_no_choice_is_no_policy() -> None:
    with pytest.raises(ValueError, match="choices: at least 1"):
        factory.build(Options(choices=0), random.Random(1))
