"""Qpid Proton's own example programs, unchanged: in Python with the python-qpid-proton of this environment, in C++ and
C with Debian's libraries. Each works with each.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import pytest_twisted

from tests.interop.conftest import Run, require
from tests.interop.install import PROTON_EXAMPLES, proton_examples
from tests.net.routers import RunningRouter
from tests.net.waiting import wait_until

pytestmark = pytest.mark.interop

MESSAGES = 100
QUESTIONS = [
    "Twas brillig, and the slithy toves",
    "Did gire and gymble in the wabe.",
    "All mimsy were the borogroves,",
    "And the mome raths outgrabe.",
]
ANSWERS = [f"{question} => {question.upper()}" for question in QUESTIONS]


def in_python(name: str) -> list[str | Path]:
    """The command of an example in Python."""
    require(proton_examples)
    return [sys.executable, PROTON_EXAMPLES / "python" / f"{name}.py"]


def compiled(name: str) -> list[str | Path]:
    """The command of an example in C++ or C."""
    return [require(proton_examples) / name]


def send(language: str, port: int, count: int = MESSAGES) -> list[str | Path]:
    """The command of what sends messages that count from 1, and ends when all are accepted."""
    if language == "c":
        return [*compiled("send"), "127.0.0.1", str(port), "examples", str(count)]
    example = in_python if language == "python" else compiled
    return [*example("simple_send"), "-a", f"127.0.0.1:{port}/examples", "-m", str(count)]


def receive(language: str, port: int, count: int = MESSAGES) -> list[str | Path]:
    """The command of what prints so many messages, and ends."""
    if language == "c":
        return [*compiled("receive"), "127.0.0.1", str(port), "examples", str(count)]
    example = in_python if language == "python" else compiled
    return [*example("simple_recv"), "-a", f"127.0.0.1:{port}/examples", "-m", str(count)]


def numbers(printed: list[str]) -> list[int]:
    """Which messages these lines are about, each language having its own way to print a map."""
    return [int(found[1]) for line in printed if (found := re.search(r"sequence\W+(?:\w+\()?(\d+)", line))]


@pytest.mark.parametrize("receiver", ["python", "cpp", "c"])
@pytest.mark.parametrize("sender", ["python", "cpp", "c"])
@pytest_twisted.ensureDeferred
async def test_every_message_arrives_once_and_in_order(
    router: RunningRouter, run: Run, sender: str, receiver: str
) -> None:
    sending = run(*send(sender, router.port))
    receiving = run(*receive(receiver, router.port))
    assert numbers(await receiving.ended()) == [*range(1, MESSAGES + 1)]
    assert re.search("all messages confirmed|100 messages sent and acknowledged", (await sending.ended())[-1])


@pytest.mark.parametrize("client", ["client", "sync_client", "cpp"])
@pytest.mark.parametrize("server", ["python", "cpp"])
@pytest_twisted.ensureDeferred
async def test_a_request_is_answered_to_a_temporary_address(
    router: RunningRouter, run: Run, server: str, client: str
) -> None:
    if server == "python":
        run(*in_python("server"), "-a", f"127.0.0.1:{router.port}/examples")
    else:
        run(*compiled("server"), f"//127.0.0.1:{router.port}", "examples")
    command = compiled("client") if client == "cpp" else in_python(client)
    asking = run(*command, "-a", f"127.0.0.1:{router.port}/examples")
    assert await asking.ended() == ANSWERS


@pytest_twisted.ensureDeferred
async def test_one_connection_sends_to_itself(router: RunningRouter, run: Run) -> None:
    program = run(*compiled("helloworld"), f"//127.0.0.1:{router.port}", "examples")
    assert await program.ended() == ["Hello World!"]


@pytest_twisted.ensureDeferred
async def test_threads_share_a_connection(router: RunningRouter, run: Run) -> None:
    program = run(*compiled("multithreaded_client"), f"//127.0.0.1:{router.port}", "examples", str(MESSAGES))
    assert (await program.ended())[-1] == f"{MESSAGES} messages sent and received"


# not in C++: that library takes an aborted message for a whole one that is empty, and gives up
@pytest.mark.parametrize("receiver", ["python", "c"])
@pytest_twisted.ensureDeferred
async def test_messages_that_are_aborted_do_not_arrive(router: RunningRouter, run: Run, receiver: str) -> None:
    receiving = run(*receive(receiver, router.port, 5))
    aborting = run(*compiled("send-abort"), "127.0.0.1", str(router.port), "examples", "10")
    assert await aborting.ended() == ["10 messages started and aborted"]
    sending = run(*send("cpp", router.port, 5))
    printed = await receiving.ended()
    assert numbers(printed) == [1, 2, 3, 4, 5]
    assert {line for line in printed if "sequence" not in line} <= {"Message aborted", "5 messages received"}
    await sending.ended()


@pytest.mark.parametrize("name", ["queue_browser", "selected_recv"])
@pytest_twisted.ensureDeferred
async def test_who_asks_for_copies_or_a_filter_gets_messages(router: RunningRouter, run: Run, name: str) -> None:
    program = run(*compiled(name), f"//127.0.0.1:{router.port}", "examples")
    await wait_until(lambda: router.used)
    await run(*send("cpp", router.port, 1)).ended()
    await program.says('sequence"=1')
