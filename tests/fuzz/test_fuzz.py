"""Everything that parses bytes, with what is known, with what is like it, and with what Hypothesis thinks of.

For longer, and guided by what code is reached: `make fuzz`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import EFFORT, SEED, histories, seed_shown
from tests.fuzz.corpora import CORPORA, corpus
from tests.fuzz.mutate import LONGEST, mutated
from tests.fuzz.run import Result, run
from tests.fuzz.targets import TARGETS

SLOW = {"config", "connection", "frames", "proxy"}
"""Those that take a millisecond and more for an input."""


def test_every_corpus_is_of_a_target() -> None:
    assert {directory.name for directory in CORPORA.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_known_does_no_harm(target: str) -> None:
    for name, data in corpus(target).items():
        try:
            TARGETS[target](data)
        except BaseException as error:
            error.add_note(f"in tests/fuzz/corpus/{target}/{name}")
            raise


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_like_it_does_no_harm(target: str) -> None:
    with seed_shown():
        result = run(target, TARGETS[target], (300 if target in SLOW else 1_500) * EFFORT, 60.0 * EFFORT, SEED)
        assert not result.fault, result.fault


def _inputs(target: str) -> st.SearchStrategy[bytes]:
    """Any bytes, and pieces of what is known put together in any way."""
    known = st.sampled_from(list(corpus(target).values()))
    piece = st.tuples(known, st.integers(0, LONGEST), st.integers(0, 64)).map(lambda it: it[0][it[1] :][: it[2]])
    return st.one_of(
        st.binary(max_size=200), st.lists(st.one_of(known, piece, st.binary(max_size=8)), max_size=4).map(b"".join)
    )


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_does_any_harm(target: str) -> None:
    @settings(histories(150))
    @given(_inputs(target))
    def harmless(data: bytes) -> None:
        TARGETS[target](data[:LONGEST])

    harmless()


# -- the fuzzer itself -------------------------------------------------------------------------------------------------


def ran(target: Callable[[bytes], None], inputs: int = 200) -> Result:
    return run("sasl", target, inputs, 60.0, 1)


def test_a_run_stops_at_a_fault_and_shows_it() -> None:
    def picky(data: bytes) -> None:
        assert len(data) < 20, "too long for me"

    result = ran(picky)
    assert "too long for me" in result.fault
    assert result.inputs < 200


def test_a_run_finds_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.run.SLOWEST", -1.0)
    assert "it took" in ran(lambda data: None).fault


def test_a_run_finds_what_keeps_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bytes] = []
    monkeypatch.setattr("tests.fuzz.run.resident", lambda: len(kept) * 200_000)
    assert "it has grown" in ran(kept.append).fault


def test_a_run_without_a_fault_has_none() -> None:
    assert ran(lambda data: None).fault == ""


def test_the_same_seed_makes_the_same_inputs() -> None:
    known = [b"one", b"another"]
    first, second = Random(5), Random(5)
    assert [mutated(first, known) for _ in range(20)] == [mutated(second, known) for _ in range(20)]


def test_inputs_are_no_longer_than_they_may_be() -> None:
    random = Random(1)
    known = [bytes(LONGEST)]
    assert all(len(mutated(random, known)) <= LONGEST for _ in range(500))
