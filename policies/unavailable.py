"""`unavailable`: nobody may attach to the address, or send to it.

A link to it is refused, and the message of an anonymous producer REJECTED, both with `amqp:not-found`. For names that
are to stay free, as in a config that allows some prefixes and gives `unavailable` to the pattern `#`.
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from txrouter.interfaces import IConsumer, IDelivery, IDistributionPolicy, IUnavailable

__all__ = ["Options", "factory"]


@implementer(IDistributionPolicy)
class _Nobody:
    """Chooses nobody. It is never asked."""

    def add(self, consumer: IConsumer) -> None:
        """Nobody is added."""

    def remove(self, consumer: IConsumer) -> None:
        """Nor removed."""

    def select(self, delivery: IDelivery) -> IConsumer | None:
        """Nobody."""
        return None


@dataclass(frozen=True)
class Options:
    """`unavailable` has no options."""


@implementer(IUnavailable)
class _Factory:
    name = "unavailable"
    summary = "nobody may attach to it, or send to it"
    options = Options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return _Nobody()


factory = _Factory()
