"""Who somebody is by the certificate that they have shown."""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509

__all__ = ["FIELDS", "user_of"]

FIELDS: Final = ("CN", "subject", "SAN:dns", "SAN:email", "SAN:uri")
"""What of a certificate may be the user's name: the common name of its subject; all of its subject, as in RFC 4514; or
an alternative name of a kind."""

_ALTERNATIVE_NAMES: Final[dict[str, Any]] = {
    "SAN:dns": x509.DNSName,
    "SAN:email": x509.RFC822Name,
    "SAN:uri": x509.UniformResourceIdentifier,
}


def user_of(certificate: Any, field: str) -> str:
    """The user's name.

    :param certificate: as pyOpenSSL has it; TLS has found it to be good.
    :param field: one of `FIELDS`.
    :raise ValueError: it is not there, or more than once, or is no name.
    """
    names = _names(certificate.to_cryptography(), field)
    if len(names) != 1:
        raise ValueError(f"the certificate has {len(names) or 'no'} {field}, where one is needed")
    (name,) = names
    if not name or not name.isprintable():
        raise ValueError(f"the certificate has a {field} that is no name: {name[:64]!r}")
    return name


def _names(certificate: x509.Certificate, field: str) -> list[str]:
    if field == "subject":
        return [certificate.subject.rfc4514_string()]
    if field == "CN":
        return [str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name) for name in extension.value.get_values_for_type(_ALTERNATIVE_NAMES[field])]
