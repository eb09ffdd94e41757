"""Files that are read again when they have changed."""

from __future__ import annotations

import os

__all__ = ["Stamp", "stamp"]

Stamp = tuple[str | int, ...]
"""What is seen of a file from outside."""


def stamp(path: str) -> Stamp:
    """What is seen of a file, whether it is there or not. It changes when the file is replaced or written to."""
    try:
        seen = os.stat(path)
    except OSError as error:
        return path, error.errno or 0
    return path, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
