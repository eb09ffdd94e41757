"""constraints.txt pins one version of everything that setup.cfg asks for, each within what setup.cfg allows."""

from __future__ import annotations

import configparser
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
OLDEST_PYTHON = "3.11.2"  # Debian 12's


def required() -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    requirements = [Requirement(line) for lines in lists for line in lines.split("\n") if line]
    return [requirement for requirement in requirements if requirement.name != "txrouter"]


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("requirement", required(), ids=str)
def test_a_requirement_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    assert pinned()[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_pinned_version_installs_on_the_oldest_python() -> None:
    restricted = [dist for dist in distributions() if "Requires-Python" in dist.metadata]
    too_new = [dist.name for dist in restricted if OLDEST_PYTHON not in SpecifierSet(dist.metadata["Requires-Python"])]
    assert not {canonicalize_name(name) for name in too_new} & set(pinned())
