"""docs/writing-a-policy.md, followed as it is written: its files are written, its commands are run, in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.policies.support import ROOT, install
from txrouter import interfaces
from txrouter.testing import PolicyContract

TEXT = (ROOT / "docs" / "writing-a-policy.md").read_text(encoding="utf-8")
STEP = re.compile(r"(?:`(?P<file>[\w./-]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
FEW = (
    "from hypothesis import settings\nsettings.register_profile('few', max_examples=30)\nsettings.load_profile('few')\n"
)


@dataclass
class Reader:
    """Somebody who does what it says, in a directory of their own."""

    directory: Path
    installed: Path

    def writes(self, file: str, text: str) -> None:
        (self.directory / file).write_text(text, encoding="utf-8")

    def runs(self, command: str, shown: str) -> None:
        """Run a command of a terminal, which prints what is shown, where that is shown."""
        program, *arguments = shlex.split(command)
        if program == "pip":
            assert arguments == ["install", "-e", "txrouter-failover[test]"]
            self.installed = install(self.directory / "txrouter-failover", self.installed)
            return
        said = self._python("-m", program, *arguments)
        if shown:
            assert said == shown

    def _python(self, *arguments: str) -> str:
        # what was installed is edited where it was written, as after `pip install -e`
        paths = [str(ROOT), str(self.directory / "txrouter-failover"), str(self.installed)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        }
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "conftest.py").write_text(FEW)
    (tmp_path / "there").mkdir()
    return Reader(tmp_path / "here", tmp_path / "there")


def test_whoever_follows_it_comes_to_the_end(reader: Reader) -> None:
    done = []
    for step in STEP.finditer(TEXT):
        if step["kind"] == "console":
            for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n|\n)*)", step["text"], re.MULTILINE):
                reader.runs(command, shown)
                done.append(command.split()[0])
        else:
            reader.writes(step["file"], step["text"])
            done.append(step["file"])
    assert done == [
        *("txrouter", "pip", "pytest"),
        "txrouter-failover/txrouter_failover.py",
        "txrouter-failover/test_failover.py",
        "pytest",
        *("standby.toml", "txrouter"),
        *("router.toml", "txrouter"),
        "router.toml",
    ]
    reader.runs("txrouter check router.toml", "")


def test_every_facet_and_attribute_of_the_contract_is_told_of() -> None:
    facets = re.findall(r"^\| `(I\w+)` \|", TEXT, re.MULTILINE)
    basic = {"IConsumer", "IDelivery", "IProducer", "IDistribution", "IDistributionPolicy", "IMulticast"}
    factories = {"IDistributionPolicyFactory", "IDistributionWrapperFactory", "IUnavailable"}
    assert set(facets) == set(interfaces.__all__) - basic - factories
    table = TEXT[TEXT.index("Class attributes make it fit") :]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert set(told) == {name for name, kind in PolicyContract.__annotations__.items() if kind.startswith("ClassVar")}
