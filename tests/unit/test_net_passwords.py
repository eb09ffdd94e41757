"""The password file: what is kept, who is found in it, and that it tells nobody who is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramMechanism

from txrouter.net.passwords import HASHES, PasswordFile, Secret, check, prepared, remove, store

FEW = 4096
"""Iterations."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a password file may be."""
    return tmp_path / "passwords"


@pytest.fixture
def wrong() -> list[str]:
    """What a password file says is wrong with it."""
    return []


def secret(password: str, iterations: int = FEW) -> Secret:
    return Secret.of(password, iterations)


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_secret_matches_its_password_and_no_other() -> None:
    kept = secret("pencil")
    assert kept.matches("pencil")
    assert not kept.matches("Pencil")
    assert not kept.matches("")
    assert not kept.matches("pen\0cil")


def test_what_looks_the_same_is_the_same_password() -> None:
    assert secret("e\N{COMBINING ACUTE ACCENT}").matches("\N{LATIN SMALL LETTER E WITH ACUTE}")


@pytest.mark.parametrize("mechanism", HASHES)
def test_the_keys_are_those_of_scram(mechanism: str) -> None:
    keys = secret("pencil").keys[mechanism]
    assert ScramMechanism(mechanism).make_auth_info("pencil", FEW, keys.salt) == tuple(keys)


def test_two_secrets_of_a_password_have_nothing_in_common() -> None:
    first, second = (secret("pencil").keys for _ in range(2))
    parts = [part for keys in (first, second) for name in HASHES for part in keys[name][:3]]
    assert len(set(parts)) == len(parts)


def test_a_password_cannot_be_seen_in_what_is_kept() -> None:
    kept = secret("pencil")
    assert "pencil" not in f"{kept} {kept!r}"


@pytest.mark.parametrize("password", ["", "a\0b", "a\nb", "\N{SOFT HYPHEN}"])
def test_some_texts_are_no_password(password: str) -> None:
    with pytest.raises(ValueError, match=r"^(it is empty|control characters forbidden)$"):
        secret(password)


# -- writing and reading -----------------------------------------------------------------------------------------------


def test_who_is_stored_is_found_and_who_is_removed_is_not(path: Path, wrong: list[str]) -> None:
    file = PasswordFile(path, wrong.append)
    assert store(path, "alice", secret("pencil")) is False
    found, known = file.find("alice")
    assert known
    assert found.matches("pencil")
    assert store(path, "alice", secret("brush")) is True
    assert file.find("alice")[0].matches("brush")
    assert remove(path, "alice") is True
    assert file.find("alice")[1] is False
    assert remove(path, "alice") is False
    assert wrong == []


names = st.text(min_size=1, max_size=12).filter(lambda name: _is_name(name))


def _is_name(name: str) -> bool:
    try:
        return bool(prepared(name))
    except ValueError:
        return False


ONE = secret("pencil")


@settings(deadline=None)
@given(st.sets(names, max_size=5), names)
def test_any_names_are_kept_apart(tmp_path_factory: pytest.TempPathFactory, users: set[str], other: str) -> None:
    path = tmp_path_factory.mktemp("names") / "passwords"
    for user in ["*", "#", "%41", *users]:
        store(path, user, ONE)
    check(path)
    file = PasswordFile(path, pytest.fail)
    known = {prepared(user) for user in ["*", "#", "%41", *users]}
    assert file.find("*")[1]
    assert all(file.find(user)[1] for user in users)
    assert file.find(other)[1] == (prepared(other) in known)


