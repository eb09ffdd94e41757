"""The password file: what is kept of users' passwords, none of which can be told from it.

A line has a user and, behind it, the keys of the password for each hash, as `SCRAM-SHA-256$iterations:salt$stored
key:server key` in base 64: how PostgreSQL keeps them too. In a name, what would be mistaken for something else is
percent-encoded. Lines that are empty or begin with `#` are for people. The user `*` is nobody: its line is the secret
from which a salt is made for every user who is not there, always the same one, so that they look as if they were.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from scramp import ScramException, ScramMechanism
from scramp.utils import saslprep

from txrouter.amqp.mechanisms import ScramKeys
from txrouter.net.files import Stamp, stamp

__all__ = ["HASHES", "ITERATIONS", "PasswordFile", "Secret", "check", "prepared", "remove", "store"]

ITERATIONS: Final = 15_000
"""How often a new password is hashed: what RFC 7677 recommends. Every client that logs in has to do the same."""
HASHES: Final = ("SCRAM-SHA-256", "SCRAM-SHA-1")

_KEYS = re.compile(r"(SCRAM-SHA-\d+)\$(\d+):([\w+/=]+)\$([\w+/=]+):([\w+/=]+)", re.ASCII)
_SALT_SIZE: Final = 16


def prepared(text: str) -> str:
    """A user or a password in the form in which they are compared: what looks the same is the same.

    :raise ValueError: it is empty, or has characters that neither may have.
    """
    try:
        prepared: str = saslprep(text)
    except ScramException as error:
        raise ValueError(str(error).partition(":")[0]) from None
    if not prepared:
        raise ValueError("it is empty")
    return prepared


@dataclass(frozen=True, slots=True)
class Secret:
    """What is kept of a user's password."""

    keys: dict[str, ScramKeys] = field(repr=False)
    """By hash: all of `HASHES`."""

    @classmethod
    def of(cls, password: str, iterations: int = ITERATIONS) -> Secret:
        """:raise ValueError: the password, or the number of iterations, is of no use."""
        text = prepared(password)
        try:
            return cls({name: _hashed(name, text, secrets.token_bytes(_SALT_SIZE), iterations) for name in HASHES})
        except ScramException as error:
            raise ValueError(str(error).partition(":")[0]) from None

    def matches(self, password: str) -> bool:
        """Whether this is the password. It takes as long as the iterations do, and as long if it is not."""
        kept = self.keys[HASHES[0]]
        try:
            text = prepared(password)
        except ValueError:
            text = secrets.token_hex()  # which it is not; but the time is taken all the same
        given = _hashed(HASHES[0], text, kept.salt, kept.iterations)
        return hmac.compare_digest(given.stored_key, kept.stored_key)

    def __str__(self) -> str:
        return " ".join(
            f"{name}${keys.iterations}:{_encoded(keys.salt)}${_encoded(keys.stored_key)}:{_encoded(keys.server_key)}"
            for name, keys in self.keys.items()
        )


def _hashed(name: str, text: str, salt: bytes, iterations: int) -> ScramKeys:
    return ScramKeys(*ScramMechanism(name).make_auth_info(text, iterations, salt))


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -- lines -----------------------------------------------------------------------------------------

