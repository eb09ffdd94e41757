"""Installs the clients of others that the tests beside this file run: `make test` calls it as root and as anyone.

Everything goes into `.interop`, except for Debian packages, which are installed where this runs as root; otherwise it
prints the line to type. What cannot be had is said, and the tests that need it are skipped with that reason, or fail
where `CI` is set.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WHERE = ROOT / ".interop"

PROTON_EXAMPLES = Path("/usr/share/proton/examples")
CPP_EXAMPLES = (
    "client",
    "helloworld",
    "multithreaded_client",
    "queue_browser",
    "selected_recv",
    "server",
    "simple_recv",
    "simple_send",
)
C_EXAMPLES = ("receive", "send", "send-abort")


class Absent(Exception):
    """A client cannot be had, and why."""


@dataclass(frozen=True)
class Client:
    """A client of others.

    :ivar name: its directory in `.interop`.
    :ivar packages: the Debian packages it needs, each with a file or a command that tells whether it is there.
    :ivar files: what it is made from; when they change, it is installed anew.
    :ivar install: fills a directory, or raises `Absent`, or a command that it runs fails.
    """

    name: str
    packages: dict[str, str]
    files: tuple[Path, ...]
    install: Callable[[Path], None]

    @property
    def directory(self) -> Path:
        """Where it is."""
        return WHERE / self.name

    @property
    def absence(self) -> str:
        """Why it is not there, or nothing."""
        if self._stamp.exists():
            return ""
        try:
            return self._reason.read_text()
        except FileNotFoundError:
            return "`make clients` has not been run since it changed"

    @property
    def missing(self) -> list[str]:
        """The Debian packages that this machine lacks for it."""
        return [package for package, sign in self.packages.items() if not (shutil.which(sign) or os.path.exists(sign))]

    def provide(self) -> str:
        """Install it, unless that has been done; returns why it is not there, or nothing."""
        if self._stamp.exists() and not self.missing:
            return ""
        shutil.rmtree(self.directory, ignore_errors=True)
        for old in WHERE.glob(f"{self.name}.*"):
            old.unlink()
        try:
            if self.missing:
                raise Absent(f"it needs Debian's {' and '.join(self.missing)}")
            print(f"Installing {self.name} into {self.directory.relative_to(ROOT)}", flush=True)
            self.directory.mkdir(parents=True)
            self.install(self.directory)
        except (Absent, OSError, subprocess.CalledProcessError) as error:
            WHERE.mkdir(exist_ok=True)
            self._reason.write_text(str(error))
            return str(error)
        self._stamp.touch()
        return ""

    @property
    def _reason(self) -> Path:
        return WHERE / f"{self.name}.absent"

    @property
    def _stamp(self) -> Path:
        made_from = b"".join(file.read_bytes() for file in (Path(__file__), *self.files))
        return WHERE / f"{self.name}.{hashlib.sha256(made_from).hexdigest()[:16]}"


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    subprocess.run(command, cwd=cwd, check=True)


def _install_proton_examples(directory: Path) -> None:
    # Debian has their source only
    for name in CPP_EXAMPLES:
        _run("g++", "-o", directory / name, PROTON_EXAMPLES / "cpp" / f"{name}.cpp", "-lqpid-proton-cpp", "-lpthread")
    for name in C_EXAMPLES:
        _run("gcc", "-o", directory / name, PROTON_EXAMPLES / "c" / f"{name}.c", "-lqpid-proton")


def _install_rhea(directory: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "rhea" / name, directory)
    _run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=directory)


def _install_oslo_messaging(directory: Path) -> None:
    # its requirements and ours do not go together
    _run(sys.executable, "-m", "venv", "--without-pip", directory)
    pip = (sys.executable, "-m", "pip", "--python", directory, "install", "-q")
    constraints = ("-c", HERE / "oslo" / "constraints.txt", "--build-constraint", ROOT / "constraints.txt")
    _run(*pip, *constraints, "oslo.messaging", "pyngus")


def _install_collectd(directory: Path) -> None:
    # unpacked only: where it is installed, a daemon is started
    _run("apt-get", "-o", "APT::Sandbox::User=root", "-qq", "download", "collectd-core", cwd=directory)
    (package,) = directory.glob("collectd-core_*.deb")
    _run("dpkg-deb", "--extract", package, directory)


proton_examples = Client(
    "proton",
    {
        "g++": "g++",
        "libqpid-proton-cpp12-dev": "/usr/include/proton/container.hpp",
        "libqpid-proton11-dev": "/usr/include/proton/proactor.h",
        "libqpid-proton11-dev-examples": str(PROTON_EXAMPLES),
    },
    (),
    _install_proton_examples,
)
rhea = Client(
    "rhea",
    {"nodejs": "node", "npm": "npm"},
    (HERE / "rhea" / "package.json", HERE / "rhea" / "package-lock.json"),
    _install_rhea,
)
oslo_messaging = Client("oslo", {}, (HERE / "oslo" / "constraints.txt",), _install_oslo_messaging)
collectd = Client(
    "collectd",
    {
        "dpkg": "dpkg-deb",
        "libqpid-proton11": "/usr/share/doc/libqpid-proton11",
        "libyajl2": "/usr/share/doc/libyajl2",
    },
    (),
    _install_collectd,
)
CLIENTS = (proton_examples, rhea, oslo_messaging, collectd)


def _install_packages(packages: Sequence[str]) -> None:
    if not packages:
        return
    if shutil.which("apt-get") is None:
        print(f"Some clients of others need what Debian calls: {' '.join(packages)}", file=sys.stderr)
    elif os.getuid() != 0:
        print("Some clients of others need system packages. Please type, if you want them tested:", file=sys.stderr)
        line = f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(packages)}"
        print(f"    {line}", file=sys.stderr)
    else:
        print(f"Installing {' '.join(packages)}", flush=True)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        for command in (["apt-get", "update", "-qq"], install):
            # one that fails says so, and what it leaves missing is found then
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


def main() -> int:
    """Install all; returns the exit status, which is 0 where something is absent too."""
    _install_packages(list(dict.fromkeys(package for client in CLIENTS for package in client.missing)))
    for client in CLIENTS:
        if absence := client.provide():
            print(f"There is no {client.name} to test with: {absence}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
