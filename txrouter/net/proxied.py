"""Listening behind HAProxy: Twisted reads the PROXY header, and here is seen to it that nothing is too much for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

__all__ = ["behind_haproxy"]

_TEXT: Final = b"PROXY "
_BINARY: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_ENOUGH: Final = 16
"""Bytes of a binary header that say how long it is."""
_LONGEST_LINE: Final = 107

Refused = Callable[[str, str], None]


def behind_haproxy(endpoint: Any, refused: Refused) -> Any:
    """An endpoint like this one, where every connection begins with a PROXY header.

    :param refused: called with the host and the reason when one does not.
    """
    return proxyEndpoint(_Careful(endpoint, refused))


@implementer(IStreamServerEndpoint)
class _Careful:
    """Puts `_Header` under what reads the header."""

    def __init__(self, endpoint: Any, refused: Refused) -> None:
        self._endpoint = endpoint
        self._refused = refused

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        factory = WrappingFactory(protocolFactory)
        factory.noisy = False
        factory.protocol = lambda *wrapped: _Header(self._refused, *wrapped)
        listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listening


class _Header(ProtocolWrapper):
    """Hands on what comes, the header not before Twisted can be trusted with it: it wants to tell at once of which kind
    it is; it takes a line for too long only if it comes in pieces, and a short `UNKNOWN` for wrong; and of some headers
    that are wrong it raises more than it says."""

    def __init__(self, refused: Refused, *wrapped: Any) -> None:
        super().__init__(*wrapped)
        self._refused = refused
        self._first: bytes | None = b""

    def dataReceived(self, data: bytes) -> None:
        if self._first is not None:
            self._first += data
            whole = self._checked(self._first)
            if whole is None:
                return
            self._first, data = None, whole
        try:
            self.wrappedProtocol.dataReceived(data)
        except Exception as error:
            self._refuse(f"a malformed PROXY header: {error}")

    def _checked(self, data: bytes) -> bytes | None:
        """The data, if it is time to hand them on."""
        if data.startswith(_TEXT):
            line, newline, _ = data.partition(b"\r\n")
            if len(line) + 2 > _LONGEST_LINE:
                self._refuse("a PROXY header that is too long")
            elif newline:
                return data.replace(b"\r\n", b" \r\n", 1) if line == _TEXT + b"UNKNOWN" else data
        elif not any(data.startswith(start[: len(data)]) for start in (_TEXT, _BINARY)):
            self._refuse("there is no PROXY header")
        elif len(data) >= _ENOUGH:
            return data
        return None

    def loseConnection(self) -> None:
        # nobody else knows that it was for the header; and if Twisted comes to call it otherwise, it is not counted
        if getattr(self.wrappedProtocol, "_proxyInfo", self) is None:
            self._refuse("a malformed PROXY header")
        else:
            super().loseConnection()  # type: ignore[no-untyped-call]

    def _refuse(self, why: str) -> None:
        transport: Any = self.transport
        self._refused(getattr(transport.getPeer(), "host", ""), why)
        transport.abortConnection()
