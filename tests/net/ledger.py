"""What a router has, counted: to be the same again after a client is gone, whatever it did."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

from txrouter.amqp.connection import Connection
from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.amqp.incoming import IncomingLink
from txrouter.amqp.multicast import OutgoingCopy
from txrouter.amqp.outgoing import OutgoingLink
from txrouter.core.links import Address
from txrouter.net.protocol import RouterProtocol

__all__ = ["objects"]

_KINDS = (Address, Connection, IncomingDelivery, IncomingLink, OutgoingCopy, OutgoingLink, RouterProtocol)


def objects() -> dict[str, int]:
    """How many there are in this process of what a router makes for its clients."""
    gc.collect()
    kinds: Counter[Any] = Counter(map(type, gc.get_objects()))
    return {kind.__name__: kinds[kind] for kind in _KINDS}
