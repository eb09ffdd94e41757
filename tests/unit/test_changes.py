"""What is different between two configs, and from when on it counts."""

from __future__ import annotations

from typing import Any

import pytest

from txrouter.changes import Change, When, applied, changes
from txrouter.config import Config


def config(**tables: Any) -> Config:
    """A config of these tables."""
    return Config.from_dict({"router": {"id": "r"}, **tables})


def different(before: Config, after: Config) -> list[str]:
    """What is different, in words."""
    return [str(change) for change in changes(before, after)]


A = {"pattern": "a", "distribution": "pull"}
ON_A = {"users": ["*"], "send": ["a"]}


def test_between_a_config_and_itself_nothing_is_different() -> None:
    tables: dict[str, Any] = {
        "address": [A],
        "access": [ON_A],
        "capacity": [{"value": 2.0}],
        "limits": {"max_links": 3},
    }
    assert different(config(**tables), config(**tables)) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([], [A], "a: new: pull (at once)"),
        ([A], [], "a: gone; it was pull (at once)"),
        ([A], [{**A, "distribution": "closest"}], "a: pull -> closest (at once)"),
        ([A], [{**A, "shadow": {"distribution": "closest"}}], "a: pull -> pull, with the shadow closest (at once)"),
        ([A], [{**A, "priority": True}], "a: pull -> pull, by priority (at once)"),
        (
            [{"prefix": "m", "distribution": "multicast"}],
            [{"prefix": "m", "distribution": "multicast", "options": {"when_full": "drop"}}],
            'm and below: multicast -> multicast (when_full = "drop") (at once)',
        ),
    ],
)
def test_addresses_count_at_once(before: list[Any], after: list[Any], said: str) -> None:
    assert different(config(address=before), config(address=after)) == [said]


def test_the_order_of_addresses_makes_no_difference() -> None:
    b = {"pattern": "b", "distribution": "closest"}
    assert different(config(address=[A, b]), config(address=[b, A])) == []


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"router": {"id": "s"}}, 'router.id: "r" -> "s" (after a restart)'),
        ({"router": {"id": "r", "stop_timeout": 1.5}}, "router.stop_timeout: 10.0 -> 1.5 (at once)"),
        ({"router": {"id": "r", "default_distribution": "closest"}}, "other addresses: pull -> closest (at once)"),
        (
            {"listener": [{"endpoint": "tcp:1"}]},
            'listener[0]: endpoint = "tcp:5672:interface=127.0.0.1" -> endpoint = "tcp:1" (after a restart)',
        ),
        ({"capacity": [{"value": 2.0}]}, "capacity[0]: new: value = 2.0 (at once)"),
        ({"access": [ON_A]}, 'access[0]: new: send = ["a"], users = ["*"] (for connections made from now on)'),
        ({"limits": {"max_links": 3}}, "limits.max_links: 256 -> 3 (for connections made from now on)"),
        ({"limits": {"max_memory": 9}}, "limits.max_memory: 0 -> 9 (after a restart)"),
        (
            {"limits": {"client": [{"users": ["me"], "max_links": 3}]}},
            "limits.client[0]: new: me: max_links = 3 (for connections made from now on)",
        ),
    ],
)
def test_everything_says_when_it_counts(tables: dict[str, Any], said: str) -> None:
    assert different(config(), config(**tables)) == [said]


TO_A, TO_B, TO_C, TO_D = ({"users": ["*"], "send": [name]} for name in "abcd")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([TO_A, TO_B], [TO_C, TO_A, TO_B], ["access[0]: new"]),
        ([TO_A, TO_B], [TO_A, TO_C, TO_B], ["access[1]: new"]),
        ([TO_A, TO_B, TO_C], [TO_A, TO_C], ["access[1]: gone"]),
        ([TO_A, TO_B, TO_C], [TO_A, TO_D, TO_C], ["access[1]: send"]),
        ([TO_A, TO_B, TO_C], [TO_D, TO_C], ["access[0]: send", "access[1]: gone"]),
        ([TO_A], [TO_B, TO_C], ["access[0]: send", "access[1]: new"]),
    ],
    ids=["before others", "between others", "gone", "changed", "changed, one less", "changed, one more"],
)
def test_a_rule_is_known_by_what_it_says(before: list[Any], after: list[Any], said: list[str]) -> None:
    found = changes(config(access=before), config(access=after))
    assert [str(each)[: len(start)] for each, start in zip(found, said, strict=True)] == said


def test_what_takes_a_restart_is_as_before_until_then() -> None:
    before = config(limits={"max_memory": 7})
    after = Config.from_dict(
        {
            "router": {"id": "s", "stop_timeout": 1.0, "default_distribution": "closest"},
            "listener": [{"endpoint": "tcp:1"}],
            "address": [A],
            "access": [ON_A],
            "limits": {"max_memory": 9, "max_links": 3},
        }
    )
    counts = applied(before, after)
    left = changes(counts, after)
    assert [change.what for change in left] == ["router.id", "listener[0]", "access[0]", "limits.max_memory"]
    assert {change.when for change in left} == {When.RESTART}


def test_rules_for_a_listener_by_its_number_wait_for_the_listeners() -> None:
    before = config()
    after = config(
        listener=[{"endpoint": "tcp:1"}, {"endpoint": "tcp:2"}],
        access=[{**ON_A, "listener": 1}],
        limits={"client": [{"listener": 1, "users": ["*"], "max_links": 3}]},
    )
    assert {change.when for change in changes(before, after)} == {When.RESTART}
    counts = applied(before, after)
    assert (counts.access, counts.limits) == (before.access, before.limits)


def test_what_is_said_as_it_is_by_default_makes_no_difference() -> None:
    before = config(listener=[{"endpoint": "tcp:1"}], access=[ON_A], capacity=[{"value": 2.0}])
    after = config(
        listener=[{"endpoint": "tcp:1", "plain_without_tls": False}],
        access=[{**ON_A, "dynamic": False}],
        capacity=[{"value": 2.0, "users": ["*"]}],
    )
    assert different(before, after) == []


@pytest.mark.parametrize(
    "listeners",
    [
        [{"endpoint": "tcp:1", "mechanisms": ["ANONYMOUS"]}, {"endpoint": "tcp:2"}],
        [{"endpoint": "tcp:1"}],
        [{"endpoint": "tcp:2"}, {"endpoint": "tcp:1"}],
    ],
    ids=["another", "one less", "another order"],
)
def test_rules_wait_for_the_listeners_that_they_were_written_for(listeners: list[Any]) -> None:
    before = config(listener=[{"endpoint": "tcp:1"}, {"endpoint": "tcp:2"}], access=[{**ON_A, "users": ["me"]}])
    after = config(listener=listeners, access=[ON_A])
    assert {change.when for change in changes(before, after)} == {When.RESTART}
    assert applied(before, after).access == before.access


def test_rules_do_not_wait_for_a_listener_that_is_to_come() -> None:
    before = config(listener=[{"endpoint": "tcp:1"}])
    after = config(listener=[{"endpoint": "tcp:1"}, {"endpoint": "tcp:2"}], access=[{**ON_A, "listener": 1}])
    assert [change.when for change in changes(before, after)] == [When.RESTART, When.LATER]
    assert applied(before, after).access == after.access


def test_secrets_of_a_checker_are_not_told() -> None:
    listener = {"endpoint": "tcp:1", "auth": "memory:me:secret", "plain_without_tls": True}
    (change,) = changes(config(), config(listener=[listener]))
    assert "secret" not in str(change)
    assert isinstance(change, Change)
