"""The fixture of conftest.py: each kind of leak fails the test that leaks, and is not passed on to the next one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the fixture says of each test of leaks.py, empty where it says nothing. Their bodies all pass."""
    directory = tmp_path_factory.mktemp("leaks")
    shutil.copy(HERE / "conftest.py", directory)
    shutil.copy(HERE / "leaks.py", directory / "test_leaks.py")
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    found = {}
    for case in ElementTree.parse(directory / "report.xml").iter("testcase"):
        assert case.find("failure") is None
        error = case.find("error")
        found[case.attrib["name"]] = "" if error is None else error.text or "?"
    return found


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("test_delayed_call", "delayed call: <DelayedCall"),
        ("test_open_port", "Factory'> on "),
        ("test_open_connection", "open: <<class 'twisted.internet.tcp.Client'> to ('127.0.0.1', "),
        ("test_lost_failed_deferred", "lost in a Deferred: Traceback"),
        ("test_logged_failure", "logged: while mending"),
        ("test_logged_legacy_error", "logged: while mending"),
        ("test_logged_critical", "logged: it broke"),
        ("test_flushed_another_type", "logged: Unhandled Error\nTraceback"),
    ],
)
def test_a_leak_fails(complaints: dict[str, str], test: str, complaint: str) -> None:
    assert complaint in complaints[test]


@pytest.mark.parametrize("test", ["test_tidy", "test_port_of_a_wider_fixture", "test_flushed"])
def test_what_is_tidied_up_or_expected_passes(complaints: dict[str, str], test: str) -> None:
    assert complaints[test] == ""


def test_a_leak_is_not_blamed_on_the_next_test(complaints: dict[str, str]) -> None:
    assert complaints["test_nothing_is_passed_on"] == ""
