"""Who somebody is by a certificate."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509

from txrouter.net.external import FIELDS, user_of

ALTERNATIVES = [
    x509.DNSName("compute7.example"),
    x509.RFC822Name("alice@example.com"),
    x509.UniformResourceIdentifier("spiffe://example/alice"),
]


def certified(*common_names: str, alternatives: Sequence[x509.GeneralName] = ()) -> X509:
    """A certificate with whatever names a test wants."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(alternatives)), critical=False)
    return X509.from_cryptography(builder.sign(key, hashes.SHA256()))


def user(field: str, *common_names: str, alternatives: list[x509.GeneralName] | None = None) -> str:
    return user_of(certified(*common_names, alternatives=alternatives or []), field)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("CN", "alice"),
        ("subject", "CN=alice"),
        ("SAN:dns", "compute7.example"),
        ("SAN:email", "alice@example.com"),
        ("SAN:uri", "spiffe://example/alice"),
    ],
)
def test_each_field_is_a_name(field: str, name: str) -> None:
    assert field in FIELDS
    assert user(field, "alice", alternatives=list(ALTERNATIVES)) == name


@pytest.mark.parametrize("field", ["CN", "SAN:dns", "SAN:email", "SAN:uri"])
def test_what_is_not_there_is_nobody(field: str) -> None:
    with pytest.raises(ValueError, match=f"the certificate has no {field}, where one is needed"):
        user(field)


def test_two_names_are_none() -> None:
    with pytest.raises(ValueError, match="the certificate has 2 CN, where one is needed"):
        user("CN", "alice", "root")


def test_a_name_that_cannot_be_read_is_none() -> None:
    with pytest.raises(ValueError, match="a CN that is no name"):
        user("CN", "root\0.example")
