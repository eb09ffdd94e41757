"""The wrappers keep to the contract, whichever policy is inside."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests.policies.inside import asking, choosy, inside, sticky
from tests.policies.shipped import AROUND, CHOOSING
from txrouter.chains import chain
from txrouter.policies import (
    adaptive,
    closest,
    deadline,
    exclusive,
    outlier,
    pull,
    reply_aware,
    slow_start,
    subset,
    weighted,
)
from txrouter.policies import sticky as by_key
from txrouter.testing import PolicyContract

INSIDE = [asking, choosy, *(each.factory for each in CHOOSING if each is not by_key)]
"""Those for which a message never waits for one consumer; the others have a test of their own."""
HOLDING = [choosy, *(each.factory for each in (adaptive, deadline, exclusive, reply_aware))]
"""Of these, those that hold messages although there is credit."""
FEW = settings(PolicyContract.TestCase.settings, max_examples=15, stateful_step_count=40, phases=[Phase.generate])

VALUES = st.sampled_from(["a", "b", "a,b", "", 1, b"x", None, True])
DRAWN: dict[str, Any] = {
    "properties": st.fixed_dictionaries({}, optional={"subset": VALUES, "priority": st.integers(-1, 1)}),
    "application_properties": st.fixed_dictionaries({}, optional={"subset": st.sampled_from(["a", "b", "c", 1])}),
    "fields": st.fixed_dictionaries(
        {},
        optional={
            "subject": st.sampled_from("xyz"),
            "group_id": st.sampled_from("pqr"),
            "message_id": st.integers(0, 9),
            "reply_to": st.just("r"),
            "priority": st.integers(0, 9),
        },
    ),
}


def keeps_to_it(factory: Any, *, work_conserving: bool = True, live: bool = True, **options: object) -> None:
    about = {
        "factory": factory,
        "options": factory.options(**options),
        "work_conserving": work_conserving,
        "live": live,
    }
    machine: Any = type("Contract", (PolicyContract,), {**about, **DRAWN})
    run_state_machine_as_test(machine, settings=FEW)


BY_NAME = pytest.mark.parametrize("policy", INSIDE, ids=lambda policy: policy.name)


@BY_NAME
def test_closest(policy: Any) -> None:
    keeps_to_it(chain((closest.wrapper,), policy), work_conserving=policy not in HOLDING, live=policy is not choosy)


@BY_NAME
def test_slow_start(policy: Any) -> None:
    keeps_to_it(chain((slow_start.wrapper,), policy), work_conserving=policy not in HOLDING, live=policy is not choosy)


@BY_NAME
def test_outlier(policy: Any) -> None:
    options = outlier.Options(failures=2, failure_rate=0.5, window_messages=3, seconds=10.0, timeout_seconds=50.0)
    keeps_to_it(chain((outlier.wrapper,), policy), work_conserving=False, live=policy is not choosy, outlier=options)


class FewSitOut(PolicyContract):
    """Never more than a share of the consumers sit out, whoever comes and goes."""

    factory = chain((outlier.wrapper,), pull.factory)
    options = factory.options(outlier=outlier.Options(failures=1, seconds=8e4, longest_seconds=8e4, most_share=0.4))
    work_conserving = False

    @invariant()
    def few_sit_out(self) -> None:
        for router in self.routers:
            there = len(router.consumers)
            assert router.policy._consumers <= there
            assert len(router.policy.apart) <= 0.4 * router.policy._consumers


TestFewSitOut = FewSitOut.TestCase
TestFewSitOut.settings = settings(FEW, max_examples=50)


@BY_NAME
def test_outlier_that_minds_replies(policy: Any) -> None:
    options = outlier.Options(failures=1, seconds=10.0, reply_seconds=50.0)
    keeps_to_it(chain((outlier.wrapper,), policy), work_conserving=False, live=policy is not choosy, outlier=options)


@BY_NAME
def test_subset(policy: Any) -> None:
    keeps_to_it(chain((subset.wrapper,), policy), work_conserving=False, live=False)


@BY_NAME
def test_all_of_them(policy: Any) -> None:
    wrappers = outlier.wrapper, slow_start.wrapper, subset.wrapper, closest.wrapper
    options = outlier.Options(failures=1, seconds=10.0)
    keeps_to_it(chain(wrappers, policy), work_conserving=False, live=False, outlier=options)


@pytest.mark.parametrize("wrapper", AROUND, ids=lambda module: module.wrapper.name)
@pytest.mark.parametrize("policy", [sticky, by_key.factory], ids=["sticky", "by-key"])
def test_a_policy_for_which_messages_wait(wrapper: Any, policy: Any) -> None:
    options = {"outlier": outlier.Options(failures=1, seconds=10.0, timeout_seconds=50.0)} if wrapper is outlier else {}
    keeps_to_it(chain((wrapper.wrapper,), policy), work_conserving=False, live=wrapper is not subset, **options)


def test_the_policies_inside_are_built_with_their_own_options() -> None:
    factory = chain((outlier.wrapper,), weighted.factory)
    options = factory.options(capacity="credit")
    assert isinstance(options, weighted.Options)
    assert dataclasses.asdict(options)["outlier"]["failures"] == 5
    assert inside(factory.build(options, None))._source == "credit"
