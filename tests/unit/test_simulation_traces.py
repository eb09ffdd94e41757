"""Recorded traces as scenarios. Their format is in docs/traces.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from txrouter.cli import main
from txrouter.management.record import Trace as Recorder
from txrouter.simulation.clients import ADDRESS
from txrouter.simulation.recorded import as_recorded
from txrouter.simulation.scenario import Scenario, ScenarioError
from txrouter.simulation.traces import Trace, TraceError, read_trace
from txrouter.simulation.world import World, simulate

HEAD = {"txrouter": "trace", "version": 1, "router": "r1", "address": "scheduler", "policy": "weighted"}
TWO = [
    {"consumer": "a/1", "credit": 3, "in_flight": 1, "capacity": 2.0},
    {"consumer": "b/1", "credit": 1, "in_flight": 0, "capacity": 1.0},
]


def message(at: float, consumer: str = "a/1", cost: float | None = 0.5, **more: Any) -> dict[str, object]:
    """A line of one that was sent at once, and done when nothing was before it."""
    known = {} if cost is None else {"settled": at + cost, "outcome": "accepted", "cost": cost}
    return {"at": at, "sent": at, "consumer": consumer, **known, "size": 10, **more}


class Written:
    """A trace in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, *lines: dict[str, Any], head: dict[str, Any] = HEAD, consumers: object = TWO) -> str:
        everything = [{**head, "consumers": consumers}, *lines]
        return self.text("".join(json.dumps(line) + "\n" for line in everything))

    def text(self, text: str) -> str:
        self.file.write_text(text)
        return str(self.file)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "a.trace")


def read(written: Written, *lines: dict[str, Any], slots: int = 1, **more: Any) -> Trace:
    return read_trace(written(*lines, **more), slots)


# -- what comes ------------------------------------------------------------------------------------


def test_messages_come_when_they_came(written: Written) -> None:
    trace = read(written, message(2.0, cost=0.25), message(1.0, cost=0.5))
    assert [(job.due, job.cost) for job in trace.jobs] == [(1.0, 0.5), (2.0, 0.25)]


def test_what_was_held_when_the_recording_began_is_there_at_the_beginning(written: Written) -> None:
    assert [job.due for job in read(written, message(-3.0)).jobs] == [0.0]


def test_they_have_the_fields_that_were_recorded(written: Written) -> None:
    says: dict[str, Any] = {"subject": "x", "priority": 7}
    trace = read(written, message(1.0, **says), message(2.0, ttl=3.0), message(3.0, **says))
    assert trace.message == [says, {"ttl": 3.0}]
    assert [job.kind for job in trace.jobs] == [0, 1, 0]


def test_one_that_was_sent_again_came_once_but_its_cost_is_known(written: Written) -> None:
    trace = read(written, message(1.0, cost=None), message(1.0, "b/1", cost=4.0, attempt=2))
    assert [(job.due, job.cost) for job in trace.jobs] == [(1.0, 4.0)]


def test_one_that_was_lost_came_again(written: Written) -> None:
    trace = read(written, message(1.0, cost=None, outcome="lost"), message(2.0))
    assert [job.due for job in trace.jobs] == [2.0]


def test_one_whose_cost_is_not_known_costs_what_another_did(written: Written) -> None:
    trace = read(written, message(1.0, cost=4.0), message(2.0, cost=None))
    assert [job.cost for job in trace.jobs] == [4.0, 4.0]


def test_consumers_that_work_on_several_take_from_when_they_were_sent_one(written: Written) -> None:
    trace = read(written, {**message(1.0), "settled": 4.0, "cost": 0.1}, slots=2)
    assert [job.cost for job in trace.jobs] == [3.0]
    assert trace.consumer[0]["slots"] == 2


# -- consumers -------------------------------------------------------------------------------------


def test_consumers_are_those_that_were_there(written: Written) -> None:
    found = read(written, message(1.0)).consumer
    assert [(each["name"], each["credit"], each["properties"]) for each in found] == [
        ("a/1", 4, {"capacity": 2.0}),
        ("b/1", 1, {"capacity": 1.0}),
    ]


def test_one_that_is_slower_than_chance_would_have_it_is_slower(written: Written) -> None:
    lines = [message(n, name, cost) for n in range(100) for name, cost in (("a/1", 1.0), ("b/1", 3.0))]
    trace = read(written, *lines)
    assert [each["speed"] for each in trace.consumer] == pytest.approx([2.0, 2 / 3])
    assert {round(job.cost, 6) for job in trace.jobs} == {2.0}


def test_a_few_messages_say_nothing_of_a_consumers_speed(written: Written) -> None:
    lines = [message(n, name, cost) for n in range(10) for name, cost in (("a/1", 1.0), ("b/1", 3.0))]
    assert [each["speed"] for each in read(written, *lines).consumer] == [1.0, 1.0]


