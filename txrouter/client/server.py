"""Where a client connects: parsing of what people write for it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

__all__ = ["DEFAULT_SERVER", "Server", "parse_server", "split_address"]

PORTS = {"amqp": 5672, "amqps": 5671}
DEFAULT_SERVER = "amqp://127.0.0.1:5672"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class Server:
    """An AMQP server, and who to be there. With a `path` it is a UNIX socket, and `host` only its name in the open."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def parse_server(text: str) -> Server:
    """`amqp://user:password@host:port`, or a part of it, or `unix:/path`.

    :raise ValueError: it is none of these.
    """
    server, address = _parse(text)
    if address:
        raise ValueError(f"{text!r} has an address behind the server; it is given alone")
    return server


def split_address(text: str) -> tuple[Server | None, str]:
    """The server and the address of a URL like `amqp://host:port/jobs`; anything else is the address itself.

    :raise ValueError: a URL that makes no sense.
    """
    if not _URL.match(text):
        return None, text
    server, address = _parse(text)
    if not address:
        raise ValueError(f"{text!r} has no address behind the server, as in amqp://host:port/jobs")
    return server, address


def _parse(text: str) -> tuple[Server, str]:
    if text.startswith("unix:"):
        return Server("localhost", 0, path=text.removeprefix("unix:")), ""
    url = text if _URL.match(text) else f"amqp://{text}"
    scheme, _, rest = url.partition("://")
    authority, _, address = rest.partition("/")
    scheme = scheme.lower()
    if scheme not in PORTS:
        raise ValueError(f"{text!r} begins with neither amqp:// nor amqps://")
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no server: {error}") from None
    # of several pairs of brackets urlsplit looks at one only; those around an IPv6 address are behind a user
    if not host or port == 0 or set("[]") & set(authority.rpartition("@")[0]):
        raise ValueError(f"{text!r} is no server: host:port is expected")
    user, password = parts.username, parts.password
    if user is not None and not password:
        raise ValueError("a user needs a password, as in amqp://user:password@host")
    server = Server(
        host,
        port or PORTS[scheme],
        tls=scheme == "amqps",
        user=None if user is None else unquote(user),
        password=None if password is None else unquote(password),
    )
    return server, unquote(address)
