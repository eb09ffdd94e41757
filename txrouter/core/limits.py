"""What the router bounds, with defaults that survive a hostile client. One value, handed in at the start; what is for
some clients only is in it too, and `Limits.of` says what all of it comes to for one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from txrouter.core.users import Group

__all__ = ["DEFAULTS", "LIMIT_EXCEEDED", "ClientLimits", "Limits"]

LIMIT_EXCEEDED: Final = "amqp:resource-limit-exceeded"
"""The condition of what is refused because there is too much of it."""

_NOBODY: Final = ""
"""No user's name: what is for it is for everybody."""


@dataclass(frozen=True, slots=True)
class ClientLimits(Group):
    """One `[[limits.client]]` of a config: what limits are for some clients."""

    limits: Mapping[str, Any] = field(default_factory=dict)
    """Those it names, as the fields of `Limits` are called."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of the router. Sizes are in bytes, times in seconds."""

    # credit and deliveries
    link_capacity: int = 250
    """The most credit one producer is given."""
    max_in_flight: int = 1_000
    """The most unsettled deliveries one consumer is sent, however much credit it grants."""
    session_in_flight: int = 10_000
    """The same for all consumers of a session; beyond that each has a few."""
    max_unsettled: int = 5_000
    """The most unsettled deliveries one producer link may have."""
    max_message_size: int = 0
    """The largest message accepted; 0 for no limit."""
    max_message_rate: int = 0
    """The most messages a second of all producers of a connection; 0 for no limit."""
    max_held_size: int = 1 << 20
    """The most bytes one producer may have read into the router for deliveries that let others pass."""

    # memory
    max_memory: int = 0
    """The most memory the process is to have; 0 for three quarters of what the machine, or its control group, has."""

    # connections
    max_connections: int = 0
    """The most connections a listener has at a time; 0 for no limit but the process's."""
    max_connections_per_user: int = 0
    """The most connections of one user at a time, at all listeners; 0 for no limit."""
    max_connections_per_host: int = 0
    """The most connections from one host at a time, at all listeners; 0 for no limit."""
    max_sessions: int = 256
    """The most sessions of one connection."""
    max_links: int = 256
    """The most links of one session."""
    max_frame_size: int = 32_768
    """The largest frame accepted."""
    session_window: int = 4 << 20
    """The most bytes a session may send ahead of what the router has forwarded."""
    connection_window: int = 64 << 20
    """The same for all sessions of a connection; beyond that each has room for a few frames."""
    handshake_timeout: float = 10.0
    """From the connection's first moment to its Open."""
    idle_timeout: float = 16.0
    """Silence after which a connection is closed; half of it is announced to the peer."""
    write_timeout: float = 30.0
    """How long a peer may read nothing while something is to be written to it."""

    client: tuple[ClientLimits, ...] = ()
    """What some clients have instead. Of several that are for a client, the first that names a limit decides it."""

    def of(self, user: str, listener: int) -> Limits:
        """The limits of this user, who comes by this listener."""
        named: dict[str, Any] = {}
        for each in self.client:
            if each.has(user, listener):
                named = {**each.limits, **named}
        return replace(self, client=(), **named) if self.client else self

    def of_listener(self, listener: int) -> Limits:
        """The limits at this listener while nobody knows who it is: what is for everybody there."""
        return self.of(_NOBODY, listener)


DEFAULTS: Final = Limits()
"""The limits of a router that is not told any."""
