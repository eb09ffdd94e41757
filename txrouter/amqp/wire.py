"""What is under a connection."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Wire"]


class Wire(Protocol):
    """What a connection needs of the transport under it."""

    def pause(self) -> None:
        """Read no more for now. What comes all the same is taken."""

    def resume(self) -> None:
        """Read on."""

    def write(self, data: memoryview) -> int:
        """Write now. Returns how much was taken at once, and takes care of the rest: less than all means that the
        connection is to be `blocked` until `unblock` is called. -1 if the transport is lost."""

    def lose(self) -> None:
        """Close, after what was written."""

    def abort(self) -> None:
        """Close at once."""
