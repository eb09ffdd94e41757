"""TLS: what a listener shows and asks of clients, from files that may change while it runs; and the way to a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER, Connection, Context, Error
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

from txrouter.net.certificates import Identity, by_name, certificates_in, identities, stamps

__all__ = [
    "Certificates",
    "TLSSettings",
    "check_settings",
    "client_options",
    "tls_problem",
    "why_refused",
    "without_tls",
]

_log = Logger(namespace="txrouter")

LOOK_EVERY = 1.0
"""Seconds between looks at whether files were renewed."""

_VERSIONS = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class TLSSettings:
    """What a listener is told of TLS. Files are in PEM; a directory stands for its `.pem` files."""

    certificates: tuple[str, ...]
    """Files with the certificates to show, those of authorities in between, and private keys, in any order."""
    private_keys: tuple[str, ...] = ()
    """More files with private keys."""
    client_ca: tuple[str, ...] = ()
    """Files with the authorities that vouch for clients. Where there are none, clients are asked for no certificate."""
    requires_client: bool = True
    """Whether clients that show no certificate are turned away."""
    minimum: str = "1.2"
    """The lowest version of TLS that is spoken: `1.2` or `1.3`."""

    @property
    def files(self) -> tuple[str, ...]:
        """All of the files."""
        return self.certificates + self.private_keys + self.client_ca


class _Loaded:
    """What is in files, made ready for connections.

    :raise ValueError: it is of no use.
    """

    def __init__(self, settings: TLSSettings) -> None:
        self._settings = settings
        self._authorities: list[Any] = [X509.from_cryptography(each) for each in certificates_in(settings.client_ca)]
        self.shown = identities(settings.certificates, settings.private_keys)
        named = by_name(self.shown)
        options = {id(each): self._options(each) for each in self.shown}
        self._by_name = {name: options[id(identity)].getContext() for name, identity in named.items()}
        first = self.shown[0]
        # where a renewed certificate lies beside the old one, it is the newer one that has the name
        self.first = options[id(named[first.names[0]] if first.names else first)]

    def _options(self, identity: Identity) -> CertificateOptions:
        certificate: Any = identity.certificate  # pyOpenSSL takes them as they are, and warns of its own kind
        key: Any = identity.key
        chain: Any = list(identity.chain)
        options = CertificateOptions(
            certificate=certificate,
            privateKey=key,
            extraCertChain=chain,
            raiseMinimumTo=_VERSIONS[self._settings.minimum],
            verify=bool(self._authorities),
            caCerts=self._authorities,
            contextForServerName=self._named,
        )
        try:
            options.getContext()
        except (Error, TypeError) as error:
            raise ValueError(f"the certificate {identity} cannot be used: {tls_problem(error)}") from error
        return options

    def _named(self, name: bytes | None) -> Context | None:
        """The context for the server name that a client said; None for the first one."""
        asked = (name or b"").decode("ascii", "replace").lower()
        return self._by_name.get(asked) or self._by_name.get("*." + asked.partition(".")[2])

    def connection(self, protocol: Any) -> Connection:
        """One for a client that has just connected."""
        connection = self.first.serverConnectionForTLS(protocol)
        if self._authorities:
            needs = VERIFY_FAIL_IF_NO_PEER_CERT if self._settings.requires_client else 0
            connection.set_verify(VERIFY_PEER | needs, _verified)
        return connection


def check_settings(settings: TLSSettings) -> None:
    """:raise ValueError: the files are of no use."""
    _Loaded(settings)


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """What a listener shows and asks of clients: always what the files say.

    When they have changed, connections that come from then on see it; those that are there are left alone. What is of
    no use, such as half of a renewal, changes nothing, and is reported once.

    :param failed: called with what is wrong with a renewal.
    :raise ValueError: the files are of no use at the start.
    """

    def __init__(self, settings: TLSSettings, failed: Callable[[str], None]) -> None:
        self._settings = settings
        self._failed = failed
        self._tried = self._seen = stamps(settings.files)
        self._loaded = _Loaded(settings)
        self._look_at = 0.0

    def serverConnectionForTLS(self, protocol: Any) -> Connection:
        return self._loaded.connection(protocol)

    def look(self, now: float) -> None:
        """See whether the files have changed. Files that do not rest yet are left for the next look.

        :param now: seconds, monotonic.
        """
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        before, self._seen = self._seen, stamps(self._settings.files)
        if self._seen == self._tried or self._seen != before:
            return
        self._tried = self._seen
        try:
            self._loaded = _Loaded(self._settings)
        except ValueError as error:
            self._failed(str(error))
        else:
            for each in self._loaded.shown:
                until = each.certificate.not_valid_after_utc
                _log.info("renewed: the certificate {names}, valid until {until}", names=str(each), until=until)


_BAD_CERTIFICATES = {
    9: "is not yet valid",
    10: "has expired",
    18: "vouches for itself",
    19: "vouches for itself",
    20: "comes from an authority that is not known",
    21: "comes from an authority that is not known",
    26: "is not for clients",
}
"""What OpenSSL's X509_V_ERR_… mean, where people will want to know it."""

