"""From what size on things are done in another way, in bytes."""

from __future__ import annotations

from typing import Final

__all__ = ["KEEP", "LARGE", "OUTGOING_HIGH", "STREAM_FROM"]

STREAM_FROM: Final[int] = 1 << 16
"""A message that is still arriving is started when this much of it is there."""
KEEP: Final[int] = 1 << 15
"""A message up to this size is kept until it is settled: if its consumer releases it, another can have it."""
OUTGOING_HIGH: Final[int] = 1 << 18
"""A session with more unsent bytes takes nothing more until they have gone."""
LARGE: Final[int] = 1 << 12
"""A message below this size is not worth asking how much its session has unsent: credit bounds those well enough."""
