"""The chart of a simulation: how long messages took, who did how many, and where they were over time. Pure.

All policies are side by side, each in a colour of its own, and the ideal central queue in the colour of the ink. The
colours are those of Okabe and Ito, which people who are colour-blind can tell apart; on a dark page they are lighter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from txrouter.simulation.axes import Axis, decades_of, log_axis, place_of, spoken, steps_of, time_steps
from txrouter.simulation.figures import percentile, share
from txrouter.simulation.outcome import Run, Sample
from txrouter.simulation.svg import Drawing

__all__ = ["Span", "as_html", "as_svg"]

WIDTH = 1200
LEFT, RIGHT = 74, WIDTH - 34
HEIGHT = 330
"""Of the upper two."""
OVER_TIME_HEIGHT = 150
LEGEND_COLUMNS = 4
STEPS = 60
"""Points of a curve between 90 % and 99 %, and so on."""
MOST_ROWS = 12

COLOURS = ("#009e73", "#d55e00", "#0072b2", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
COLOURS_IN_THE_DARK = ("#2cc295", "#ff8a4c", "#5aa9f0", "#e8a5cb", "#f5bb3d", "#93d2f7", "#cfae6e")
_LOOKS = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:13px}
path{fill:none;stroke-width:2.2;stroke-linejoin:round}
.title{font-size:22px;font-weight:700}
.head{font-size:15px;font-weight:700}
.name{font-size:14px;font-weight:700}
.small{font-size:11.5px}
.grid{stroke-width:1}
.event{stroke-width:1;stroke-dasharray:2 3}
.mark{stroke-width:2}
.ideal{stroke-width:1.8;stroke-dasharray:6 3}
.thin{stroke-width:1.5}
.again{stroke-dasharray:9 2 2 2}
"""
_INK = """
.paper{{fill:{paper}}}
text.ink,rect.ideal,circle.ideal{{fill:{ink}}}
text.soft{{fill:{soft}}}
path.ideal,path.mark{{stroke:{ink}}}
.grid{{stroke:{grid}}}
.event{{stroke:{soft}}}
.span{{fill:{grid};fill-opacity:.7}}
"""


def _colours(colours: Sequence[str], **ink: str) -> str:
    each = (
        f"path.c{number}{{stroke:{colour}}}rect.c{number},circle.c{number}{{fill:{colour}}}"
        for number, colour in enumerate(colours)
    )
    return _INK.format(**ink) + "\n".join(each)


_LIGHT = _colours(COLOURS, paper="#ffffff", ink="#1f2933", soft="#5c6773", grid="#e3e7ec")
_DARK = _colours(COLOURS_IN_THE_DARK, paper="#14181d", ink="#eef1f4", soft="#a3adb8", grid="#2b323a")
STYLE = f"{_LOOKS}{_LIGHT}\n@media (prefers-color-scheme:dark){{{_DARK}\n}}\n"


class Span(NamedTuple):
    """Something that happened, from one time to another, or at one (`end` is None)."""

    start: float
    end: float | None
    label: str


class _Row(NamedTuple):
    """A consumer, or several, among those whose shares are drawn."""

    label: str
    shares: list[float]
    """Under each policy, and ideally."""
    speed: float | None
    """What part it has of all speed, where that is a measure."""


def as_svg(runs: Sequence[Run], ideal: Run, title: str, subtitle: str, spans: Sequence[Span] = ()) -> str:
    """The chart. The part over time is left out where it was not looked at what was going on.

    :param spans: what happened meanwhile.
    """
    drawing = Drawing(WIDTH, STYLE)
    everyone = [*runs, ideal]
    kinds = [f"c{number % len(COLOURS)}" + " again" * (number >= len(COLOURS)) for number in range(len(runs))]
    kinds.append("ideal")
    drawing.text(LEFT - 40, 46, title, "title ink")
    drawing.text(LEFT - 40, 70, subtitle, "soft")
    top = _legend(drawing, 104, everyone, kinds)
    rows = _rows(everyone)
    height = max(HEIGHT, len(rows) * (len(everyone) * 4 + 8))
    _times(drawing, top, height, everyone, kinds)
    _shares(drawing, top, height, rows, everyone, kinds)
    bottom = top + height + 96
    if all(run.samples for run in everyone):
        bottom = _over_time(drawing, bottom, everyone, kinds, spans)
    return drawing.as_svg(bottom, title)


def as_html(svg: str, title: str, figures: str) -> str:
    """A page with the chart and the figures, and nothing beside it that it needs."""
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        "<style>body{margin:0 auto;max-width:1200px;background:#fff;color:#1f2933}svg{max-width:100%;height:auto}"
        "pre{padding:0 34px 34px;overflow:auto;font-size:13px}"
        "@media (prefers-color-scheme:dark){body{background:#14181d;color:#eef1f4}}</style>\n"
        f"{svg}<pre>{escape(figures)}</pre>\n</html>\n"
    )


