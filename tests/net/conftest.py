"""A router in the test's own process, on a port of loopback, and what it has to look like when a test is over."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.net.processes import RouterProcess
from tests.net.routers import RunningRouter

Start = Callable[..., Awaitable[RunningRouter]]


@pytest_twisted.async_yield_fixture
async def start() -> AsyncIterator[Start]:
    """What a test calls to have a router; it takes the tables of a config, as in `limits={"max_links": 2}`."""
    routers: list[RunningRouter] = []

    async def start(**config: Any) -> RunningRouter:
        router = RunningRouter(config)
        routers.append(router)
        await router.start()
        return router

    yield start
    for router in routers:
        await router.end()


@pytest_twisted.async_yield_fixture
async def router(start: Start) -> AsyncIterator[RunningRouter]:
    """A router with the default config."""
    yield await start()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a key, and a certificate for `localhost` that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "router.pem"
    path.write_bytes(plain + certificate.public_bytes(encoding))
    return path


@pytest_twisted.async_yield_fixture
async def process() -> AsyncIterator[RouterProcess]:
    """A router in a process of its own, with the default config."""
    process = RouterProcess()
    yield process
    await process.end()
