"""`txrouter send` and `txrouter receive` as processes: what they read and print, signals, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.net.routers import RunningRouter
from tests.net.talks import Command, Talk

Run = Callable[..., Command]


@pytest.fixture
def run(router: RunningRouter) -> Iterator[Run]:
    """Start `txrouter` as a process, with the router as its server."""
    commands: list[Command] = []

    def start(*line: str, **streams: Any) -> Command:
        commands.append(Command(router, *line, **streams))
        return commands[-1]

    yield start
    for command in commands:
        command.kill()


@ensureDeferred
async def test_the_processes_print_messages_reports_and_nothing_else(run: Run) -> None:
    receiving = run("receive", "x", "--count", "3", "--json")
    sending = run("send", "x", "--count", "3", "--json", "--size", "10")
    assert await sending.end() == await receiving.end() == 0
    [report] = sending.json
    assert report["outcomes"] == [{"outcome": "accepted", "count": 3}]
    assert sending.err == ""
    assert [message["body"] for message in receiving.json] == ["x" * 10] * 3
    assert json.loads(receiving.err)["received"] == 3


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: the end where one reads what is on it, and the end that programs write to."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(("option", "is_drawn"), [((), True), (("--quiet",), False), (("--json",), False)])
@ensureDeferred
async def test_on_a_terminal_a_bar_shows_how_far_it_is(
    run: Run, router: RunningRouter, terminal: tuple[int, int], option: tuple[str, ...], is_drawn: bool
) -> None:
    reader, writer = terminal
    receiving = Talk(router).receive("x", "--delay", "0.1", "--credit", "1")
    assert await run("send", "x", "--count", "3", *option, stderr=writer).end() == 0
    await receiving.stop()
    os.write(writer, b".")
    shown = ""
    while not shown.endswith("."):
        shown += os.read(reader, 4096).decode()
    assert ("\r\x1b[Ksend x [" in shown) == is_drawn
    assert shown.endswith("\r\x1b[K." if is_drawn else ".")


@ensureDeferred
async def test_lines_of_standard_input_are_sent_as_they_come(run: Run, router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "3")
    sending = run("send", "x", "--lines", stdin=subprocess.PIPE)
    stdin = sending.process.stdin
    assert stdin is not None
    stdin.write(b"one\n")
    stdin.flush()
    await receiving.got(1)
    assert await sending.end("zwö\r\nno end".encode()) == 0
    await receiving.end()
    assert receiving.printed == ["one", "zwö", "no end"]
    assert sending.out.startswith("sent 3 to x, ")


@ensureDeferred
async def test_standard_input_is_one_body(run: Run, router: RunningRouter) -> None:
    receiving = Talk(router).receive("x", "--count", "1")
    assert await run("send", "x", "--file", "-", "-q", stdin=subprocess.PIPE).end(b"one\ntwo\n\xff") == 0
    await receiving.end()
    assert receiving.paper.lines == [b"one\ntwo\n\xff"]


@ensureDeferred
async def test_ctrl_c_ends_a_receiver_in_order(run: Run, router: RunningRouter) -> None:
    receiving = run("receive", "x", "--delay", "0.2")
    sending = Talk(router).send("x", "--count", "3")
    assert await receiving.first_line() == "message 1\n"
    receiving.process.send_signal(signal.SIGINT)
    assert await receiving.end() == 0
    assert "Traceback" not in receiving.err
    assert receiving.err.startswith("received 1 from x, ")
    await sending.end()
    assert sending.outcomes == {"accepted": 1, "released": 2}


@ensureDeferred
async def test_who_reads_no_more_ends_a_receiver_in_order(run: Run, router: RunningRouter) -> None:
    receiving = run("receive", "x")
    sending = Talk(router).send("x", "--count", "20", "--rate", "50")
    await receiving.first_line()
    assert receiving.process.stdout is not None
    receiving.process.stdout.close()
    receiving.process.stdout = open(os.devnull, "rb")  # noqa: SIM115
    assert await receiving.end() == 0
    assert "Traceback" not in receiving.err
    await sending.stop()
    assert set(sending.outcomes) <= {"accepted", "released"}


@pytest.mark.parametrize(
    ("line", "status", "err"),
    [
        (["send", "$management/x"], 1, "txrouter send: the server refuses $management/x: "),
        (["send", "x", "--file", "/no/such"], 1, "txrouter send: cannot read /no/such: No such file or directory\n"),
        (["send", "x", "--count", "none"], 2, "usage: "),
    ],
)
@ensureDeferred
async def test_what_is_wrong_is_said_and_in_the_exit_status(run: Run, line: list[str], status: int, err: str) -> None:
    command = run(*line)
    assert await command.end() == status
    assert command.err.startswith(err)
    assert command.out == ""
