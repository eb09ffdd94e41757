"""`reload`: take the config anew from where the router had it.

Argument: `dry_run`, whether only to say what is different. The answer: `changes`, each with `what`, `before`, `after`,
`when` and, for people, `text`; or `problems`, if the config is wrong: then nothing has changed.
"""

from __future__ import annotations

from typing import Protocol

from txrouter.amqp.management import BAD, CONFLICT, Refused, Request
from txrouter.changes import Change
from txrouter.config import ConfigError

__all__ = ["Reload"]

MOST = 1_000
"""Changes that are told. There can be any number."""


class Rereads(Protocol):
    """What has a config from somewhere: a `RouterService`."""

    def reread(self, dry_run: bool = False) -> list[Change]:
        """See there."""


class Reload:
    """The operation."""

    def __init__(self, service: Rereads) -> None:
        self._service = service

    def __call__(self, request: Request) -> None:
        """Do it.

        :raise Refused: there is no file, or who asks may not change anything.
        """
        dry_run = request.argument("dry_run", False)
        if not isinstance(dry_run, bool):
            raise Refused(BAD, "dry_run is neither true nor false")
        if not dry_run:
            request.check_control()
        try:
            found = self._service.reread(dry_run)
        except ConfigError as error:
            request.answer({"problems": error.problems[:MOST]})
        except LookupError as error:
            raise Refused(CONFLICT, str(error)) from None
        else:
            request.answer({"changes": [_told(each) for each in found[:MOST]], "count": len(found)})


def _told(change: Change) -> dict[str, object]:
    return change._asdict() | {"when": change.when.value, "text": str(change)}
