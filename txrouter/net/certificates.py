"""Certificates and their private keys, as they lie in PEM files.

Wherever files are named, a directory stands for the files in it whose names end in `.pem`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from txrouter.net.files import Stamp, stamp

__all__ = ["Identity", "Stamps", "by_name", "certificates_in", "identities", "stamps"]

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)

Stamps = tuple[Stamp, ...]
"""What is seen of files from outside; it changes when one of them is replaced or written to."""


@dataclass(frozen=True)
class Identity:
    """A certificate to show to peers."""

    certificate: x509.Certificate
    key: PrivateKeyTypes
    """Its private key."""
    chain: tuple[x509.Certificate, ...]
    """The certificates between it and a root."""
    names: tuple[str, ...]
    """The host names that it is for, in lower case; a name may begin with the label `*`."""

    def __str__(self) -> str:
        return ", ".join(self.names) or self.certificate.subject.rfc4514_string()


def identities(certificates: Sequence[str], private_keys: Sequence[str] = ()) -> list[Identity]:
    """The certificates in files, in the order in which they lie there, but for those of authorities. Private keys are
    looked for in the same files and in `private_keys`.

    :raise ValueError: a file cannot be read or used, or what is in them does not belong together.
    """
    pool = certificates_in(certificates)
    keys = {_public(key): key for path in certificates for key in _private_keys(path)}
    for path in private_keys:
        there = _private_keys(path)
        if not there:
            raise ValueError(f"{path}: there is no private key in it")
        if not {_public(key) for key in there} <= {_public(each) for each in pool}:
            raise ValueError(f"{path}: the private key belongs to none of the certificates")
        keys.update((_public(key), key) for key in there)
    shown = []
    for each in pool:
        key = keys.get(_public(each))
        if key is not None:
            shown.append(Identity(each, key, _chain(each, pool), _names(each)))
        elif not _is_authority(each):
            raise ValueError(f"there is no private key for the certificate {each.subject.rfc4514_string()}")
    if not shown:
        raise ValueError("there is no private key for any of the certificates")
    return shown


def by_name(shown: Iterable[Identity]) -> dict[str, Identity]:
    """What to show for which host name: of several for one, that which is valid longest."""
    found: dict[str, Identity] = {}
    for identity in sorted(shown, key=lambda each: each.certificate.not_valid_after_utc):
        found.update(dict.fromkeys(identity.names, identity))
    return found


def certificates_in(paths: Iterable[str]) -> list[x509.Certificate]:
    """All certificates in files.

    :raise ValueError: one of the files cannot be read, or there is none in it.
    """
    found = []
    for path in paths:
        there = [(file, text) for file, label, text in _blocks(path) if label.endswith("CERTIFICATE")]
        if not there:
            raise ValueError(f"{path}: there is no certificate in it")
        for file, text in there:
            try:
                certificate = x509.load_pem_x509_certificate(text)
                certificate.public_key()
                certificate.extensions  # noqa: B018 - they are parsed only now
            except _UNREADABLE as error:
                raise ValueError(f"{file}: a certificate in it is of no use: {error}") from error
            found.append(certificate)
    return found


def stamps(paths: Iterable[str]) -> Stamps:
    """What is seen of files from outside, whether they are there or not."""
    return tuple(stamp(file) for path in paths for file in _files(path))


def _files(path: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(path) if entry.name.endswith(".pem"))
    except OSError:  # it is a file, or else what is wrong is found out by whoever reads it
        return [path]


def _blocks(path: str) -> Iterator[tuple[str, str, bytes]]:
    """The file, the label and the text of all that is in PEM."""
    for file in _files(path):
        try:
            with open(file, "rb") as opened:
                content = opened.read()
        except OSError as error:
            raise ValueError(f"{file}: {error.strerror}") from error
        yield from ((file, found[1].decode("ascii"), found[0]) for found in _BLOCK.finditer(content))


def _private_keys(path: str) -> list[PrivateKeyTypes]:
    keys = []
    for file, label, text in _blocks(path):
        if label.endswith("PRIVATE KEY"):
            try:
                keys.append(load_pem_private_key(text, None))
            except TypeError as error:
                raise ValueError(
                    f"{file}: the private key is encrypted; there is nobody to ask for a password"
                ) from error
            except _UNREADABLE as error:
                raise ValueError(f"{file}: the private key is of no use: {error}") from error
    return keys


def _public(owner: x509.Certificate | PrivateKeyTypes) -> bytes:
    """What a certificate and its private key have in common."""
    return owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.value.get_values_for_type(x509.DNSName))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _chain(certificate: x509.Certificate, pool: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Those that lead from a certificate towards its root. The root itself peers have, or do not trust."""
    chain: list[x509.Certificate] = []
    below = certificate
    while True:
        above = next((each for each in pool if _issued(each, below) and each not in chain), None)
        if above is None or above.subject == above.issuer:
            return tuple(chain)
        chain.append(above)
        below = above


def _issued(above: x509.Certificate, below: x509.Certificate) -> bool:
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
