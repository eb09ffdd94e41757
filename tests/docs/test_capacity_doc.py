"""What docs/capacity.md shows can be used, and words mean what it says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from proton import Message
from proton.utils import BlockingConnection
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from tests.net.routers import RunningRouter
from txrouter.config import Config
from txrouter.core.signals import Signal, signal_of

TEXT = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text(encoding="utf-8")
CONFIGS = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(CONFIGS) == 3


@pytest.mark.parametrize("text", CONFIGS)
def test_the_configs_are_right(text: str) -> None:
    assert Config.from_dict(tomllib.loads(text)).capacities()


def test_the_words_mean_what_it_says() -> None:
    rows = dict(re.findall(r"^\| (`.*?`) \| (as usual|it is drained) \|", TEXT, re.MULTILINE))
    meanings = {word: meaning for words, meaning in rows.items() for word in re.findall(r"`(.+?)`", words)}
    assert len(meanings) == 9
    for word, meaning in meanings.items():
        assert signal_of(word) == Signal(barred=meaning == "it is drained")


def run_example(port: int) -> None:
    """A consumer's client reports as it is shown."""
    [example] = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    connection = BlockingConnection(f"amqp://127.0.0.1:{port}", timeout=10)
    try:
        connection.create_receiver("x")
        exec(example, {"connection": connection, "Message": Message})
    finally:
        connection.close()


@ensureDeferred
async def test_a_report_counts(router: RunningRouter) -> None:
    await deferToThread(run_example, router.port)
    assert router.core.counters["reports"] == 1
    assert router.core.counters["bad_capacities"] == router.core.counters["refused_requests"] == 0
