"""Where consumers say by HTTP how they are: health addresses, and what is known of each.

What is fetched is decided here, and nothing is fetched: that is for whoever has a socket. A client says what its
container is called and, where it may, its health address; neither is to lead the router to ask where its operator did
not mean it to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, urlsplit

from txrouter.core.signals import Signal

if TYPE_CHECKING:
    from txrouter.core.links import Consumer

__all__ = ["JITTER", "Health", "Heard", "Target", "check_url", "field_of", "found_at", "is_within", "written_out"]

LONGEST: Final = 2_048
"""Characters of a URL."""
JITTER: Final = 0.1
"""How much sooner or later than it should be a question comes, at the most; as a part of the time between two."""
_PORTS: Final = {"http": 80, "https": 443}
_FIELD = re.compile(r"\{(.*?)\}")
_UNSAFE = re.compile(r"[^!-~]|[\\#]")
"""What is no part of a URL that is asked for, or what one program takes for something else than another."""
_CLIMBING = re.compile(r"(/|%2f|%5c)(\.|%2e){1,2}(/|%2f|%5c|$)", re.IGNORECASE)
"""What some servers take for the folder above."""
_PART = re.compile(r"(?:\.|^)([^.\[\]]+)|\[(0|[1-9][0-9]{0,8})\]")


@dataclass(frozen=True, slots=True)
class Target:
    """What is fetched, and how. All consumers with the same share what comes of it."""

    url: str
    field: tuple[str | int, ...] = ()
    """Where the answer is in a JSON document; the answer is the whole text, if it is nowhere."""
    every: float = 5.0
    """Seconds between one answer and the next question."""
    timeout: float = 2.0
    """Seconds that an answer may take."""
    expires: float = 30.0
    """Seconds that an answer is good for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A signal that is good until some time, on the router's clock."""

    signal: Signal
    said: object
    """In the words in which it was said."""
    at: float
    until: float


class Health:
    """What is known of a target, for those who have it."""

    __slots__ = ("consumers", "error", "failures", "heard", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.consumers: dict[Consumer, None] = {}
        self.heard: Heard | None = None
        """The last answer that made sense, until it expires."""
        self.error = ""
        """What was wrong with the last answer; empty if nothing was."""
        self.failures = 0
        """How many in a row were wrong, or did not come."""


def check_url(url: str, fields: tuple[str, ...] = ("host", "container")) -> None:
    """:raise ValueError: it is no URL that a config may have: see the messages."""
    for field in _FIELD.findall(url):
        if field not in fields:
            raise ValueError(f"{{{field}}} is unknown; there are: {', '.join(f'{{{each}}}' for each in fields)}")
    parts = _split(url.replace("{host}", "127.0.0.1"))
    if "{" in parts.netloc:
        raise ValueError("{container} may not be in the host: every client says itself what it is called")


def written_out(url: str, host: str, container: str) -> str | None:
    """A URL of the config, for one consumer; None if it has no host and needs one, or comes to what is no URL."""
    if "{host}" in url and not host:
        return None
    try:
        with_container = url.replace("{container}", quote(container, safe=""))
        result = with_container.replace("{host}", _in_url(host))
        _split(result)
    except ValueError:
        return None
    return result


def _in_url(host: str) -> str:
    try:
        return f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        return host


def is_within(url: str, allowed: str) -> bool:
    """Whether a client's URL is at the place of a config's URL that is written out, or below it."""
    try:
        asked, there = _split(url), _split(allowed)
    except ValueError:
        return False
    if _place(asked) != _place(there):
        return False
    path = there.path.rstrip("/")
    return not path or asked.path == path or asked.path.startswith(path + "/")


def _place(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _split(url: str) -> SplitResult:
    """:raise ValueError: it is no URL of HTTP, or has what a health address has no need of."""
    if len(url) > LONGEST:
        raise ValueError(f"a URL of {len(url)} characters; at most {LONGEST} are allowed")
    unsafe = _UNSAFE.search(url)
    if unsafe:
        raise ValueError(f"{unsafe.group()!r} cannot be in a URL that is asked for")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("a user cannot be in a URL")
    if _CLIMBING.search(parts.path):
        raise ValueError("`..` cannot be in the path of a URL")
    if parts.netloc.endswith(":") or parts.port == 0:  # `port` raises what is no number up to 65535
        raise ValueError(f"{url!r} has no port after its colon")
    return parts


def field_of(written: str) -> tuple[str | int, ...]:
    """The way to a value in a JSON document, as `load.cpus[0].free` writes it.

    :raise ValueError: it is none.
    """
    way: list[str | int] = []
    at = 0
    while at < len(written):
        part = _PART.match(written, at)
        if part is None:
            break
        way.append(int(part[2]) if part[2] is not None else part[1])
        at = part.end()
    if not way or at < len(written):
        raise ValueError(f"{written!r} is no place in a JSON document, as `load.cpus[0].free` is one")
    return tuple(way)


def found_at(field: tuple[str | int, ...], document: object) -> object:
    """What is there in a JSON document.

    :raise ValueError: nothing is.
    """
    value = document
    for part in field:
        if isinstance(part, int):
            there = isinstance(value, list) and part < len(value)
        else:
            there = isinstance(value, dict) and part in value
        if not there:
            raise ValueError(f"it has no {part!r} where one is to be")
        value = value[part]  # type: ignore[index]
    return value
