"""A policy that is not ours: built, installed and found as any package that offers one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.policies.support import install, run, run_tests

SOURCE = Path(__file__).parent / "third_party"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(SOURCE, tmp_path_factory.mktemp("third-party"))


def test_it_is_found_by_its_entry_point(installed: Path, tmp_path: Path) -> None:
    program = """if True:
        import dataclasses, json
        from txrouter.registry import Registry

        listing, = (each for each in Registry().listing() if each.name == "two-choices")
        print(json.dumps(dataclasses.asdict(listing)))
    """
    assert json.loads(run("-c", program, path=installed, cwd=tmp_path)) == {
        "name": "two-choices",
        "source": "txrouter-two-choices 1.0",
        "summary": "of two consumers drawn at random, the one with fewer messages in flight",
        "options": [{"name": "choices", "type": "int", "required": False, "default": 2}],
        "error": None,
        "kind": "policy",
    }


def test_it_passes_its_own_tests_and_the_contract(installed: Path, tmp_path: Path) -> None:
    tests = (SOURCE / "test_two_choices.py").read_text(encoding="utf-8")
    assert "3 passed" in run_tests(tests, path=installed, cwd=tmp_path)


def test_the_router_uses_it(installed: Path, tmp_path: Path) -> None:
    program = """if True:
        import random
        from txrouter.registry import Registry
        from txrouter.testing import FakeRouter

        factory = Registry().factory("two-choices")
        router = FakeRouter(factory.build(factory.options(), random.Random(1)))
        consumers = [router.attach(name, credit=10) for name in "ab"]
        print(router.send() in consumers)
    """
    assert run("-c", program, path=installed, cwd=tmp_path) == "True\n"
