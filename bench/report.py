"""From readings to medians, ratios, a table and a JSON file."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.runs import Reading
from bench.shapes import Huge, Idle, Isolation, Shape, Traffic

_TRAFFIC_COLUMNS = (
    ("CPU µs", "cpu_us", "{:.2f}"),
    ("user", "user_us", "{:.2f}"),
    ("system", "system_us", "{:.2f}"),
    ("msg/s", "per_second", "{:,.0f}"),
    ("p50 µs", "p50_us", "{:,.0f}"),
    ("p99 µs", "p99_us", "{:,.0f}"),
    ("busy", "busy", "{:.0%}"),
    ("others", "others", "{:.0%}"),
)
_MEMORY_COLUMNS = (
    ("KiB/client", "kib_per_client", "{:.1f}"),
    ("growth MiB", "growth_mib", "{:.1f}"),
    ("base MiB", "base_mib", "{:.1f}"),
    ("MiB/s", "mib_per_second", "{:,.0f}"),
    ("busy", "busy", "{:.0%}"),
    ("others", "others", "{:.0%}"),
)
_ISOLATION_COLUMNS = (
    ("msg/s alone", "alone_per_second", "{:,.0f}"),
    ("beside", "per_second", "{:,.0f}"),
    ("kept", "kept", "{:.0%}"),
    ("p50 alone", "alone_p50_us", "{:,.0f}"),
    ("beside", "p50_us", "{:,.0f}"),
    ("p99 alone", "alone_p99_us", "{:,.0f}"),
    ("beside", "p99_us", "{:,.0f}"),
    ("p99 ratio", "p99_ratio", "{:.1f}"),
    ("busy alone", "alone_busy", "{:.0%}"),
    ("beside", "busy", "{:.0%}"),
    ("greedy/s", "greedy_per_second", "{:,.0f}"),
    ("others", "others", "{:.0%}"),
)
_ISOLATION_NOTE = """\
Isolation: nine modest producers at a fixed rate, each on an address of its own, alone and beside a greedy client, in µs
from send to outcome. kept: the rate beside it, of the rate alone. p99 ratio: beside it to alone, in the same round.
greedy/s: the greedy client's messages that arrived, KiB of its long one, or links, connections and frames it sent."""
_NOTE = """\
CPU µs: router CPU per message delivered, user + system. busy: share of one core the router used.
others: share of the machine used by neither the router nor its clients; where it is high, every figure suffers.
p50, p99: from send to arrival; of `ping`, from send to outcome. At saturation they are mostly time spent in line.
{ratio}: ratio to {base} in the same round, median over the rounds; of CPU per message, or of p50 for `ping` and `rate`.
forwarder: a plain Twisted port forwarder, with the consumer listening behind it; one producer, one consumer only.
The machine is shared by router and load: trust ratios of one run, not absolute figures of two."""


