"""Finds distribution policies by name: those shipped here, and those of anyone who installed a package.

A package offers a policy by an entry point of the group `txrouter.distribution`. A policy without one is named
`package.module:factory`. Only what is asked for is imported, so a package that is broken disturbs nobody who does
not use it.
"""

from __future__ import annotations

import configparser
import dataclasses
import difflib
import inspect
import pkgutil
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

import txrouter
from txrouter.interfaces import IDistributionPolicyFactory

__all__ = ["GROUP", "Listing", "Option", "PolicyError", "Registry"]

GROUP = "txrouter.distribution"
"""The group of entry points that name policy factories."""


class PolicyError(ValueError):
    """A policy that is unknown, or that cannot be used. The message says which, why, and whose it is."""


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a policy."""

    name: str
    type: str
    required: bool
    default: object = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """What is known of a policy, for people. One that cannot be used has an `error` and nothing to say of itself."""

    name: str
    source: str
    """The distribution package that offers it, and its version."""
    summary: str = ""
    options: tuple[Option, ...] = ()
    error: str | None = None


class Registry:
    """The policies that can be named in a config. What is installed is looked up once, when it is first needed."""

    def __init__(self, offers: Iterable[EntryPoint] | None = None) -> None:
        """:param offers: entry points to know instead of those that are installed."""
        self._given = offers
        self._offers: dict[str, list[EntryPoint]] | None = None
        self._factories: dict[str, IDistributionPolicyFactory] = {}

    def names(self) -> list[str]:
        """The names of all policies that are offered, usable or not, sorted."""
        return sorted(self._find())

    def factory(self, name: str) -> IDistributionPolicyFactory:
        """The factory that goes by `name`, or that `package.module:factory` refers to.

        :raise PolicyError: there is none, or it is broken.
        """
        if name not in self._factories:
            self._factories[name] = _load(EntryPoint(name, name, GROUP)) if ":" in name else self._load(name)
        return self._factories[name]

    def listing(self) -> list[Listing]:
        """All policies that are offered, sorted by name, the unusable ones too."""
        return [self._describe(name) for name in self.names()]

    def _find(self) -> dict[str, list[EntryPoint]]:
        if self._offers is None:
            self._offers = {}
            for offer in _installed() if self._given is None else self._given:
                self._offers.setdefault(offer.name, []).append(offer)
        return self._offers

    def _load(self, name: str) -> IDistributionPolicyFactory:
        offers = self._find().get(name, [])
        if not offers:
            raise PolicyError(self._unknown(name))
        if len(offers) > 1:
            sources = " and ".join(f"{_source(offer)} ({offer.value})" for offer in offers)
            raise PolicyError(f"several packages offer {name!r}: {sources}; name one as package.module:factory")
        factory = _load(offers[0])
        if factory.name != name:
            raise PolicyError(f"{_whose(offers[0])} is broken: it calls itself {factory.name!r}")
        return factory

    def _unknown(self, name: str) -> str:
        names = self.names()
        close = difflib.get_close_matches(name, names)
        ordered = close + [other for other in names if other not in close]
        return f"there is no policy {name!r}; there are: {', '.join(ordered) or 'none'}"

    def _describe(self, name: str) -> Listing:
        source = ", ".join(_source(offer) for offer in self._find()[name])
        try:
            factory = self.factory(name)
        except PolicyError as error:
            return Listing(name, source, error=str(error))
        return Listing(name, source, factory.summary, tuple(map(_option, dataclasses.fields(factory.options))))


def _installed() -> list[EntryPoint]:
    installed = list(entry_points(group=GROUP))
    if any(offer.dist is not None and offer.dist.name == "txrouter" for offer in installed):
        return installed
    return _checked_out() + installed


def _checked_out() -> list[EntryPoint]:
    """What setup.cfg offers, for a source checkout that was never installed."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(Path(txrouter.__file__).parent.parent / "setup.cfg", encoding="utf-8")
    offers = setup.get("options.entry_points", GROUP, fallback="").strip().splitlines()
    pairs = (offer.partition("=") for offer in offers)
    return [EntryPoint(name.strip(), value.strip(), GROUP) for name, _, value in pairs]


def _load(offer: EntryPoint) -> IDistributionPolicyFactory:
    try:
        factory = pkgutil.resolve_name(offer.value.partition("[")[0].strip())
        verifyObject(IDistributionPolicyFactory, factory)
    except Invalid as error:
        raise PolicyError(f"{_whose(offer)} is no policy factory: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:  # anything may happen while somebody's module is imported
        raise PolicyError(f"{_whose(offer)} cannot be loaded: {type(error).__name__}: {_one_line(error)}") from error
    if not (isinstance(factory.options, type) and dataclasses.is_dataclass(factory.options)):
        raise PolicyError(f"{_whose(offer)} is no policy factory: its options are no dataclass")
    return cast(IDistributionPolicyFactory, factory)


def _whose(offer: EntryPoint) -> str:
    return f"{offer.name!r}" if offer.dist is None else f"{offer.name!r} of {_source(offer)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _source(offer: EntryPoint) -> str:
    if offer.dist is None:
        return f"txrouter {txrouter.__version__} (source checkout)"
    return f"{offer.dist.name} {offer.dist.version}"


def _option(field: dataclasses.Field[object]) -> Option:
    kind = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
    if field.default_factory is not dataclasses.MISSING:
        return Option(field.name, kind, False, field.default_factory())
    if field.default is not dataclasses.MISSING:
        return Option(field.name, kind, False, field.default)
    return Option(field.name, kind, required=True)
