"""The examples of docs/policies.md work as they are printed."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.policies.support import ROOT, install, run, run_tests
from txrouter.config import Config
from txrouter.policies import (
    closest,
    deadline,
    exclusive,
    join_idle,
    least_work,
    multicast,
    outlier,
    peak_ewma,
    power_of_two,
    priority,
    pull,
    reply_aware,
    round_robin,
    slow_start,
    sticky,
    subset,
    unavailable,
    weighted,
)
from txrouter.registry import GROUP, WRAPPERS, Registry

TEXT = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
BLOCKS = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
SHIPPED = (
    closest,
    deadline,
    exclusive,
    join_idle,
    least_work,
    multicast,
    peak_ewma,
    power_of_two,
    priority,
    pull,
    reply_aware,
    round_robin,
    sticky,
    unavailable,
    weighted,
)
AROUND = (closest, outlier, slow_start, subset)
CONFIGS = [block for block in BLOCKS if "[[address]]" in block]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("example")
    package = directory / "txrouter-failover"
    package.mkdir()
    for name, text in FILES.items():
        (package / name).write_text(text, encoding="utf-8")
    return install(package, directory)


def test_the_example_is_of_three_files() -> None:
    assert list(FILES) == ["pyproject.toml", "txrouter_failover.py", "test_failover.py"]


def test_the_example_passes_its_tests(installed: Path, tmp_path: Path) -> None:
    assert "2 passed" in run_tests(FILES["test_failover.py"], path=installed, cwd=tmp_path)


def test_the_example_is_found_and_its_options_are_checked(installed: Path, tmp_path: Path) -> None:
    good = next(config for config in CONFIGS if "failover" in config)
    program = """if True:
        import sys, tomllib
        from txrouter.config import Config, ConfigError

        try:
            Config.from_dict(tomllib.loads(sys.argv[1]))
        except ConfigError as error:
            print(error)
    """
    assert run("-c", program, good, path=installed, cwd=tmp_path) == ""
    bad = good.replace('"standby-level"', '""')
    assert "rank: the name of a link property is needed" in run("-c", program, bad, path=installed, cwd=tmp_path)


@pytest.mark.parametrize("text", [config for config in CONFIGS if "failover" not in config])
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
