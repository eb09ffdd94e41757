"""The example of docs/writing-a-wrapper.md works as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.policies.support import ROOT, install, run, run_tests

TEXT = (ROOT / "docs" / "writing-a-wrapper.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
CONFIG = re.findall(r"^```toml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[-1]

CHECK = """if True:
    import sys, tomllib
    from txrouter.config import Config, ConfigError

    try:
        print(Config.from_dict(tomllib.loads(sys.argv[1])).address[0].options.at_most.messages)
    except ConfigError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("example")
    package = directory / "txrouter-at-most"
    package.mkdir()
    for name, text in FILES.items():
        (package / name).write_text(text, encoding="utf-8")
    return install(package, directory)


def test_it_is_of_three_files() -> None:
    assert list(FILES) == ["pyproject.toml", "txrouter_at_most.py", "test_at_most.py"]


def test_it_passes_its_tests(installed: Path, tmp_path: Path) -> None:
    assert "3 passed" in run_tests(FILES["test_at_most.py"], path=installed, cwd=tmp_path)


def test_it_is_found_and_its_options_are_checked(installed: Path, tmp_path: Path) -> None:
    assert run("-c", CHECK, CONFIG, path=installed, cwd=tmp_path) == "4\n"
    bad = CONFIG.replace("messages = 4", "messages = 0")
    said = run("-c", CHECK, bad, path=installed, cwd=tmp_path)
    assert said == "address[0].options.at_most.messages: 0 is not above 0\n"
