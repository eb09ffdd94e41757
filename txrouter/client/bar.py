"""The progress bar of `txrouter send` and `receive`: one line, drawn again in its place."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

from txrouter.client.report import figure

__all__ = ["Bar", "line", "wants_bar"]

REDRAW = 0.1
"""Seconds between two drawings."""
_WIDEST = 40
_CLEAR = "\r\x1b[K"


def wants_bar(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can draw a line again."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Bar:
    """A bar on a terminal.

    :param total: how many messages there are to be; None if nobody knows.
    """

    def __init__(self, stream: TextIO, label: str, total: int | None) -> None:
        self._stream = stream
        self._label = label
        self._total = total
        self._drawn = False

    def show(self, done: int, rate: float) -> None:
        """Draw it.

        :param rate: messages per second so far.
        """
        width = shutil.get_terminal_size().columns - 1
        self._drawn = True
        self._stream.write(_CLEAR + line(self._label, done, self._total, rate, width))
        self._stream.flush()

    def clear(self) -> None:
        """Take it away, so that something else can be written there."""
        if self._drawn:
            self._drawn = False
            self._stream.write(_CLEAR)
            self._stream.flush()


def line(label: str, done: int, total: int | None, rate: float, width: int) -> str:
    """The bar as a line, not longer than `width`."""
    speed = f"  {figure(rate)}/s" if rate else ""
    if not total:
        return f"{label}  {done:,}{speed}"[:width]
    figures = f"  {done:,} of {total:,}{speed}"
    room = min(_WIDEST, width - len(label) - len(figures) - 3)
    if room < 5:
        return f"{label}{figures}"[:width]
    filled = min(room, room * done // total)
    return f"{label} [{'#' * filled}{' ' * (room - filled)}]{figures}"
