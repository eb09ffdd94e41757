"""`multicast`: every consumer gets a copy of each message.

For notifications, and for calls that all instances of a service are to hear. An unsettled message is settled for its
producer when every copy is, with the outcome that says most: REJECTED before ACCEPTED before MODIFIED before RELEASED.

A consumer without credit would stall all the others, so they wait for it only for a time, and after that it goes
without until it gives credit again. `when_full` says which time, and whether its link is ended. The name is Qpid
Dispatch's; RabbitMQ has it as a fanout exchange.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from zope.interface import implementer

from txrouter.interfaces import IDistribution, IDistributionPolicyFactory, IMulticast

__all__ = ["Multicast", "Options", "factory"]


@dataclass(frozen=True)
class Options:
    """What becomes of a consumer that has no credit for its copy."""

    when_full: Literal["auto", "block", "drop", "detach"] = "auto"
    """`block`: all consumers wait for it, for `block_seconds`; then it goes without. `drop`: they wait for
    `drop_seconds` only. `detach`: likewise, and then its link is ended. `auto`: a pre-settled message is dropped, any
    other blocks."""
    block_seconds: float = 5.0
    """The longest that a message waits where it is to wait, and that the rest of a long one waits in any case."""
    drop_seconds: float = 0.1
    """The longest that it waits otherwise: so that a consumer that is as quick as the others loses nothing only because
    its credit comes a moment later. With 0 none waits."""


@implementer(IMulticast)
class Multicast:
    """See the module."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.stream_seconds = options.block_seconds

    def seconds(self, presettled: bool) -> float:
        """As IMulticast says."""
        options = self._options
        blocks = options.when_full == "block" or (options.when_full == "auto" and not presettled)
        return options.block_seconds if blocks else options.drop_seconds

    def detaches(self, presettled: bool) -> bool:
        """As IMulticast says."""
        return self._options.when_full == "detach"


@implementer(IDistributionPolicyFactory)
class _Factory:
    name = "multicast"
    summary = "a copy to every consumer"
    options = Options

    def build(self, options: Any, random: object) -> IDistribution:
        for name in ("block_seconds", "drop_seconds"):
            if not 0 <= getattr(options, name) <= 3600:
                raise ValueError(f"{name}: {getattr(options, name)} is not between 0 and 3600")
        return Multicast(options)


factory = _Factory()
