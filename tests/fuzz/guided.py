"""One target's run, guided by what code an input reaches: atheris, which brings libFuzzer to Python."""

from __future__ import annotations

import sys

import atheris

__all__: list[str] = []


def main() -> None:
    """Be the process of a run: `python -m tests.fuzz.guided TARGET [OPTION OF LIBFUZZER …] [CORPUS …]`."""
    with atheris.instrument_imports(include=["txrouter"]):
        from tests.fuzz.targets import TARGETS
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
