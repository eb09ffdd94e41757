"""The keys of a listener that concern TLS, and their checks.

The types here are for fields of `Listener`, behind its `endpoint`. What a validator raises is a problem of its key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from txrouter.net.certificates import certificates_in
from txrouter.net.tls import TLSSettings, check_settings, without_tls

__all__ = ["Certificate", "ClientCA", "ClientCertificates", "MinimumTLS", "PrivateKey", "tls_settings"]


def tls_settings(listener: Any) -> TLSSettings | None:
    """What the keys of a listener, and its endpoint, say together; None where it has no TLS."""
    _, named = without_tls(listener.endpoint)
    certificates = named.certificates if named else listener.certificate
    if not certificates:
        return None
    return TLSSettings(
        certificates,
        named.private_keys if named else listener.private_key,
        listener.client_ca,
        requires_client=listener.client_certificates == "required",
        minimum=listener.minimum_tls,
    )


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _certificate(files: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    if not files:
        raise ValueError("must not be empty")
    if _in_endpoint(info):
        raise ValueError("the endpoint names a certificate already")
    certificates_in(files)
    return files


def _private_key(files: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    certificates = info.data.get("certificate")
    if certificates:
        check_settings(TLSSettings(certificates, files))
    elif files and certificates is not None:
        raise ValueError("is for a certificate, and there is none")
    return files


def _client_ca(files: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    _only_with_tls(info)
    certificates_in(files)
    return files


def _client_certificates(value: str, info: ValidationInfo) -> str:
    if info.data.get("client_ca") == ():
        raise ValueError("says nothing without client_ca")
    return value


def _minimum_tls(value: str, info: ValidationInfo) -> str:
    _only_with_tls(info)
    return value


def _only_with_tls(info: ValidationInfo) -> None:
    """:raise ValueError: the listener would speak without TLS, which somebody thinks it has."""
    if "endpoint" in info.data and info.data.get("certificate") == () and not _in_endpoint(info):
        raise ValueError("says nothing without a certificate")


def _in_endpoint(info: ValidationInfo) -> bool:
    endpoint = info.data.get("endpoint")
    return endpoint is not None and without_tls(endpoint)[1] is not None


_Files = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(strict=False)]

Certificate = Annotated[_Files, AfterValidator(_certificate)]
"""One PEM file with a certificate, or several, or directories of them."""
PrivateKey = Annotated[_Files, AfterValidator(_private_key)]
"""Files with private keys; to be validated also where there are none."""
ClientCA = Annotated[_Files, AfterValidator(_client_ca)]
"""Files with the certificates of authorities."""
ClientCertificates = Annotated[Literal["required", "optional"], AfterValidator(_client_certificates)]
"""Whether clients have to have a certificate."""
MinimumTLS = Annotated[Literal["1.2", "1.3"], AfterValidator(_minimum_tls)]
"""A version of TLS."""
