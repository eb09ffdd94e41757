"""What a config says of limits: what they come to for whom, and what is wrong with them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from txrouter.config import Config, ConfigError
from txrouter.core.limits import ClientLimits, Limits


def limits(**keys: Any) -> Limits:
    return Config.from_dict({"limits": keys}).limits


def problems(*tables: object, **keys: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        Config.from_dict({"limits": {**keys, "client": list(tables)}})
    return list(raised.value.problems)


def test_without_a_word_everybody_has_the_same() -> None:
    assert Config.default().limits.of("alice", 0) == Limits()


def test_what_is_for_a_client_is_instead_of_what_is_for_all() -> None:
    made = limits(max_links=7, max_sessions=8, client=[{"users": ["alice"], "max_links": 9}])
    assert (made.of("alice", 0).max_links, made.of("bob", 0).max_links, made.max_links) == (9, 7, 7)
    assert made.of("alice", 0).max_sessions == 8


def test_a_limit_that_is_as_by_default_counts_where_it_is_named() -> None:
    made = limits(max_links=7, client=[{"users": ["alice"], "max_links": 256}])
    assert made.of("alice", 0).max_links == 256


def test_of_several_tables_the_first_that_names_a_limit_decides_it() -> None:
    tables = [
        {"users": ["alice"], "max_links": 1},
        {"users": ["*"], "max_links": 2, "max_sessions": 2},
        {"users": ["alice"], "max_sessions": 3, "link_capacity": 3},
    ]
    made = limits(client=tables)
    alice, bob = made.of("alice", 0), made.of("bob", 0)
    assert (alice.max_links, alice.max_sessions, alice.link_capacity) == (1, 2, 3)
    assert (bob.max_links, bob.max_sessions, bob.link_capacity) == (2, 2, 250)


def test_a_table_is_for_who_comes_by_its_listener() -> None:
    tables = [{"users": ["*"], "listener": 1, "max_links": 2}, {"users": ["alice"], "listener": 0, "max_links": 3}]
    made = Config.from_dict({"listener": [{"endpoint": "tcp:0"}] * 2, "limits": {"client": tables}}).limits
    assert [made.of(user, number).max_links for user in ("alice", "bob") for number in (0, 1)] == [3, 2, 256, 2]


def test_at_a_listener_counts_what_is_for_everybody_while_nobody_is_known() -> None:
    tables = [
        {"users": ["alice"], "max_links": 1},
        {"users": ["bob", "*"], "handshake_timeout": 3, "max_connections": 5},
    ]
    made = limits(client=tables).of_listener(0)
    assert (made.handshake_timeout, made.max_connections, made.max_links) == (3, 5, 256)


def test_what_somebody_has_is_for_nobody_else() -> None:
    assert limits(client=[{"users": ["alice"], "max_links": 9}]).of("alice", 0).client == ()


def test_limits_may_be_given_as_such() -> None:
    given = Limits(max_links=3, client=(ClientLimits(("alice",), None, {"max_links": 4}),))
    assert Config.from_dict({"limits": given}).limits.of("alice", 0) == Limits(max_links=4)


@pytest.mark.parametrize(
    "key", sorted(set(asdict(Limits())) - {"client", "max_memory", "handshake_timeout", "max_connections"})
)
def test_every_limit_of_a_client_can_be_its_own(key: str) -> None:
    made = limits(client=[{"users": ["alice"], key: 100_000 if "window" in key else 2_000}])
    assert getattr(made.of("alice", 0), key) != getattr(made.of("bob", 0), key)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"users": []}, ".users: must not be empty; `*` is everybody"),
        ({"listener": 1}, ".listener: there is no listener[1]; they are counted from 0"),
        ({"max_links": 0}, ".max_links: must be at least 1"),
        ({"idle_timeout": 0.5}, ".idle_timeout: must be 0 (off) or at least 1"),
        ({"max_link": 7}, ".max_link: is unknown; did you mean 'max_links'?"),
        ({"max_memory": 1 << 30}, ".max_memory: is for the router as a whole"),
        (
            {"handshake_timeout": 3},
            ".handshake_timeout: matters before it is known who it is: it can only be for everybody at a listener, `*`",
        ),
        (
            {"max_connections": 3},
            ".max_connections: matters before it is known who it is: it can only be for everybody at a listener, `*`",
        ),
        ({"session_window": 65_535}, ": session_window must be at least twice max_frame_size (32768)"),
    ],
)
def test_a_problem_is_said_with_its_path(keys: dict[str, Any], problem: str) -> None:
    assert problems({"users": ["alice"], "max_sessions": 1, **keys}) == [f"limits.client[0]{problem}"]


def test_a_table_names_a_limit() -> None:
    assert problems({"users": ["alice"]}) == ["limits.client[0]: names no limit"]


def test_a_table_is_for_somebody() -> None:
    assert problems({"max_links": 1}) == ["limits.client[0].users: is missing"]


def test_all_problems_are_said() -> None:
    tables = {"users": [""], "max_links": 0}, {"users": ["a"], "max_memory": 1}
    assert problems(*tables, max_sessions=0) == [
        "limits.max_sessions: must be at least 1",
        "limits.client[0].users[0]: must not be empty",
        "limits.client[0].max_links: must be at least 1",
        "limits.client[1].max_memory: is for the router as a whole",
    ]


def test_a_window_of_one_table_has_to_hold_the_frames_of_another() -> None:
    tables = {"users": ["*"], "max_frame_size": 100_000}, {"users": ["alice"], "session_window": 150_000}
    assert problems(*tables) == ["limits.client[0]: session_window must be at least twice max_frame_size (100000)"]
    assert limits(client=[{"users": ["bob"], "max_frame_size": 100_000}, tables[1]]).of("bob", 0) is not None
