"""`txrouter can`: what it says of a config, and how it exits."""

from __future__ import annotations

from pathlib import Path

import pytest

from txrouter import cli

CONFIG = """
[[listener]]
endpoint = "tcp:0"
[[listener]]
endpoint = "tcp:0"
[[access]]
users = ["nova"]
send = ["jobs.*"]
anonymous_producer = true
priority = true
[[access]]
users = ["*"]
listener = 1
receive = ["#"]
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A file with access rules."""
    path = tmp_path / "router.toml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (["nova", "send", "jobs.a"], 0, "yes: access[0].send[0]: jobs.*"),
        (["nova", "send", "amqp:/jobs/a"], 0, "yes: access[0].send[0]: jobs.*"),
        (["nova", "receive", "jobs.a"], 1, "no: no rule allows it"),
        (["nova", "priority"], 0, "yes: access[0].priority"),
        (["nova", "capacity"], 1, "no: no rule allows it"),
        (["nova", "dynamic"], 1, "no: no rule allows it"),
        (["nova", "anonymous_producer"], 0, "yes: access[0].anonymous_producer"),
        (["alice", "send", "jobs.a"], 1, "no: no rule is for this user and listener"),
        (["alice", "receive", "x", "--listener", "1"], 0, "yes: access[1].receive[0]: #"),
        (
            ["alice", "send", "temp.abcdefghijklmno"],
            0,
            "yes: it is a temporary address: who knows it may send to it",
        ),
        (
            ["alice", "send", "/$management", "--listener", "1"],
            0,
            "yes: from the router's own machine only, as no rule names $management",
        ),
        (["nova", "receive", "$management"], 1, "no: nobody may: $management is the router's own"),
    ],
)
def test_the_answer_is_printed_with_its_reason_and_is_the_exit_status(
    config: str, capsys: pytest.CaptureFixture[str], line: list[str], status: int, said: str
) -> None:
    assert cli.main(["can", *line, "--config", config]) == status
    assert capsys.readouterr() == (f"{said}\n", "")


def test_without_rules_everything_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["can", "alice", "send", "x"]) == 0
    assert capsys.readouterr().out == "yes: there are no access rules, everything is allowed\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["alice", "send", "x", "--listener", "2"], "txrouter can: there is no listener 2; there are 0 to 1"),
        (["alice", "send", "x", "--listener", "-1"], "txrouter can: there is no listener -1; there are 0 to 1"),
        (["alice", "send", ""], "txrouter can: '' names no address"),
    ],
)
def test_a_question_without_an_answer_is_neither_yes_nor_no(
    config: str, capsys: pytest.CaptureFixture[str], line: list[str], said: str
) -> None:
    assert cli.main(["can", *line, "--config", config]) == 2
    assert capsys.readouterr() == ("", f"{said}\n")


def test_a_config_that_is_wrong_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "router.toml").write_text("[[access]]\nsend = ['a']\n")
    path = str(tmp_path / "router.toml")
    assert cli.main(["can", "alice", "send", "x", "--config", path]) == 2
    assert capsys.readouterr() == ("", f"{path}: access[0].users: is missing\n")


@pytest.mark.parametrize("line", [[], ["alice"], ["alice", "send"], ["alice", "take", "x"], ["alice", "dynamic", "x"]])
def test_a_line_that_cannot_be_understood(line: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["can", *line])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("rules", "said"), [("", "everybody may do everything"), (CONFIG, "what 2 rules allow")], ids=["none", "two"]
)
def test_check_says_that_there_are_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rules: str, said: str
) -> None:
    (tmp_path / "router.toml").write_text(rules)
    assert cli.main(["check", str(tmp_path / "router.toml")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split(None, 1) == ["access", said]


@pytest.mark.parametrize("address", ["$management", "amqp:/_topo/0/r1/$management"])
def test_without_rules_the_router_itself_is_for_its_machine(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert cli.main(["can", "alice", "send", address]) == 0
    assert capsys.readouterr().out == "yes: from the router's own machine only, as no rule names $management\n"


def test_a_rule_may_say_who_manages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "router.toml"
    path.write_text('[[access]]\nusers = ["ops"]\nsend = ["$management"]\n')
    assert cli.main(["can", "ops", "send", "$management", "--config", str(path)]) == 0
    assert cli.main(["can", "nova", "send", "$management", "--config", str(path)]) == 1
    assert capsys.readouterr().out == "yes: access[0].send[0]: $management\nno: no rule is for this user and listener\n"


def test_whoever_may_say_its_capacity_may_report_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "router.toml"
    path.write_text(
        '[[access]]\nusers = ["nova"]\ncapacity = true\n[[access]]\nusers = ["ops"]\nsend = ["$management", "#"]\n'
    )
    may = ["can", "nova", "send", "$management/capacity", "--config", str(path)]
    assert cli.main(may) == 0
    assert cli.main([*may[:1], "ops", *may[2:]]) == 1
    assert cli.main([*may[:2], "receive", *may[3:]]) == 1
    assert cli.main([*may[:3], "$management", *may[4:]]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "yes: access[0].capacity"


def test_without_rules_anybody_may_report_its_capacity(tmp_path: Path) -> None:
    path = tmp_path / "router.toml"
    path.write_text("")
    assert cli.main(["can", "nova", "send", "$management/capacity", "--config", str(path)]) == 0
    assert cli.main(["can", "nova", "receive", "$management/capacity", "--config", str(path)]) == 1
