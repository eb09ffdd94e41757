"""docs/traces.md says what is in a trace."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.unit.core.fakes import Stage
from txrouter.core.outcomes import ACCEPTED
from txrouter.management.record import Trace

PAGE = (Path(__file__).parents[2] / "docs" / "traces.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [json.loads(line) for line in re.findall(r"^    (\{.*\})$", PAGE, re.MULTILINE)]


def kind(line: dict[str, Any]) -> str:
    """What a line is about."""
    return next(key for key in ("txrouter", "sent", "attached", "left", "end", "dropped") if key in line)


def written() -> list[dict[str, Any]]:
    """A trace in which there is a line of each kind."""
    stage = Stage()
    old = stage.consumer()
    producer = stage.producer("q")
    trace = Trace(stage.router, stage.address())
    new = stage.consumer(credit=1)
    new.settles(producer.sends(priority=7, ttl=1, subject="build"), ACCEPTED)
    old.leaves()
    stage.later(1)
    trace.look()
    trace._drop()
    trace.end("seconds")
    return trace.lines


def test_there_is_an_example_of_each_line() -> None:
    shown = {kind(line): line.keys() for line in EXAMPLES}
    made = {kind(line): line.keys() for line in written()}
    assert shown.keys() == made.keys()
    for each, keys in made.items():
        assert keys == shown[each] - {"size"}  # messages of a stage have no bytes


def test_every_key_of_a_message_and_of_the_first_line_is_told_of() -> None:
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE))))
    keys = {key for line in EXAMPLES if kind(line) in ("txrouter", "sent") for key in line}
    assert told == keys | {"attempt", "more_consumers"}


def test_consumers_are_shown_as_they_are_written() -> None:
    [head] = [line for line in EXAMPLES if kind(line) == "txrouter"]
    [attached] = [line["attached"] for line in EXAMPLES if kind(line) == "attached"]
    [made] = [line["attached"] for line in written() if kind(line) == "attached"]
    assert head["consumers"][0].keys() == attached.keys() == made.keys()
