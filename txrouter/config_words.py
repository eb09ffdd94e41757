"""A config in words, for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from txrouter.config import Address, Config, Listener
    from txrouter.config_capacity import CapacityTable
    from txrouter.core.limits import Limits
    from txrouter.core.users import Group

__all__ = ["addresses", "changed", "distribution", "distribution_of", "group", "summary", "value", "values"]


def summary(config: Config) -> list[tuple[str, str]]:
    """What it says, as rows of two columns."""
    router = config.router
    return [
        ("router", router.id),
        *(("listens on", _listener(listener)) for listener in config.listener),
        *((addresses(address), distribution_of(address)) for address in config.address),
        ("other addresses", distribution(router.default_distribution, router.default_options)),
        *((_consumers(table), _capacity(table)) for table in config.capacity),
        *_limits(config.limits),
        ("access", _access(len(config.access))),
    ]


def _consumers(table: CapacityTable) -> str:
    said = {key: getattr(table, key) for key in ("users", "containers", "links", "addresses")}
    some = [f"{key} {', '.join(names)}" for key, names in said.items() if names not in (("*",), ())]
    return f"capacity of {' and '.join(some) or 'all consumers'}"


def _capacity(table: CapacityTable) -> str:
    said = {key: getattr(table, key) for key in ("value", "property", "url", "client_urls")}
    return values({key: each for key, each in said.items() if each})


def _limits(limits: Limits) -> list[tuple[str, str]]:
    said = {each.name: getattr(limits, each.name) for each in dataclasses.fields(limits) if each.name != "client"}
    changed = {name: value for name, value in said.items() if value != getattr(type(limits)(), name)}
    return [
        ("limits", values(changed) or "as by default"),
        *((f"limits of {group(each)}", values(each.limits)) for each in limits.client),
    ]


def group(clients: Group) -> str:
    """Some clients."""
    users = "everybody" if "*" in clients.users else ", ".join(clients.users)
    return users if clients.listener is None else f"{users} at listener {clients.listener}"


def values(named: Mapping[str, object]) -> str:
    """Keys and what they are set to."""
    return ", ".join(f"{name} = {value(each)}" for name, each in named.items())


def value(given: object) -> str:
    """What a key is set to."""
    return json.dumps(given, default=lambda each: vars(each) if dataclasses.is_dataclass(each) else str(each))


def _listener(listener: Listener) -> str:
    return f"{listener.endpoint}{' with TLS' if listener.tls else ''}, by {', '.join(listener.offered)}"


def _access(rules: int) -> str:
    if not rules:
        return "everybody may do everything"
    return "what 1 rule allows" if rules == 1 else f"what {rules} rules allow"


def addresses(address: Address) -> str:
    """Which ones it is for."""
    return f"{address.prefix} and below" if address.pattern is None else str(address.pattern)


def distribution_of(address: Address) -> str:
    """How messages to them are distributed."""
    said = distribution(address.distribution, address.options)
    if address.shadow is not None:
        said += f", with the shadow {distribution(address.shadow.distribution, address.shadow.options)}"
    return said + (", by priority" if address.priority else "")


def distribution(name: str, options: Any) -> str:
    """A policy with its options, as far as they are not as by default."""
    said = values(changed(options))
    return f"{name} ({said})" if said else name


def changed(options: Any) -> dict[str, object]:
    """Options that are not as by default; those of a wrapper as `slow_start.seconds`."""
    return dict(_changed(options, ""))


def _changed(options: Any, before: str) -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(options):
        given = getattr(options, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if dataclasses.is_dataclass(given):
            yield from _changed(given, f"{before}{field.name}.")
        elif given != default:
            yield before + field.name, given
