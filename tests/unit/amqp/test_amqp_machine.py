"""Whatever clients do, and in whatever pieces their bytes arrive: the router neither crashes nor loses count.

What this guards is proton's pointers as well: the ones the router holds must be good whenever it uses them. So it is
worth running with an allocator that spoils what is freed:

    MALLOC_PERTURB_=165 PYTHONMALLOC=malloc TXROUTER_TEST_EFFORT=20 pytest tests/unit/amqp/test_amqp_machine.py
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, seed
from hypothesis import strategies as st

from tests.effort import SEED, histories, seed_shown
from tests.unit.amqp.play import ACTS, POLICIES, Play


@seed(SEED)
@histories(60)
@given(
    factory=st.sampled_from(POLICIES),
    few=st.booleans(),
    script=st.lists(
        st.tuples(st.sampled_from(ACTS), st.integers(0, 7), st.integers(0, 839)), min_size=60, max_size=160
    ),
)
def whatever_clients_do(factory: Any, few: bool, script: list[tuple[str, int, int]]) -> None:
    play = Play(factory, few)
    for act, which, how in script:
        play.act(act, which, how)
    play.finish()


def test_whatever_clients_do_the_router_stands() -> None:
    with seed_shown():
        whatever_clients_do()
