"""What simulations come to, as a table for people or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from txrouter.simulation.figures import percentile, share
from txrouter.simulation.outcome import Run
from txrouter.simulation.scenario import Scenario

__all__ = ["as_data", "as_lines"]

IDEAL = "ideal central queue"
_FRACTIONS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def as_lines(scenario: Scenario, runs: Sequence[Run], ideal: Sequence[float]) -> list[str]:
    """The tables, line by line: how long messages took under each policy, and who did how many."""
    consumers = len(scenario.servers())
    lines = [f"{scenario.messages:,} messages, {scenario.rate:,.1f} a second, {consumers:,} consumers"]
    if scenario.title:
        lines.insert(0, scenario.title)
    names = [*(run.title for run in runs), IDEAL]
    width = max(map(len, names)) + 2
    head = "".join(f"{name:>11}" for name in _FRACTIONS)
    lines += ["", f"{'time to completion':<{width}}{head}{'p99 / ideal':>13}{'unfinished':>12}{'sent again':>12}"]
    best = percentile(ideal, 0.99)
    for run in runs:
        lines.append(f"{run.title:<{width}}{_row(run.times, best)}{run.unfinished:>12,}{run.sent_again:>12,}")
    lines.append(f"{IDEAL:<{width}}{_row(ideal, best)}")
    groups = list(dict.fromkeys(server.group for server in scenario.servers()))
    if len(groups) > 1:
        column = max(10, *(len(group) + 2 for group in groups))
        lines += ["", f"{'share':<{width}}" + "".join(f"{group:>{column}}" for group in groups)]
        for run in runs:
            parts = share([run.by_group()[group] for group in groups])
            lines.append(f"{run.title:<{width}}" + "".join(f"{part:>{column}.1%}" for part in parts))
        speeds = [sum(each.speed * each.slots for each in scenario.servers() if each.group == name) for name in groups]
        parts = [speed / sum(speeds) for speed in speeds]
        lines.append(f"{'of the speed':<{width}}" + "".join(f"{part:>{column}.1%}" for part in parts))
    return lines


def _row(times: Sequence[float], best: float) -> str:
    ranked = sorted(times)
    figures = "".join(f"{_spoken(percentile(ranked, fraction)):>11}" for fraction in _FRACTIONS.values())
    ratio = f"{percentile(ranked, 0.99) / best:.2f}" if best else "-"
    return f"{figures}{ratio:>13}"


def _spoken(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1000:,.1f} ms"


def as_data(scenario: Scenario, runs: Sequence[Run], ideal: Sequence[float]) -> dict[str, object]:
    """The same as JSON-able values, times in seconds."""
    best = percentile(ideal, 0.99)
    return {
        "title": scenario.title,
        "messages": scenario.messages,
        "rate": scenario.rate,
        "seed": scenario.seed,
        "ideal": _percentiles(ideal),
        "policies": [
            {
                "policy": run.title,
                **_percentiles(run.times),
                "p99_to_ideal": run.percentile(0.99) / best if best else None,
                "unfinished": run.unfinished,
                "sent_again": run.sent_again,
                "policy_errors": run.policy_errors,
                "seconds": run.seconds,
                "done": {server.name: done for server, done in zip(run.servers, run.done, strict=True)},
                "samples": [sample._asdict() for sample in run.samples],
            }
            for run in runs
        ],
    }


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    ranked = sorted(times)
    return {name: percentile(ranked, fraction) for name, fraction in _FRACTIONS.items()}
