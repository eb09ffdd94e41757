"""Other clients, with a TLS of their own, at a listener that asks them for certificates."""

from __future__ import annotations

import sys
from pathlib import Path

import proton
import pytest
import pytest_twisted

from tests.interop.conftest import Run, require
from tests.interop.install import rhea
from tests.net.authorities import authority
from tests.net.conftest import Start
from tests.net.routers import LOOPBACK

pytestmark = pytest.mark.interop

SCRIPTS = Path(__file__).parent / "tls"
ROOT = authority()


async def loop(start: Start, run: Run, path: Path, *command: str | Path, environment: dict[str, str]) -> list[str]:
    """What a client prints that sends itself a message."""
    (path / "ca").write_bytes(ROOT.pem)
    server = ROOT.issue("localhost", "localhost").write(path / "server")
    mine = ROOT.issue("nova").write(path / "mine")
    router = await start(listener=[{"endpoint": LOOPBACK, "certificate": str(server), "client_ca": f"{path}/ca"}])
    return await run(*command, str(router.port), path / "ca", mine, environment=environment).ended()


@pytest_twisted.ensureDeferred
async def test_rhea(start: Start, run: Run, tmp_path: Path) -> None:
    environment = {"NODE_PATH": str(require(rhea) / "node_modules")}
    said = await loop(start, run, tmp_path, "/usr/bin/env", "node", SCRIPTS / "loop.js", environment=environment)
    assert said == ['"hello"']


@pytest.mark.skipif(not proton.SSL.present(), reason="python-qpid-proton was built without OpenSSL")
@pytest_twisted.ensureDeferred
async def test_proton(start: Start, run: Run, tmp_path: Path) -> None:
    assert await loop(start, run, tmp_path, sys.executable, SCRIPTS / "loop.py", environment={}) == ['"hello"']