def test_those_that_come_and_leave_do_so_again(written: Written) -> None:
    came = {"at": 1.5, "attached": {"consumer": "c/1", "credit": 2, "in_flight": 1, "capacity": 1.0}}
    trace = read(written, message(1.0), came, {"at": 2.5, "left": "a/1"})
    assert [each["name"] for each in trace.consumer] == ["a/1", "b/1", "c/1"]
    assert [(each["at"], each["consumers"], each["does"]) for each in trace.event] == [
        (0.0, "c/1", "leave"),
        (1.5, "c/1", "come"),
        (2.5, "a/1", "leave"),
    ]


def test_those_that_a_trace_does_not_name_are_like_the_others(written: Written) -> None:
    trace = read(written, message(1.0, "z/1"), consumers=TWO[:1])
    assert [(each["name"], each["credit"]) for each in trace.consumer] == [("a/1", 4), ("z/1", 4)]


# -- files that are wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"at": "1", "sent": 1.0, "consumer": "a/1"}, 'at: must be a number, not "1"'),
        ({"at": 1.0, "consumer": "a/1"}, "sent: is missing"),
        ({**message(1.0), "cost": -1.0}, "cost: must be at least 0"),
        ({**message(1.0), "priority": 300}, "priority: must be at most 255"),
        ({"at": 1.0, "attached": {"credit": 1}}, "attached.consumer: is missing"),
        ({"dropped": "many"}, 'dropped: must be a whole number, not "many"'),
    ],
)
def test_what_is_wrong_is_said_with_its_line(written: Written, line: dict[str, Any], said: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(written, message(1.0), line)
    assert str(caught.value) == f"line 3: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{}\n", "line 1: is not how a trace of txrouter begins"),
        ("[1]\n", "line 1: is no JSON object"),
        ("no\n", "line 1: is no JSON"),
        ('{"txrouter": "trace", "version": 2}\n', "line 1: is of a version of the format other than 1, 2"),
        ('{"txrouter": "trace", "version": 1, "address": "x", "policy": "y"}\n', "line 1: consumers: is missing"),
        ("[" * 100_000 + "\n", "line 1: is no JSON"),
    ],
    ids=["empty", "no head", "an array", "no JSON", "another version", "half a head", "nested"],
)
def test_what_is_no_trace_is_said_to_be_none(written: Written, text: str, said: str) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(written.text(text))
    assert str(caught.value) == said


def test_a_trace_without_messages_is_of_no_use(written: Written) -> None:
    with pytest.raises(TraceError, match="no message is in it"):
        read(written)


def test_a_trace_without_any_cost_is_of_no_use(written: Written) -> None:
    with pytest.raises(TraceError, match="it says of no message how long its consumer took"):
        read(written, message(1.0, cost=None))


def test_a_file_that_is_not_text_is_said_to_be_unreadable(written: Written) -> None:
    written.file.write_bytes(b"\xff\xfe\n")
    with pytest.raises(TraceError, match="cannot be read: it is not UTF-8"):
        read_trace(written.file)


def test_a_last_line_that_is_cut_short_is_passed_over(written: Written) -> None:
    path = written(message(1.0))
    written.file.write_text(written.file.read_text() + '{"at": 2.0, "se')
    assert len(read_trace(path).jobs) == 1


def test_lines_and_keys_that_are_not_known_are_passed_over(written: Written) -> None:
    assert len(read(written, {"at": 1.0, "news": 1}, message(1.0, colour="blue"), {"end": 9.0}).jobs) == 1


# -- what is recorded ------------------------------------------------------------------------------


@pytest.mark.parametrize("credit", [1, 5])
def test_what_is_recorded_takes_as_long_when_it_is_simulated(written: Written, credit: int) -> None:
    consumers = [{"name": "fast", "count": 2, "speed": 2.0, "credit": credit}, {"name": "slow", "credit": credit}]
    data = {"messages": 3_000, "arrivals": {"load": 0.5}, "cost": {"kind": "mixed"}, "consumer": consumers}
    scenario = Scenario.from_dict(data, ["round-robin"])
    world = World(scenario, scenario.policies[0], scenario.jobs())
    recorder = Recorder(world.router, world.router.addresses[ADDRESS])
    world.run()
    recorder.end("stopped")
    written.text("".join(json.dumps(line) + "\n" for line in recorder.lines))
    recorded = Scenario.load(None, trace=str(written.file))
    assert recorded.policies[0].distribution == "round-robin"
    again = simulate(recorded, recorded.policies[0])
    for fraction in (0.5, 0.99):
        assert again.percentile(fraction) == pytest.approx(world.outcome().percentile(fraction), rel=0.05)


# -- as scenarios ----------------------------------------------------------------------------------


