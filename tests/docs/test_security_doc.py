"""What docs/security.md shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.net.authorities import Issued
from txrouter.config import Config
from txrouter.net.external import FIELDS

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_print_what_they_should_and_the_config_takes_what_they_made(here: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    config, access, limits = blocks("toml")
    (here / "access.toml").write_text(access)
    for example in re.split(r"^(?=\$ )", "".join(blocks("console")), flags=re.MULTILINE)[1:]:
        command, *printed = example.splitlines()
        done = subprocess.run(
            command.removeprefix("$ "), shell=True, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, check=False
        )
        assert done.returncode == (1 if printed[0].startswith("no: ") else 0)
        assert done.stdout.decode().splitlines() == printed
    Issued("localhost").write(here / "router.pem")
    (here / "router.toml").write_text(config)
    (listener,) = Config.load(here / "router.toml").listener
    assert listener.offered == ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")
    (here / "limits.toml").write_text(limits)
    made = Config.load(here / "limits.toml").limits
    assert [made.of(user, 0).max_links for user in ("batch", "alice")] == [8, 8]
    assert [made.of(user, 1).max_links for user in ("batch", "alice")] == [64, 64]
    assert made.of("batch", 0).max_message_size == 1_000_000
    assert made.of_listener(0).handshake_timeout == 3


def test_every_field_of_a_certificate_is_there() -> None:
    table = PAGE.partition("| `external_field` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(CN|subject|SAN:\w+)`", table)) == set(FIELDS)


@pytest.mark.parametrize("auth", re.findall(r"^\| `((?:file|unix|memory)[^`]*)` \|", PAGE, re.MULTILINE))
def test_every_checker_that_is_named_is_one(auth: str) -> None:
    listener = {"endpoint": "tcp:0", "auth": auth, "plain_without_tls": True}
    assert Config.from_dict({"listener": [listener]}).listener[0].offered == ("PLAIN",)
