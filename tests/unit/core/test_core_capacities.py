"""Whose word a consumer's capacity is, for how long, and what becomes of nonsense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.core.fakes import FakeConsumer, Stage
from txrouter.core.access import Access, Permit, Rule
from txrouter.core.capacities import Capacities, NotAllowed
from txrouter.core.capacity_rules import CapacityRule
from txrouter.core.health import Target
from txrouter.core.signals import LARGEST, SMALLEST
from txrouter.core.users import User

URL = "http://{host}:9999/health"
ALICE = User("alice", "PLAIN")


class Asked:
    """Who would ask at health addresses: what is to be asked for now."""

    def __init__(self) -> None:
        self.targets: list[Target] = []

    def begin(self, target: Target) -> None:
        assert target not in self.targets
        self.targets.append(target)

    def end(self, target: Target) -> None:
        self.targets.remove(target)


class Scene:
    """A router with rules, and its consumers."""

    def __init__(self, *rules: CapacityRule) -> None:
        self.stage = Stage()
        self.router = self.stage.router
        self.asked = Asked()
        self.capacities = self.router.capacities = Capacities(self.router, rules)
        self.capacities.asks = self.asked

    def consumer(
        self,
        properties: Mapping[str, object] | None = None,
        *,
        container: str = "c",
        user: str = "alice",
        host: str = "192.0.2.7",
        link: str = "link",
        address: str = "q",
    ) -> FakeConsumer:
        """One attaches."""
        id = self.stage._id("consumer")
        return FakeConsumer(self.stage, address, id, properties or {}, container, link, User(user, "PLAIN", host))

    def answer(self, said: object, target: Target | None = None) -> None:
        """A health address answers: the only one that is asked, if nothing is said."""
        self.capacities.answered(target or self.asked.targets[0], said)
        self.stage.turn()

    def of(self, consumer: FakeConsumer) -> tuple[float, bool, str]:
        """Its capacity, whether it is drained, and who says so."""
        described = self.capacities.describe(consumer)
        assert (described["capacity"], described["drained"]) == (consumer.capacity, consumer.barred)
        return consumer.capacity, consumer.barred, str(described["source"])


# -- at attach -----------------------------------------------------------------------------------------------------


def test_nobody_said_anything() -> None:
    scene = Scene()
    assert scene.of(scene.consumer()) == (1.0, False, "default")


def test_a_link_property_says_it() -> None:
    scene = Scene()
    assert scene.of(scene.consumer({"capacity": 3})) == (3.0, False, "property")


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, LARGEST * 2, SMALLEST / 2, True, "3", None, b"3", 10**400])
def test_a_property_that_makes_no_sense_is_ignored_counted_and_told(bad: object) -> None:
    scene = Scene()
    consumer = scene.consumer({"capacity": bad}, container="host-1")
    assert scene.of(consumer) == (1.0, False, "default")
    assert scene.stage.counters["bad_capacities"] == 1
    [(event, fields)] = scene.stage.reports
    assert (event, fields["container"], fields["source"]) == ("capacity ignored", "'host-1'", "link property capacity")
    assert scene.capacities.describe(consumer)["ignored"]


def test_a_rule_can_name_another_property() -> None:
    scene = Scene(CapacityRule(containers=("gpu-*",), link_property="gpus"))
    assert scene.of(scene.consumer({"gpus": 8, "capacity": 2}, container="gpu-1"))[0] == 8.0
    assert scene.of(scene.consumer({"gpus": 8, "capacity": 2}, container="cpu-1"))[0] == 2.0
    assert scene.capacities.claims == {"capacity", "gpus"}


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({}, True),
        ({"containers": ("c-*",)}, True),
        ({"containers": ("c-",)}, False),
        ({"containers": ("x", "c-1")}, True),
        ({"containers": ("C-1",)}, False),
        ({"containers": ("*-1",)}, True),
        ({"containers": ("c?1",)}, False),
        ({"containers": ("[c]-1",)}, False),
        ({"links": ("work*",)}, True),
        ({"links": ("play",)}, False),
        ({"users": ("alice",)}, True),
        ({"users": ("bob", "carol")}, False),
        ({"addresses": ("jobs.*",)}, True),
        ({"addresses": ("jobs", "#")}, True),
        ({"addresses": ("jobs.*.*",)}, False),
        ({"containers": ("c-1",), "users": ("bob",)}, False),
    ],
)
def test_a_value_is_for_whom_it_says(rule: dict[str, tuple[str, ...]], matches: bool) -> None:
    scene = Scene(CapacityRule(**rule, value=7.0))  # type: ignore[arg-type]
    consumer = scene.consumer({"capacity": 2}, container="c-1", link="worker", address="jobs.a")
    assert scene.of(consumer) == ((7.0, False, "config") if matches else (2.0, False, "property"))


def test_of_several_rules_the_first_that_says_something_decides_about_that() -> None:
    scene = Scene(
        CapacityRule(containers=("a",), link_property="gpus"),
        CapacityRule(containers=("a", "b"), value=5.0),
        CapacityRule(value=9.0, link_property="cpus"),
    )
    assert scene.of(scene.consumer(container="a"))[0] == 5.0
    assert scene.of(scene.consumer(container="z"))[0] == 9.0


# -- health --------------------------------------------------------------------------------------------------------


def test_all_who_share_a_health_address_share_what_it_says() -> None:
    scene = Scene(CapacityRule(url=URL))
    here = [scene.consumer() for _ in range(3)]
    there = scene.consumer(host="192.0.2.8")
    first, second = scene.asked.targets
    assert (first.url, second.url) == ("http://192.0.2.7:9999/health", "http://192.0.2.8:9999/health")
    scene.answer(4, first)
    assert [each.capacity for each in (*here, there)] == [4.0, 4.0, 4.0, 1.0]
    later = scene.consumer()
    assert scene.of(later) == (4.0, False, "health")
    for each in (*here, later):
        each.leaves()
    assert scene.asked.targets == [second]


def test_what_is_drained_is_so_from_its_first_moment() -> None:
    scene = Scene(CapacityRule(url=URL))
    scene.consumer()
    scene.answer("drain")
    late = scene.consumer()
    late.grants(5)
    producer = scene.stage.producer()
    assert (late.credit, producer.may_send) == (0, 0)
    scene.answer("up")
    assert (late.credit, scene.of(late)) == (5, (1.0, False, "default"))
    assert producer.may_send > 0


def test_a_percentage_scales_what_is_known_otherwise() -> None:
    scene = Scene(CapacityRule(containers=("fixed",), value=8.0), CapacityRule(url=URL))
    consumers = [scene.consumer({"capacity": 2}, container=each) for each in ("fixed", "c")]
    scene.answer("up 75%")
    assert [each.capacity for each in consumers] == [6.0, 1.5]
    scene.answer("up")
    assert [each.capacity for each in consumers] == [8.0, 2.0]


def test_the_last_answer_holds_until_it_expires() -> None:
    scene = Scene(CapacityRule(url=URL, expires=30.0))
    consumer = scene.consumer({"capacity": 2})
    scene.answer(4)
    scene.capacities.failed(scene.asked.targets[0], "connection refused")
    scene.stage.later(29.0)
    assert scene.of(consumer) == (4.0, False, "health")
    scene.stage.later(1.0)
    assert scene.of(consumer) == (2.0, False, "property")
    assert scene.stage.counters["stale_capacities"] == 1


def test_an_answer_renews_the_time_that_it_holds() -> None:
    scene = Scene(CapacityRule(url=URL, expires=30.0))
    consumer = scene.consumer()
    for _ in range(5):
        scene.answer("drain")
        scene.stage.later(20.0)
        assert scene.of(consumer) == (1.0, True, "health")
    scene.stage.later(10.0)
    assert scene.of(consumer) == (1.0, False, "default")


def test_an_answer_that_makes_no_sense_changes_nothing_and_is_shown() -> None:
    scene = Scene(CapacityRule(url=URL))
    consumer = scene.consumer()
    scene.answer(4)
    scene.answer("-5")
    assert scene.of(consumer) == (4.0, False, "health")
    assert scene.stage.counters["bad_capacities"] == 1
    assert scene.capacities.describe(consumer)["health"] == {
        "url": "http://192.0.2.7:9999/health",
        "error": "'-5' is no number, no percentage and no word for how it is",
    }


def test_that_a_health_address_does_not_answer_is_counted_and_told_once() -> None:
    scene = Scene(CapacityRule(url=URL))
    scene.consumer()
    for why in ("refused", "refused", "timed out"):
        scene.capacities.failed(scene.asked.targets[0], why)
    assert scene.stage.counters["failed_health_checks"] == 3
    assert [(event, fields["error"]) for event, fields in scene.stage.reports] == [("health check failed", "refused")]
    scene.answer("up")
    scene.capacities.failed(scene.asked.targets[0], "refused")
    assert len(scene.stage.reports) == 2


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    scene = Scene(CapacityRule(url=URL))
    consumer = scene.consumer()
    [target] = scene.asked.targets
    consumer.leaves()
    scene.capacities.answered(target, "drain")
    scene.capacities.failed(target, "late")
    assert scene.asked.targets == []
    assert scene.capacities.targets == {}


def test_a_client_may_say_its_health_address_where_the_config_lets_it() -> None:
    scene = Scene(CapacityRule(client_urls=("http://{host}:9999/",)))
    scene.consumer({"health-url": "http://192.0.2.7:9999/mine"})
    assert [target.url for target in scene.asked.targets] == ["http://192.0.2.7:9999/mine"]
    scene.consumer()
    assert len(scene.asked.targets) == 1
    assert "health-url" in scene.capacities.claims


@pytest.mark.parametrize(
    "said", ["http://169.254.169.254/latest", "http://192.0.2.8:9999/", 5, b"http://192.0.2.7:9999/"]
)
def test_a_client_that_says_another_is_asked_nowhere_and_that_is_told(said: object) -> None:
    scene = Scene(CapacityRule(client_urls=("http://{host}:9999/",), url=URL))
    consumer = scene.consumer({"health-url": said})
    assert scene.asked.targets == []
    assert scene.of(consumer) == (1.0, False, "default")
    assert scene.stage.counters["refused_health_urls"] == 1
    assert [event for event, _ in scene.stage.reports] == ["health address refused"]


def test_a_client_at_a_unix_socket_has_no_host_to_ask_at() -> None:
    scene = Scene(CapacityRule(url=URL))
    scene.consumer(host="")
    assert (scene.asked.targets, scene.stage.counters["refused_health_urls"]) == ([], 1)


# -- reports -------------------------------------------------------------------------------------------------------


def test_a_client_reports_for_its_own_consumers() -> None:
    scene = Scene()
    mine, too = scene.consumer({"capacity": 2}), scene.consumer(link="other")
    others = [scene.consumer(user="bob"), scene.consumer(container="d")]
    assert scene.capacities.report("c", None, ALICE, 4) == 2
    assert [each.capacity for each in (mine, too, *others)] == [4.0, 4.0, 1.0, 1.0]
    assert scene.capacities.report("c", "other", ALICE, "50%") == 1
    assert scene.of(too) == (0.5, False, "default")
    assert scene.capacities.report("c", None, ALICE, "ready") == 2
    assert scene.of(mine) == (2.0, False, "property")


@pytest.mark.parametrize("who", [("d", None, ALICE), ("c", "nolink", ALICE), ("c", None, User("bob", "PLAIN"))])
def test_a_report_for_nobody_says_so(who: tuple[str, str | None, User]) -> None:
    scene = Scene()
    consumer = scene.consumer()
    assert scene.capacities.report(*who, 4) == 0
    assert consumer.capacity == 1.0


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, True, "much", b"5", [5], LARGEST * 10, None])
def test_a_report_that_makes_no_sense_is_refused_counted_and_told(bad: object) -> None:
    scene = Scene()
    consumer = scene.consumer()
    scene.capacities.report("c", None, ALICE, 4)
    with pytest.raises(ValueError, match=r"is no|is not"):
        scene.capacities.report("c", None, ALICE, bad)
    assert scene.of(consumer) == (4.0, False, "report")
    assert scene.stage.counters["bad_capacities"] == 1
    assert [(event, fields["source"]) for event, fields in scene.stage.reports] == [("capacity ignored", "report")]


def test_a_report_may_hold_for_some_time() -> None:
    scene = Scene()
    consumer = scene.consumer()
    scene.capacities.report("c", None, ALICE, "drain", seconds=10.0)
    scene.stage.later(9.0)
    assert scene.of(consumer) == (1.0, True, "report")
    scene.stage.later(1.0)
    assert scene.of(consumer) == (1.0, False, "default")


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, True, "5"])
def test_a_report_does_not_hold_for_an_odd_time(seconds: Any) -> None:
    scene = Scene()
    consumer = scene.consumer()
    with pytest.raises(ValueError, match="a number of seconds"):
        scene.capacities.report("c", None, ALICE, 4, seconds=seconds)
    assert consumer.capacity == 1.0


@pytest.mark.parametrize("allowed", [True, False])
def test_who_may_not_set_a_capacity_may_not_report_one(allowed: bool) -> None:
    scene = Scene()
    consumer = scene.consumer()
    access = Access([Rule(users=("*",), capacity=allowed)], "alice", 0)
    consumer.permit = Permit(scene.router, "listener0/1", consumer.user, access)
    if allowed:
        assert scene.capacities.report("c", None, ALICE, 4) == 1
        return
    with pytest.raises(NotAllowed, match="'alice' may not set a capacity"):
        scene.capacities.report("c", None, ALICE, 4)
    assert (consumer.capacity, scene.stage.counters["unauthorized_reports"]) == (1.0, 1)


# -- operators -----------------------------------------------------------------------------------------------------


def test_an_operators_word_counts_most() -> None:
    scene = Scene(CapacityRule(value=8.0), CapacityRule(url=URL))
    consumer = scene.consumer()
    scene.answer("75%")
    scene.capacities.tell(consumer, 3)
    assert scene.of(consumer) == (3.0, False, "operator")
    scene.capacities.tell(consumer, "drain", seconds=5.0)
    assert scene.of(consumer) == (6.0, True, "operator")
    scene.stage.later(5.0)
    assert scene.of(consumer) == (6.0, False, "config")


def test_an_operator_is_told_of_nonsense_and_of_who_has_left() -> None:
    scene = Scene()
    consumer = scene.consumer()
    with pytest.raises(ValueError, match="no word"):
        scene.capacities.tell(consumer, "away")
    consumer.leaves()
    with pytest.raises(KeyError):
        scene.capacities.tell(consumer, "drain")


def test_whoever_drains_a_consumer_nobody_elses_word_undoes_that() -> None:
    scene = Scene(CapacityRule(url=URL))
    consumer = scene.consumer()
    scene.answer("drain")
    scene.capacities.tell(consumer, "ready")
    scene.capacities.report("c", None, ALICE, 5)
    assert scene.of(consumer) == (5.0, True, "health")
    scene.capacities.report("c", None, ALICE, "maint")
    scene.answer("up")
    assert scene.of(consumer) == (1.0, True, "report")
    scene.capacities.report("c", None, ALICE, "ready")
    assert scene.of(consumer) == (1.0, False, "default")


def test_what_all_have_said_is_shown() -> None:
    scene = Scene(CapacityRule(value=8.0), CapacityRule(url=URL))
    consumer = scene.consumer({"capacity": 2})
    scene.answer("75%")
    scene.stage.later(2.0)
    scene.capacities.report("c", None, ALICE, 3)
    scene.stage.later(1.0)
    assert scene.capacities.describe(consumer) == {
        "consumer": consumer.id,
        "container": "c",
        "user": "alice",
        "link": "link",
        "address": "q",
        "capacity": 6.0,
        "drained": False,
        "source": "config",
        "said": {
            "health": {"said": "75%", "age": 3.0},
            "report": {"said": 3, "age": 1.0},
            "config": {"said": 8.0},
            "property": {"said": 2.0},
        },
        "ignored": "",
        "health": {"url": "http://192.0.2.7:9999/health", "error": ""},
    }


# -- other rules ---------------------------------------------------------------------------------------------------


def test_other_rules_count_at_once() -> None:
    scene = Scene(CapacityRule(value=8.0), CapacityRule(links=("l*",), link_property="gpus"))
    consumer = scene.consumer({"gpus": 2, "capacity": 3})
    scene.capacities.use([CapacityRule(link_property="gpus")])
    assert scene.of(consumer) == (2.0, False, "property")
    scene.capacities.use([])
    assert scene.of(consumer) == (3.0, False, "property")
    assert scene.capacities.claims == {"capacity"}


@pytest.mark.parametrize("allowed", [True, False])
def test_other_rules_let_nobody_say_a_capacity_who_may_not(allowed: bool) -> None:
    scene = Scene()
    consumer = scene.consumer({"gpus": 2, "health-url": "http://192.0.2.7:9999/own"})
    access = Access([Rule(users=("*",), capacity=allowed)], "alice", 0)
    consumer.permit = Permit(scene.router, "listener0/1", consumer.user, access)
    scene.capacities.use([CapacityRule(link_property="gpus"), CapacityRule(client_urls=("http://{host}:9999",))])
    assert scene.of(consumer) == ((2.0, False, "property") if allowed else (1.0, False, "default"))
    assert len(scene.asked.targets) == (1 if allowed else 0)
    assert scene.stage.counters["unauthorized_reports"] == (0 if allowed else 2)
    ignored = "" if allowed else "link property gpus: 'alice' may not set a capacity"
    assert scene.capacities.describe(consumer)["ignored"] == ignored


def test_with_other_rules_what_was_said_stays_where_the_same_is_asked() -> None:
    scene = Scene(CapacityRule(url=URL, containers=("a", "b")))
    kept, dropped, new = (scene.consumer(container=each, host=each) for each in "abc")
    for target in list(scene.asked.targets):
        scene.answer("drain", target)
    scene.capacities.report("b", None, ALICE, 5)
    scene.capacities.use([CapacityRule(url=URL, containers=("a", "c"))])
    assert [target.url for target in scene.asked.targets] == ["http://a:9999/health", "http://c:9999/health"]
    assert scene.of(kept) == (1.0, True, "health")
    assert scene.of(dropped) == (5.0, False, "report")
    assert scene.of(new) == (1.0, False, "default")


def test_the_router_itself_has_no_capacity() -> None:
    scene = Scene(CapacityRule(url=URL, value=5.0))
    consumer = scene.consumer(address="$management", host="")
    assert consumer.capacity == 1.0
    assert not scene.capacities.consumers()
    consumer.leaves()
    assert scene.stage.counters["refused_health_urls"] == 0


# -- whatever happens ----------------------------------------------------------------------------------------------

SAID = st.sampled_from([None, 2, 5.0, "50%", "up 200%", "ready", "drain", "down", 0])


class CapacityMachine(RuleBasedStateMachine):
    """Everybody says something now and then, and what was said expires. It comes to what it should."""

    @initialize(fixed=st.sampled_from([None, 8.0]), own=st.sampled_from([None, 3.0]))
    def begin(self, fixed: float | None, own: float | None) -> None:
        self.scene = Scene(CapacityRule(value=fixed), CapacityRule(url=URL, expires=10.0))
        self.fixed, self.own = fixed, own
        self.consumer = self.scene.consumer({} if own is None else {"capacity": own})
        self.consumer.grants(3)
        self.said: dict[str, tuple[object, float]] = {}

    @rule(said=SAID, seconds=st.sampled_from([None, 4.0]))
    def an_operator_says(self, said: object, seconds: float | None) -> None:
        self.scene.capacities.tell(self.consumer, said, seconds=seconds)
        self._note("operator", said, seconds)

    @rule(said=SAID.filter(lambda said: said is not None), seconds=st.sampled_from([None, 6.0]))
    def its_client_reports(self, said: object, seconds: float | None) -> None:
        self.scene.capacities.report("c", None, ALICE, said, seconds=seconds)
        self._note("report", said, seconds)

    @rule(said=SAID.filter(lambda said: said is not None))
    def its_health_address_answers(self, said: object) -> None:
        self.scene.answer(said)
        self._note("health", said, 10.0)

    @rule(said=st.sampled_from(["", -1, "nonsense", True]))
    def its_health_address_talks_nonsense(self, said: object) -> None:
        self.scene.answer(said)

    @rule()
    def its_health_address_does_not_answer(self) -> None:
        self.scene.capacities.failed(self.scene.asked.targets[0], "refused")

    @rule(seconds=st.sampled_from([1.0, 3.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.scene.stage.later(seconds)

    def _note(self, source: str, said: object, seconds: float | None) -> None:
        now = self.scene.router.now
        self.said[source] = said, math.inf if seconds is None else now + seconds

    def _of(self, source: str) -> object:
        said, until = self.said.get(source, (None, math.inf))
        return said if self.scene.router.now < until else None

    @invariant()
    def the_capacity_is_what_it_should_be(self) -> None:
        if not hasattr(self, "scene"):
            return
        words = [self._of(source) for source in ("operator", "health", "report")]
        assert self.consumer.barred == any(word in ("drain", "down", 0) and word is not None for word in words)
        assert self.consumer.credit == (0 if self.consumer.barred else 3)
        shares = {"50%": 0.5, "up 200%": 2.0}
        share = 1.0
        number = self.fixed or self.own or 1.0
        for place, word in enumerate(words):
            if isinstance(word, int | float) and word:
                number = float(word) if place == 0 or self.fixed is None else self.fixed
                break
            if word in shares and share == 1.0:
                share = shares[str(word)]
        assert self.consumer.capacity == number * share


TestCapacityMachine = CapacityMachine.TestCase
TestCapacityMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
