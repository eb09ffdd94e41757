"""How much memory a connection takes: an estimate, from a few of the many messages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from txrouter.amqp.engine import session_incoming_bytes, session_outgoing_bytes, transport_pending
from txrouter.amqp.outgoing import OutgoingLink
from txrouter.core.ceiling import Load

if TYPE_CHECKING:
    from txrouter.amqp.connection import Connection

__all__ = ["load_of"]

LOOKED_AT: Final = 8
"""Deliveries of a link that are looked at."""
# what things take without what is in them, measured
DELIVERY: Final = 1_800
LINK: Final = 3_500
SESSION: Final = 3_500
CONNECTION: Final = 28_000


def load_of(connection: Connection) -> Load:
    """What a connection takes."""
    sessions = connection.lifecycle.sessions
    unread = sum(session_incoming_bytes(session) for session in sessions)
    unwritten = sum(session_outgoing_bytes(session) for session in sessions)
    if connection.blocked:
        unwritten += transport_pending(connection.pn_transport)
    sent = unread
    own = (
        CONNECTION
        + SESSION * len(sessions)
        + LINK * sum(session.links for session in sessions.values())
        + unread
        + unwritten
    )
    for link in connection.links.values():
        if not link.unsettled:
            continue
        size = _size(link.unsettled.values(), len(link.unsettled))
        if isinstance(link, OutgoingLink):
            own += size
        else:
            sent += size
            own += size * link.held // len(link.unsettled)
    return Load(sent, own)


def _size(deliveries: Iterable[object], count: int) -> int:
    sample = [len(getattr(delivery, "prefix", None) or b"") for delivery in islice(deliveries, LOOKED_AT)]
    return (DELIVERY + sum(sample) // len(sample)) * count
