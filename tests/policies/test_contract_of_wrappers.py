"""The wrappers keep to the contract, whichever policy is inside."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from tests.policies.inside import asking, choosy, inside, sticky
from txrouter.chains import chain
from txrouter.policies import closest, outlier, power_of_two, priority, pull, round_robin, slow_start, subset, weighted
from txrouter.testing import PolicyContract

INSIDE = [asking, choosy, power_of_two.factory, priority.factory, pull.factory, round_robin.factory, weighted.factory]
"""And `sticky`, which may let a message wait for a consumer without credit."""
FEW = settings(PolicyContract.TestCase.settings, max_examples=15, stateful_step_count=40, phases=[Phase.generate])

VALUES = st.sampled_from(["a", "b", "a,b", "", 1, b"x", None, True])
DRAWN: dict[str, Any] = {
    "properties": st.fixed_dictionaries({}, optional={"subset": VALUES, "priority": st.integers(-1, 1)}),
    "application_properties": st.fixed_dictionaries({}, optional={"subset": st.sampled_from(["a", "b", "c", 1])}),
    "fields": st.fixed_dictionaries(
        {}, optional={"subject": st.sampled_from("xyz"), "reply_to": st.just("r"), "priority": st.integers(0, 9)}
    ),
}


def keeps_to_it(factory: Any, work_conserving: bool, **options: object) -> None:
    machine: Any = type(
        "Contract",
        (PolicyContract,),
        {"factory": factory, "options": factory.options(**options), "work_conserving": work_conserving, **DRAWN},
    )
    run_state_machine_as_test(machine, settings=FEW)


BY_NAME = pytest.mark.parametrize("policy", INSIDE, ids=lambda policy: policy.name)


@BY_NAME
def test_closest(policy: Any) -> None:
    keeps_to_it(chain((closest.wrapper,), policy), policy is not choosy)


@BY_NAME
def test_slow_start(policy: Any) -> None:
    keeps_to_it(chain((slow_start.wrapper,), policy), policy is not choosy)


@BY_NAME
def test_outlier(policy: Any) -> None:
    options = outlier.Options(failures=2, failure_rate=0.5, window_messages=3, seconds=10.0, timeout_seconds=50.0)
    keeps_to_it(chain((outlier.wrapper,), policy), False, outlier=options)


@BY_NAME
def test_outlier_that_minds_replies(policy: Any) -> None:
    options = outlier.Options(failures=1, seconds=10.0, reply_seconds=50.0)
    keeps_to_it(chain((outlier.wrapper,), policy), False, outlier=options)


@BY_NAME
def test_subset(policy: Any) -> None:
    keeps_to_it(chain((subset.wrapper,), policy), False)


@BY_NAME
def test_all_of_them(policy: Any) -> None:
    wrappers = outlier.wrapper, slow_start.wrapper, subset.wrapper, closest.wrapper
    keeps_to_it(chain(wrappers, policy), False, outlier=outlier.Options(failures=1, seconds=10.0))


@pytest.mark.parametrize("wrapper", [closest, outlier, slow_start, subset], ids=lambda module: module.wrapper.name)
def test_a_policy_for_which_messages_wait(wrapper: Any) -> None:
    keeps_to_it(chain((wrapper.wrapper,), sticky), False)


def test_the_policies_inside_are_built_with_their_own_options() -> None:
    factory = chain((outlier.wrapper,), weighted.factory)
    options = factory.options(capacity="credit")
    assert isinstance(options, weighted.Options)
    assert dataclasses.asdict(options)["outlier"]["failures"] == 5
    assert inside(factory.build(options, None))._source == "credit"
