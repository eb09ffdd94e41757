"""What a consumer, or its health address, may say of its capacity, and what is nonsense."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txrouter.core.signals import LARGEST, SMALLEST, Signal, capacity_of, signal_of

OUT = Signal(barred=True)


@pytest.mark.parametrize(
    ("said", "signal"),
    [
        (3, Signal(capacity=3.0)),
        (0.5, Signal(capacity=0.5)),
        (LARGEST, Signal(capacity=LARGEST)),
        ("3", Signal(capacity=3.0)),
        (" 2.5\n", Signal(capacity=2.5)),
        ("1e3", Signal(capacity=1000.0)),
        ("75%", Signal(share=0.75)),
        ("7.5%", Signal(share=0.075)),
        ("150%", Signal(share=1.5)),
        ("up", Signal()),
        ("READY", Signal()),
        ("ready 75%", Signal(share=0.75)),
        ("75%,Up\r\n", Signal(share=0.75)),
        ("up\t50% # all is well, down the road too", Signal(share=0.5)),
        ("up maxconn:30", Signal()),
        ("50%\ndrain", Signal(share=0.5)),
        (0, OUT),
        (0.0, OUT),
        ("0", OUT),
        ("0%", OUT),
        ("up 0%", OUT),
        ("drain", OUT),
        ("maint", OUT),
        ("Down # the disk is full", OUT),
        ("stopped", OUT),
        ("fail", OUT),
        ("failed", OUT),
        ("ready down", OUT),
        ("drain 75%", OUT),
    ],
)
def test_what_can_be_said(said: object, signal: Signal) -> None:
    assert signal_of(said) == signal


NONSENSE = [-1, math.nan, math.inf, -math.inf, LARGEST * 2, SMALLEST / 2, 10**400, -(10**5000), True, False, None, b"5"]


@pytest.mark.parametrize("said", NONSENSE, ids=lambda said: type(said).__name__)
def test_what_is_no_capacity(said: object) -> None:
    with pytest.raises(ValueError, match=r"is no number|is not from|too many digits"):
        signal_of(said)
    with pytest.raises(ValueError, match=r"is no number|is not from|too many digits"):
        capacity_of(said)


@pytest.mark.parametrize("said", [0, "3", [3], {}])
def test_what_is_no_capacity_where_a_number_is_wanted(said: object) -> None:
    with pytest.raises(ValueError, match=r"is no number|is not from"):
        capacity_of(said)


@pytest.mark.parametrize(
    "said",
    ["", " ", "#up", "nan", "inf", "-3", "1e999", "1_000", "٣", "half", "-5%", "%", "nan%", "10001%", "up 1e9%", "1 2"],
)
def test_what_is_no_word(said: str) -> None:
    with pytest.raises(ValueError, match=r"is no number, no percentage|has no percentage|is not from"):
        signal_of(said)


def test_what_is_wrong_is_said_in_few_words() -> None:
    with pytest.raises(ValueError, match="x…") as raised:
        signal_of("x" * 5_000)
    assert len(str(raised.value)) < 150


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.binary() | st.lists(st.integers()))
def test_whatever_is_said_it_is_a_signal_that_makes_sense_or_an_error(said: object) -> None:
    try:
        signal = signal_of(said)
    except ValueError:
        return
    assert signal.capacity is None or SMALLEST <= signal.capacity <= LARGEST
    assert signal.share is None or 0 < signal.share <= 100
    assert not signal.barred or signal == OUT
