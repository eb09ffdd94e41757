"""What simulations come to, as a table for people or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from txrouter.simulation.chart import Span
from txrouter.simulation.figures import percentile, share
from txrouter.simulation.outcome import SAMPLES, Run
from txrouter.simulation.scenario import Scenario

__all__ = ["as_data", "as_lines", "spans", "work"]

_COLUMNS = 50
_MOST_GROUPS = 8
_BARS = " ▁▂▃▄▅▆▇█"
_DOES = {"leave": "leaves", "come": "comes", "stall": "stalls", "fail": "fails", "go-on": "goes on"}
_FRACTIONS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def work(scenario: Scenario) -> str:
    """What there is to do, in one line."""
    consumers = len(scenario.servers())
    line = f"{scenario.messages:,} messages, {scenario.rate:,.1f} a second, {consumers:,} consumers"
    return line + (f"; {scenario.missing:,} more are missing in the trace" if scenario.missing else "")


def spans(scenario: Scenario) -> list[Span]:
    """What happens meanwhile, to be marked in a chart."""
    marks = [Span(burst.at, burst.at + burst.seconds, f"× {burst.factor:g}") for burst in scenario.arrivals.burst]
    for event in scenario.event:
        does = f"has speed {event.speed:g}" if event.does == "speed" else _DOES[event.does]
        marks.append(Span(event.at, None, f"{event.consumers} {does}"))
    return marks


def as_lines(scenario: Scenario, runs: Sequence[Run], ideal: Run) -> list[str]:
    """The tables, line by line: how long messages took under each policy, and who did how many, and when."""
    lines = [work(scenario)]
    if scenario.title:
        lines.insert(0, scenario.title)
    everyone = [*runs, ideal]
    width = max(len(run.title) for run in everyone) + 2
    head = "".join(f"{name:>11}" for name in _FRACTIONS)
    lines += ["", f"{'time to completion':<{width}}{head}{'p99 / ideal':>13}{'unfinished':>12}{'sent again':>12}"]
    best = ideal.percentile(0.99)
    for run in everyone:
        lines.append(f"{run.title:<{width}}{_row(run.times, best)}{run.unfinished:>12,}{run.sent_again:>12,}")
    return lines + _shares(everyone, width) + _over_time(everyone, width)


def _shares(everyone: Sequence[Run], width: int) -> list[str]:
    """What part of the messages each group of consumers did, where there are several; of many, how unequal they are."""
    servers = everyone[0].servers
    groups = list(dict.fromkeys(server.group for server in servers))
    if len(groups) == 1:
        return []
    rows = {run.title: share([run.by_group()[group] for group in groups]) for run in everyone}
    if len(groups) > _MOST_GROUPS:
        for title, parts in rows.items():
            ranked = sorted(parts, reverse=True)
            rows[title] = [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
        groups = ["the most", "the median", "the fewest"]
    else:
        speeds = [sum(each.speed * each.slots for each in servers if each.group == group) for group in groups]
        rows["of the speed"] = share(speeds)
    column = max(10, *(len(group) + 2 for group in groups))
    lines = ["", f"{'share':<{width}}" + "".join(f"{group:>{column}}" for group in groups)]
    return lines + [
        f"{title:<{width}}" + "".join(f"{part:>{column}.1%}" for part in parts) for title, parts in rows.items()
    ]


def _over_time(everyone: Sequence[Run], width: int) -> list[str]:
    """How many messages were not done yet, from the first arrival to the last, all to one scale."""
    curves = [[sample.waiting + sum(sample.has) for sample in run.samples] for run in everyone]
    most = max(map(max, curves))
    step = -(-SAMPLES // _COLUMNS)
    lines = ["", f"{'not done yet, over time':<{width + _COLUMNS}}{'most':>11}"]
    for run, curve in zip(everyone, curves, strict=True):
        heights = [max(curve[at : at + step]) for at in range(0, SAMPLES, step)]
        bars = "".join(_BARS[-(-height * (len(_BARS) - 1) // most) if most else 0] for height in heights)
        lines.append(f"{run.title:<{width}}{bars:<{_COLUMNS}}{max(curve):>11,}")
    return lines


def _row(times: Sequence[float], best: float) -> str:
    ranked = sorted(times)
    figures = "".join(
        f"{_spoken(percentile(ranked, fraction)) if ranked else '-':>11}" for fraction in _FRACTIONS.values()
    )
    ratio = f"{percentile(ranked, 0.99) / best:,.2f}" if best and ranked else "-"
    return f"{figures}{ratio:>13}"


def _spoken(seconds: float) -> str:
    if seconds >= 999.995:
        return f"{seconds:,.0f} s"
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1000:,.1f} ms"


def as_data(scenario: Scenario, runs: Sequence[Run], ideal: Run) -> dict[str, object]:
    """The same as JSON-able values, times in seconds."""
    best = ideal.percentile(0.99)
    return {
        "title": scenario.title,
        "messages": scenario.messages,
        "rate": scenario.rate,
        "seed": scenario.seed,
        "ideal": _run_as_data(ideal, best),
        "policies": [{"policy": run.title, **_run_as_data(run, best)} for run in runs],
    }


def _run_as_data(run: Run, best: float) -> dict[str, object]:
    return {
        **_percentiles(run.times),
        "p99_to_ideal": run.percentile(0.99) / best if best else None,
        "unfinished": run.unfinished,
        "sent_again": run.sent_again,
        "policy_errors": run.policy_errors,
        "seconds": run.seconds,
        "done": {server.name: done for server, done in zip(run.servers, run.done, strict=True)},
        "samples": [sample._asdict() for sample in run.samples],
    }


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    ranked = sorted(times)
    return {name: percentile(ranked, fraction) for name, fraction in _FRACTIONS.items()}
