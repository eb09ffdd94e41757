"""What a config says of the consumers' capacity, and of which consumers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Final

from txrouter.core.addresses import Patterns, pattern_tokens
from txrouter.core.health import Target, is_within, written_out

if TYPE_CHECKING:
    from txrouter.core.links import Consumer

__all__ = ["CAPACITY", "EVERY", "HEALTH_URL", "CapacityRule", "Matcher"]

CAPACITY: Final = "capacity"
"""The link property by which a consumer says its capacity, where no rule names another."""
HEALTH_URL: Final = "health-url"
"""The link property by which a consumer says its health address, where it may."""
EVERY: Final = ("*",)


@dataclass(frozen=True, slots=True)
class CapacityRule:
    """One `[[capacity]]` of a config: of which consumers, and what it says of their capacity."""

    users: tuple[str, ...] = EVERY
    containers: tuple[str, ...] = EVERY
    links: tuple[str, ...] = EVERY
    """Names, in which `*` is any text."""
    addresses: tuple[str, ...] = ()
    """Patterns of addresses that they receive from; none is any."""
    value: float | None = None
    """Their capacity."""
    link_property: str | None = None
    """The link property by which they say it."""
    url: str | None = None
    """Where they are asked how they are."""
    client_urls: tuple[str, ...] = ()
    """Where they may say that they are to be asked: there, or below."""
    field: tuple[str | int, ...] = ()
    every: float = 5.0
    timeout: float = 2.0
    expires: float = 30.0
    """As `Target` has them."""

    @property
    def asks(self) -> bool:
        """Whether it has to do with health addresses."""
        return self.url is not None or bool(self.client_urls)

    @property
    def claims(self) -> tuple[str, ...]:
        """The link properties by which its consumers say how much they are to get."""
        named = (self.link_property,) if self.link_property is not None else ()
        return (*named, HEALTH_URL) if self.client_urls else named

    def target(self, consumer: Consumer) -> Target | None:
        """Where and how a consumer is asked how it is; None for nowhere.

        :raise ValueError: it said what it may not, or there is no such place for it.
        """
        said = consumer.properties.get(HEALTH_URL) if self.client_urls else None
        host, container = consumer.user.host, consumer.container
        if said is not None:
            allowed = [written_out(each, host, container) for each in self.client_urls]
            if not isinstance(said, str) or not any(each is not None and is_within(said, each) for each in allowed):
                raise ValueError(f"the link property {HEALTH_URL} is at none of the places that the config allows")
            return self._target(said)
        if self.url is None:
            return None
        url = written_out(self.url, host, container)
        if url is None:
            raise ValueError(f"{self.url} comes to no URL: the client is at a UNIX socket, or has an odd name")
        return self._target(url)

    def _target(self, url: str) -> Target:
        return Target(url, self.field, self.every, self.timeout, self.expires)


class Matcher:
    """Finds out whether a rule is for a consumer."""

    def __init__(self, rule: CapacityRule) -> None:
        self.rule = rule
        self._users = _any_of(rule.users)
        self._containers = _any_of(rule.containers)
        self._links = _any_of(rule.links)
        self._addresses: Patterns[bool] = Patterns()
        for pattern in rule.addresses:
            self._addresses.add(pattern_tokens(pattern), True)

    def matches(self, consumer: Consumer) -> bool:
        """Whether it is."""
        if self.rule.addresses:
            name = consumer.source.name if consumer.source is not None else ""
            if not self._addresses.find(name):
                return False
        return (
            _fits(self._users, consumer.user.name)
            and _fits(self._containers, consumer.container)
            and _fits(self._links, consumer.name)
        )


def _any_of(names: Sequence[str]) -> re.Pattern[str] | None:
    """None for any."""
    if "*" in names:
        return None
    escaped = (re.sub(r"[\[?]", r"[\g<0>]", name) for name in names)  # to fnmatch, these two mean something as well
    return re.compile("|".join(map(translate, escaped)))


def _fits(names: re.Pattern[str] | None, name: str) -> bool:
    return names is None or names.match(name) is not None
