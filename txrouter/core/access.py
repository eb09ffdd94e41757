"""Who may do what: the access rules of a config, and what they come to for one client.

A rule says what some users may do; none says what they may not. So their order does not matter, and what no rule allows
is refused. Without any rule everything is allowed, and nothing here is asked.

Whoever knows a temporary address may send to it, whatever the rules say: its name cannot be guessed, so they have it
from the client it was made for, who wants an answer.

`$management` is the router's own. No wildcard stands for it: who may send there is said by its name, or else it is
those on the router's own machine, with rules or without. Who may `control` the router as well is said by a flag where
it is named, and else they may.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

from txrouter.core.addresses import (
    CAPACITY_REPORTS,
    MANAGEMENT,
    Patterns,
    is_reserved,
    is_temporary,
    normalise,
    pattern_tokens,
)
from txrouter.core.users import SHOWN, Group, shown, who

if TYPE_CHECKING:
    from txrouter.core.router import Router
    from txrouter.core.users import User

__all__ = [
    "FLAGS",
    "UNAUTHORIZED",
    "Access",
    "Action",
    "Decision",
    "Flag",
    "Permit",
    "Rule",
    "Rules",
    "check_pattern",
    "refusal_without_rules",
]

UNAUTHORIZED: Final = "amqp:unauthorized-access"
"""The condition of what is refused."""

Flag = Literal["dynamic", "anonymous_producer", "capacity", "priority", "control"]
"""What a rule may allow whatever the address is, as its keys say it."""
FLAGS: Final[tuple[Flag, ...]] = get_args(Flag)
Action = Literal["send", "receive"] | Flag
"""What a rule may allow."""

_WORDS: Final = {
    "send": "send to",
    "receive": "receive from",
    "dynamic": "have a temporary address",
    "anonymous_producer": "be an anonymous producer",
    "capacity": "set a capacity",
    "priority": "set priorities",
    "control": "change what the router does",
}
_USER = "${user}"
_ENCODED = {ord(each): f"%{ord(each):02X}" for each in "%/.*#"}
_ON_A_ROUTER = re.compile(r"_topo/0/[^/]+/(?=.)", re.DOTALL)
_ACCESSES = 1_000
"""Users whose rules are kept as they are looked up."""
_REMEMBERED = 100
"""Addresses that a connection remembers that it may send to."""


@dataclass(frozen=True, slots=True)
class Rule(Group):
    """One `[[access]]` of a config."""

    send: tuple[str, ...] = ()
    """Patterns of the addresses they may send to."""
    receive: tuple[str, ...] = ()
    """Patterns of the addresses they may receive from."""
    dynamic: bool = False
    """Whether they may have temporary addresses."""
    anonymous_producer: bool = False
    """Whether they may have producers whose messages say where they go."""
    capacity: bool = False
    """Whether their consumers may say what their capacity is."""
    priority: bool = False
    """Whether the priorities of their messages count, and their consumers may say what theirs is."""
    control: bool = False
    """Whether they may not only ask the router, but also change what it does."""


def check_pattern(pattern: str) -> None:
    """:raise ValueError: it is no pattern of an access rule."""
    if _ON_A_ROUTER.match(normalise(pattern)):
        raise ValueError(f"{pattern!r} is decided by what is behind the router's name: write just that")
    for part in pattern_tokens(pattern):
        if "${" in part and part != _USER:
            raise ValueError(f"the pattern {pattern!r} has {part!r}: only {_USER}, a token of its own, is replaced")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and why."""

    allowed: bool
    why: str
    """The rule by its place in the config; or a sentence, where none decided."""
    only_here: bool = False
    """Whether it is allowed only to those on the router's own machine."""


_EVERYTHING = Decision(True, "there are no access rules, everything is allowed")
_TEMPORARY = Decision(True, "it is a temporary address: who knows it may send to it")
_ONLY_HERE = Decision(True, f"from the router's own machine only, as no rule names {MANAGEMENT}", True)
_NOBODY = Decision(False, f"nobody may: {MANAGEMENT} is the router's own")


def _is_management(pattern: str) -> bool:
    return normalise(pattern) == MANAGEMENT


def _without_router(path: str) -> str:
    on_a_router = _ON_A_ROUTER.match(path)
    return path[on_a_router.end() :] if on_a_router else path