_SALTS: Final = "*"
_DIGEST_SIZES: Final = {name: ScramMechanism(name).hf().digest_size for name in HASHES}


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a password file says, and what is wrong with it, by the number of the line."""

    users: dict[str, Secret]
    salts: bytes | None
    wrong: dict[int, str]


def _read(lines: Iterable[str]) -> _Contents:
    users: dict[str, Secret] = {}
    salts = None
    wrong: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if _is_for_people(line):
            continue
        name, *rest = line.split()
        try:
            if name == _SALTS:
                salts = _decoded("".join(rest))
                continue
            user = unquote(name)
            if user in users:
                raise ValueError("is of a user who is there already")
            users[user] = _secret(rest)
        except ValueError as error:
            wrong[number] = str(error)
    return _Contents(users, salts, wrong)


def _secret(texts: Iterable[str]) -> Secret:
    """:raise ValueError: it is none. The text is not quoted: it may be a password at the wrong place."""
    keys: dict[str, ScramKeys] = {}
    for text in texts:
        parts = _KEYS.fullmatch(text)
        if parts is None:
            raise ValueError("is no user with keys as `txrouter passwd` writes them")
        name, iterations, *encoded = parts.groups()
        salt, stored_key, server_key = map(_decoded, encoded)
        keys[name] = ScramKeys(salt, stored_key, server_key, int(iterations))
    for name, size in _DIGEST_SIZES.items():
        if name not in keys:
            raise ValueError(f"lacks the keys for {name}")
        salt, stored_key, server_key, count = keys[name]
        if not len(stored_key) == len(server_key) == size or len(salt) < 12 or not 4096 <= count <= 10_000_000:
            raise ValueError(f"has keys for {name} that cannot be right")
    return Secret({name: keys[name] for name in HASHES})


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("has something that is not in base 64") from None


def _is_for_people(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _is_of(line: str, user: str) -> bool:
    return not _is_for_people(line) and unquote(line.split()[0]) == user and line.split()[0] != _SALTS


def _quoted(user: str) -> str:
    """A user as a line begins: nothing that could end the name, begin a comment, or be the `*` of the salts."""
    return "".join(each if each.isalnum() or each in "@.-_/+=:,~" else quote(each, safe="") for each in user)


# -- reading ---------------------------------------------------------------------------------------


def check(path: str | os.PathLike[str]) -> None:
    """:raise ValueError: the file cannot be read, or one of its lines is wrong."""
    try:
        wrong = _read(Path(path).read_text(encoding="utf-8").splitlines()).wrong
    except OSError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{os.fspath(path)} is not in UTF-8") from None
    for number, what in wrong.items():
        raise ValueError(f"line {number} of {os.fspath(path)} {what}")


class PasswordFile:
    """A password file that is read again whenever it has changed.

    A line that is wrong is left out, and nobody is in a file that cannot be read: who was in it may not be meant to be.

    :param wrong: is told what is wrong, whenever the file has changed.
    """

    def __init__(self, path: str | os.PathLike[str], wrong: Callable[[str], None]) -> None:
        self._path = os.fspath(path)
        self._wrong = wrong
        self._seen: Stamp = ()
        self._users: dict[str, Secret] = {}
        self._iterations = [ITERATIONS]
        self._made_up = secrets.token_bytes(32)
        self._salts = self._made_up

    def find(self, user: str) -> tuple[Secret, bool]:
        """The user's secret, and whether it is one. Of somebody who is not in the file it is not: then it looks like
        one, always the same, but no password matches it. Finding either takes the same steps."""
        self._refresh()
        try:
            name = prepared(user)
        except ValueError:
            name = user
        decoy = self._decoy(name)
        secret = self._users.get(name)
        return (decoy, False) if secret is None else (secret, True)

    def _decoy(self, name: str) -> Secret:
        def digest(what: str) -> bytes:
            return hmac.digest(self._salts, f"{what} {name}".encode("utf-8", "replace"), "sha256")

        # with as many iterations as some user has, or that would tell
        iterations = self._iterations[int.from_bytes(digest("iterations"), "big") % len(self._iterations)]
        return Secret(
            {
                each: ScramKeys(digest(each)[:_SALT_SIZE], digest("stored")[:size], digest("server")[:size], iterations)
                for each, size in _DIGEST_SIZES.items()
            }
        )

    def _refresh(self) -> None:
        seen = stamp(self._path)
        if seen != self._seen:
            self._seen = seen
            self._load()

    def _load(self) -> None:
        try:
            contents = _read(Path(self._path).read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            contents = _Contents({}, None, {})
            self._wrong(f"cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not in UTF-8'}")
        for number, what in contents.wrong.items():
            self._wrong(f"line {number} {what}")
        self._users = contents.users
        self._salts = contents.salts or self._made_up
        self._iterations = sorted(each.keys[HASHES[0]].iterations for each in self._users.values()) or [ITERATIONS]


# -- writing ---------------------------------------------------------------------------------------


def store(path: str | os.PathLike[str], user: str, secret: Secret) -> bool:
    """Put a user's secret into the file, which is made if it is not there.

    :return: whether the user was there before.
    :raise ValueError: the user has characters that none may have.
    :raise OSError: the file cannot be read or written.
    """
    name = prepared(user)
    line = f"{_quoted(name)} {secret}"
    with _changed(path) as lines:
        return _replace(lines, name, [line])


def remove(path: str | os.PathLike[str], user: str) -> bool:
    """Take a user out of the file.

    :return: whether the user was there.
    :raise ValueError: the user has characters that none may have.
    :raise OSError: the file is not there, or cannot be read or written.
    """
    name = prepared(user)
    os.stat(path)
    with _changed(path) as lines:
        return _replace(lines, name, [])


def _replace(lines: list[str], user: str, by: list[str]) -> bool:
    at = [number for number, line in enumerate(lines) if _is_of(line, user)]
    for number in reversed(at[1:]):
        del lines[number]
    where = slice(at[0], at[0] + 1) if at else slice(len(lines), len(lines))
    lines[where] = by
    return bool(at)


@contextmanager
def _changed(path: str | os.PathLike[str]) -> Iterator[list[str]]:
    """The lines of the file, to be changed; then the file has them, all at once. Whoever else wants to waits."""
    file = Path(path).resolve()
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        try:
            before: os.stat_result | None = file.stat()
            lines = file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            before, lines = None, []
        if not any(line.split()[:1] == [_SALTS] for line in lines):
            lines.insert(0, f"{_SALTS} {_encoded(secrets.token_bytes(32))}")
        yield lines
        _write(file, "".join(f"{line}\n" for line in lines), before)
        os.fsync(directory)
    finally:
        os.close(directory)


def _write(file: Path, text: str, before: os.stat_result | None) -> None:
    number, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # with mode 600
    try:
        with open(number, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(number, before.st_uid, before.st_gid)
            os.fsync(number)
        os.replace(made, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(made)
        raise
