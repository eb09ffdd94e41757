"""rhea, the AMQP library for Node.js."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.interop.conftest import Run, require
from tests.interop.install import rhea
from tests.interop.programs import Program
from tests.net.conftest import Start
from tests.net.routers import RunningRouter

pytestmark = pytest.mark.interop

SCRIPTS = Path(__file__).parent / "rhea"
Node = Callable[..., Program]


@pytest.fixture
def node(run: Run) -> Node:
    """What a test calls to run a script: `node("send", port, "address", …)`; a message is what JSON can say."""
    environment = {"NODE_PATH": str(require(rhea) / "node_modules")}

    def node(script: str, port: int, *arguments: object) -> Program:
        words = [each if isinstance(each, str) else json.dumps(each) for each in (port, *arguments)]
        return run("/usr/bin/env", "node", SCRIPTS / f"{script}.js", *words, environment=environment)

    return node


async def all_of(program: Program) -> list[Any]:
    """All that a script printed, once it has ended."""
    return [json.loads(line) for line in await program.ended()]


@pytest_twisted.ensureDeferred
async def test_every_message_arrives_once_and_in_order(router: RunningRouter, node: Node) -> None:
    receiver = node("receive", router.port, "x", 300)
    sender = node("send", router.port, "x", *({"message_id": number} for number in range(300)))
    _, *received = await all_of(receiver)
    assert [message["id"] for message in received] == [*range(300)]
    assert await all_of(sender) == [{"outcome": "accepted"}] * 300


@pytest.mark.parametrize(
    ("verb", "outcome"),
    [
        ("accept", {"outcome": "accepted"}),
        ("reject", {"outcome": "rejected", "condition": "rhea:no", "description": "not this one"}),
        ("release", {"outcome": "released"}),
        ("modify", {"outcome": "modified", "delivery_failed": True, "undeliverable_here": True}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_sender_sees_what_the_receiver_says(
    router: RunningRouter, node: Node, verb: str, outcome: dict[str, Any]
) -> None:
    node("receive", router.port, "x")
    sender = node("send", router.port, "x", {"subject": verb})
    assert await all_of(sender) == [outcome]


@pytest_twisted.ensureDeferred
async def test_requests_are_answered_over_one_sender_for_all(router: RunningRouter, node: Node) -> None:
    node("answer", router.port, "x")
    questions = [f"question {number}" for number in range(50)]
    answers = await all_of(node("ask", router.port, "x", *questions))
    assert answers == [{"question": question, "answer": question.upper()} for question in questions]


@pytest_twisted.ensureDeferred
async def test_five_megabytes_arrive(router: RunningRouter, node: Node) -> None:
    receiver = node("receive", router.port, "x", 1)
    sender = node("send", router.port, "x", {"message_id": 1, "size": 5_000_000})
    assert (await all_of(receiver))[1:] == [{"id": 1, "body": 5_000_000}]
    assert await all_of(sender) == [{"outcome": "accepted"}]


@pytest_twisted.ensureDeferred
async def test_a_receiver_comes_back_after_the_router(start: Start, node: Node) -> None:
    router = await start()
    receiver = node("receive", router.port, "x", 1)
    await receiver.says("attached")
    await router.service.stopService()
    again = await start(listener=[{"endpoint": f"tcp:{router.port}:interface=127.0.0.1"}])
    await receiver.says("attached")
    node("send", again.port, "x", {"message_id": 1, "body": "hello"})
    assert await receiver.event() == {"id": 1, "body": "hello"}
