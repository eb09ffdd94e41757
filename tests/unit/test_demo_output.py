"""The demo's arguments and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from txrouter.demo import chart, main, parse, script
from txrouter.demo.results import PhaseResult
from txrouter.demo.work import CONSUMERS

RESULTS = [
    PhaseResult("pull", 1, [0.01 * n for n in range(1, 101)], [20, 20, 10, 10, 10, 10, 10, 10], 4.0, 0.0),
    PhaseResult("example:policy", 10, [0.02 * n for n in range(1, 101)], [20, 20, 10, 10, 10, 10, 10, 10], 4.0, 0.0),
]
IDEAL = [0.008 * n for n in range(1, 101)]


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
        ["--chart", "no/such/directory/a.png"],
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


def test_the_chart_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "chart.png"
    chart.draw(str(path), RESULTS, IDEAL, CONSUMERS, "some messages")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_policies_of_others_get_colours_of_their_own() -> None:
    colours = chart.colours_of(["pull", "a", "b"])
    assert len({colours[name] for name in ("round-robin", "weighted", "pull", "a", "b")}) == 5


def test_without_matplotlib_it_says_so_and_writes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chart, "can_draw", lambda: False)
    options = parse(["--chart", str(tmp_path / "a.png"), "--json", str(tmp_path / "a.json")])
    script.write(options, RESULTS, IDEAL, "some messages")
    assert "txrouter[demo]" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
    written = json.loads((tmp_path / "a.json").read_text())
    assert [policy["policy"] for policy in written["policies"]] == ["pull", "example:policy"]
    assert written["policies"][0]["p99_to_ideal"] == pytest.approx(1.25)
    assert len(written["consumers"]) == 8
