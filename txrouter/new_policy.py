"""`txrouter new-policy`: a package with a policy that works and is tested, for an author to begin with.

The package is in `templates`, as that of a policy called `my-policy`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from txrouter.registry import Registry

__all__ = ["NewPolicyError", "run", "write_package"]

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 40
"""Characters of a name."""


class NewPolicyError(ValueError):
    """There can be no such package."""


def write_package(name: str, directory: Path, registry: Registry | None = None) -> list[Path]:
    """Write a package with a policy of that name. Returns its files.

    :param directory: where it is to be; it must not be there, or be empty.
    :param registry: the policies and wrappers that there are; None for those that are installed.
    :raise NewPolicyError: the name or the directory cannot be used. Nothing is written then.
    :raise OSError: it cannot be written.
    """
    if not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > LONGEST:
        raise NewPolicyError(
            f"{name!r} is no name for a policy: it is lower case, with hyphens between words, as in my-policy, and has "
            f"{LONGEST} characters at most"
        )
    if name in {each.name for each in (registry or Registry()).listing()}:
        raise NewPolicyError(f"{name!r} is there already: see `txrouter policies`")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise NewPolicyError(f"{directory} is there already")
    directory.mkdir(parents=True, exist_ok=True)
    return [_write(template, name, directory) for template in sorted(TEMPLATES.glob("*.txt"))]


def _write(template: Path, name: str, directory: Path) -> Path:
    def named(text: str) -> str:
        return text.replace("my-policy", name).replace("my_policy", name.replace("-", "_"))

    file = directory / named(template.name.removesuffix(".txt"))
    file.write_text(named(template.read_text(encoding="utf-8")), encoding="utf-8")
    return file


def run(given: argparse.Namespace) -> int:
    """Do it, and say what comes next. Returns the exit status."""
    name: str = given.name
    directory = Path(given.directory or f"txrouter-{name}")
    try:
        files = write_package(name, directory)
    except NewPolicyError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(*files, sep="\n")
    print(
        f"\nA policy that works. Next:\n"
        f"  pip install -e '{directory}[test]'\n"
        f"  pytest {directory}\n"
        f"  txrouter policies\n"
        f"  txrouter simulate nova-scheduler -d pull -d {name}"
    )
    return 0
