"""The shipped policies keep to the contract."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from txrouter.policies import closest, pull, round_robin, weighted
from txrouter.testing import PolicyContract


class RoundRobinContract(PolicyContract):
    factory = round_robin.factory


class PullContract(PolicyContract):
    factory = pull.factory


class ClosestContract(PolicyContract):
    factory = closest.factory


class WeightedContract(PolicyContract):
    factory = weighted.factory
    properties = st.dictionaries(st.just("capacity"), st.integers(-1, 5) | st.floats() | st.none() | st.just("much"))


class WeightedByCreditContract(PolicyContract):
    factory = weighted.factory
    options = weighted.Options(capacity="credit")


class WeightedByConfigContract(PolicyContract):
    factory = weighted.factory
    options = weighted.Options(capacity="config", capacities={"x": 0.1})


TestRoundRobin = RoundRobinContract.TestCase
TestPull = PullContract.TestCase
TestClosest = ClosestContract.TestCase
TestWeighted = WeightedContract.TestCase
TestWeightedByCredit = WeightedByCreditContract.TestCase
TestWeightedByConfig = WeightedByConfigContract.TestCase

few = settings(TestPull.settings, max_examples=50)
TestRoundRobin.settings = TestPull.settings = TestClosest.settings = few
TestWeighted.settings = TestWeightedByCredit.settings = TestWeightedByConfig.settings = few