_refused: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()


def _verified(connection: Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
    """OpenSSL's verdict on a certificate that a client showed, as it stands; a bad one is remembered for the log."""
    if not good:
        subject = certificate.to_cryptography().subject.rfc4514_string()
        why = _BAD_CERTIFICATES.get(error, f"cannot be verified (error {error})")
        _refused[connection] = f"the client's certificate {subject} {why}"
    return bool(good)


def why_refused(transport: Any, error: Exception) -> str:
    """Why TLS did not come about with a client, by its transport and what that ended with."""
    return _refused.get(transport.getHandle()) or tls_problem(error)


def tls_problem(error: Exception) -> str:
    """What is wrong, in the words of OpenSSL."""
    entries = error.args[0] if isinstance(error, Error) and error.args else None
    if not isinstance(entries, list):
        return str(error) or "the peer broke it off"
    return "; ".join(str(entry[-1]) for entry in entries) or "the peer broke it off"


def client_options(
    host: str, trusted: Sequence[str] = (), certificates: Sequence[str] = (), private_keys: Sequence[str] = ()
) -> IOpenSSLClientConnectionCreator:
    """What a connection to a server needs, whose certificate has to be for `host`. Files are read at every call, so
    that a connection made with its result has what is in them then.

    :param host: a host name, or an IP address.
    :param trusted: PEM files of the authorities that may vouch for it; those the system trusts, where there are none.
    :param certificates: PEM files with a certificate to show, if the server asks.
    :param private_keys: PEM files with its private key, where it is not in the same.
    :raise ValueError: a file is of no use.
    """
    roots = None
    if trusted:
        found = [Certificate(X509.from_cryptography(each)) for each in certificates_in(trusted)]
        roots = trustRootFromCertificates(found)
    extra: dict[str, Any] = {}
    if certificates:
        shown = identities(certificates, private_keys)[0]
        extra = {"certificate": shown.certificate, "privateKey": shown.key, "extraCertChain": list(shown.chain)}
    try:
        return optionsForClientTLS(host, roots, extraCertificateOptions=extra)
    except (Error, TypeError) as error:
        raise ValueError(f"TLS cannot be used: {tls_problem(error)}") from error


def without_tls(endpoint: str) -> tuple[str, TLSSettings | None]:
    """The server endpoint that an `ssl:` or `tls:` endpoint runs over, and what it says of TLS. Any other is left as it
    is.

    :raise ValueError: it says something that makes no sense.
    :raise TypeError: it says too much, or too little.
    """
    kind, *rest = re.findall(r"(?:[^:\\]|\\.)+", endpoint) or [""]
    read = _KINDS.get(kind.lower())
    if read is None:
        return endpoint, None
    pairs = [re.match(r"((?:[^=\\]|\\.)*)(=?)(.*)", part, re.DOTALL) for part in rest]
    said = [(_plain(pair[1]), pair[2], _plain(pair[3])) for pair in pairs if pair]
    return read(
        *(name for name, equals, _ in said if not equals), **{name: value for name, equals, value in said if equals}
    )


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _ssl(
    port: str,
    privateKey: str = "server.pem",
    certKey: str | None = None,
    extraCertChain: str | None = None,
    interface: str = "",
    backlog: str | None = None,
    sslmethod: str | None = None,
    dhParameters: str | None = None,
) -> tuple[str, TLSSettings]:
    """`ssl:`, with the arguments that Twisted gives it."""
    if sslmethod is not None:
        raise ValueError("instead of sslmethod there is minimum_tls")
    if dhParameters is not None:
        raise ValueError("dhParameters are of no use: keys are exchanged by elliptic curves")
    certificates = (certKey or privateKey, *([extraCertChain] if extraCertChain else []))
    return _tcp(port, interface, backlog), TLSSettings(certificates, (privateKey,))


def _tls(path: str, port: str = "443", backlog: str | None = None, interface: str = "::") -> tuple[str, TLSSettings]:
    """`tls:`, with the arguments that Twisted gives it: a directory with certificates and keys."""
    return _tcp(port, interface, backlog), TLSSettings((path,))


_KINDS: dict[str, Callable[..., tuple[str, TLSSettings]]] = {"ssl": _ssl, "tls": _tls}


def _tcp(port: str, interface: str, backlog: str | None) -> str:
    more = f":backlog={quoteStringArgument(backlog)}" if backlog else ""
    return f"tcp:{quoteStringArgument(port)}:interface={quoteStringArgument(interface)}{more}"
