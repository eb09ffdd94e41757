"""Who is at the other end of a connection."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NOBODY", "User"]


@dataclass(frozen=True, slots=True)
class User:
    """A client as the router knows it, for as long as its connection lasts."""

    name: str
    """What it proved to be called; `anonymous` if it did not say."""
    mechanism: str = ""
    """The SASL mechanism by which it proved it; empty if it came without SASL."""
    host: str = ""
    """Where it comes from: the address of its host; empty if it is on this one, at a UNIX socket."""


NOBODY = User("anonymous")
"""Somebody of whom nothing is known."""
