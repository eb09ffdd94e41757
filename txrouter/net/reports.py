"""What the router reports, as log events; no more of a kind than people can read."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

__all__ = ["Reporter"]

BURST = 10
"""Events of one kind that are logged in `PERIOD` seconds; the rest are counted."""
PERIOD = 60.0


class Reporter:
    """A `report` callable for a Router.

    :param clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._log = Logger(namespace="txrouter")
        self._clock = clock
        self._since: dict[str, float] = {}
        self._logged: dict[str, int] = {}

    def __call__(self, event: str, fields: dict[str, object]) -> None:
        now = self._clock()
        if now - self._since.get(event, -PERIOD) >= PERIOD:
            left_out = self._logged.get(event, 0) - BURST
            if left_out > 0:
                self._log.warn("{what}: {count} more in the last minute were not logged", what=event, count=left_out)
            self._since[event] = now
            self._logged[event] = 0
        self._logged[event] += 1
        if self._logged[event] <= BURST:
            shown = ", ".join(f"{name} {_plain(value)}" for name, value in fields.items())
            self._log.warn("{what}: {shown}", what=event, shown=shown, **fields)


LONGEST = 400
"""Characters of a field that are logged. Much of what is reported was said by a client."""


def _plain(value: object) -> str:
    if isinstance(value, BaseException):
        value = f"{type(value).__name__}: {value}"
    text = value if isinstance(value, str) else repr(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    # no client is to write lines of its own into the log
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
