"""The demo's chart: how long messages took, from the fastest to the slowest, and who did how many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from txrouter.demo.results import PhaseResult
from txrouter.demo.work import ConsumerSpec
from txrouter.simulation.figures import percentile, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["can_draw", "draw"]

INK = "#1f2933"
SOFT = "#66717e"
GRID = "#e3e7ec"
COLOURS = {"round-robin": "#d55e00", "weighted": "#3b7dc4", "pull": "#009e73"}
SPARE = ("#cc79a7", "#e69f00", "#8c6d31", "#56b4e9")
DECADES = 3  # of the percentile axis: up to 99.9 %
STEPS = 80  # points of a curve per decade


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(
    path: str, results: Sequence[PhaseResult], ideal: Sequence[float], consumers: Sequence[ConsumerSpec], subtitle: str
) -> None:
    """Write the chart as a PNG file.

    :param ideal: the times of the ideal central queue, in seconds.
    :param subtitle: one line about the work.
    :raise ImportError: matplotlib is not installed.
    :raise OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # a Figure of its own draws with Agg, whatever display there is

    figure = Figure(figsize=(13, 6.4), dpi=150, facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    figure.subplots_adjust(left=0.06, right=0.975, top=0.77, bottom=0.11, wspace=0.25)
    figure.text(0.06, 0.925, "The same messages, a different choice of consumer", size=19, weight="bold", color=INK)
    figure.text(0.06, 0.875, subtitle, size=11, color=SOFT)
    colours = colours_of([result.policy for result in results])
    draw_times(left, results, ideal, colours)
    draw_shares(right, results, consumers, colours)
    figure.savefig(path, format="png")


def colours_of(policies: Sequence[str]) -> dict[str, str]:
    """A colour for each policy: its own, or for one without, a spare one."""
    others = [policy for policy in policies if policy not in COLOURS]
    return COLOURS | {policy: SPARE[index % len(SPARE)] for index, policy in enumerate(others)}


def draw_times(axes: Axes, results: Sequence[PhaseResult], ideal: Sequence[float], colours: Mapping[str, str]) -> None:
    """Time against percentile. The axis stretches towards the slowest messages: that is where policies differ."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    prepare(axes, "Time from send to completion")
    best = percentile(ideal, 0.99)
    for result in results:
        ratio = f", {result.p99 / best:.2f} times ideal" if best else ""
        label = f"{result.policy}: p99 {spoken(result.p99)}{ratio}"
        draw_curve(axes, result.times, label, color=colours[result.policy], linewidth=2.6)
    draw_curve(axes, ideal, f"ideal central queue: p99 {spoken(best)}", color=INK, linewidth=1.7, linestyle=(0, (4, 2)))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: spoken(value)))
    axes.set_xlim(0, DECADES)
    ticks = {0.0: "fastest", 0.5: "50 %", 0.9: "90 %", 0.99: "99 %", 0.999: "99.9 %"}
    axes.set_xticks([place(fraction) for fraction in ticks], list(ticks.values()))
    axes.set_xlabel("this part of all messages was done within …", color=SOFT, size=10.5)
    axes.grid(axis="both", color=GRID, linewidth=0.9)
    axes.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="white", framealpha=0.9, fontsize=11)


def draw_curve(axes: Axes, times: Sequence[float], label: str, **style: object) -> None:
    """A line through the percentiles, with a dot at the 99th."""
    ranked = sorted(times)
    places = [step / STEPS for step in range(DECADES * STEPS + 1)]
    values = [percentile(ranked, 1 - 10**-at) for at in places]
    (line,) = axes.plot(places, values, label=label, zorder=3, **style)  # type: ignore[arg-type]
    axes.plot([place(0.99)], [percentile(ranked, 0.99)], "o", color=line.get_color(), markersize=6, zorder=4)


def draw_shares(
    axes: Axes, results: Sequence[PhaseResult], consumers: Sequence[ConsumerSpec], colours: Mapping[str, str]
) -> None:
    """A group of bars for each consumer, a bar for each policy, and a mark where its share of all speed is."""
    from matplotlib.ticker import PercentFormatter

    prepare(axes, "Share of the messages, per consumer")
    thickness = 0.78 / max(1, len(results))
    for index, result in enumerate(results):
        offset = (index - (len(results) - 1) / 2) * thickness
        middles = [row + offset for row in range(len(consumers))]
        axes.barh(middles, share(result.done), height=thickness * 0.9, color=colours[result.policy], zorder=3)
    speed = sum(spec.speed for spec in consumers)
    for row, spec in enumerate(consumers):
        (mark,) = axes.plot([spec.speed / speed] * 2, [row - 0.44, row + 0.44], color=INK, linewidth=2, zorder=4)
    mark.set_label("its part of the total speed")
    axes.invert_yaxis()
    axes.set_yticks(range(len(consumers)), [f"{spec.name}\nspeed {spec.speed:g}" for spec in consumers])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.grid(axis="x", color=GRID, linewidth=0.9)
    axes.legend(loc="lower right", frameon=False, fontsize=10.5)


def prepare(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", size=13, color=INK, pad=12, weight="bold")
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=SOFT, labelsize=10.5, pad=6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def place(fraction: float) -> float:
    """Where a percentile is on the axis: 90 % at 1, 99 % at 2, 99.9 % at 3."""
    return -math.log10(1 - fraction)


def spoken(seconds: float) -> str:
    """A time as people write it."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
