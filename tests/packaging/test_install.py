"""What users install works from anywhere, and takes nothing of Twisted's with it when it goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.packaging


@dataclass(frozen=True)
class Venv:
    """A virtual environment without pip of its own: ours works on it."""

    path: Path

    def pip(self, *arguments: str | Path) -> None:
        constraints = str(ROOT / "constraints.txt")
        environment = os.environ | {"PIP_CONSTRAINT": constraints, "PIP_BUILD_CONSTRAINT": constraints}
        command = [sys.executable, "-m", "pip", "--python", self.path, *arguments]
        subprocess.run(command, env=environment, cwd="/", check=True)

    def run(self, *command: str) -> str:
        """What a command of the environment prints, run from / with nothing of ours in its environment."""
        environment = {"PATH": f"{self.path / 'bin'}:{os.defpath}"}
        return subprocess.run(command, env=environment, cwd="/", check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that belong to the project, without what earlier builds left among them."""
    copy = tmp_path_factory.mktemp("source")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listing, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout.split("\0"):
        original = ROOT / name
        if name and os.path.lexists(original):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(original, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    path = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return Venv(path)


@pytest.fixture(scope="module")
def wheel(source: Path, venv: Venv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    venv.pip("wheel", "-q", "--no-deps", "--wheel-dir", directory, source)
    (wheel,) = directory.glob("*.whl")
    return wheel


def test_the_wheel_holds_every_module_and_nothing_of_twisted(source: Path, wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {str(file.relative_to(source)) for file in (source / "txrouter").rglob("*.py")}
    policies = {f"txrouter/policies/{file.name}" for file in (source / "policies").glob("*.py")}
    scenarios = {str(file.relative_to(source)) for file in (source / "txrouter").rglob("*.toml")}
    templates = {str(file.relative_to(source)) for file in (source / "txrouter" / "templates").iterdir()}
    assert scenarios
    assert templates
    assert names == modules | policies | scenarios | templates | {
        "txrouter/py.typed",
        "twisted/plugins/txrouter_plugin.py",
    }


def test_a_wheel_and_an_editable_install_work_and_leave_twisted_whole(source: Path, wheel: Path, venv: Venv) -> None:
    for what in ([wheel], ["-e", source]):
        venv.pip("install", "-q", *what)
        assert "txrouter" in venv.run("twist", "--help")
        policies = venv.run("txrouter", "policies")
        assert all(name in policies for name in ("round-robin", "pull", "weighted"))

        venv.pip("uninstall", "-q", "-y", "txrouter")
        commands = venv.run("twist", "--help")
        assert "txrouter" not in commands
        assert " web " in commands
