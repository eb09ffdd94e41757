"""`multicast`: every consumer gets a copy of each message.

For notifications, and for calls that all instances of a service are to hear. An unsettled message is settled for its
producer when every copy is, with the outcome that says most: REJECTED before ACCEPTED before MODIFIED before RELEASED.

One consumer without credit would stall all the others, so `when_full` says what becomes of it. By default a message
that is pre-settled does not wait for it, as nobody will know; one that is not waits, for a limited time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from zope.interface import implementer

from txrouter.interfaces import IDistribution, IDistributionPolicyFactory, IMulticast

__all__ = ["Multicast", "Options", "factory"]


@dataclass(frozen=True)
class Options:
    """What becomes of a message for a consumer that has no credit for it."""

    when_full: Literal["auto", "block", "drop", "detach"] = "auto"
    """`block`: all consumers wait for that one. `drop`: it goes without that message. `detach`: its link is ended.
    `auto`: a pre-settled message is dropped, any other blocks."""
    block_seconds: float = 5.0
    """The longest that a message waits. Then the consumer goes without, and is waited for again when it has given
    credit."""


@implementer(IMulticast)
class Multicast:
    """See the module."""

    def __init__(self, options: Options) -> None:
        self.block_seconds = options.block_seconds
        self._unsettled = "block" if options.when_full == "auto" else options.when_full
        self._presettled = "drop" if options.when_full == "auto" else options.when_full

    def when_full(self, presettled: bool) -> str:
        """As IMulticast says."""
        return self._presettled if presettled else self._unsettled


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "multicast"
    summary = "a copy to every consumer"
    options = Options

    def build(self, options: Any, random: object) -> IDistribution:
        if not 0 <= options.block_seconds <= 3600:
            raise ValueError(f"block_seconds: {options.block_seconds} is not between 0 and 3600")
        return Multicast(options)


factory = _Factory()
