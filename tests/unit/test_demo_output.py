"""The demo's arguments and the files it writes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from txrouter.demo import main, parse, script
from txrouter.demo.results import PhaseResult

RESULTS = [
    PhaseResult("pull", 1, [0.01 * n for n in range(1, 101)], [20, 20, 10, 10, 10, 10, 10, 10], 4.0, 0.0),
    PhaseResult("example:policy", 10, [0.02 * n for n in range(1, 101)], [20, 20, 10, 10, 10, 10, 10, 10], 4.0, 0.0),
]
BEST = replace(script.ideal_run([]), times=[0.008 * n for n in range(1, 101)], done=RESULTS[0].done)


def test_defaults_are_three_policies_at_load_0_8() -> None:
    options = parse([])
    assert options.policies == ["round-robin", "weighted", "pull"]
    assert (options.load, options.duration) == (0.8, 18.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--duration", "0"],
        ["--duration", "nan"],
        ["--load", "-1"],
        ["--load", "inf"],
        ["--policies", ", ,"],
        ["--seed", "x"],
        ["--chart", "no/such/directory/a.svg"],
        ["--chart", "a.png"],
        ["--json", "no/such/directory/a.json"],
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_so_little_work_that_nothing_arrives_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--duration", "0.000001"]) == 1
    assert "no message arrives" in capsys.readouterr().err


def test_the_files_are_written(tmp_path: Path) -> None:
    options = parse(["--chart", str(tmp_path / "a.svg"), "--json", str(tmp_path / "a.json")])
    script.write(options, RESULTS, BEST, "some messages")
    drawn = re.findall(r">([^<>]+)<", (tmp_path / "a.svg").read_text())
    assert {"pull", "example:policy", "ideal central queue", "fast 1", "some messages"} <= set(drawn)
    written = json.loads((tmp_path / "a.json").read_text())
    assert [policy["policy"] for policy in written["policies"]] == ["pull", "example:policy"]
    assert written["policies"][0]["p99_to_ideal"] == pytest.approx(1.25)
    assert len(written["consumers"]) == 8
