"""What docs/capacity.md shows can be used, and what it says of keys is all there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from txrouter.config import Config
from txrouter.config_capacity import CapacityTable
from txrouter.core.signals import Signal, signal_of

TEXT = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text(encoding="utf-8")
CONFIGS = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(CONFIGS) == 3


@pytest.mark.parametrize("text", CONFIGS)
def test_the_configs_are_right(text: str) -> None:
    assert Config.from_dict(tomllib.loads(text)).capacities()


def test_every_key_is_told_of_with_its_default() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", TEXT[TEXT.index("## Keys") :], re.MULTILINE)
    told = {key: default for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}
    assert told.keys() == CapacityTable.model_fields.keys()
    for key in "every", "timeout", "expires":
        assert float(told[key].strip("`")) == CapacityTable.model_fields[key].default


def test_the_words_mean_what_it_says() -> None:
    rows = dict(re.findall(r"^\| (`.*?`) \| (as usual|it is drained) \|", TEXT, re.MULTILINE))
    meanings = {word: meaning for words, meaning in rows.items() for word in re.findall(r"`(.+?)`", words)}
    assert len(meanings) == 9
    for word, meaning in meanings.items():
        assert signal_of(word) == Signal(barred=meaning == "it is drained")
