"""How many connections one may have; and whom something is for."""

from __future__ import annotations

import pytest

from txrouter.core.users import Headcount, User


def test_each_may_have_so_many() -> None:
    headcount = Headcount()
    assert [headcount.enter(name, 2) for name in ("a", "a", "a", "b")] == [True, True, False, True]


def test_one_connection_may_have_more_company_than_another() -> None:
    headcount = Headcount()
    assert [headcount.enter("a", most) for most in (1, 1, 2, 2, 0)] == [True, False, True, False, True]


def test_who_leaves_makes_room_for_one() -> None:
    headcount = Headcount()
    headcount.enter("a", 1)
    headcount.leave("a")
    assert [headcount.enter("a", 1), headcount.enter("a", 1)] == [True, False]


@pytest.mark.parametrize("most", [0, 1])
def test_nobody_who_has_left_is_remembered(most: int) -> None:
    headcount = Headcount()
    for _ in range([headcount.enter("a", most) for _ in range(2)].count(True)):
        headcount.leave("a")
    assert not headcount._counts


def test_without_a_limit_there_is_room_for_all() -> None:
    headcount = Headcount()
    assert all(headcount.enter("a", 0) for _ in range(1000))


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::1%lo", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("2001:db8::1", False),
        ("128.0.0.1", False),
        ("localhost", False),
    ],
)
def test_who_is_on_the_same_machine(host: str, is_here: bool) -> None:
    assert User("alice", host=host).is_here is is_here


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (User("alice", "PLAIN", "a"), User("alice", "EXTERNAL", "b"), True),
        (User("alice", "PLAIN"), User("bob", "PLAIN"), False),
        (User("anonymous", "ANONYMOUS"), User("anonymous", "ANONYMOUS"), False),
        (User("anonymous"), User("anonymous"), False),
        (User("anonymous", "PLAIN"), User("anonymous", "ANONYMOUS"), False),
        (User("anonymous", "ANONYMOUS"), User("anonymous", "PLAIN"), False),
    ],
    ids=repr,
)
def test_only_who_proved_a_name_is_the_same_on_another_connection(one: User, other: User, same: bool) -> None:
    assert one.may_speak_for(other) is same
    assert one.may_speak_for(one)
