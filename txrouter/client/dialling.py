"""Connecting to a server, by TCP, TLS or a UNIX socket, and saying plainly why that did not work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL.crypto import X509
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


def converse(reactor: Any, client: Client) -> Deferred[None]:
    """Connect a client, and let it do what it is for. Returns its `ended`."""
    options = client.options
    try:
        endpoint = _endpoint(reactor, options)
    except ValueError as error:
        client.unreachable(str(error))
        return client.ended
    attempt = connectProtocol(endpoint, client.protocol())
    attempt.addTimeout(client.patience, reactor, lambda result, seconds: Failure(TimeoutError()))
    attempt.addErrback(lambda failure: client.unreachable(_why(failure, client)))

    def ended(result: Any) -> Any:
        attempt.cancel()  # it may have been stopped before that came to anything
        return result

    return client.ended.addBoth(ended)


def _endpoint(reactor: Any, options: ConnectOptions) -> IStreamClientEndpoint:
    """:raise ValueError: a file with certificates or a key is of no use."""
    server = options.server
    if server.path is not None:
        return UNIXClientEndpoint(reactor, server.path)
    plain = HostnameEndpoint(reactor, server.host, server.port)
    if not server.tls:
        return plain
    shown = _shown(options)
    if options.insecure:
        return wrapClientTLS(CertificateOptions(**shown), plain)
    trusted = None if options.ca is None else _read(options.ca, "certificate", _trusted)
    # this also verifies that the certificate is for that host
    tls = optionsForClientTLS(server.host, trustRoot=trusted, extraCertificateOptions=shown)
    return wrapClientTLS(tls, plain)


def _shown(options: ConnectOptions) -> dict[str, Any]:
    """The certificate that the server may ask for, its key, and those between it and a root."""
    if options.certificate is None:
        return {}
    file = options.private_key or options.certificate
    certificate, *chain = _read(options.certificate, "certificate", x509.load_pem_x509_certificates)
    key = _read(file, "private key", lambda content: load_pem_private_key(content, None))
    if key.public_key() != certificate.public_key():
        raise ValueError(f"cannot use {file}: the private key is not that of the certificate")
    return {"certificate": certificate, "privateKey": key, "extraCertChain": chain}


def _trusted(content: bytes) -> Any:
    found = x509.load_pem_x509_certificates(content)
    return trustRootFromCertificates([Certificate(X509.from_cryptography(each)) for each in found])


def _read(file: str, what: str, meaning: Callable[[bytes], Any]) -> Any:
    """What is in a file.

    :raise ValueError: it cannot be read, or there is no such thing in it.
    """
    try:
        return meaning(Path(file).read_bytes())
    except OSError as error:
        raise ValueError(f"cannot use {file}: {error.strerror}") from error
    except TypeError as error:
        raise ValueError(f"cannot use {file}: the private key is encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"cannot use {file}: it has no PEM {what}") from error


def _why(failure: Failure, client: Client) -> str:
    error: Any = failure.value
    server = client.options.server
    if isinstance(error, DNSLookupError):
        return f"there is no host {server.host}"
    if isinstance(error, (ConnectTimeoutError, TimeoutError)):
        return f"cannot connect to {server}: it did not answer within {client.patience:g} s"
    number = getattr(error, "osError", None)
    return f"cannot connect to {server}: {os.strerror(number) if isinstance(number, int) else error}"
