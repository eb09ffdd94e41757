"""Connecting to a server, by TCP, TLS or a UNIX socket, and saying plainly why that did not work."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure

from txrouter.client.client import Client
from txrouter.client.options import ConnectOptions

__all__ = ["converse"]

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def converse(reactor: Any, client: Client) -> Deferred[None]:
    """Connect a client, and let it do what it is for. Returns its `ended`."""
    options = client.options
    try:
        endpoint = _endpoint(reactor, options)
    except (OSError, ValueError) as error:
        client.unreachable(f"cannot use {options.ca}: {getattr(error, 'strerror', None) or error}")
        return client.ended
    attempt = connectProtocol(endpoint, client.protocol())
    attempt.addTimeout(client.patience, reactor, lambda result, seconds: Failure(TimeoutError()))
    attempt.addErrback(lambda failure: client.unreachable(_why(failure, client)))

    def ended(result: Any) -> Any:
        attempt.cancel()  # it may have been stopped before that came to anything
        return result

    return client.ended.addBoth(ended)


def _endpoint(reactor: Any, options: ConnectOptions) -> IStreamClientEndpoint:
    """:raise OSError: the certificates cannot be read.
    :raise ValueError: there are none.
    """
    server = options.server
    if server.path is not None:
        return UNIXClientEndpoint(reactor, server.path)
    plain = HostnameEndpoint(reactor, server.host, server.port)
    if not server.tls:
        return plain
    if options.insecure:
        return wrapClientTLS(CertificateOptions(), plain)
    trusted = None if options.ca is None else trustRootFromCertificates(_certificates(options.ca))
    return wrapClientTLS(optionsForClientTLS(server.host, trustRoot=trusted), plain)


def _certificates(file: str) -> list[Any]:
    found = [Certificate.loadPEM(text) for text in _CERTIFICATE.findall(Path(file).read_text("ascii"))]
    if not found:
        raise ValueError("it has no PEM certificate")
    return found


def _why(failure: Failure, client: Client) -> str:
    error: Any = failure.value
    server = client.options.server
    if isinstance(error, DNSLookupError):
        return f"there is no host {server.host}"
    if isinstance(error, (ConnectTimeoutError, TimeoutError)):
        return f"cannot connect to {server}: it did not answer within {client.patience:g} s"
    number = getattr(error, "osError", None)
    return f"cannot connect to {server}: {os.strerror(number) if isinstance(number, int) else error}"
