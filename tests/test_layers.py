"""The layers of txrouter depend on each other in one direction only, and the lower ones on very little else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "txrouter"
# txrouter/policies is a symlink, into which rglob does not go by itself.
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(PACKAGE / "policies").rglob("*.py")])

BINDING = {PACKAGE / "amqp" / "engine.py", PACKAGE / "amqp" / "data.py"}
MOST_LINES = 450  # the aim is 400


@dataclass(frozen=True)
class Layer:
    """Modules of txrouter, the ones below that they may import, and the foreign packages: None for any."""

    modules: set[str]
    below: set[str]
    foreign: set[str] | None = None

    def __str__(self) -> str:
        return "-".join(sorted(self.modules))


CONFIG = {
    "chains",
    "config",
    "config_access",
    "config_authentication",
    "config_capacity",
    "config_checks",
    "config_limits",
    "config_shadow",
    "config_tls",
    "registry",
}

LAYERS = [
    Layer({"interfaces"}, set(), {"zope"}),
    Layer({"policies"}, {"interfaces"}, {"zope"}),
    Layer({"core"}, {"interfaces"}, {"zope"}),
    Layer({"amqp"}, {"interfaces", "core"}, {"zope", "cproton_ffi", "cffi", "_cffi_backend", "scramp", "asn1crypto"}),
    Layer({"net"}, {"interfaces", "core", "amqp"}),
    Layer({"client"}, set()),
    Layer(CONFIG, {"interfaces", "core", "amqp", "net"}),
    Layer({"management"}, {"interfaces", "core", "amqp", "net", "changes", "config_words", *CONFIG}),
    Layer({"simulation"}, {"interfaces", "chains", "core", "amqp", "net", "config_checks", "registry"}),
]

# For a fresh interpreter: import the modules named and all they contain, and tell what that brought in.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for inner in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        importlib.import_module(inner.name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def imported_by(layer: Layer) -> set[str]:
    names = [f"txrouter.{module}" for module in sorted(layer.modules)]
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    imported: list[str] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)
    return set(imported)


def module_of(file: Path) -> str:
    """The part of txrouter that a file belongs to: `core` for txrouter/core/credit.py."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    """The full names that a file imports when it runs: inside functions too, but not under `if TYPE_CHECKING`."""
    package = ".".join(file.relative_to(ROOT).parts[:-1])
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        match waiting.pop():
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
                waiting += orelse
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                origin = resolve_name("." * level + (module or ""), package)
                yield from (f"{origin}.{name.name}" for name in names)
            case node:
                waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_layer_imports_only_what_is_below_it(layer: Layer) -> None:
    allowed = layer.modules | layer.below
    loaded = {name.split(".")[1] for name in imported_by(layer) if name.startswith("txrouter.")}
    assert loaded <= allowed

    ours = {name for file in SOURCES if module_of(file) in layer.modules for name in imports(file)}
    reached = {name.split(".")[1] for name in ours if name.startswith("txrouter.")}
    assert reached - {"__version__"} <= allowed


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.foreign is not None], ids=str)
def test_a_lower_layer_imports_hardly_anything_foreign(layer: Layer) -> None:
    packages = {name.partition(".")[0] for name in imported_by(layer)}
    assert packages - sys.stdlib_module_names - {"txrouter"} <= (layer.foreign or set())


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_keeps_the_rules_of_the_house(file: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(file)}
    assert file in BINDING or not roots & {"cproton", "cproton_ffi"}, (
        "only engine.py and data.py touch proton's C binding"
    )
    assert module_of(file) in {"client", "demo"} or "proton" not in roots, "proton's own classes are for clients"
    assert "policies" not in roots, "policies are imported as txrouter.policies"
    lines = file.read_text().count("\n")
    assert lines <= MOST_LINES
