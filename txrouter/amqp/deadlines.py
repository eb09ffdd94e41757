"""What time brings to a connection: the end of a client's patience with us, and of ours with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.multicast import give_up_on_slow

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection

__all__ = ["Deadlines"]

CLOSE_TIMEOUT = 2.0
"""Seconds that a peer has to answer our close."""
CHECK_TAGS_EVERY = 1.0
"""Seconds between looks at the tags of what is still unsettled."""


class Deadlines:
    """The deadlines of one connection. `beat` is called several times a second."""

    def __init__(self, connection: Connection, now: float) -> None:
        self._connection = connection
        self._started = now
        self._tags_checked = now
        self._tick_at = 0.0
        self.blocked_since = 0.0
        """When there was more to write than the transport took, if it is blocked."""
        self.closing_since: float | None = None
        """When it was closed by the router."""

    def beat(self, now: float) -> None:
        """See what is due."""
        connection = self._connection
        counters = connection.router.counters
        limits = connection.limits
        if self.closing_since is not None:
            if now - self.closing_since > CLOSE_TIMEOUT:
                connection.abort()
            return
        if connection.lifecycle.opened:
            if connection.blocked and now - self.blocked_since > limits.write_timeout:
                counters["stalled"] += 1
                connection.abort()
                return
        elif now - self._started > limits.handshake_timeout:
            counters["handshake_timeouts"] += 1
            connection.abort()
            return
        if connection.heard and now - self._tags_checked >= CHECK_TAGS_EVERY:
            connection.heard = False
            self._check_tags()
            self._tags_checked = now
        for link in list(connection.waiters):
            give_up_on_slow(link, now)
        if now >= self._tick_at:
            self._tick_at = connection.tick(now) or now + 3600.0

    def _check_tags(self) -> None:
        """See that what has come since the last look, and is not settled, has no tag that is too long. Most is settled
        by then; and what is, takes no memory."""
        for link in self._connection.links.values():
            if isinstance(link, IncomingLink) and link.unsettled and link.has_long_tag(self._tags_checked):
                self._connection.refuse_tag()
                return
