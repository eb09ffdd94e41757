"""Access rules: what they come to, for whom, and which of them it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.fakes import Stage
from txrouter.core.access import FLAGS, Access, Action, Decision, Permit, Rule, Rules
from txrouter.core.addresses import MANAGEMENT
from txrouter.core.users import User

NO_RULE = Decision(False, "no rule allows it")


def access(*rules: Rule, user: str = "alice", listener: int = 0) -> Access:
    made = Rules(rules).of(user, listener)
    assert made is not None
    return made


def sends(pattern: str, path: str, user: str = "alice") -> bool:
    """Whether a rule for everybody with this pattern lets this user send there."""
    return access(Rule(("*",), send=(pattern,)), user=user).decide("send", path).allowed


def test_without_rules_nothing_is_asked() -> None:
    assert Rules([]).of("alice", 0) is None


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("jobs", "jobs", True),
        ("jobs", "job", False),
        ("jobs", "jobs/a", False),
        ("jobs.*", "jobs.a", True),
        ("jobs.*", "jobs/a", True),
        ("jobs.*", "jobs.a.b", False),
        ("jobs.#", "jobs", True),
        ("#", "anything/at.all", True),
        ("amqp:/jobs", "jobs", True),
        ("jobs", "_topo/0/r1/jobs", True),
        ("jobs", "_topo/0/r2/jobs", True),
        ("jobs", "_topo/0/r1/_topo/0/r1/jobs", False),
        ("jobs", "_topo/0/jobs", False),
        ("jobs", "_topo/0/r1/", False),
        ("jobs", "_local/jobs", False),
        ("reply/${user}", "reply/alice", True),
        ("reply/${user}", "reply/bob", False),
        ("reply/${user}/#", "reply.alice/1/2", True),
        ("reply/${user}", "reply/${user}", False),
    ],
)
def test_a_pattern_allows_what_it_matches(pattern: str, path: str, allowed: bool) -> None:
    assert sends(pattern, path) == allowed


def test_sending_and_receiving_are_apart() -> None:
    made = access(Rule(("*",), send=("a",), receive=("b",)))
    assert [made.decide("send", path).allowed for path in "ab"] == [True, False]
    assert [made.decide("receive", path).allowed for path in "ab"] == [False, True]


@pytest.mark.parametrize(
    ("user", "listener", "allowed"),
    [("alice", 1, True), ("alice", 0, False), ("bob", 1, False), ("*", 1, False), ("Alice", 1, False)],
)
def test_a_rule_is_for_its_users_and_its_listener(user: str, listener: int, allowed: bool) -> None:
    made = access(Rule(("carol", "alice"), listener=1, send=("#",)), user=user, listener=listener)
    assert made.decide("send", "x").allowed == allowed
    if not allowed:
        assert made.decide("send", "x").why == "no rule is for this user and listener"


def test_a_user_may_do_what_any_rule_allows_in_whatever_order_they_are() -> None:
    rules = [Rule(("alice",), send=("a",)), Rule(("*",), receive=("b",), dynamic=True), Rule(("bob",), send=("c",))]
    for order in (rules, rules[::-1]):
        made = access(*order)
        asked: list[tuple[Action, str]] = [("send", "a"), ("receive", "b"), ("dynamic", ""), ("send", "c")]
        assert [made.decide(*each).allowed for each in asked] == [True, True, True, False]


@pytest.mark.parametrize(
    ("action", "path", "why"),
    [
        ("send", "a/b", "access[1].send[1]: a/b"),
        ("send", "a/c", "access[1].send[0]: a/*"),
        ("send", "a/c/d", "access[0].send[0]: a/#"),
        ("receive", "replies/alice", "access[1].receive[0]: replies/${user}"),
        ("dynamic", "", "access[0].dynamic"),
        ("anonymous_producer", "", "access[1].anonymous_producer"),
        ("capacity", "", "access[1].capacity"),
        ("priority", "", "access[0].priority"),
    ],
)
def test_the_rule_that_decides_is_named_the_closest_of_several(action: Action, path: str, why: str) -> None:
    made = access(
        Rule(("*",), send=("a/#", "z"), dynamic=True, priority=True),
        Rule(
            ("*",),
            send=("a/*", "a/b"),
            receive=("replies/${user}",),
            dynamic=True,
            anonymous_producer=True,
            capacity=True,
            priority=True,
        ),
    )
    assert made.decide(action, path) == Decision(True, why)


def test_what_no_rule_allows_is_refused() -> None:
    made = access(Rule(("*",), send=("a",)))
    flags = [flag for flag in FLAGS if flag != "control"]
    asked: list[tuple[Action, str]] = [("send", "b"), ("receive", "a"), *((flag, "") for flag in flags)]
    assert [made.decide(*each) for each in asked] == [NO_RULE] * 6


@pytest.mark.parametrize(
    ("rules", "allowed", "only_here"),
    [
        ([Rule(("*",), send=("a",))], True, True),
        ([Rule(("*",), send=(MANAGEMENT,))], False, False),
        ([Rule(("*",), send=(MANAGEMENT,)), Rule(("bob",), control=True)], False, False),
        ([Rule(("*",), send=(MANAGEMENT,)), Rule(("alice",), control=True)], True, False),
    ],
    ids=["none names the router", "may ask", "another may", "may"],
)
def test_who_may_change_what_the_router_does(rules: list[Rule], allowed: bool, only_here: bool) -> None:
    decided = access(*rules).decide("control")
    assert (decided.allowed, decided.only_here) == (allowed, only_here)


@pytest.mark.parametrize("prefix", ["", "_topo/0/r1/", "_topo/0/r2/"])
def test_whoever_knows_a_temporary_address_may_send_to_it_but_not_receive(prefix: str) -> None:
    made = access(Rule(("bob",)))
    path = f"{prefix}temp.abcdefghijklmno"
    assert made.decide("send", path).allowed
    assert not made.decide("receive", path).allowed
    assert not made.decide("send", f"{path}p").allowed
    assert not made.decide("send", f"{path}/p").allowed


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "names no address"),
        ("a..b", "empty token"),
        ("a*", "wildcard inside"),
        ("reply-${user}", "only \\$\\{user\\}, a token of its own, is replaced"),
        ("reply/${name}", "only \\$\\{user\\}, a token of its own, is replaced"),
        ("_topo/0/r1/x", "is decided by what is behind the router's name"),
        (".".join("x" * 101), "has 101 tokens"),
    ],
)
def test_a_pattern_that_is_wrong(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rules([Rule(("*",), receive=(pattern,))])


# -- a user's name in a pattern ----------------------------------------------------------------------------------------

NAMES = st.one_of(st.text("ab/.*#%2EF${user}", min_size=1, max_size=8), st.text(min_size=1, max_size=20))


@pytest.mark.parametrize(
    ("user", "token"),
    [
        ("node1.example.com", "node1%2Eexample%2Ecom"),
        ("spiffe://a/b", "spiffe:%2F%2Fa%2Fb"),
        ("*", "%2A"),
        ("#", "%23"),
        ("node1%2Eexample", "node1%252Eexample"),
        ("${user}", "${user}"),
    ],
)
def test_what_splits_tokens_or_is_a_wildcard_is_encoded_in_a_name(user: str, token: str) -> None:
    assert sends("reply/${user}", f"reply/{token}", user)
    assert sends("reply/${user}", f"reply/{user}", user) == (user == token)


@given(NAMES, NAMES)
def test_no_name_matches_what_another_matches(one: str, other: str) -> None:
    mine = "".join(f"%{ord(each):02X}" if each in "/.*#%" else each for each in one)
    assert sends("reply/${user}", f"reply/{mine}", one)
    assert sends("reply/${user}", f"reply/{mine}", other) == (one == other)


@given(NAMES, st.text("ab/.*#%2EF", min_size=1, max_size=12))
def test_a_name_matches_one_token(user: str, path: str) -> None:
    if sends("${user}", path, user):
        assert not set("/.*#") & set(path)


# -- for one connection ------------------------------------------------------------------------------------------------


class Permits:
    """A permit by which one may send to `a` and below, and what was reported."""

    def __init__(self, user: str = "alice") -> None:
        stage = Stage()
        self.reports: list[tuple[str, dict[str, object]]] = []
        stage.router.report = lambda event, fields: self.reports.append((event, fields))
        self.permit = Permit(stage.router, "c1", User(user, "PLAIN", "192.0.2.1"), access(Rule(("*",), send=("a/#",))))


def test_what_is_refused_is_said_and_reported() -> None:
    permits = Permits()
    assert permits.permit.refusal("send", "b") == "'alice' may not send to b"
    assert permits.permit.refusal("dynamic") == "'alice' may not have a temporary address"
    about = {"connection": "c1", "host": "192.0.2.1", "user": "'alice'"}
    assert permits.reports == [
        ("access refused", {**about, "action": "send", "address": "b", "error": "no rule allows it"}),
        ("access refused", {**about, "action": "dynamic", "error": "no rule allows it"}),
    ]


def test_what_is_allowed_is_not_reported_and_is_allowed_again() -> None:
    permits = Permits()
    for _ in range(2):
        assert [permits.permit.refusal("send", f"a/{number}") for number in range(1000)] == [None] * 1000
    assert permits.reports == []
    assert len(permits.permit._may_send_to) <= 100


def test_that_one_may_send_somewhere_does_not_let_one_receive_there() -> None:
    permits = Permits()
    assert permits.permit.refusal("send", "a") is None
    assert permits.permit.refusal("receive", "a") == "'alice' may not receive from a"


def test_long_names_are_cut() -> None:
    permits = Permits(user="x" * 1000)
    refusal = permits.permit.refusal("send", "y" * 2000)
    assert refusal is not None
    assert len(refusal) < 200
    assert all(len(str(value)) < 100 for value in permits.reports[0][1].values())