def test_it_is_made_for_its_owner_alone_and_nothing_is_left_beside_it(path: Path) -> None:
    store(path, "alice", secret("pencil"))
    store(path, "bob", secret("brush"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_what_people_wrote_into_it_stays(path: Path) -> None:
    store(path, "alice", secret("pencil"))
    path.write_text("# of the office\n\n" + path.read_text())
    store(path, "bob", secret("brush"))
    store(path, "alice", secret("ink"))
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# of the office", ""]
    assert [line.split()[0] for line in lines[2:]] == ["*", "alice", "bob"]


def test_a_link_to_the_file_stays_one(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to(path)
    store(link, "alice", secret("pencil"))
    assert link.is_symlink()
    assert PasswordFile(path, pytest.fail).find("alice")[1]


def test_where_it_cannot_be_written_it_stays_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(path, "alice", secret("pencil"))
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store(path, "bob", secret("brush"))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


# -- what is wrong with it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("bob secret", "is no user with keys as `txrouter passwd` writes them"),
        ("bob", "lacks the keys for SCRAM-SHA-256"),
        ("bob {sha256}", "lacks the keys for SCRAM-SHA-1"),
        ("alice {sha256} {sha1}", "is of a user who is there already"),
        ("bob {sha256} SCRAM-SHA-1$4096:AAAA$AAAA:AAAA", "has keys for SCRAM-SHA-1 that cannot be right"),
        ("bob {sha256} SCRAM-SHA-1$4096:AAA$AAAA:AAAA", "has something that is not in base 64"),
        ("* ?", "has something that is not in base 64"),
    ],
)
def test_a_line_that_is_wrong_is_said_to_be_and_the_others_count(
    path: Path, wrong: list[str], line: str, what: str
) -> None:
    store(path, "alice", secret("pencil"))
    sha256, sha1 = str(secret("x")).split()
    with path.open("a") as file:
        file.write(line.format(sha256=sha256, sha1=sha1) + "\n")
    with pytest.raises(ValueError, match=f"^line 3 of {path} {what}$"):
        check(path)
    file_read = PasswordFile(path, wrong.append)
    assert file_read.find("alice")[1]
    assert not file_read.find("bob")[1]
    assert wrong == [f"line 3 {what}"]


def test_nobody_is_in_a_file_that_is_gone_until_it_is_back(path: Path, wrong: list[str]) -> None:
    store(path, "alice", secret("pencil"))
    file = PasswordFile(path, wrong.append)
    away = path.rename(path.parent / "away")
    assert not file.find("alice")[1]
    assert not file.find("bob")[1]
    assert wrong == ["cannot be read: No such file or directory"]
    away.rename(path)
    assert file.find("alice")[1]


def test_a_file_that_is_no_text_is_said_to_be_none(path: Path, wrong: list[str]) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is not in UTF-8"):
        check(path)
    assert not PasswordFile(path, wrong.append).find("alice")[1]
    assert wrong == ["cannot be read: it is not in UTF-8"]


# -- who is not in it --------------------------------------------------------------------------------------------------


def test_who_is_not_there_looks_always_the_same_to_every_router(path: Path) -> None:
    store(path, "alice", secret("pencil"))
    first, second = PasswordFile(path, pytest.fail), PasswordFile(path, pytest.fail)
    (decoy, known), (again, _), (other, _) = first.find("nobody"), second.find("nobody"), first.find("no one")
    assert not known
    assert decoy == again
    assert decoy.keys[HASHES[0]].salt != other.keys[HASHES[0]].salt
    store(path, "bob", secret("brush"))
    assert first.find("nobody")[0] == decoy


def test_who_is_not_there_looks_like_who_is(path: Path) -> None:
    store(path, "alice", secret("pencil", 5000))
    file = PasswordFile(path, pytest.fail)
    decoy, real = file.find("nobody")[0], file.find("alice")[0]
    for mechanism in HASHES:
        assert [len(each) for each in decoy.keys[mechanism][:3]] == [len(each) for each in real.keys[mechanism][:3]]
        assert decoy.keys[mechanism].iterations == 5000


def test_names_that_cannot_be_are_not_there(path: Path) -> None:
    store(path, "alice", secret("pencil"))
    assert not PasswordFile(path, pytest.fail).find("a\0b")[1]
