"""Authorities that sign certificates for tests, and the files that these lie in."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

DAY = datetime.timedelta(days=1)
FOR_SERVERS = ExtendedKeyUsageOID.SERVER_AUTH


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


class Issued:
    """A certificate with its private key.

    :param signer: who signed it; None for itself.
    :param begins: in how many days it will be valid.
    :param ends: in how many days it expires.
    """

    def __init__(
        self,
        common_name: str,
        signer: Issued | None = None,
        *,
        names: tuple[str, ...] = (),
        authority: bool = False,
        begins: int = -1,
        ends: int = 1,
        usage: Any = None,
        key: Any = None,
    ) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(common_name))
            .issuer_name(signer.certificate.subject if signer else _named(common_name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins * DAY)
            .not_valid_after(now + ends * DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            general = [_general(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        self.certificate: x509.Certificate = builder.sign(signer.key if signer else self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key alone."""
        return bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def write(self, path: Path) -> Path:
        """A file with the certificate and its key."""
        path.write_bytes(self.pem + self.key_pem)
        return path

    def issue(self, common_name: str, *names: str, **options: Any) -> Issued:
        """A certificate signed by this one: for host names, or the common name alone."""
        return Issued(common_name, self, names=names, **options)


def authority(common_name: str = "authority", signer: Issued | None = None) -> Issued:
    """One that vouches for others."""
    return Issued(common_name, signer, authority=True)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
