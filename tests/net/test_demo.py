"""`txrouter demo` from end to end: real routers, real clients, few messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "txrouter", "demo"]


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    chart = ["--chart", str(tmp_path / "chart.svg")]
    return subprocess.Popen(
        [*DEMO, *chart, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def children(pid: int) -> dict[int, str]:
    """The child processes of a process, and their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if parent == pid:
                found[int(entry.name)] = command
    return found


def wait_for(reached: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end_of(process: subprocess.Popen[str], was: dict[int, str]) -> tuple[int, str, str]:
    """Status and output, once the process has ended, and with it all that it started."""
    out, err = process.communicate(timeout=60)
    wait_for(lambda: not any(command in _commands(pid) for pid, command in was.items()), timeout=10)
    return process.returncode, out, err


def _commands(pid: int) -> list[str]:
    try:
        return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()]
    except OSError:
        return []


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[int, str]]]:
    """A demo in the midst of its messages, and its children."""
    process = start(tmp_path, "--duration", "30", "--policies", "pull")
    wait_for(lambda: len(children(process.pid)) >= 3)
    time.sleep(2.0)
    yield process, children(process.pid)
    process.kill()
    process.wait()


def test_three_policies_and_every_file(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    process = start(tmp_path, "--duration", "2", "--json", str(figures))
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert "ideal central queue" in out
    written = json.loads(figures.read_text())
    assert [policy["policy"] for policy in written["policies"]] == ["round-robin", "weighted", "pull"]
    for policy in written["policies"]:
        assert policy["messages"] == written["messages"] == sum(policy["done"])
        assert policy["p99"] >= policy["p50"] > 0
        assert all(policy["done"])
    assert (tmp_path / "chart.svg").read_text().startswith("<svg ")


def test_a_policy_that_does_not_exist_is_named(tmp_path: Path) -> None:
    process = start(tmp_path, "--policies", "no-such-policy")
    status, _, err = end_of(process, {})
    assert status == 1
    assert "no-such-policy" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_all_it_started(running: tuple[subprocess.Popen[str], dict[int, str]], sign: int) -> None:
    process, was = running
    process.send_signal(sign)
    status, _, err = end_of(process, was)
    assert status == 130
    assert "stopped" in err
    assert "Traceback" not in err


def test_a_router_that_dies_is_said_and_ends_it(running: tuple[subprocess.Popen[str], dict[int, str]]) -> None:
    process, was = running
    (router,) = (pid for pid, command in was.items() if " txrouter run " in command)
    os.kill(router, signal.SIGKILL)
    status, _, err = end_of(process, was)
    assert status == 1
    assert "the router of pull ended" in err
    assert "Traceback" not in err
