"""The examples of docs/policies.md work as they are printed."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from importlib.metadata import EntryPoint

import pytest

from tests.policies.shipped import AROUND, CHOOSING
from tests.policies.support import ROOT
from txrouter.config import Config
from txrouter.policies import closest, multicast, unavailable
from txrouter.registry import GROUP, WRAPPERS, Registry

TEXT = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
SHIPPED = (*CHOOSING, closest, multicast, unavailable)
CONFIGS = [block for block in BLOCKS if "[[address]]" in block]


@pytest.mark.parametrize("text", CONFIGS)
def test_the_configs_are_right(text: str) -> None:
    offers = [EntryPoint(each.factory.name, f"{each.__name__}:factory", GROUP) for each in SHIPPED]
    offers += [EntryPoint(each.wrapper.name, f"{each.__name__}:wrapper", WRAPPERS) for each in AROUND]
    Config.from_dict(tomllib.loads(text), registry=Registry(offers))


def test_every_shipped_policy_and_option_is_told_of() -> None:
    for each in SHIPPED:
        assert f"\n## `{each.factory.name}`\n" in TEXT
        for option in each.factory.options.__dataclass_fields__:
            assert f"\n| `{option}` |" in TEXT


def test_every_wrapper_and_its_options_are_told_of_with_their_defaults() -> None:
    chapter = TEXT[TEXT.index("\n## Wrappers\n") :]
    for each in AROUND:
        section = chapter[chapter.index(f"\n### `{each.wrapper.name}`\n") :]
        for option in dataclasses.fields(each.wrapper.options):
            default = json.dumps(option.default) if option.name != "key" else "the same property"
            assert f"\n| `{option.name}` | `{default}` |".replace("`the same property`", "the same property") in section
