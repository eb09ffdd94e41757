"""Addresses: one spelling for each, and which distribution the configuration gives to which.

A pattern is tokens split at `/` and `.`; `*` stands for exactly one token, `#` for any number of them, none included.
Where several match, the literal token wins over `*`, and `*` over `#`, from the left. A prefix is the pattern of its
tokens with `#` behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = [
    "CAPACITY_REPORTS",
    "MANAGEMENT",
    "MAX_LENGTH",
    "TEMPORARY_LENGTH",
    "AddressTable",
    "Distribution",
    "Patterns",
    "is_reserved",
    "is_temporary",
    "normalise",
    "pattern_tokens",
    "tokens",
]

MAX_LENGTH = 2_048
"""The most characters an address may have."""
MAX_PATTERN = 100
"""The most tokens a pattern may have; addresses are matched by recursion over them."""
TEMPORARY_LENGTH = 15
"""The random characters of a temporary address."""
MANAGEMENT = "$management"
CAPACITY_REPORTS = f"{MANAGEMENT}/capacity"
"""The address of the router itself: it takes requests there."""

_SPLIT = re.compile(r"[/.]")
_WILD = ("*", "#")
_TEMPORARY = re.compile(rf"temp\.[A-Za-z0-9]{{{TEMPORARY_LENGTH}}}")

T = TypeVar("T")


def normalise(name: str) -> str:
    """The form addresses are looked up by: `x`, `/x`, `amqp:/x` and `amqp://host:port/x` are all `x`.

    :raise ValueError: nothing is left, or it is longer than `MAX_LENGTH`.
    """
    path = name
    if name.startswith(("amqp://", "amqps://")):
        path = name.partition("://")[2].partition("/")[2]
    elif name.startswith(("amqp:/", "amqps:/")):
        path = name.partition(":/")[2]
    elif name.startswith("/"):
        path = name[1:]
    if not path:
        raise ValueError(f"{name[:80]!r} names no address")
    if len(path) > MAX_LENGTH:
        raise ValueError(f"an address of {len(path)} characters; at most {MAX_LENGTH} are allowed")
    return path


def tokens(path: str) -> list[str]:
    """The tokens of a normalised address or pattern."""
    return _SPLIT.split(path)


def pattern_tokens(pattern: str) -> list[str]:
    """The tokens of a pattern.

    :raise ValueError: it is malformed.
    """
    parts = tokens(normalise(pattern))
    for part in parts:
        if not part:
            raise ValueError(f"the pattern {pattern!r} has an empty token")
        if part not in _WILD and any(wild in part for wild in _WILD):
            raise ValueError(f"the pattern {pattern!r} has a wildcard inside the token {part!r}")
    _check_length(pattern, parts)
    return parts


def _check_length(written: str, parts: Sequence[str]) -> None:
    if len(parts) > MAX_PATTERN:
        raise ValueError(f"{written[:80]!r} has {len(parts)} tokens; at most {MAX_PATTERN} are allowed")


def is_temporary(name: str) -> bool:
    """Whether a normalised name is of the form of those that the router makes for one link each."""
    return _TEMPORARY.fullmatch(name) is not None


def is_reserved(name: str) -> bool:
    """Whether a normalised name is the router's own, or below it."""
    return name == MANAGEMENT or name.startswith(f"{MANAGEMENT}/")


@dataclass(slots=True)
class _Node(Generic[T]):
    branches: dict[str, _Node[T]] = field(default_factory=dict)
    value: T | None = None


class Patterns(Generic[T]):
    """What is said of addresses by patterns."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, parts: Sequence[str], value: T) -> bool:
        """Say it of every address that matches the pattern of these tokens. Returns False if something has been said
        by the same pattern before: then that stays."""
        node = self._root
        for part in parts:
            node = node.branches.setdefault(part, _Node())
        if node.value is not None:
            return False
        node.value = value
        return True

    def find(self, path: str) -> T | None:
        """What is said of a normalised address; None if nothing is. It takes steps in proportion to its tokens times
        the patterns'."""
        return self._match(self._root, tokens(path), 0, set())

    def _match(self, node: _Node[T], parts: list[str], at: int, tried: set[tuple[int, int]]) -> T | None:
        here = (id(node), at)
        if here in tried:
            return None
        tried.add(here)
        if at < len(parts):
            for branch in (parts[at], "*"):
                found = node.branches.get(branch)
                # `#` in an address is a character like any other: it must not find the wildcard's branch
                if found is not None and branch != "#":
                    matched = self._match(found, parts, at + 1, tried)
                    if matched is not None:
                        return matched
        elif node.value is not None:
            return node.value
        rest = node.branches.get("#")
        if rest is not None:
            for end in range(at, len(parts) + 1):
                if (id(rest), end) in tried:
                    break  # and so were those behind it
                matched = self._match(rest, parts, end, tried)
                if matched is not None:
                    return matched
        return None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Who gets a message, as configured: a policy factory and its options."""

    factory: object
    """An IDistributionPolicyFactory."""
    options: object
    """An instance of `factory.options`."""
    by_priority: bool = False
    """Whether what is held leaves by the priority in its header, the highest first; or in the order it came."""
    shadow: Distribution | None = None
    """What runs beside it, to be compared; see `txrouter.core.shadow`. Not with a multicast."""


class AddressTable:
    """Patterns and prefixes, each with its distribution, and one for every other address."""

    def __init__(self, default: Distribution) -> None:
        self._default = default
        self._patterns: Patterns[Distribution] = Patterns()

    def add_pattern(self, pattern: str, distribution: Distribution) -> None:
        """Give every address that matches `pattern` this distribution.

        :raise ValueError: the pattern is malformed, or there already.
        """
        self._add(pattern, pattern_tokens(pattern), distribution)

    def add_prefix(self, prefix: str, distribution: Distribution) -> None:
        """Give the address `prefix`, and every one below it at a `/` or `.`, this distribution.

        :raise ValueError: the prefix is malformed or has wildcards, or is there already.
        """
        parts = tokens(normalise(prefix).rstrip("/."))
        for part in parts:
            if not part:
                raise ValueError(f"the prefix {prefix!r} has an empty token")
            if any(wild in part for wild in _WILD):
                raise ValueError(f"the prefix {prefix!r} has a wildcard; only a pattern may")
        parts.append("#")
        _check_length(prefix, parts)
        self._add(prefix, parts, distribution)

    def reserve(self, name: str, distribution: Distribution) -> None:
        """Give an address that is the router's own this distribution, whatever is said of others."""
        self._patterns.add(tokens(name), distribution)

    def _add(self, written: str, parts: list[str], distribution: Distribution) -> None:
        if parts[0] == MANAGEMENT:
            raise ValueError(f"{written!r} is the router's own")
        if not self._patterns.add(parts, distribution):
            raise ValueError(f"{written!r} is there twice")

    def find(self, path: str) -> Distribution:
        """The distribution of a normalised address."""
        return self._patterns.find(path) or self._default