def test_a_trace_is_a_scenario(written: Written) -> None:
    scenario = Scenario.load(None, trace=written(message(1.0), message(4.0)))
    assert scenario.title == "scheduler, as it was recorded under weighted"
    assert [policy.distribution for policy in scenario.policies] == ["weighted", "pull", "round-robin"]
    assert [job.due for job in scenario.jobs()] == [1.0, 4.0]
    assert (scenario.messages, scenario.rate) == (2, 0.5)


def test_a_policy_that_is_not_installed_here_is_not_among_those_that_are_compared(written: Written) -> None:
    scenario = Scenario.load(None, trace=written(message(1.0), head=HEAD | {"policy": "theirs"}))
    assert [policy.distribution for policy in scenario.policies] == ["pull", "round-robin"]


def test_a_scenario_names_its_trace_from_where_it_is(written: Written, tmp_path: Path) -> None:
    written(message(1.0))
    (tmp_path / "a.toml").write_text('trace = { file = "a.trace" }\n[[consumer]]\nname = "mine"\n')
    scenario = Scenario.load(tmp_path / "a.toml")
    assert [server.name for server in scenario.servers()] == ["mine"]
    assert (len(scenario.jobs()), scenario.event) == (1, ())


def test_so_many_messages_can_be_said_to_be_enough(written: Written) -> None:
    scenario = Scenario.load(None, more={"messages": 1}, trace=written(message(1.0), message(2.0)))
    assert len(scenario.jobs()) == scenario.messages == 1


def test_a_scenario_can_have_the_messages_of_a_trace_instead_of_its_own(written: Written, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('arrivals = { load = 0.5, producers = 2 }\n[[consumer]]\nname = "mine"\n')
    scenario = Scenario.load(tmp_path / "a.toml", trace=written(message(1.0)))
    assert (len(scenario.jobs()), scenario.arrivals.producers) == (1, 2)


@pytest.mark.parametrize("key", ["cost", "message", "arrivals.load", "arrivals.burst"])
def test_what_a_trace_has_cannot_be_said_elsewhere_too(written: Written, key: str) -> None:
    table, _, inner = key.partition(".")
    data = {"trace": {"file": written(message(1.0))}, table: {inner: 1.0} if inner else {}}
    with pytest.raises(ScenarioError, match=f"what it has is said elsewhere too: {key}"):
        Scenario.from_dict(data)


def test_what_is_wrong_with_a_trace_is_said_of_the_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.toml"
    file.write_text('trace = { file = "none.trace" }\n')
    assert main(["simulate", str(file)]) == 1
    assert capsys.readouterr().err == f"{file}: trace: none.trace: cannot be read: No such file or directory\n"


def test_it_is_simulated_under_several_policies(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [message(n / 4, "ab"[n % 2] + "/1") for n in range(40)]
    assert main(["simulate", "--trace", written(*lines, {"at": 5.0, "dropped": 3}), "-d", "pull"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "40 messages, 4.1 a second, 2 consumers; 3 more are missing in the trace"


def test_there_has_to_be_something_to_simulate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate"]) == 1
    assert capsys.readouterr().err == "there is nothing to simulate: name a SCENARIO, or a --trace\n"


def test_how_it_was_is_shown_beside_what_the_policies_make_of_it(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [message(n / 4, "ab"[n % 2] + "/1") for n in range(40)]
    assert main(["simulate", "--trace", written(*lines), "-d", "pull", "--json"]) == 0
    recorded, pull = json.loads(capsys.readouterr().out)["policies"]
    assert (recorded["policy"], pull["policy"]) == ("as recorded", "pull")
    assert recorded["done"] == {"a/1": 20, "b/1": 20}
    assert recorded["p50"] == 0.5


def test_how_it_was_has_what_consumers_had_and_what_waited(written: Written) -> None:
    lines = [message(0.0), {**message(1.0), "sent": 3.0, "settled": 5.0}, message(10.0)]
    scenario = Scenario.load(None, trace=written(*lines))
    run = as_recorded(scenario.passages, scenario.servers())
    found = {sample.at: (sample.waiting, sample.has) for sample in run.samples}
    assert [found[at] for at in (0.5, 2.0, 4.0, 6.0)] == [(0, [0, 0]), (1, [0, 0]), (0, [1, 0]), (0, [0, 0])]
    assert run.times == [0.5, 4.0, 0.5]


@pytest.mark.parametrize("more", [{"messages": 1}, {"consumer": [{"name": "mine"}]}], ids=["fewer", "others"])
def test_of_other_messages_or_consumers_it_says_nothing(written: Written, more: dict[str, Any]) -> None:
    scenario = Scenario.load(None, more=more, trace=written(message(1.0), message(2.0)))
    assert scenario.passages == []
