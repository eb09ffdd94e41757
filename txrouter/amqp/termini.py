"""The two ends of a link, its source and its target, as an attach names them: what the peer asks for, and the answer.

One of them is the peer's own affair, and is handed back as it came. The other is an address of the router. The answer
says what it is, not what was asked for: it starts from nothing, and whatever the router does not do (filters, copies,
durability, terms of expiry, capabilities) is left out. By that a client knows, as AMQP has it.
"""

from __future__ import annotations

from typing import Any, Final

from txrouter.amqp import engine
from txrouter.amqp.data import put_lifetime, put_symbols, read_symbols

__all__ = ["COORDINATOR", "accept", "asked_for", "asks_to_be_kept", "make_dynamic", "refuse"]

COORDINATOR: Final = engine.TERMINUS_COORDINATOR
OUTCOMES: Final = ("amqp:accepted:list", "amqp:rejected:list", "amqp:released:list", "amqp:modified:list")
"""What may become of a message: whatever its consumer says."""


def _pairs(link: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The ends in our answer and in the peer's attach: first those that name an address of the router."""
    source = engine.link_source(link), engine.link_remote_source(link)
    target = engine.link_target(link), engine.link_remote_target(link)
    return (source, target) if engine.link_is_sender(link) else (target, source)


def asked_for(link: Any) -> tuple[int, str | None, bool]:
    """The (type, address, dynamic) of the end that names an address of the router: the source of a consumer's link, the
    target of a producer's. The address is None where there is none."""
    (_, theirs), _ = _pairs(link)
    return engine.terminus_type(theirs), engine.terminus_address(theirs), bool(engine.terminus_is_dynamic(theirs))


def asks_to_be_kept(link: Any) -> bool:
    """Whether a consumer wants messages to be kept for it while it is away: a durable subscription."""
    _, theirs = _pairs(link)[0]
    durability = engine.terminus_durability(theirs)
    never = engine.terminus_expiry_policy(theirs) == engine.EXPIRES_NEVER
    return bool(durability == engine.KEEPS_DELIVERIES or (durability == engine.KEEPS_ITSELF and never))


def accept(link: Any) -> None:
    """Answer an attach: the link is had."""
    (ours, theirs), own = _pairs(link)
    engine.terminus_copy(*own)
    engine.terminus_set_address(ours, engine.terminus_raw_address(theirs))
    if engine.terminus_expiry_policy(theirs) == engine.EXPIRES_WITH_LINK:
        engine.terminus_set_expiry_policy(ours, engine.EXPIRES_WITH_LINK)
    if engine.link_is_sender(link):
        if engine.terminus_distribution(theirs) == engine.MOVES:
            engine.terminus_set_distribution(ours, engine.MOVES)
        asked = read_symbols(engine.terminus_outcomes(theirs))
        if asked:
            put_symbols(engine.terminus_outcomes(ours), [each for each in OUTCOMES if each in asked])


def make_dynamic(link: Any, address: str) -> None:
    """Put the address that was made for the link into the answer, and that it ends with the link."""
    ours = _pairs(link)[0][0]
    engine.terminus_set_dynamic(ours, True)
    engine.terminus_set_address(ours, address.encode())
    put_lifetime(engine.terminus_properties(ours))


def refuse(link: Any) -> None:
    """Answer an attach with no address, a null source or target, as the frame before a detach."""
    (ours, _), own = _pairs(link)
    engine.terminus_copy(*own)
    engine.terminus_set_type(ours, engine.TERMINUS_NONE)
