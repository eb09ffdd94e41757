"""`txrouter new-policy`: what it writes works, and it overwrites nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.policies.support import ROOT, install, run, run_tests
from txrouter import cli
from txrouter.new_policy import NewPolicyError, write_package

NAME = "fair-turns"
MODULE = "txrouter_fair_turns"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("new") / f"txrouter-{NAME}"
    write_package(NAME, directory)
    return directory


@pytest.fixture(scope="module")
def installed(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(written, tmp_path_factory.mktemp("new-installed"))


# -- what is written ---------------------------------------------------------------------------------------------------


def test_its_files_are_named_after_the_policy(written: Path) -> None:
    files = ["README.md", "pyproject.toml", "test_fair_turns.py", f"{MODULE}.py"]
    assert sorted(file.name for file in written.iterdir()) == files
    for file in written.iterdir():
        assert "my-policy" not in file.read_text(encoding="utf-8")
        assert "my_policy" not in file.read_text(encoding="utf-8")


def test_its_tests_pass(written: Path, installed: Path, tmp_path: Path) -> None:
    tests = (written / "test_fair_turns.py").read_text(encoding="utf-8")
    assert "5 passed" in run_tests(tests, path=installed, cwd=tmp_path)


def test_it_is_listed_and_can_be_configured(installed: Path, tmp_path: Path) -> None:
    listed = run("-m", "txrouter", "policies", path=installed, cwd=tmp_path)
    (line,) = (line for line in listed.splitlines() if line.startswith(NAME))
    summary = "consumers take turns, and each gets a few messages in a row"
    assert line.split(maxsplit=3) == [NAME, f"txrouter-{NAME}", "0.1", summary]
    config = f'[[address]]\npattern = "jobs"\ndistribution = "{NAME}"\n[address.options]\nin_a_row = 4\n'
    (tmp_path / "router.toml").write_text(config, encoding="utf-8")
    assert f"{NAME} (in_a_row = 4)" in run("-m", "txrouter", "check", "router.toml", path=installed, cwd=tmp_path)


def test_it_is_simulated(installed: Path, tmp_path: Path) -> None:
    arguments = ["simulate", "gpu-workers", "-d", NAME, "--messages", "200"]
    assert NAME in run("-m", "txrouter", *arguments, path=installed, cwd=tmp_path)


def test_its_readme_says_what_is_so(written: Path, installed: Path, tmp_path: Path) -> None:
    text = (written / "README.md").read_text(encoding="utf-8")
    config = text.split("```toml\n")[1].split("```")[0]
    (tmp_path / "router.toml").write_text(config, encoding="utf-8")
    run("-m", "txrouter", "check", "router.toml", path=installed, cwd=tmp_path)


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", "."]], ids=lambda words: words[0]
)
def test_it_is_clean(written: Path, command: list[str]) -> None:
    caches = {"MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(written.parent / "cache"), "RUFF_NO_CACHE": "true"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=written,
        env={"PATH": "", **caches},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- what is not -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "Mine", "my_policy", "-mine", "mine-", "my--policy", "1st", "a/b", "..", "mine\n", "é", "m" * 41]
)
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(NewPolicyError, match="is no name for a policy: it is lower case, with hyphens between words"):
        write_package(name, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pull", "slow-start"])
def test_the_name_of_a_policy_or_a_wrapper_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(NewPolicyError, match=f"'{name}' is there already"):
        write_package(name, tmp_path / "x")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.py").write_text("mine")
    for there in (tmp_path / "x", tmp_path / "x" / "mine.py"):
        with pytest.raises(NewPolicyError, match="is there already"):
            write_package(NAME, there)
    assert [file.name for file in (tmp_path / "x").iterdir()] == ["mine.py"]


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new-policy", NAME]) == 0
    said = capsys.readouterr().out
    assert f"txrouter-{NAME}/{MODULE}.py\n" in said
    assert f"pip install -e 'txrouter-{NAME}[test]'\n" in said
    assert cli.main(["new-policy", NAME]) == 1
    assert capsys.readouterr().err == f"txrouter-{NAME} is there already\n"


def test_the_command_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["new-policy", NAME, "--directory", str(tmp_path / "file" / "x")]) == 1
    assert "cannot be written: Not a directory" in capsys.readouterr().err
