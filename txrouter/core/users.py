"""Who is at the other end of a connection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

__all__ = ["EVERYBODY", "NOBODY", "SHOWN", "Group", "Headcount", "User", "shown", "who"]

EVERYBODY: Final = "*"
SHOWN: Final = 80
"""The most characters of a name that are shown."""


@dataclass(frozen=True, slots=True)
class User:
    """A client as the router knows it, for as long as its connection lasts."""

    name: str
    """What it proved to be called; `anonymous` if it did not say."""
    mechanism: str = ""
    """The SASL mechanism by which it proved it; empty if it came without SASL."""
    host: str = ""
    """Where it comes from: the address of its host; empty if it is on this one, at a UNIX socket."""

    def may_speak_for(self, other: User) -> bool:
        """Whether it is the same as another: by its name, if both proved that; else only on the same connection."""
        return other is self or (other.name == self.name and self._has_proof and other._has_proof)

    @property
    def _has_proof(self) -> bool:
        return self.mechanism not in ("", "ANONYMOUS")

    @property
    def is_here(self) -> bool:
        """Whether it is on the router's own machine: it comes by the loopback interface or a UNIX socket."""
        try:
            address = ip_address(self.host.partition("%")[0]) if self.host else None
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return address is None or (mapped or address).is_loopback


NOBODY = User("anonymous")
"""Somebody of whom nothing is known."""


def shown(user: str, most: int = SHOWN) -> str:
    """The name of a user, who may be anybody, for people."""
    return repr(user if len(user) <= most else f"{user[:most]}…")


def who(connection: str, user: User) -> dict[str, object]:
    """Whom a report is about, as its first fields."""
    return {"connection": connection, "host": user.host, "user": shown(user.name)}


@dataclass(frozen=True, slots=True)
class Group:
    """Whom something in a config is for."""

    users: tuple[str, ...]
    """Their names; `*` is everybody."""
    listener: int | None = None
    """By which listener they come, counted from 0; None for any."""

    def has(self, user: str, listener: int) -> bool:
        """Whether this user belongs to it, who comes by this listener."""
        return self.listener in (None, listener) and (EVERYBODY in self.users or user in self.users)


class Headcount:
    """How many connections each has."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def enter(self, name: str, most: int) -> bool:
        """Count a connection more. Returns False, and does not, if there are `most` already; 0 is no limit."""
        if 0 < most <= self._counts[name]:
            return False
        self._counts[name] += 1
        return True

    def leave(self, name: str) -> None:
        """Count one less that was counted."""
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]
