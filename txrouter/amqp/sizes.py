"""From what size on things are done in another way, in bytes."""

from __future__ import annotations

from typing import Final

__all__ = ["KEEP", "LARGE", "OUTGOING_HIGH", "SHARE", "STREAMS_AHEAD", "STREAM_FROM"]

STREAM_FROM: Final[int] = 1 << 16
"""A message that is still arriving is started when this much of it is there."""
KEEP: Final[int] = 1 << 15
"""A message up to this size is kept until it is settled: if its consumer releases it, another can have it."""
OUTGOING_HIGH: Final[int] = 1 << 18
"""A session with more unsent bytes takes nothing more until they have gone."""
STREAMS_AHEAD: Final[int] = 126 << 10
"""The most of long messages that is put on a connection between two writes, and behind what a session has unsent: small
ones have to wait for it. With its frames' headers it goes in two writes."""
SHARE: Final[int] = 1 << 14
"""What a long message may put behind all that its session has unsent, however much that is, where it has none there."""
LARGE: Final[int] = 1 << 12
"""A message below this size is not worth asking how much its session has unsent: credit bounds those well enough."""