@dataclass
class Results:
    """The readings of a run, per shape and router in order of rounds (None: that round failed), and what went wrong."""

    base: str
    readings: dict[tuple[Shape, str], list[Reading | None]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, shape: Shape, router: str, reading: Reading | None) -> None:
        """Keep the next round's reading."""
        self.readings.setdefault((shape, router), []).append(reading)

    def shapes(self) -> list[Shape]:
        """The shapes measured, in order."""
        return list(dict.fromkeys(shape for shape, _ in self.readings))

    def routers(self, shape: Shape) -> list[str]:
        """The routers measured under ``shape``, in order."""
        return [router for measured, router in self.readings if measured == shape]

    def medians(self, shape: Shape, router: str) -> Reading:
        """The median over the rounds of every figure."""
        rounds = [reading for reading in self.readings[shape, router] if reading]
        keys = rounds[0].keys() if rounds else ()
        return {key: statistics.median(r[key] for r in rounds if key in r) for key in keys}

    def ratio(self, shape: Shape, router: str) -> float | None:
        """The median of the rounds' ratios to the base router, of the figure the shape is about."""
        return _median_ratio(
            self.readings[shape, router],
            self.readings.get((shape, self.base), []),
            shape.key,
        )

    def flatness(self, shape: Shape, router: str) -> float | None:
        """The median of the rounds' ratios to the first shape of the same kind, of CPU per message."""
        first = self._first_of_kind(shape)
        return _median_ratio(
            self.readings[shape, router],
            self.readings.get((first, router), []),
            "cpu_us",
        )

    def flat_shapes(self) -> list[Shape]:
        """The shapes that are compared with another of their kind."""
        return [
            shape
            for shape in self.shapes()
            if shape.name.startswith(("consumers:", "addresses:")) and self._first_of_kind(shape) != shape
        ]

    def _first_of_kind(self, shape: Shape) -> Shape:
        kind = shape.name.partition(":")[0] + ":"
        return next(other for other in self.shapes() if other.name.startswith(kind))

    def as_dict(self) -> list[dict[str, Any]]:
        """Everything, for JSON."""
        return [
            {
                "shape": shape.name,
                "summary": shape.summary,
                "routers": {
                    router: {
                        "median": self.medians(shape, router),
                        f"{shape.key}_ratio": self.ratio(shape, router),
                        "rounds": self.readings[shape, router],
                    }
                    for router in self.routers(shape)
                },
            }
            for shape in self.shapes()
        ]

    def table(self) -> str:
        """Everything, for people."""
        traffic = [shape for shape in self.shapes() if isinstance(shape, Traffic)]
        memory = [shape for shape in self.shapes() if isinstance(shape, Idle | Huge)]
        isolation = [shape for shape in self.shapes() if isinstance(shape, Isolation)]
        parts = [
            self._table(traffic, _TRAFFIC_COLUMNS),
            self._flat_table(),
            self._table(memory, _MEMORY_COLUMNS),
            self._table(isolation, _ISOLATION_COLUMNS),
            _ISOLATION_NOTE if isolation else "",
            _NOTE.format(ratio=f"÷ {self.base}", base=self.base) if traffic else "",
        ]
        return "\n\n".join(part for part in parts if part)

    def _table(self, shapes: Sequence[Shape], columns: Sequence[tuple[str, str, str]]) -> str:
        rows = [["", "", *(title for title, _, _ in columns), f"÷ {self.base}"]]
        for shape in shapes:
            label = shape.summary
            for router in self.routers(shape):
                medians, ratio = self.medians(shape, router), self.ratio(shape, router)
                cells = [form.format(medians[key]) if key in medians else "-" for _, key, form in columns]
                rows.append([label, router, *cells, f"{ratio:.2f}" if ratio else "-"])
                label = ""
        return _align(rows) if shapes else ""

    def _flat_table(self) -> str:
        rows = [["Flatness, CPU per message", "", "ratio"]]
        for shape in self.flat_shapes():
            label = f"{shape.name} ÷ {self._first_of_kind(shape).name}"
            for router in self.routers(shape):
                ratio = self.flatness(shape, router)
                rows.append([label, router, f"{ratio:.2f}" if ratio else "-"])
                label = ""
        return _align(rows) if len(rows) > 1 else ""


def write_json(path: Path, results: Results, about: dict[str, Any]) -> None:
    """Write ``about`` and the results to ``path``, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = about | {
        "base": results.base,
        "failures": results.failures,
        "results": results.as_dict(),
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _median_ratio(ours: Iterable[Reading | None], base: Iterable[Reading | None], key: str) -> float | None:
    pairs = [(a.get(key), b.get(key)) for a, b in zip(ours, base, strict=False) if a and b]
    ratios = [a / b for a, b in pairs if a is not None and b]
    return statistics.median(ratios) if ratios else None


def _align(rows: list[list[str]]) -> str:
    """Columns of equal width: the first two to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
