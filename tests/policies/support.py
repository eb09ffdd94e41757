"""Installs a package as its user would, and runs Python where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path, path: Path | None = None, cwd: Path) -> str:
    """Run Python in a process of its own, with `path` to import from besides what is installed here."""
    paths = [ROOT, *([path] if path else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(source: Path, directory: Path) -> Path:
    """Install the distribution in `source` with pip, into a directory of its own, and return that."""
    copy = shutil.copytree(source, directory / "source")  # a build leaves things behind
    target = directory / "installed"
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run("-m", "pip", "install", *options, "--target", target, copy, cwd=directory)
    return target


def run_tests(text: str, *, path: Path, cwd: Path) -> str:
    """Run an author's tests, with fewer examples than they would use."""
    tests = cwd / "test_policy.py"
    tests.write_text(text, encoding="utf-8")
    profile = 'from hypothesis import settings\nsettings.register_profile("few", max_examples=30)\n'
    (cwd / "conftest.py").write_text(profile, encoding="utf-8")
    return run("-m", "pytest", "-q", "--hypothesis-profile=few", "-p", "no:cacheprovider", tests, path=path, cwd=cwd)
