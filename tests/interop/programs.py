"""Programs of others, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.net.waiting import reactor, something_came, wait_until

PATIENCE = 60.0
"""Seconds after which a program will not say what is waited for: some take several to start on a busy machine."""


class Program(ProcessProtocol):
    """A program that runs, and what it prints.

    :param environment: what is in its environment beside ours.
    :param merged: whether its standard error is taken for standard output too.
    """

    def __init__(
        self, *command: str | Path, environment: Mapping[str, str] | None = None, merged: bool = False
    ) -> None:
        self.command = [str(word) for word in command]
        self.said: list[str] = []
        """The lines of its standard output."""
        self.complained: list[str] = []
        """The lines of its standard error."""
        self._lines = {1: self.said, 2: self.said if merged else self.complained}
        self._rest = {1: "", 2: ""}
        self._read = 0
        self._end: Failure | None = None
        self._process: Any = reactor.spawnProcess(
            self, self.command[0], self.command, {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        )

    # -- what a test asks of it --------------------------------------------------------------------

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches, after the last that was waited for."""
        found: list[re.Match[str]] = []

        def said() -> bool:
            for line in self.said[self._read :]:
                self._read += 1
                if match := re.search(pattern, line):
                    found.append(match)
                    return True
            return self._end is not None

        await wait_until(said, PATIENCE)
        assert found, f"{self} ended before it said {pattern!r}"
        return found[0]

    async def event(self) -> Any:
        """Wait for its next line, which is JSON."""
        return json.loads((await self.says(r"^\{.*\}$"))[0])

    def tell(self, event: object) -> None:
        """Write a line of JSON to its standard input."""
        self._process.write(json.dumps(event).encode() + b"\n")

    async def ended(self) -> list[str]:
        """Wait for its end, which must be status 0; returns all that it printed."""
        await wait_until(lambda: self._end, PATIENCE)
        assert self._end is not None
        assert self._end.check(ProcessDone), str(self)
        return self.said

    async def stop(self) -> list[str]:
        """Ask it to end, which it must with status 0; returns all that it printed."""
        self._process.signalProcess("TERM")
        return await self.ended()

    async def kill(self) -> None:
        """Have it gone, without a word."""
        if self._end is None:
            self._process.signalProcess("KILL")
        await wait_until(lambda: self._end, PATIENCE)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._end is None

    def __str__(self) -> str:
        lines = [" ".join(self.command), *self.said[-20:], *self.complained[-20:]]
        if self._end is not None:
            lines.append(self._end.getErrorMessage())
        return "\n    ".join(lines)

    # -- ProcessProtocol ---------------------------------------------------------------------------

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._rest[childFD] = (self._rest[childFD] + data.decode(errors="replace")).split("\n")
        self._lines[childFD].extend(lines)
        something_came()

    def processEnded(self, reason: Failure) -> None:
        self._end = reason
        something_came()
