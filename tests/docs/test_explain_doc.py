"""What docs/explain.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_twisted import ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from tests.docs.test_clients_doc import commands, expected, is_like, run
from tests.net.links import ACCEPTED, Receiver, Sender
from tests.net.routers import RunningRouter, message
from tests.net.waiting import reactor

PAGE = Path(__file__).parents[2] / "docs" / "explain.md"
EXPLAINED, RECORDED = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


class Busy:
    """A quick consumer, a slow one, and messages for them, until this is stopped."""

    def __init__(self, producer: Sender, slow: Receiver) -> None:
        self._producer = producer
        self._slow = slow
        self._calls = [LoopingCall(self._send), LoopingCall(self._settle)]
        for call, interval in zip(self._calls, (0.002, 0.01), strict=True):
            call.clock = reactor
            call.start(interval)

    @classmethod
    async def at(cls, router: RunningRouter) -> Busy:
        """Begin."""
        quick, slow, client = [await router.client(name) for name in ("quick", "slow", "client")]
        await quick.receiver("jobs", credit=10_000, takes=ACCEPTED)
        stuck = await slow.receiver("jobs", credit=10)
        producer = await client.sender("jobs")
        await producer.credited()
        return cls(producer, stuck)

    def _send(self) -> None:
        if self._producer.credit:
            self._producer.send(message())

    def _settle(self) -> None:
        for received in list(self._slow.unsettled.values())[:1]:
            received.accept()
            self._slow.flow(1)

    def stop(self) -> None:
        """End."""
        for call in self._calls:
            call.stop()


def shape(line: str) -> str:
    """A line without its numbers, who it is about, and how far apart they are."""
    line = re.sub(r"listener0/\d/1", "link", line)
    numbers = re.sub(r"(?<=[\s(])(\d[\d,.]*|-)(?= ?%| ?m?s\b|\s|$|,)", "0", f" {line} ")
    return " ".join(re.sub(r"0 (%|ms|s)\b", "0", numbers).split())


@ensureDeferred
async def test_an_explanation_is_as_it_is_shown(router: RunningRouter) -> None:
    busy = await Busy.at(router)
    printed = await deferToThread(run, commands(EXPLAINED), router.port)
    busy.stop()
    shapes = {shape(line) for line in printed.splitlines()}
    assert {shape(line) for line in expected(EXPLAINED)} <= shapes


@ensureDeferred
async def test_a_recording_is_as_it_is_shown(router: RunningRouter, tmp_path: Path) -> None:
    busy = await Busy.at(router)
    file = tmp_path / "jobs.trace"
    printed = await deferToThread(run, commands(RECORDED).replace("jobs.trace", str(file)), router.port)
    busy.stop()
    for pattern in expected(RECORDED):
        assert any(is_like(line, pattern) for line in printed.splitlines()), (pattern, printed)
    assert len(file.read_text().splitlines()) == 102


def test_every_column_is_told_of() -> None:
    columns = {name for line in expected(EXPLAINED) if line.isupper() for name in re.split(r"\s{2,}", line)}
    assert columns == set(re.findall(r"`([A-Z0-9 ]+)`", PAGE.read_text(encoding="utf-8")))
