"""How many connections one may have."""

from __future__ import annotations

import pytest

from txrouter.core.users import Headcount


def test_each_may_have_so_many() -> None:
    headcount = Headcount(2)
    assert [headcount.enter(name) for name in ("a", "a", "a", "b")] == [True, True, False, True]


def test_who_leaves_makes_room_for_one() -> None:
    headcount = Headcount(1)
    headcount.enter("a")
    headcount.leave("a")
    assert [headcount.enter("a"), headcount.enter("a")] == [True, False]


@pytest.mark.parametrize("most", [0, 1])
def test_nobody_who_has_left_is_remembered(most: int) -> None:
    headcount = Headcount(most)
    headcount.enter("a")
    headcount.enter("a")
    headcount.leave("a")
    assert not headcount._counts


def test_without_a_limit_there_is_room_for_all() -> None:
    headcount = Headcount(0)
    assert all(headcount.enter("a") for _ in range(1000))