def _legend(drawing: Drawing, y: float, everyone: Sequence[Run], kinds: Sequence[str]) -> float:
    """Who has which colour, and their figures. Returns where it ends."""
    best = everyone[-1].percentile(0.99)
    column = (RIGHT - LEFT + 40) / LEGEND_COLUMNS
    for number, (run, kind) in enumerate(zip(everyone, kinds, strict=True)):
        x = LEFT - 40 + number % LEGEND_COLUMNS * column
        at = y + number // LEGEND_COLUMNS * 46
        drawing.line(x, at - 4, x + 26, at - 4, kind)
        drawing.text(x + 34, at, _cut(run.title, 30), "name ink", hint=run.title)
        ranked = sorted(run.times)
        p99 = percentile(ranked, 0.99)
        figures = f"p50 {spoken(percentile(ranked, 0.5))}, p99 {spoken(p99)}" if ranked else ""
        if best and ranked and run is not everyone[-1]:
            figures += f", {p99 / best:,.2f} × ideal"
        drawing.text(x + 34, at + 17, figures, "small soft")
        if run.unfinished:
            drawing.text(x + 34, at + 31, f"{run.unfinished:,} never done", "small ink")
    return y + (len(everyone) - 1) // LEGEND_COLUMNS * 46 + 78


# -- time to completion ------------------------------------------------------------------------------------------------


def _times(drawing: Drawing, top: float, height: float, everyone: Sequence[Run], kinds: Sequence[str]) -> None:
    """Time against percentile. The axis stretches towards the slowest messages: that is where policies differ."""
    left, right = LEFT, LEFT + 600
    drawing.text(LEFT - 40, top - 18, "Time to completion", "head ink")
    decades = decades_of(len(everyone[-1].times))
    across = Axis(0, decades, left, right)
    places = [step / STEPS for step in range(decades * STEPS + 1)]
    ranked = [sorted(run.times) for run in everyone]
    curves = [[max(1e-6, percentile(times, 1 - 10**-at)) for at in places] for times in ranked]
    # the very fastest tell nothing, and would take most of the axis
    shown = [
        max(1e-6, percentile(times, fraction)) for times in ranked if times for fraction in (0.05, 1 - 10**-decades)
    ]
    up, marks = log_axis(shown or [0.001, 1.0], top + height, top)
    for mark in marks:
        _grid(drawing, left, up.at(mark), right, spoken(mark))
    ends = [0.0, 0.5, *(1 - 10**-decade for decade in range(1, decades + 1))]
    for fraction in ends:
        x = across.at(place_of(fraction))
        drawing.line(x, top, x, top + height, "grid")
        label = f"{float(f'{fraction * 100:.6g}'):g} %" if fraction else "fastest"
        drawing.text(x, top + height + 18, label, "soft", "middle")
    drawing.text((left + right) / 2, top + height + 40, "this part of all messages was done within …", "soft", "middle")
    for run, kind, times, curve in zip(everyone, kinds, ranked, curves, strict=True):
        if not times:
            continue
        points = [(across.at(at), up.at(value)) for at, value in zip(places, curve, strict=True) if value >= up.low]
        drawing.curve(points, kind, run.title)
        p99 = max(up.low, percentile(times, 0.99))
        drawing.dot(across.at(2), up.at(p99), 4, kind, f"{run.title}: 99 % within {spoken(p99)}")


# -- shares ------------------------------------------------------------------------------------------------------------


