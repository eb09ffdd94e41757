"""The chart of a simulation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from txrouter.simulation.chart import COLOURS, COLOURS_IN_THE_DARK, Span, as_html, as_svg
from txrouter.simulation.ideal import ideal
from txrouter.simulation.outcome import Run
from txrouter.simulation.scenario import Scenario
from txrouter.simulation.world import simulate

THREE = [{"name": "fast", "speed": 2.0}, {"name": "slow", "count": 2}]
SVG = "{http://www.w3.org/2000/svg}"


def runs_of(*policies: str, consumer: Sequence[dict[str, Any]] = THREE) -> tuple[list[Run], Run]:
    data = {"messages": 300, "arrivals": {"load": 0.8}, "consumer": list(consumer)}
    scenario = Scenario.from_dict(data, policies)
    runs = [simulate(scenario, policy) for policy in scenario.policies]
    return runs, ideal(scenario.jobs(), scenario.servers())


def chart(
    *policies: str, consumer: Sequence[dict[str, Any]] = THREE, title: str = "a title", spans: Sequence[Span] = ()
) -> ElementTree.Element:
    runs, best = runs_of(*policies, consumer=consumer)
    return ElementTree.fromstring(as_svg(runs, best, title, "", spans))


def texts(drawn: ElementTree.Element) -> list[str]:
    """What can be read in it, without the hints."""
    return [(each.find(f"{SVG}title").tail if len(each) else each.text) or "" for each in drawn.iter(f"{SVG}text")]  # type: ignore[union-attr]


def kinds(drawn: ElementTree.Element, shape: str) -> Counter[str]:
    return Counter(each.get("class", "") for each in drawn.iter(f"{SVG}{shape}"))


def test_each_policy_and_the_ideal_have_a_name_in_the_legend() -> None:
    assert {"pull", "round-robin", "ideal central queue"} <= set(texts(chart("pull", "round-robin")))


def test_each_has_a_line_in_the_legend_a_curve_of_times_and_two_over_time() -> None:
    drawn = kinds(chart("pull", "round-robin"), "path")
    assert {name: drawn[name] for name in ("c0", "c1", "ideal")} == {"c0": 2, "c1": 2, "ideal": 2}
    assert {name: drawn[f"{name} thin"] for name in ("c0", "c1", "ideal")} == {"c0": 2, "c1": 2, "ideal": 2}


def test_each_has_a_bar_for_each_consumer() -> None:
    drawn = kinds(chart("pull", "round-robin"), "rect")
    assert {name: drawn[name] for name in ("c0", "c1", "ideal")} == {"c0": 3, "c1": 3, "ideal": 3}


def test_axes_have_their_units() -> None:
    said = texts(chart("pull"))
    assert {"99 %", "this part of all messages was done within …", "seconds since the beginning", "0 %"} <= set(said)
    assert any(re.fullmatch(r"\d+ (s|ms)", each) for each in said)


def test_where_consumers_are_many_their_groups_have_the_bars() -> None:
    said = texts(chart("pull", consumer=[{"name": "fast", "count": 5}, {"name": "slow", "count": 9}]))
    assert {"fast × 5", "slow × 9"} <= set(said)
    assert "fast-1" not in said


def test_where_they_are_many_and_alike_it_is_shown_how_unequal_their_shares_are() -> None:
    said = texts(chart("pull", consumer=[{"name": "each", "count": 40}]))
    assert {"the most", "the median", "the fewest", "Share of the messages, of 40 consumers"} <= set(said)


def test_what_happened_meanwhile_is_marked_and_named() -> None:
    drawn = chart("pull", spans=[Span(5.0, None, "slow-1 leaves"), Span(20.0, 30.0, "× 3")])
    assert {"slow-1 leaves", "× 3"} <= set(texts(drawn))
    assert (kinds(drawn, "path")["event"], kinds(drawn, "rect")["span"]) == (2, 2)


def test_names_that_would_be_in_the_way_of_others_are_hints_only() -> None:
    drawn = chart("pull", spans=[Span(5.0, None, "slow-1 leaves"), Span(5.1, None, "slow-2 leaves")])
    assert "slow-2 leaves" not in texts(drawn)
    assert "slow-2 leaves" in [each.text for each in drawn.iter(f"{SVG}title")]


def test_what_happens_after_the_last_message_came_is_left_out() -> None:
    assert kinds(chart("pull", spans=[Span(1e6, None, "slow-1 leaves")]), "path")["event"] == 0


def test_without_looks_at_it_over_time_that_part_is_left_out() -> None:
    runs, best = runs_of("pull")
    drawn = ElementTree.fromstring(
        as_svg([replace(run, samples=[]) for run in runs], replace(best, samples=[]), "", "")
    )
    assert "c0 thin" not in kinds(drawn, "path")


def test_messages_that_were_never_done_are_said() -> None:
    runs, best = runs_of("pull")
    assert "7 never done" in texts(ElementTree.fromstring(as_svg([replace(runs[0], unfinished=7)], best, "", "")))


def test_a_policy_under_which_nothing_was_done_can_be_drawn() -> None:
    runs, best = runs_of("pull")
    nothing = replace(runs[0], times=[], unfinished=300, done=[0, 0, 0])
    drawn = ElementTree.fromstring(as_svg([nothing], best, "", ""))
    assert "300 never done" in texts(drawn)
    assert kinds(drawn, "path")["c0"] == 1  # in the legend


def test_texts_of_the_scenario_are_not_taken_for_markup() -> None:
    assert '<b> & "x"' in texts(chart("pull", title='<b> & "x"'))


def test_more_policies_than_colours_are_told_apart_by_their_lines() -> None:
    drawn = kinds(chart(*["pull"] * (len(COLOURS) + 1)), "path")
    assert drawn["c0"] == drawn["c0 again"] == 2


def test_there_are_as_many_colours_in_the_dark() -> None:
    assert len(COLOURS) == len(COLOURS_IN_THE_DARK)


def test_a_page_needs_nothing_beside_it() -> None:
    runs, best = runs_of("pull")
    page = as_html(as_svg(runs, best, "a title", ""), "a title", "1 < 2")
    assert "<pre>1 &lt; 2</pre>" in page
    assert not re.search(r"(src|href)=|@import|url\(", page)
