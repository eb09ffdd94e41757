"""What docs/clients.md shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from tests.net.routers import RunningRouter

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
EXAMPLES = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
TOGETHER = 2  # the first examples are for two terminals


def commands(example: str) -> str:
    return "\n".join(line.removeprefix("$ ") for line in example.splitlines() if line.startswith("$ "))


def expected(example: str) -> list[str]:
    return [line for line in example.splitlines() if not line.startswith("$ ")]


def is_like(line: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), line) is not None


def run(script: str, port: int) -> str:
    """What it prints, on either stream."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"TXROUTER_SERVER": f"127.0.0.1:{port}", "PATH": path}
    done = subprocess.run(
        ["sh", "-c", f"{script}\nwait"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=True,
    )
    return done.stdout.decode()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > TOGETHER
    assert all(commands(example) and expected(example) for example in EXAMPLES)


@pytest.mark.parametrize("examples", [EXAMPLES[:TOGETHER], *([each] for each in EXAMPLES[TOGETHER:])])
@ensureDeferred
async def test_an_example_prints_what_it_says(router: RunningRouter, examples: list[str]) -> None:
    script = " &\n".join(map(commands, examples))
    printed = await deferToThread(run, script, router.port)
    for pattern in (line for example in examples for line in expected(example)):
        assert any(is_like(line, pattern) for line in printed.splitlines()), (pattern, printed)