def _rows(everyone: Sequence[Run]) -> list[_Row]:
    """Each consumer; where they are many, each group; and where there is but one group, or many, those that did the
    most, the fewest, and as many as most."""
    servers = everyone[0].servers
    speeds = share([server.speed * server.slots for server in servers])
    shares = [share(run.done) for run in everyone]
    if len(servers) <= MOST_ROWS:
        names = [server.name for server in servers]
        return [_Row(name, [each[n] for each in shares], speeds[n]) for n, name in enumerate(names)]
    groups: dict[str, list[int]] = {}
    for number, server in enumerate(servers):
        groups.setdefault(server.group, []).append(number)
    if 1 < len(groups) <= MOST_ROWS:
        return [
            _Row(
                f"{name} × {len(which)}",
                [sum(each[n] for n in which) for each in shares],
                sum(speeds[n] for n in which),
            )
            for name, which in groups.items()
        ]
    ranked = [sorted(each, reverse=True) for each in shares]
    places = {"the most": 0, "the median": len(servers) // 2, "the fewest": -1}
    return [_Row(name, [each[n] for each in ranked], None) for name, n in places.items()]


def _shares(
    drawing: Drawing, top: float, height: float, rows: Sequence[_Row], everyone: Sequence[Run], kinds: Sequence[str]
) -> None:
    """Bars for each consumer, one for each policy, and a mark where its part of all speed is."""
    left, right = LEFT + 764, RIGHT
    measured = rows[0].speed is not None
    head = "Share of the messages" if measured else f"Share of the messages, of {len(everyone[0].servers)} consumers"
    drawing.text(LEFT + 660, top - 18, head, "head ink")
    most = max(max(*row.shares, row.speed or 0.0) for row in rows) or 1.0
    marks = steps_of(most * 100, 4)
    across = Axis(0, marks[-1], left, right)
    for mark in marks:
        x = across.at(mark)
        drawing.line(x, top, x, top + height, "grid")
        drawing.text(x, top + height + 18, f"{mark:g} %", "soft", "middle")
    deep = height / len(rows)
    thick = min(16.0, deep * 0.8 / len(everyone))
    gap = deep - thick * len(everyone)
    for number, row in enumerate(rows):
        y = top + number * deep + gap / 2
        drawing.text(left - 10, y + (deep - gap) / 2 + 4, _cut(row.label, 15), "ink", "end", row.label)
        for run, kind, part in zip(everyone, kinds, row.shares, strict=True):
            length = across.at(part * 100) - left
            drawing.box(left, y + 0.04 * thick, length, thick * 0.92, kind, f"{row.label}, {run.title}: {part:.1%}")
            y += thick
        if row.speed is not None:
            x = across.at(row.speed * 100)
            drawing.line(x, y - thick * len(everyone) - 3, x, y + 3, "mark", f"its part of all speed: {row.speed:.1%}")
    if measured:
        middle = (left + right) / 2
        drawing.line(middle - 84, top + height + 30, middle - 84, top + height + 44, "mark")
        drawing.text(middle - 74, top + height + 41, "its part of the total speed", "soft")


# -- over time ---------------------------------------------------------------------------------------------------------


def _over_time(
    drawing: Drawing, top: float, everyone: Sequence[Run], kinds: Sequence[str], spans: Sequence[Span]
) -> float:
    """Where the messages were. Returns where it ends."""
    panels: list[tuple[str, Callable[[Sample], int]]] = [
        ("In flight: messages that consumers have", lambda sample: sum(sample.has)),
        ("Waiting for a consumer, at producers and in the router", lambda sample: sample.waiting),
    ]
    end = everyone[-1].samples[-1].at
    across = Axis(0, end or 1.0, LEFT, RIGHT)
    marks, unit, name = time_steps(end)
    spans = [span for span in spans if span.start <= end]
    for number, (head, of) in enumerate(panels):
        drawing.text(LEFT - 40, top - 18, head, "head ink")
        bottom = top + OVER_TIME_HEIGHT
        counts = [[of(sample) for sample in run.samples] for run in everyone]
        steps = steps_of(max(4, *map(max, counts)), 4)
        up = Axis(0, steps[-1], bottom, top)
        _spans(drawing, top, across, spans, labelled=not number)
        for step in steps:
            _grid(drawing, LEFT, up.at(step), RIGHT, f"{step:,.0f}")
        for mark in marks:
            drawing.text(across.at(mark), bottom + 18, f"{mark / unit:g}", "soft", "middle")
        for run, kind, values in zip(everyone, kinds, counts, strict=True):
            points = [(across.at(look.at), up.at(value)) for look, value in zip(run.samples, values, strict=True)]
            drawing.curve(points, f"{kind} thin", run.title)
        top = bottom + 70
    drawing.text((LEFT + RIGHT) / 2, top - 32, f"{name} since the beginning", "soft", "middle")
    return top - 12


def _spans(drawing: Drawing, top: float, across: Axis, spans: Sequence[Span], labelled: bool) -> None:
    """What happened meanwhile. One whose label would be in the way of another's keeps it as a hint."""
    free = 0.0
    for span in sorted(spans, key=lambda span: span.start):
        x = across.at(span.start)
        if span.end is None:
            drawing.line(x, top, x, top + OVER_TIME_HEIGHT, "event", span.label)
        else:
            end = min(across.high, span.end)
            drawing.box(x, top, across.at(end) - x, OVER_TIME_HEIGHT, "span", span.label)
        length = len(span.label) * 6.0 + 8
        if labelled and x >= free and x + length <= RIGHT:
            drawing.text(x + 4, top - 3, span.label, "small soft")
            free = x + length


def _grid(drawing: Drawing, left: float, y: float, right: float, label: str) -> None:
    drawing.line(left, y, right, y, "grid")
    drawing.text(left - 8, y + 4, label, "soft", "end")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
