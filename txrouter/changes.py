"""What is different between two configs, and what it takes for it to count. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from txrouter import config_words as words

if TYPE_CHECKING:
    from txrouter.config import Config

__all__ = ["Change", "When", "applied", "changes"]


class When(Enum):
    """From when on a change counts."""

    NOW = "at once"
    LATER = "for connections made from now on"
    RESTART = "after a restart"


class Change(NamedTuple):
    """One thing that is different."""

    what: str
    before: str | None
    """What it was; None if it is new."""
    after: str | None
    """What it is; None if it is no more."""
    when: When

    def __str__(self) -> str:
        if self.before is None:
            change = f"new: {self.after}"
        elif self.after is None:
            change = f"gone; it was {self.before}"
        else:
            change = f"{self.before} -> {self.after}"
        return f"{self.what}: {change} ({self.when.value})"


def changes(before: Config, after: Config) -> list[Change]:
    """Everything that is different in `after`. A checker that `auth` names cannot be compared with another of its
    kind."""
    return [
        *_compare(_router(before), _router(after), When.RESTART, {"router.stop_timeout": When.NOW}),
        *_compare(_listeners(before), _listeners(after), When.RESTART),
        *_compare(_addresses(before), _addresses(after), When.NOW),
        *_compare_lists("capacity", _tables(before.capacity), _tables(after.capacity), When.NOW),
        *_compare_lists("access", _tables(before.access), _tables(after.access), _when_rules(before, after)),
        *_compare(_limits(before), _limits(after), When.LATER, {"limits.max_memory": When.RESTART}),
        *_compare_lists("limits.client", _clients(before), _clients(after), _when_rules(before, after)),
    ]


def applied(before: Config, after: Config) -> Config:
    """What counts once a router that has `before` was told `after`: all of it but what takes a restart."""
    update: dict[str, Any] = {
        "router": after.router.model_copy(update={"id": before.router.id}),
        "listener": before.listener,
        "limits": dataclasses.replace(after.limits, max_memory=before.limits.max_memory),
    }
    if _when_rules(before, after) is When.RESTART:
        update["access"] = before.access
        update["limits"] = dataclasses.replace(update["limits"], client=before.limits.client)
    return after.model_copy(update=update)


def _when_rules(before: Config, after: Config) -> When:
    """Rules are written for the listeners beside them: by their number, and by whom they let in. A rule for everybody
    means something else where a listener does not ask for passwords yet. Listeners that are to come change nothing for
    those that there are."""
    there, wanted = list(_listeners(before).values()), list(_listeners(after).values())
    return When.LATER if wanted[: len(there)] == there else When.RESTART


def _compare(
    before: dict[str, str], after: dict[str, str], when: When, but: dict[str, When] | None = None
) -> Iterator[Change]:
    for what in dict.fromkeys([*before, *after]):
        if before.get(what) != after.get(what):
            yield Change(what, before.get(what), after.get(what), (but or {}).get(what, when))


def _compare_lists(name: str, before: list[str], after: list[str], when: When) -> Iterator[Change]:
    """Tables of which each is known by what it says: one that comes in between does not make others different. What is
    gone has the number it had, and all else the number it has."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, old, old_end, new, new_end in matcher.get_opcodes():
        if kind != "equal":
            for number, (was, now) in enumerate(zip_longest(before[old:old_end], after[new:new_end])):
                yield Change(f"{name}[{(new if now is not None else old) + number}]", was, now, when)


def _router(config: Config) -> dict[str, str]:
    return {"router.id": words.value(config.router.id), "router.stop_timeout": words.value(config.router.stop_timeout)}


def _listeners(config: Config) -> dict[str, str]:
    said = {}
    for number, listener in enumerate(config.listener):
        given = _given(listener)
        if listener.auth is not None:
            given["auth"] = type(listener.auth).__name__  # there may be secrets in it
        said[f"listener[{number}]"] = words.values(given)
    return said


def _addresses(config: Config) -> dict[str, str]:
    said = {words.addresses(address): words.distribution_of(address) for address in config.address}
    router = config.router
    return said | {"other addresses": words.distribution(router.default_distribution, router.default_options)}


def _tables(tables: Iterable[Any]) -> list[str]:
    return [words.values(_given(table)) for table in tables]


def _given(table: BaseModel) -> dict[str, object]:
    """What a table says that is not so by default."""
    fields = type(table).model_fields
    given = {name: getattr(table, name) for name in sorted(table.model_fields_set)}
    return {name: value for name, value in given.items() if value != fields[name].default}


def _limits(config: Config) -> dict[str, str]:
    fields = [each.name for each in dataclasses.fields(config.limits) if each.name != "client"]
    return {f"limits.{name}": words.value(getattr(config.limits, name)) for name in fields}


def _clients(config: Config) -> list[str]:
    return [f"{words.group(each)}: {words.values(each.limits)}" for each in config.limits.client]
