"""The example of docs/library.md works as it is printed."""

from __future__ import annotations

import runpy
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest_twisted
from proton import Message
from proton.utils import BlockingConnection
from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "embedded.py"


def send_and_receive(port: int) -> str:
    """What arrives of a message that is sent to an address."""
    connection = BlockingConnection(f"amqp://127.0.0.1:{port}", timeout=10)
    try:
        receiver = connection.create_receiver("jobs.resize", credit=1)
        sender = connection.create_sender("jobs.resize").link
        connection.wait(lambda: sender.credit > 0)
        sender.send(Message(body="a picture"))
        received = receiver.receive(timeout=10)
        receiver.accept()
        return str(received.body)
    finally:
        connection.close()


@pytest_twisted.inlineCallbacks
def test_the_embedded_router_routes() -> Generator[Any, Any, None]:
    example = runpy.run_path(str(EXAMPLE))
    settings = example["SETTINGS"] | {"listener": [{"endpoint": "tcp:0:interface=127.0.0.1"}]}
    application, routing = example["make_application"](settings, reactor)
    IService(application).startService()
    try:
        ports = yield routing.when_listening()
        body = yield deferToThread(send_and_receive, ports[0].getHost().port)
        assert body == "a picture"
    finally:
        yield IService(application).stopService()
