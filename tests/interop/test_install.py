"""What installs the clients of others: once, again when something changed, and with a reason where it cannot."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import install
from tests.interop.install import Absent, Client

Make = Callable[..., Client]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A client that is installed below `tmp_path`: `made(how)`, or `made(how, {package: sign})`."""
    monkeypatch.setattr(install, "WHERE", tmp_path / "where")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    (tmp_path / "version").write_text("1")

    def make(how: Callable[[Path], None], packages: dict[str, str] | None = None) -> Client:
        return Client("client", packages or {}, (tmp_path / "version",), how)

    return make


def write(directory: Path) -> None:
    """Install a file, for which there must be none."""
    (directory / "file").touch(exist_ok=False)


def test_a_client_is_installed_once(made: Make) -> None:
    client = made(write)
    assert client.absence == "`make clients` has not been run since it changed"
    assert client.provide() == client.absence == ""
    (client.directory / "file").write_text("kept")
    assert client.provide() == ""
    assert (client.directory / "file").read_text() == "kept"


def test_a_client_is_installed_anew_when_what_it_is_made_from_has_changed(made: Make, tmp_path: Path) -> None:
    client = made(write)
    client.provide()
    (tmp_path / "version").write_text("2")
    assert client.absence == "`make clients` has not been run since it changed"
    (client.directory / "old").touch()
    assert client.provide() == client.absence == ""
    assert [file.name for file in client.directory.iterdir()] == ["file"]


def test_a_client_that_lacks_a_package_is_absent(made: Make) -> None:
    client = made(write, {"there": "sh", "not-there": "no-such-command", "nor-there": "/no/such/file"})
    assert client.missing == ["not-there", "nor-there"]
    assert client.provide() == client.absence == "it needs Debian's not-there and nor-there"


def refuse(directory: Path) -> None:
    """There is no such client."""
    raise Absent("nobody has it")


def fail(directory: Path) -> None:
    """Run a command that fails."""
    subprocess.run(["false"], check=True)


@pytest.mark.parametrize(("how", "reason"), [(refuse, "nobody has it"), (fail, "'false'.* returned non-zero")])
def test_a_client_that_cannot_be_installed_is_absent_and_why(
    made: Make, how: Callable[[Path], None], reason: str
) -> None:
    client = made(how)
    absence = client.provide()
    assert absence == client.absence
    assert re.search(reason, absence)
    assert made(write).provide() == ""


def test_what_npm_installs_is_pinned_and_may_come_from_any_registry() -> None:
    lock = json.loads((install.HERE / "rhea" / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert all(package["integrity"] and "resolved" not in package for package in packages)
    wanted = json.loads((install.HERE / "rhea" / "package.json").read_text())["dependencies"]
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
