"""What a config says of access: what it means, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from txrouter.config import Config, ConfigError


def problems(*rules: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        Config.from_dict({"access": list(rules)})
    return list(raised.value.problems)


def test_without_a_word_there_are_no_rules() -> None:
    assert Config.default().rules().of("alice", 0) is None


def test_rules_are_counted_as_they_are_in_the_file() -> None:
    rules = [{"users": ["bob"], "dynamic": True}, {"users": ["alice"], "receive": ["a", "b"]}]
    access = Config.from_dict({"access": rules}).rules().of("alice", 0)
    assert access is not None
    assert access.decide("receive", "b").why == "access[1].receive[1]: b"


def test_a_rule_may_be_for_a_listener_of_the_command_line() -> None:
    listens = {"listener": [{"endpoint": "tcp:0"}], "access": [{"users": ["*"], "listener": 1}]}
    assert Config.from_dict(listens, listen=["tcp:0"]).access[0].listener == 1


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"users": []}, "users: must not be empty; `*` is everybody"),
        ({"users": "alice"}, 'users: must be an array, not "alice"'),
        ({"users": ["alice", ""]}, "users[1]: must not be empty"),
        ({"listener": 1}, "listener: there is no listener[1]; they are counted from 0"),
        ({"listener": -1}, "listener: must be at least 0"),
        ({"listener": "tcp:0"}, 'listener: must be a whole number, not "tcp:0"'),
        ({"send": "x"}, 'send: must be an array, not "x"'),
        ({"send": ["x", "a..b"]}, "send[1]: the pattern 'a..b' has an empty token"),
        ({"receive": ["a*"]}, "receive[0]: the pattern 'a*' has a wildcard inside the token 'a*'"),
        (
            {"receive": ["to-${user}"]},
            "receive[0]: the pattern 'to-${user}' has 'to-${user}': only ${user}, a token of its own, is replaced",
        ),
        ({"dynamic": 1}, "dynamic: must be true or false, not 1"),
        ({"capacity": 2}, "capacity: must be true or false, not 2"),
        ({"priority": 9}, "priority: must be true or false, not 9"),
        ({"sent": ["x"]}, "sent: is unknown; did you mean 'send'?"),
    ],
)
def test_a_problem_is_said_with_its_path(keys: dict[str, Any], problem: str) -> None:
    assert problems({"users": ["*"], **keys}) == [f"access[0].{problem}"]


def test_a_rule_is_for_somebody() -> None:
    assert problems({"users": ["*"]}, {"send": ["x"]}) == ["access[1].users: is missing"]
