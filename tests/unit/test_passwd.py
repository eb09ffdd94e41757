"""The command `txrouter passwd`: what it asks, does and says."""

from __future__ import annotations

import getpass
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from txrouter import cli
from txrouter.net.passwords import PasswordFile

Say = Callable[..., None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a password file may be."""
    return tmp_path / "passwords"


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have something come by a pipe."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Have passwords typed at a terminal."""

    def say(*answers: str) -> None:
        terminal = io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", terminal)
        waiting = list(answers)
        monkeypatch.setattr(getpass, "getpass", lambda prompt: waiting.pop(0))

    return say


def passwd(path: Path, *arguments: str) -> int:
    few = [] if "--delete" in arguments or "--iterations" in arguments else ["--iterations", "4096"]
    return cli.main(["passwd", str(path), *arguments, *few])


def knows(path: Path, user: str, password: str) -> bool:
    secret, known = PasswordFile(path, pytest.fail).find(user)
    return known and secret.matches(password)


def test_a_password_may_come_by_a_pipe(
    path: Path, piped: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    piped("pencil \nmore\n")
    assert passwd(path, "alice") == 0
    assert knows(path, "alice", "pencil ")
    assert capsys.readouterr().out == f"{path}: alice is added\n"
    piped("brush")
    assert passwd(path, "alice") == 0
    assert knows(path, "alice", "brush")
    assert capsys.readouterr().out == f"{path}: alice has a new password\n"


def test_at_a_terminal_it_is_asked_for_twice(path: Path, typed: Say, capsys: pytest.CaptureFixture[str]) -> None:
    typed("pencil", "pencil")
    assert passwd(path, "alice") == 0
    assert knows(path, "alice", "pencil")
    said = capsys.readouterr()
    assert "pencil" not in said.out + said.err


def test_two_that_are_not_the_same_are_none(path: Path, typed: Say, capsys: pytest.CaptureFixture[str]) -> None:
    typed("pencil", "pencli")
    assert passwd(path, "alice") == 1
    assert not path.exists()
    assert capsys.readouterr().err == "txrouter passwd: these were not the same\n"


def test_a_user_can_be_taken_out(path: Path, piped: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    piped("pencil")
    passwd(path, "alice")
    assert passwd(path, "alice", "--delete") == 0
    assert not knows(path, "alice", "pencil")
    assert passwd(path, "alice", "--delete") == 1
    assert capsys.readouterr().err == f"txrouter passwd: {path} has no user 'alice'\n"


def test_the_iterations_can_be_chosen(path: Path, piped: Callable[[str], None]) -> None:
    piped("pencil")
    assert passwd(path, "alice", "--iterations", "5000") == 0
    assert " SCRAM-SHA-256$5000:" in path.read_text()


@pytest.mark.parametrize(
    ("said", "arguments", "problem"),
    [
        ("", ["alice"], "this is no password: it is empty"),
        ("\n", ["alice"], "this is no password: it is empty"),
        ("a\tb", ["alice"], "this is no password: control characters forbidden"),
        ("pencil", [""], "this is no user: it is empty"),
        ("pencil", ["a\nb"], "this is no user: control characters forbidden"),
        ("pencil", ["alice", "--iterations", "4095"], "the iterations must be 4096 to 10000000"),
        ("pencil", ["alice", "--iterations", "0"], "the iterations must be 4096 to 10000000"),
    ],
)
def test_what_makes_no_sense_is_said_to_and_nothing_is_written(
    path: Path,
    piped: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    said: str,
    arguments: list[str],
    problem: str,
) -> None:
    piped(said)
    assert passwd(path, *arguments) == 1
    assert capsys.readouterr().err == f"txrouter passwd: {problem}\n"
    assert not path.exists()


def test_a_file_that_cannot_be_there_is_said_to_be(
    path: Path, piped: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    piped("pencil")
    assert passwd(path / "below", "alice") == 1
    assert passwd(path, "alice", "--delete") == 1
    assert capsys.readouterr().err == (f"txrouter passwd: {path}: No such file or directory\n" * 2)