class Access:
    """What one user may do who comes by one listener."""

    def __init__(self, rules: Sequence[Rule], user: str, listener: int) -> None:
        own_token = user.translate(_ENCODED)
        self._patterns: dict[str, Patterns[Decision]] = {"send": Patterns(), "receive": Patterns()}
        named = any(_is_management(pattern) for rule in rules for pattern in rule.send)
        self._manages: Decision | None = None if named else _ONLY_HERE
        self._flags: dict[str, Decision] = {} if named else {"control": _ONLY_HERE}
        self._refused = Decision(False, "no rule allows it")
        mine = [(number, rule) for number, rule in enumerate(rules) if rule.has(user, listener)]
        if not mine:
            self._refused = Decision(False, "no rule is for this user and listener")
        for number, rule in mine:
            for key, patterns in (("send", rule.send), ("receive", rule.receive)):
                for place, pattern in enumerate(patterns):
                    parts = [own_token if part == _USER else part for part in pattern_tokens(pattern)]
                    allowed = Decision(True, f"access[{number}].{key}[{place}]: {pattern}")
                    self._patterns[key].add(parts, allowed)
                    if key == "send" and _is_management(pattern):
                        self._manages = self._manages or allowed
            for flag in FLAGS:
                if getattr(rule, flag):
                    self._flags.setdefault(flag, Decision(True, f"access[{number}].{flag}"))

    def decide(self, action: Action, path: str = "") -> Decision:
        """Whether it is allowed. Of several rules that allow it, the one is named whose pattern is closest.

        :param path: the normalised address, where the action has one; `_topo/0/<router>/x` counts as `x`.
        """
        patterns = self._patterns.get(action)
        if patterns is None:
            return self._flags.get(action, self._refused)
        name = _without_router(path)
        if is_reserved(name):
            return self._of_the_router(name) if action == "send" else _NOBODY
        if action == "send" and is_temporary(name):
            return _TEMPORARY
        return patterns.find(name) or self._refused

    def _of_the_router(self, name: str) -> Decision:
        if name == MANAGEMENT:
            return self._manages or self._refused
        return self._flags.get("capacity", self._refused) if name == CAPACITY_REPORTS else _NOBODY


class Rules:
    """All access rules of a config.

    :raise ValueError: a pattern is wrong.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        for rule in rules:
            for pattern in (*rule.send, *rule.receive):
                check_pattern(pattern)
        self._rules = tuple(rules)
        self._known = lru_cache(_ACCESSES)(self._access)

    def _access(self, user: str, listener: int) -> Access:
        return Access(self._rules, user, listener)

    def of(self, user: str, listener: int) -> Access | None:
        """What this user may do who comes by this listener; None if there are no rules, and that is everything."""
        return self._known(user, listener) if self._rules else None

    def decide(self, user: str, listener: int, action: Action, path: str = "") -> Decision:
        """Whether this user, who comes by this listener, may do something; see `Access.decide`."""
        name = _without_router(path)
        if self._rules or (is_reserved(name) and (action, name) != ("send", CAPACITY_REPORTS)):
            return self._known(user, listener).decide(action, path)
        return _EVERYTHING


def refusal_without_rules(router: Router, connection: str, user: User) -> str | None:
    """Why a client may not send to `$management` where there are no rules, in words for it; None if it may."""
    if user.is_here:
        return None
    return _refused(router, connection, user, "send", MANAGEMENT, _ONLY_HERE.why)


def _refused(router: Router, connection: str, user: User, action: Action, path: str, why: str) -> str:
    """Report that something is refused. Returns it in words for the client."""
    fields = who(connection, user) | {"action": action}
    if path:
        fields["address"] = path[:SHOWN]
    router.report("access refused", fields | {"error": why})
    return f"{shown(user.name)} may not {' '.join((_WORDS[action], path[:SHOWN])).rstrip()}"


class Permit:
    """What the client of one connection may do. What is refused is reported."""

    def __init__(self, router: Router, connection: str, user: User, access: Access) -> None:
        self._router = router
        self._connection = connection
        self._user = user
        self._access = access
        self._may_send_to: set[str] = set()

    def refusal(self, action: Action, path: str = "") -> str | None:
        """Why it is refused, in words for the client; None if it is not."""
        if action == "send" and path in self._may_send_to:
            return None
        decision = self._access.decide(action, path)
        if not decision.allowed or (decision.only_here and not self._user.is_here):
            return _refused(self._router, self._connection, self._user, action, path, decision.why)
        if action == "send":
            if len(self._may_send_to) >= _REMEMBERED:
                self._may_send_to.clear()
            self._may_send_to.add(path)
        return None
