"""`txrouter passwd`: users and their passwords in a password file."""

from __future__ import annotations

import argparse
import getpass
import sys

from txrouter.net.passwords import ITERATIONS, Secret, prepared, remove, store

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Do what the command line says.

    :return: the exit status.
    """
    try:
        user = _valid("user", options.user)
        if options.delete:
            if not remove(options.file, user):
                raise ValueError(f"{options.file} has no user {user!r}")
            print(f"{options.file}: {user} is deleted")
            return 0
        secret = _secret(ITERATIONS if options.iterations is None else options.iterations)
        known = store(options.file, user, secret)
        print(f"{options.file}: {user} {'has a new password' if known else 'is added'}")
        return 0
    except UnicodeDecodeError:
        print(f"txrouter passwd: {options.file} is not in UTF-8", file=sys.stderr)
    except OSError as error:
        print(f"txrouter passwd: {error.filename or options.file}: {error.strerror}", file=sys.stderr)
    except ValueError as error:
        print(f"txrouter passwd: {error}", file=sys.stderr)
    return 1


def _secret(iterations: int) -> Secret:
    if not 4096 <= iterations <= 10_000_000:
        raise ValueError("the iterations must be 4096 to 10000000")
    return Secret.of(_valid("password", _asked_for() if sys.stdin.isatty() else _piped()), iterations)


def _asked_for() -> str:
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise ValueError("these were not the same")
    return password


def _piped() -> str:
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("the password is not in UTF-8") from None


def _valid(what: str, text: str) -> str:
    try:
        return prepared(text)
    except ValueError as error:
        raise ValueError(f"this is no {what}: {error}") from None
