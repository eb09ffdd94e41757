"""`txrouter simulate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from txrouter.cli import main

SMALL = """
title = "a small one"
messages = 200
arrivals = { load = 0.8 }
[[consumer]]
name = "fast"
speed = 2.0
[[consumer]]
name = "slow"
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    return str(file)


def test_it_shows_how_long_messages_took_and_who_did_how_many(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", small]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["a small one", "200 messages, 2.4 a second, 2 consumers"]
    assert [line.split("  ")[0] for line in lines if line[:1].isalpha()][1:] == [
        "time to completion",
        "pull",
        "round-robin",
        "ideal central queue",
        "share",
        "pull",
        "round-robin",
        "ideal central queue",
        "of the speed",
        "not done yet, over time",
        "pull",
        "round-robin",
        "ideal central queue",
    ]


def test_of_many_groups_it_shows_how_unequal_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "many.toml"
    groups = "".join(f'[[consumer]]\nname = "group-{n}"\n' for n in range(20))
    file.write_text(f"messages = 200\narrivals = {{ load = 0.8 }}\n{groups}")
    assert main(["simulate", str(file)]) == 0
    [head] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("share")]
    assert head.split("  ")[-3:] == ["the most", "the median", "the fewest"]


def test_where_nothing_was_done_there_are_no_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nothing.toml"
    leave = '[[event]]\nat = 0.0\nconsumers = "a"\ndoes = "leave"\n'
    file.write_text(f'messages = 5\narrivals = {{ rate = 1.0 }}\n[[consumer]]\nname = "a"\n{leave}')
    assert main(["simulate", str(file), "-d", "pull", "--chart", str(tmp_path / "nothing.svg")]) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pull") and "-" in line]
    assert row.split() == ["pull", "-", "-", "-", "-", "-", "5", "0"]


def test_the_policies_to_compare_can_be_named(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", small, "-d", "join-idle", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["policy"] for each in found["policies"]] == ["join-idle"]
    assert sum(found["policies"][0]["done"].values()) == 200


def test_the_number_of_messages_and_the_seed_can_be_said(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", small, "--messages", "50", "--seed", "7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["messages"], found["seed"]) == (50, 7)


def test_one_that_txrouter_comes_with_goes_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "nova-scheduler", "--messages", "100"]) == 0
    assert capsys.readouterr().out.startswith("nova-scheduler: ")


def test_a_scenario_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "flash-crowd", "--show"]) == 0
    assert "[[arrivals.burst]]" in capsys.readouterr().out


def test_what_is_wrong_is_said_with_the_scenario_and_the_place(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", small, "-d", "pul"]) == 1
    assert capsys.readouterr().err.startswith(f"{small}: policy[0].distribution: there is no policy 'pul'")


def test_a_scenario_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "nonesuch"]) == 1
    assert capsys.readouterr().err == "nonesuch: cannot be read: No such file or directory\n"


def test_one_that_is_not_there_cannot_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "nonesuch", "--show"]) == 1
    assert capsys.readouterr().err == "nonesuch: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(("name", "begins"), [("a.svg", "<svg "), ("a.html", "<!doctype html>")])
def test_a_chart_is_drawn(small: str, tmp_path: Path, name: str, begins: str) -> None:
    assert main(["simulate", small, "--chart", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().startswith(begins)


def test_a_chart_of_another_kind_is_an_error_before_anything_is_done(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", small, "--chart", "a.png"]) == 1
    assert capsys.readouterr() == ("", "a.png: a chart is written to a file that ends in .svg or .html\n")


def test_a_chart_that_cannot_be_written_is_an_error(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "a.svg"
    assert main(["simulate", small, "--chart", str(file)]) == 1
    assert capsys.readouterr().err == f"{file}: cannot be written: No such file or directory\n"
