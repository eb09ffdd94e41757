"""What wrappers have in common."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from zope.interface.interface import InterfaceClass

import txrouter.interfaces
from tests.policies.inside import asking, choosy
from txrouter.chains import chain
from txrouter.interfaces import IConsumer, IDistributionPolicy, IExplains, IReplyWatcher, ISelective, IWoken
from txrouter.policies import closest, outlier, pull, round_robin, slow_start, subset
from txrouter.policies.wrapper import Groups, Wrapper
from txrouter.testing import FakeDelivery, FakeRouter

WRAPPERS = pytest.mark.parametrize(
    "wrapper", [each.wrapper for each in (closest, outlier, slow_start, subset)], ids=lambda wrapper: wrapper.name
)


def around(wrapper: Any, policy: Any) -> Any:
    factory = chain((wrapper,), policy)
    return factory.build(factory.options(), None)


def told_of_consumers() -> set[str]:
    """The methods that policies can have to hear of a consumer."""
    found = set()
    for facet in vars(txrouter.interfaces).values():
        if isinstance(facet, InterfaceClass) and not facet.extends(IConsumer) and facet is not IDistributionPolicy:
            for name, method in facet.namesAndDescriptions():
                if getattr(method, "positional", ("",))[:1] == ("consumer",):
                    found.add(name)
    return found


@pytest.mark.parametrize("kind", [Wrapper, Groups])
def test_whatever_a_policy_can_be_told_of_a_consumer_is_passed_on(kind: type) -> None:
    """Whoever adds a facet has to say what wrappers do with it."""
    told = told_of_consumers()
    assert {"sent", "settled", "credit_changed", "capacity_changed", "asked", "answered"} <= told - {"add", "remove"}
    for name in told - {"add", "remove"}:
        assert inspect.isfunction(getattr(kind, name, None)), f"{kind.__name__} has no {name}"


@WRAPPERS
def test_it_declares_what_the_policy_inside_declares(wrapper: Any) -> None:
    assert IReplyWatcher.providedBy(around(wrapper, asking))
    assert ISelective.providedBy(around(wrapper, choosy))
    assert not IReplyWatcher.providedBy(around(wrapper, choosy))


def test_it_declares_its_own_as_well() -> None:
    assert IWoken.providedBy(around(outlier.wrapper, round_robin.factory))
    assert not IWoken.providedBy(around(slow_start.wrapper, round_robin.factory))
    assert ISelective.providedBy(around(subset.wrapper, round_robin.factory))


@WRAPPERS
def test_those_who_could_be_selected_are_the_consumers_themselves(wrapper: Any) -> None:
    router = FakeRouter(around(wrapper, pull.factory))
    consumers = [router.attach(id, credit=9, cost=cost) for cost, id in enumerate("ab")]
    router.send()
    assert IExplains.providedBy(router.policy)
    delivery = FakeDelivery()
    candidates = [consumer for consumer, _why in router.policy.candidates(delivery)]
    assert {id(consumer) for consumer in candidates} == {id(consumer) for consumer in consumers}
    assert candidates[0] is router.choose(delivery)
    assert isinstance(router.policy.by, str)


@WRAPPERS
def test_what_a_message_is_asked_for_is_asked_of_a_policy_inside(wrapper: Any) -> None:
    policy = around(wrapper, choosy)
    policy.clock = float
    assert policy.rank(FakeDelivery({"priority": 7})) == -7.0
    assert policy.kind(FakeDelivery({"subject": "x"})) != policy.kind(FakeDelivery({"subject": "z"}))
