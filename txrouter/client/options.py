"""What a command line asked for, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from txrouter.client.server import Server

__all__ = ["AskOptions", "ConnectOptions", "Fields", "ReceiveOptions", "SendOptions"]


@dataclass(frozen=True)
class ConnectOptions:
    """The server, and how much to say. `timeout` is in seconds, None for ever."""

    server: Server
    ca: str | None = None
    insecure: bool = False
    certificate: str | None = None
    private_key: str | None = None
    timeout: float | None = None
    json: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Fields:
    """What each message has besides its body. Times are in seconds."""

    durable: bool = False
    priority: int | None = None
    ttl: float | None = None
    id: str | None = None
    user_id: str | None = None
    address: str | None = None
    subject: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    content_type: str | None = None
    group_id: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class SendOptions(ConnectOptions):
    """See `txrouter send --help`. `count` is None for as many as there are lines; `rate` is in messages per second."""

    address: str = ""
    anonymous: bool = False
    count: int | None = 1
    size: int | None = None
    body: str | None = None
    file: str | None = None
    lines: bool = False
    settled: bool = False
    rate: float | None = None
    request: bool = False
    fields: Fields = Fields()


@dataclass(frozen=True)
class ReceiveOptions(ConnectOptions):
    """See `txrouter receive --help`. `address` is None for a temporary one, `count` for any number of messages."""

    address: str | None = None
    count: int | None = None
    credit: int = 10
    settle: str = "accept"
    failed: bool = False
    undeliverable: bool = False
    condition: str | None = None
    description: str | None = None
    settled: bool = False
    drain: bool = False
    delay: float = 0.0
    link_properties: Mapping[str, object] = field(default_factory=dict)
    body: bool = True
    echo: bool = False
    reply: str | None = None

    @property
    def answers(self) -> bool:
        """Whether requests are answered."""
        return self.echo or self.reply is not None


@dataclass(frozen=True)
class AskOptions(ConnectOptions):
    """What is asked of a router, about an address. `takes` is how many seconds it may take to answer, None for any;
    `output` is the file that is written, None for standard output."""

    address: str = ""
    operation: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict)
    takes: float | None = None
    output: str | None = None
