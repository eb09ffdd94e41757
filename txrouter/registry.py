"""Finds distribution policies by name: those shipped here, and those of anyone who installed a package.

A package offers a policy by an entry point of the group `txrouter.distribution`, and a wrapper by one of the group
`txrouter.wrapper`. One without is named `package.module:factory`. Wrappers are written before a policy, with `+`
between. Only what is asked for is imported, so a package that is broken disturbs nobody who does not use it.
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
from typing import Any, Literal, NamedTuple

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

import txrouter
from txrouter.chains import chain
from txrouter.interfaces import IDistributionPolicyFactory, IDistributionWrapperFactory

__all__ = ["GROUP", "WRAPPERS", "Listing", "Option", "PolicyError", "Registry"]

GROUP = "txrouter.distribution"
"""The group of entry points that name policy factories."""
WRAPPERS = "txrouter.wrapper"
"""The group of those that name wrappers."""


class _Kind(NamedTuple):
    """What can be named."""

    name: Literal["policy", "wrapper"]
    group: str
    interface: Any


_POLICY = _Kind("policy", GROUP, IDistributionPolicyFactory)
_WRAPPER = _Kind("wrapper", WRAPPERS, IDistributionWrapperFactory)


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
    """What is known of a policy or a wrapper, for people. One that cannot be used has an `error` and nothing to say of
    itself."""

    name: str
    source: str
    """The distribution package that offers it, and its version."""
    summary: str = ""
    options: tuple[Option, ...] = ()
    error: str | None = None
    kind: Literal["policy", "wrapper"] = "policy"


class Registry:
    """The policies that can be named in a config. What is installed is looked up once, when it is first needed."""

    def __init__(self, offers: Iterable[EntryPoint] | None = None) -> None:
        """:param offers: entry points to know instead of those that are installed."""
        self._given = offers
        self._offers: dict[tuple[str, str], list[EntryPoint]] | None = None
        self._loaded: dict[tuple[_Kind, str], Any] = {}

    def names(self) -> list[str]:
        """The names of all policies that are offered, usable or not, sorted."""
        return self._names(_POLICY)

    def factory(self, name: str) -> IDistributionPolicyFactory:
        """The factory that goes by `name`, or that `package.module:factory` refers to; with `+`, one of the last with
        the wrappers before it around it, the outermost first.

        :raise PolicyError: there is none, or it is broken, or they do not go together.
        """
        *before, last = parts = [part.strip() for part in name.split("+")]
        if before and not all(parts):
            raise PolicyError(f"{name!r} has a `+` without a name on either side")
        factory: IDistributionPolicyFactory = self._find(_POLICY, last)
        if not before:
            return factory
        wrappers = tuple(self._find(_WRAPPER, part) for part in before)
        try:
            return chain(wrappers, factory)
        except ValueError as error:
            raise PolicyError(f"{name!r} cannot be: {error}") from error

    def listing(self) -> list[Listing]:
        """All policies and then all wrappers that are offered, each sorted by name, the unusable ones too."""
        return [self._describe(kind, name) for kind in (_POLICY, _WRAPPER) for name in self._names(kind)]

    def _names(self, kind: _Kind) -> list[str]:
        return sorted(name for group, name in self._offered() if group == kind.group)

    def _offered(self) -> dict[tuple[str, str], list[EntryPoint]]:
        if self._offers is None:
            self._offers = {}
            for offer in _installed() if self._given is None else self._given:
                self._offers.setdefault((offer.group, offer.name), []).append(offer)
        return self._offers

    def _find(self, kind: _Kind, name: str) -> Any:
        known = kind, name
        if known not in self._loaded:
            by_name = ":" not in name
            self._loaded[known] = self._load(kind, name) if by_name else _load(kind, EntryPoint(name, name, kind.group))
        return self._loaded[known]

    def _load(self, kind: _Kind, name: str) -> Any:
        offers = self._offered().get((kind.group, name), [])
        if not offers:
            raise PolicyError(self._unknown(kind, name))
        if len(offers) > 1:
            sources = " and ".join(f"{_source(offer)} ({offer.value})" for offer in offers)
            raise PolicyError(f"several packages offer {name!r}: {sources}; name one as package.module:factory")
        factory = _load(kind, offers[0])
        if factory.name != name:
            raise PolicyError(f"{_whose(offers[0])} is broken: it calls itself {factory.name!r}")
        return factory

    def _unknown(self, kind: _Kind, name: str) -> str:
        if kind is _WRAPPER and (GROUP, name) in self._offered():
            return f"{name!r} is a policy: it comes last, behind the wrappers"
        if kind is _POLICY and (WRAPPERS, name) in self._offered():
            return f"{name!r} is a wrapper: a policy has to follow it, as in '{name} + pull'"
        names = self._names(kind)
        close = difflib.get_close_matches(name, names)
        ordered = close + [other for other in names if other not in close]
        return f"there is no {kind.name} {name!r}; there are: {', '.join(ordered) or 'none'}"

    def _describe(self, kind: _Kind, name: str) -> Listing:
        source = ", ".join(_source(offer) for offer in self._offered()[kind.group, name])
        try:
            factory = self._find(kind, name)
        except PolicyError as error:
            return Listing(name, source, error=str(error), kind=kind.name)
        options = tuple(map(_option, dataclasses.fields(factory.options)))
        return Listing(name, source, factory.summary, options, kind=kind.name)


def _installed() -> list[EntryPoint]:
    installed = [*entry_points(group=GROUP), *entry_points(group=WRAPPERS)]
    if any(offer.dist is not None and offer.dist.name == "txrouter" for offer in installed):
        return installed
    return _checked_out() + installed


def _checked_out() -> list[EntryPoint]:
    """What setup.cfg offers, for a source checkout that was never installed."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(Path(txrouter.__file__).parent.parent / "setup.cfg", encoding="utf-8")
    found = []
    for group in GROUP, WRAPPERS:
        for offer in setup.get("options.entry_points", group, fallback="").strip().splitlines():
            name, _, value = offer.partition("=")
            found.append(EntryPoint(name.strip(), value.strip(), group))
    return found


def _load(kind: _Kind, offer: EntryPoint) -> Any:
    try:
        factory = pkgutil.resolve_name(offer.value.partition("[")[0].strip())
        verifyObject(kind.interface, factory)
    except Invalid as error:
        raise PolicyError(f"{_whose(offer)} is no {kind.name} factory: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:  # anything may happen while somebody's module is imported
        raise PolicyError(f"{_whose(offer)} cannot be loaded: {type(error).__name__}: {_one_line(error)}") from error
    if not (isinstance(factory.options, type) and dataclasses.is_dataclass(factory.options)):
        raise PolicyError(f"{_whose(offer)} is no {kind.name} factory: its options are no dataclass")
    return factory


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
