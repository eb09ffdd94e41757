"""What a router explains of an address, for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from txrouter.client.report import figure
from txrouter.client.shown import harmless

__all__ = ["table"]

_NOTHING = "-"
_WIDEST = 32
"""Characters that are shown of a name."""


def table(said: dict[str, Any]) -> str:
    """What is said, in lines: the address, its consumers, its producers, and how some messages went where they did."""
    lines = [
        f"{said['address']} at {said['router']}: {said['policy']}{_options(said['changed'])}",
        f"{_count(said['consumers_in_all'], 'consumer')}, {_count(said['producers_in_all'], 'producer')}, "
        f"{said['held'] + said['returned']:,} held; {_sent(said)}",
    ]
    if said["consumers"]:
        lines += ["", *_consumers(said)]
    if said["producers"]:
        lines += ["", *_producers(said)]
    for decision in said["decisions"]:
        lines += ["", *_decision(decision)]
    if said["shadow"] is not None:
        lines += ["", *_shadow(said["shadow"])]
    return "\n".join(harmless(line) for line in lines)


def _sent(said: dict[str, Any]) -> str:
    time = f"{figure(said['seconds'])} s"
    if said["seen"] == said["sent"]:
        return f"{said['sent']:,} sent in {time}"
    about = float(f"{said['sent']:.3g}")
    return f"about {about:,.0f} sent in {time}, {said['seen']:,} of them looked at"


def _options(options: dict[str, Any]) -> str:
    values = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in options.items())
    return f" ({values})" if values else ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _consumers(said: dict[str, Any]) -> list[str]:
    rows = [("CONSUMER", "CONTAINER", "USER", "CREDIT", "IN FLIGHT", "CAPACITY", "WANTED", "GOT", "MEAN", "P95")]
    rows += [
        (
            each["consumer"],
            _name(each["container"]),
            _name(each["user"]),
            "drained" if each["drained"] else f"{each['credit']:,}",
            f"{each['in_flight']:,}" + (f" + {each['waiting']:,}" if each["waiting"] else ""),
            f"{each['capacity']:g}",
            _share(each["wanted"]),
            _share(each["got"]),
            _time(each["mean"]),
            _time(each["p95"]),
        )
        for each in said["consumers"]
    ]
    return _aligned(rows, 3) + _more(said["consumers_in_all"], said["consumers"], "consumers")


def _producers(said: dict[str, Any]) -> list[str]:
    rows = [("PRODUCER", "CONTAINER", "USER", "CREDIT", "HELD")]
    rows += [
        (each["producer"], _name(each["container"]), _name(each["user"]), f"{each['credit']:,}", f"{each['held']:,}")
        for each in said["producers"]
    ]
    return _aligned(rows, 3) + _more(said["producers_in_all"], said["producers"], "producers")


def _more(count: int, shown: Sequence[object], what: str) -> list[str]:
    return [f"… {count - len(shown):,} more {what}"] if count > len(shown) else []


def _decision(decision: dict[str, Any]) -> list[str]:
    chosen = decision["chosen"] or "nobody"
    lines = [f"after {_time(decision['at'])}: to {chosen}; {decision['why']}"]
    rows = [
        (
            "  >" if each["consumer"] == decision["chosen"] else "   ",
            each["consumer"],
            _score(each["score"]),
            f"credit {each['credit']:,}",
            f"{each['in_flight']:,} in flight",
        )
        for each in decision["candidates"]
    ]
    return lines + (_aligned(rows, 3, " ") if rows else [])


def _shadow(said: dict[str, Any]) -> list[str]:
    lines = [
        f"shadow {said['distribution']}{_options(said['options'])}: {_count(said['decisions'], 'decision')} in "
        f"{figure(said['seconds'])} s, {_share(said['part'])} otherwise: "
        f"{said['other_consumer']:,} to another consumer, {said['would_have_held']:,} held, "
        f"{said['would_have_sent']:,} sent that were held; {_count(said['errors'], 'error')}"
    ]
    rows = [
        (each["id"], _name(each["container"]), f"{each['got']:,}", f"{each['would_have_got']:,}")
        for each in said["consumers"]
        if isinstance(each, dict)  # the last may be how many more there are
    ]
    return lines + (_aligned([("CONSUMER", "CONTAINER", "GOT", "WOULD HAVE GOT"), *rows], 2) if rows else [])


def _name(name: str) -> str:
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"


def _score(score: Any) -> str:
    return _NOTHING if score is None else score if isinstance(score, str) else f"{score:g}"


def _share(share: Any) -> str:
    return _NOTHING if share is None else f"{share:.1%}".replace("%", " %")


def _time(seconds: Any) -> str:
    if seconds is None:
        return _NOTHING
    return f"{figure(seconds)} s" if seconds >= 1 else f"{figure(seconds * 1000)} ms"


def _aligned(rows: Sequence[tuple[str, ...]], left: int, between: str = "  ") -> list[str]:
    """Rows in columns, of which the first few are texts, and the others numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        between.join(
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
