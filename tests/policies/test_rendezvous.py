"""Whose a key is: fair shares, the same from the same members, and few keys that move."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.chance import LEVEL, as_likely
from txrouter.policies.rendezvous import SIZE, Rendezvous, _Leaf

KEYS = [f"key-{number}".encode() for number in range(4_000)]


def members_of(names: list[str], weights: dict[str, float] | None = None) -> Rendezvous[str]:
    members: Rendezvous[str] = Rendezvous()
    for name in names:
        members.add(name, name, (weights or {}).get(name, 1.0))
    return members


def hosts(count: int) -> list[str]:
    return [f"host-{number}" for number in range(count)]


def owners(members: Rendezvous[str]) -> list[str | None]:
    return [members.find(key) for key in KEYS]


def moved(before: list[str | None], after: list[str | None]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("count", [2, 5, 70, 300])
def test_each_gets_an_equal_share(count: int) -> None:
    names = hosts(count)
    assert as_likely(Counter(map(str, owners(members_of(names)))), dict.fromkeys(names, 1.0))


@pytest.mark.parametrize("count", [4, 120])
def test_each_gets_a_share_by_its_weight(count: int) -> None:
    weights = {name: float(1 + number % 4) for number, name in enumerate(hosts(count))}
    assert as_likely(Counter(map(str, owners(members_of(list(weights), weights)))), weights)


def few(count: int) -> float:
    """How many keys may move when one of so many comes or goes: what the module says, and what chance adds."""
    expected = len(KEYS) * (1 + math.log2(1 + count / 16) / 2) / count
    return expected + LEVEL * math.sqrt(expected)


@pytest.mark.parametrize("count", [2, 10, 63, 500])
def test_few_keys_move_when_one_comes(count: int) -> None:
    members = members_of(hosts(count - 1))
    before = owners(members)
    members.add("new", "new", 1.0)
    after = owners(members)
    assert moved(before, after) < few(count)
    assert "new" in after


@pytest.mark.parametrize("count", [2, 10, 63, 500])
def test_few_keys_move_when_one_goes(count: int) -> None:
    members = members_of(hosts(count))
    before = owners(members)
    members.remove("host-1")
    after = owners(members)
    assert moved(before, after) < few(count)
    assert "host-1" not in after


def test_where_there_is_no_fork_nothing_moves_but_what_has_to() -> None:
    members = members_of(["a", "b", "c", "d"])
    assert len(members._branches) == 4
    before = owners(members)
    members.remove("c")
    after = owners(members)
    assert all(one == other for one, other in zip(before, after, strict=True) if one != "c")
    gained = Counter(str(other) for one, other in zip(before, after, strict=True) if one == "c")
    assert as_likely(gained, {"a": 1.0, "b": 1.0, "d": 1.0})


def test_keys_move_to_whom_gets_heavier() -> None:
    members = members_of(["a", "b", "c", "d"])
    before = owners(members)
    members.reweigh("b", 3.0)
    after = owners(members)
    assert {other for one, other in zip(before, after, strict=True) if one != other} == {"b"}
    assert as_likely(Counter(map(str, after)), {"a": 1.0, "b": 3.0, "c": 1.0, "d": 1.0})


@given(st.lists(st.tuples(st.integers(0, 199), st.floats(1e-6, 1e6)), max_size=60))
def test_it_follows_from_the_members_alone(changes: list[tuple[int, float]]) -> None:
    """Whoever came, went and came again: it is as if those that are there had come just now."""
    members: Rendezvous[str] = Rendezvous()
    there: dict[str, float] = {}
    for number, weight in changes:
        name = f"{number}"
        if name not in there:
            members.add(name, name, weight)
        elif number % 2:
            members.reweigh(name, weight)
        else:
            members.remove(name)
            del there[name]
            continue
        there[name] = weight
    others = list(there)
    random.Random(1).shuffle(others)
    assert len(members) == len(there)
    fresh = members_of(others, there)
    assert members.weight == fresh.weight
    assert [members.find(key) for key in KEYS[:20]] == [fresh.find(key) for key in KEYS[:20]]


@pytest.mark.parametrize("bit", [4, 29, 30, 125])
def test_members_are_told_apart_whose_digests_are_much_alike(bit: int) -> None:
    members: Rendezvous[str] = Rendezvous()
    for member, digest in (("a", 0), ("b", 1 << (SIZE - 1 - bit)), ("c", 1 << (SIZE - 1))):
        members._put(_Leaf(member, digest, 1.0))
    before = owners(members)
    assert as_likely(Counter(map(str, before)), {"a": 1.0, "b": 1.0, "c": 1.0})
    members.remove("b")
    after = owners(members)
    assert {(one, other) for one, other in zip(before, after, strict=True) if one != other} >= {("b", "a"), ("b", "c")}


def test_it_is_the_same_in_every_process() -> None:
    members = members_of(hosts(100))
    assert [members.find(f"{number}".encode()) for number in range(5)] == [
        "host-7",
        "host-70",
        "host-14",
        "host-83",
        "host-18",
    ]


def test_nobody_has_a_key_where_nobody_is() -> None:
    members = members_of(["a"])
    members.remove("a")
    assert (members.find(b"key"), len(members), members.weight) == (None, 0, 0.0)
