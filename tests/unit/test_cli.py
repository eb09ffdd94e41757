"""The command `txrouter`: what its subcommands print and how they exit. Running a router is in tests/net."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from txrouter import __version__, cli

GOOD = """
[router]
id = "r1"
[[address]]
pattern = "jobs.*"
distribution = "weighted"
[[address]]
prefix = "news"
distribution = "round-robin"
"""

BAD = """
[[address]]
pattern = "jobs.*"
distribution = "wieghted"
[limits]
max_links = 0
"""


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_good_config_is_ok_and_what_it_means_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "router.toml", GOOD)
    assert cli.main(["check", file]) == 0
    said = capsys.readouterr()
    first, *rest = said.out.splitlines()
    assert first == f"{file}: ok"
    shown = dict(line.strip().split("  ", 1) for line in rest)
    assert shown["router"].strip() == "r1"
    assert shown["listens on"].strip() == "tcp:5672:interface=127.0.0.1, by ANONYMOUS"
    assert shown["jobs.*"].strip() == "weighted"
    assert shown["news and below"].strip() == "round-robin"
    assert shown["other addresses"].strip() == "pull"
    assert said.err == ""


def test_a_shadow_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[[address]]\npattern = "x"\ndistribution = "pull"\n'
    text += '[address.shadow]\ndistribution = "power-of-two"\noptions = { capacity = false }\n'
    assert cli.main(["check", write(tmp_path / "router.toml", text)]) == 0
    assert "pull, with the shadow power-of-two (capacity = false)" in capsys.readouterr().out


CAPACITY = """
[[capacity]]
containers = ["gpu-*", "a"]
users = ["alice"]
value = 8
[[capacity]]
url = "http://{host}:9999/health"
"""


def test_what_is_known_of_capacity_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", write(tmp_path / "router.toml", CAPACITY)]) == 0
    shown = [
        " ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("capacity")
    ]
    assert shown == [
        "capacity of users alice and containers gpu-*, a value = 8.0",
        'capacity of all consumers url = "http://{host}:9999/health"',
    ]


LIMITS = """
[limits]
max_links = 7
idle_timeout = 16
[[limits.client]]
users = ["alice", "bob"]
listener = 0
max_links = 256
[[limits.client]]
users = ["*"]
max_sessions = 3
link_capacity = 9
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["limits  as by default"]),
        (
            LIMITS,
            [
                "limits  max_links = 7",
                "limits of alice, bob at listener 0  max_links = 256",
                "limits of everybody  link_capacity = 9, max_sessions = 3",
            ],
        ),
    ],
    ids=["none", "some"],
)
def test_limits_are_shown_where_they_are_not_as_by_default_and_whose_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: list[str]
) -> None:
    assert cli.main(["check", write(tmp_path / "router.toml", text)]) == 0
    lines = [re.sub(" {2,}", "  ", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith("limits")] == said


def test_all_problems_of_a_bad_config_are_shown_each_with_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "router.toml", BAD)
    assert cli.main(["check", file]) == 1
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert first.startswith(f"{file}: address[0].distribution: there is no policy 'wieghted'; there are: weighted, ")
    assert second == f"{file}: limits.max_links: must be at least 1"
    assert said.out == ""


def test_a_config_that_is_not_there_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "/no/such/router.toml"]) == 1
    assert capsys.readouterr().err == "/no/such/router.toml: cannot be read: No such file or directory\n"


def test_the_policies_are_listed_with_where_they_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["policies"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "FROM", "WHAT", "IT", "DOES"]
    names = [row.split()[0] for row in rows[: rows.index("")] if not row.startswith(" ")]
    assert names == sorted(names)
    assert {"pull", "round-robin", "weighted"} <= set(names)
    [weighted] = [row for row in rows if row.startswith("weighted")]
    assert f"txrouter {__version__}" in weighted


def test_the_wrappers_are_listed_behind_the_policies(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["policies"]) == 0
    rows = capsys.readouterr().out.splitlines()
    heading, *wrappers = rows[rows.index("") + 1 :]
    assert heading.split() == ["WRAPPER", "FROM", "WHAT", "IT", "DOES"]
    assert {"outlier", "slow-start", "subset"} <= {row.split()[0] for row in wrappers if not row.startswith(" ")}
    assert "initial: float, default 0.1" in " ".join(wrappers)


def test_what_an_option_can_be_is_shown_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["policies"]) == 0
    said = capsys.readouterr().out
    assert 'latency: "settlement" | "reply", default "settlement"' in said
    assert 'outcomes: list of "rejected" | "modified" | "released", default ["rejected", "modified"]' in said


def test_only_options_that_are_not_as_by_default_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[[address]]\npattern = "x"\ndistribution = "slow-start + weighted"\noptions.slow_start.seconds = 5.0\n'
    assert cli.main(["check", write(tmp_path / "router.toml", text)]) == 0
    said = capsys.readouterr().out
    assert "slow-start + weighted (slow_start.seconds = 5.0)\n" in said


def test_the_policies_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["policies", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert {"pull", "round-robin", "weighted"} <= {policy["name"] for policy in listing}
    for policy in listing:
        assert set(policy) == {"name", "source", "summary", "options", "error", "kind"}
        for option in policy["options"]:
            assert set(option) == {"name", "type", "required", "default"}


def test_a_broken_policy_is_listed_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    about = tmp_path / "acme-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[txrouter.distribution]\nbroken = no_such_acme:x\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["policies"]) == 0
    [row] = [row for row in capsys.readouterr().out.splitlines() if row.startswith("broken")]
    assert "acme 1.0" in row
    assert "cannot be used: 'broken' of acme 1.0 cannot be loaded: ModuleNotFoundError" in row


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"txrouter {__version__}\n"


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    for command in ("run", "send", "receive", "check", "policies", "demo"):
        assert f"\n    {command} " in said


@pytest.mark.parametrize("line", [[], ["walk"], ["run", "--quiet", "--verbose"], ["check"]])
def test_a_command_line_that_cannot_be_understood_exits_with_2(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(line)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: txrouter")


def test_a_demo_gets_the_rest_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txrouter.demo.main", len)
    assert cli.main(["demo", "--whatever", "--help"]) == 2


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["whatever", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("txrouter", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"txrouter {__version__}\n"


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        (["--version"], {"twisted", "pydantic", "cproton_ffi", "zope.interface"}),
        (["send", "--help"], {"twisted", "pydantic", "cproton_ffi", "zope.interface"}),
        (["policies"], {"twisted.internet.reactor", "pydantic", "cproton_ffi"}),
        (["check", "/no/such/file"], {"twisted.internet.reactor", "cproton_ffi"}),
    ],
)
def test_a_command_imports_only_what_it_needs(line: list[str], absent: set[str]) -> None:
    program = (
        "import sys\n"
        "from txrouter.cli import main\n"
        "try:\n"
        f"    main({line!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print(*sorted({absent!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == ""
