"""What a scenario says, and what is said of one that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from txrouter.simulation.arguments import SCENARIOS
from txrouter.simulation.scenario import Scenario, ScenarioError

SMALL: dict[str, Any] = {
    "messages": 1_000,
    "arrivals": {"load": 0.8},
    "consumer": [{"name": "worker", "count": 3, "speed": 2.0}, {"name": "other"}],
}


def scenario(**more: object) -> Scenario:
    return Scenario.from_dict({**SMALL, **more})


def costs(cost: Mapping[str, object], count: int = 50_000) -> list[float]:
    return [job.cost for job in scenario(messages=count, cost=cost).jobs()]


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.toml")), ids=lambda file: file.stem)
def test_those_that_txrouter_comes_with_are_right(file: Path) -> None:
    found = Scenario.load(file)
    assert found.title
    assert len(found.policy) >= 2


def test_consumers_that_are_alike_are_numbered() -> None:
    assert [server.name for server in scenario().servers()] == ["worker-1", "worker-2", "worker-3", "other"]


def test_a_load_is_of_what_all_can_do() -> None:
    assert scenario(cost={"mean": 0.5}).rate == pytest.approx(0.8 * 7 / 0.5)


def test_messages_come_at_the_rate_that_is_asked_for() -> None:
    jobs = scenario(messages=50_000, arrivals={"rate": 20.0}).jobs()
    assert jobs[-1].due == pytest.approx(50_000 / 20.0, rel=0.02)


def test_regular_messages_come_in_equal_steps() -> None:
    jobs = scenario(messages=4, arrivals={"rate": 2.0, "kind": "regular"}).jobs()
    assert [job.due for job in jobs] == [0.5, 1.0, 1.5, 2.0]


def test_in_a_burst_more_come() -> None:
    burst = {"at": 100.0, "seconds": 50.0, "factor": 4.0}
    jobs = scenario(messages=5_000, arrivals={"rate": 10.0, "burst": [burst]}).jobs()
    within = sum(100 <= job.due < 150 for job in jobs)
    assert within == pytest.approx(50 * 10 * 4, rel=0.05)


@pytest.mark.parametrize(
    "cost",
    [
        {"kind": "constant", "mean": 0.2},
        {"kind": "exponential", "mean": 0.2},
        {"kind": "mixed", "mean": 0.2},
        {"kind": "pareto", "mean": 0.2, "shape": 3.0},
    ],
    ids=lambda cost: cost["kind"],
)
def test_the_mean_cost_is_what_it_says(cost: dict[str, object]) -> None:
    assert fmean(costs(cost)) == pytest.approx(0.2, rel=0.03)


def test_of_mixed_costs_a_share_is_so_many_times_as_long() -> None:
    drawn = costs({"kind": "mixed", "long_share": 0.1, "long_factor": 5.0})
    short, long = min(drawn), max(drawn)
    assert long == pytest.approx(5 * short)
    assert drawn.count(long) / len(drawn) == pytest.approx(0.1, rel=0.05)


def test_kinds_of_messages_have_their_shares_and_their_costs() -> None:
    kinds = [{"share": 3.0, "cost": {"kind": "constant", "mean": 2.0}}, {"share": 1.0}]
    jobs = scenario(messages=20_000, cost={"kind": "constant", "mean": 0.5}, message=kinds).jobs()
    assert {(job.kind, job.cost) for job in jobs} == {(0, 2.0), (1, 0.5)}
    assert sum(job.kind == 0 for job in jobs) / len(jobs) == pytest.approx(0.75, rel=0.02)


def test_a_load_counts_the_costs_of_all_kinds() -> None:
    kinds = [{"share": 3.0, "cost": {"mean": 2.0}}, {"share": 1.0, "cost": {"mean": 6.0}}]
    assert scenario(message=kinds).rate == pytest.approx(0.8 * 7 / 3.0)


def test_groups_are_alike() -> None:
    groups = Counter(job.group for job in scenario(messages=20_000, message=[{"groups": 4}]).jobs())
    assert set(groups) == {"group-1", "group-2", "group-3", "group-4"}
    assert min(groups.values()) / max(groups.values()) > 0.9


def test_groups_can_be_unequal() -> None:
    groups = Counter(job.group for job in scenario(messages=20_000, message=[{"groups": 100, "skew": 1.0}]).jobs())
    assert groups["group-1"] / groups["group-10"] == pytest.approx(10, rel=0.2)


def test_messages_can_wait_as_long_as_they_have_to_live() -> None:
    found = scenario(messages=100, message=[{"ttl": 5.0}, {}])
    jobs = found.jobs()
    assert found.latest(jobs) == [job.due + 5.0 if job.kind == 0 else inf for job in jobs]


def test_messages_that_live_for_ever_need_no_list() -> None:
    assert scenario(message=[{}]).latest(scenario().jobs()) == []


def test_the_same_seed_has_the_same_work() -> None:
    assert scenario().jobs() == scenario().jobs()


def test_another_seed_has_other_work() -> None:
    assert scenario(seed=2).jobs() != scenario().jobs()


def test_without_policies_the_default_is_compared_with_round_robin() -> None:
    assert [policy.distribution for policy in scenario().policies] == ["pull", "round-robin"]


def test_a_policy_goes_by_its_label() -> None:
    found = scenario(policy=[{"distribution": "pull"}, {"distribution": "pull", "label": "once more"}])
    assert [policy.title for policy in found.policies] == ["pull", "once more"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"arrivals": {}}, "arrivals: has a load or a rate, one of the two"),
        ({"arrivals": {"load": 0.5, "rate": 1.0}}, "arrivals: has a load or a rate, one of the two"),
        ({"consumer": []}, "consumer: "),
        ({"consumer": [{"name": "x", "speed": 0.0}]}, "consumer[0].speed: must be above 0"),
        ({"cost": {"kind": "normal"}}, "cost.kind: must be 'constant', 'exponential', 'mixed' or 'pareto'"),
        ({"policy": [{"distribution": "pul"}]}, "policy[0].distribution: there is no policy 'pul'"),
        ({"policy": [{"distribution": "multicast"}]}, "policy: multicast sends to all"),
        (
            {"policy": [{"distribution": "peak-ewma", "options": {"decay": 1.0}}]},
            "policy[0].options.decay: is unknown; there are: decay_seconds",
        ),
        (
            {"event": [{"at": 1.0, "consumers": "me", "does": "leave"}]},
            "event: [0] is of 'me'; there are: other, worker",
        ),
        ({"event": [{"at": 1.0, "consumers": "other", "does": "speed"}]}, "event[0]: has a speed with does"),
        (
            {"event": [{"at": 1.0, "consumers": "other", "does": "stall", "after": 1.0}]},
            "event[0]: has an outcome, and a time after which, with does",
        ),
        ({"messages": 0}, "messages: must be at least 1"),
        ({"message": [{"priority": 256}]}, "message[0].priority: must be at most 255"),
        ({"message": [{"share": 0.0}]}, "message[0].share: must be above 0"),
        ({"colour": "blue"}, "colour: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(more: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(**more)
    assert str(caught.value).startswith(said)


def test_a_file_that_is_not_there_is_said_to_be_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        Scenario.load(tmp_path / "none.toml")


def test_a_file_that_is_no_toml_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("messages = ")
    with pytest.raises(ScenarioError, match="Invalid value"):
        Scenario.load(tmp_path / "bad.toml")
