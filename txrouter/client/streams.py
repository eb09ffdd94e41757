"""Standard input and output without making anybody wait: neither the other end of a pipe, nor the AMQP connection.

The descriptors stay in blocking mode, which a terminal shares with every program on it. Only what is ready is read, and
only as much is written as a pipe that is ready is sure to take.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Lines", "Output", "is_pollable"]

_CHUNK = 65_536
_SURE = 4_096  # POSIX: what a pipe that can be written to takes without blocking is PIPE_BUF at least, 4,096 on Linux
_MOST_LINES = 1_000
_FULL = 65_536


def is_pollable(fd: int) -> bool:
    """Whether one may have to wait for it: a pipe, a socket, a terminal. Files and /dev/null are always ready."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


class _Descriptor:
    """What a reactor wants of something that it polls."""

    def __init__(self, reactor: Any, fd: int) -> None:
        self._reactor = reactor
        self._fd = fd
        self._pollable = is_pollable(fd)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return type(self).__name__


@implementer(IReadDescriptor)
class Lines(_Descriptor):
    """The lines of a stream, as bodies, read as they are wanted.

    :param most: how many lines are wanted at most; None for all.
    """

    def __init__(self, reactor: Any, fd: int, most: int | None = None) -> None:
        super().__init__(reactor, fd)
        self._left = most
        self._lines: deque[str] = deque()
        self._rest = b""
        self._ended = most == 0
        self._reading = False
        self.wake: Callable[[], None] = lambda: None
        """Called when there are lines again, or no more."""

    @property
    def over(self) -> bool:
        return self._ended and not self._lines

    def next(self) -> str | None:
        if not self._lines:
            self._more()
        return self._lines.popleft() if self._lines else None

    def _more(self) -> None:
        if self._pollable:
            if not self._ended and not self._reading:
                self._reading = True
                self._reactor.addReader(self)
            return
        while not self._lines and not self._ended:
            self._take(os.read(self._fd, _CHUNK))

    def _take(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data:
            self._ended = True
            whole, self._rest = [self._rest] if self._rest else [], b""
        if self._left is not None:
            whole = whole[: self._left]
            self._left -= len(whole)
            self._ended = self._ended or not self._left
        self._lines += [line.removesuffix(b"\r").decode(errors="replace") for line in whole]

    def doRead(self) -> None:
        """The reactor says that there is something."""
        self._take(os.read(self._fd, _CHUNK))
        if self._ended or len(self._lines) >= _MOST_LINES:
            self.stop()
        if self._lines or self._ended:
            self.wake()

    def stop(self) -> None:
        """Read no more until lines are wanted again."""
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """Nothing more comes."""
        self._reading = False
        self._take(b"")
        self.wake()


@implementer(IWriteDescriptor)
class Output(_Descriptor):
    """A stream that what came is written to.

    :param gone: called when nobody reads it any more.
    """

    def __init__(self, reactor: Any, fd: int, gone: Callable[[], object] = lambda: None) -> None:
        super().__init__(reactor, fd)
        self.terminal = os.isatty(fd)
        self.room: Callable[[], None] = lambda: None
        """Called when it is empty again after it was full."""
        self.gone = gone
        self._buffer = bytearray()
        self._writing = False
        self._was_full = False
        self._broken = False

    @property
    def full(self) -> bool:
        """Whether more should not be written for now."""
        if len(self._buffer) < _FULL:
            return False
        self._was_full = True
        return True

    def write(self, data: bytes) -> None:
        """Write a line."""
        if self._broken:
            return
        self._buffer += data
        self._buffer += b"\n"
        if not self._writing:
            self._writing = True
            if self._pollable:
                self._reactor.addWriter(self)
            else:
                self.flush()

    def doWrite(self) -> None:
        """The reactor says that it can be written to."""
        self._write(_SURE)
        if self._was_full and not self._buffer:
            self._was_full = False
            self.room()

    def flush(self) -> None:
        """Write all there is, however long that takes."""
        while self._buffer:
            self._write(_CHUNK)

    def _write(self, most: int) -> None:
        try:
            del self._buffer[: os.write(self._fd, memoryview(self._buffer)[:most])]
        except BrokenPipeError:
            self._broken = True
            self._buffer.clear()
        if not self._buffer:
            self._writing = False
            if self._pollable:
                self._reactor.removeWriter(self)
        if self._broken:
            self.gone()

    def connectionLost(self, reason: Failure) -> None:
        """Nobody reads it any more, which writing brings to light; or the reactor stops."""
        self._pollable = False
        self.flush()
