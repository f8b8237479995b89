"""What the rows say: shares within gaps and times, as a table and as a picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from placer.pages.chart_axes import Axis, linear, logarithmic
from tests.benchmarks.proofs.authors import authors_table

__all__ = ["AT_S", "gap_at", "profile", "write_report"]

Row = dict[str, Any]

AT_S = 60.0
"""Gaps are told at this time, or at the limit where that is less."""
MEASURES = {"seconds_1pct": "1 %", "seconds_001pct": "0.01 %"}
FIELDS = (
    "case", "half", "kind", "nodes", "devices", "method", "limit_s", "status", "objective", "bound", "gap",
    "seconds_1pct", "seconds_001pct", "cpu_s", "peak_mb", "message",
)  # fmt: skip
LEAST_S = 0.1
"""Times below this count as this where they are compared."""
SHARES = (0.5, 0.9, 0.95, 1.0)


def write_report(rows: Sequence[Row], folder: Path) -> str:
    """Write ``table.md``, ``table.csv`` and ``profiles.svg``; returns the table."""
    text = table(rows) + authors_table(rows)
    (folder / "table.md").write_text(text)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "profiles.svg").write_text(picture(rows))
    return text


def gap_at(row: Row, seconds: float) -> float:
    """Return the gap after so many CPU seconds; inf without a plan or a bound."""
    if row["status"] == "infeasible":
        return 0.0
    return min((gap for used, gap in row.get("curve", ()) if used <= seconds), default=inf)


def profile(rows: Sequence[Row], measure: str) -> list[tuple[float, float]]:
    """Return steps (seconds, share of the rows that had reached the gap by then)."""
    times = sorted(t for t in (_seconds(row, measure) for row in rows) if t < inf)
    return [(t, (i + 1) / len(rows)) for i, t in enumerate(times)]


def _seconds(row: Row, measure: str) -> float:
    if row["status"] == "infeasible":
        return float(row["cpu_s"])
    reached = row.get(measure)
    return float(reached) if reached is not None and reached <= row["limit_s"] else inf


def groups(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Rows by half, kind and method; what a method does not take is left out."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["status"] != "not applicable":
            found.setdefault((row["kind"], row["half"], row["method"]), []).append(row)
    return dict(sorted(found.items()))


def table(rows: Sequence[Row]) -> str:
    """Return the shares and quantiles of each group as Markdown.

    "At most twice the best" is about the cases that any of the methods proved to 0.01 %: how many of them
    this one proved within twice the time of the fastest.  The last column is a geometric mean over the cases
    for which it has a plan.
    """
    lines = [
        "| kind | half | method | limit, s | cases | 1 % | 0.01 % | plan | "
        + " | ".join(f"gap of {100 * share:g} % of cases" for share in SHARES)
        + " | median to 0.01 %, s | at most twice the best | plan / best plan |",
        "|" + "---|" * (11 + len(SHARES)),
    ]
    best, plans_of = _best(rows), _best_plans(rows)
    for (kind, half, method), members in groups(rows).items():
        reached = [f"{100 * _share(members, measure):.1f} %" for measure in MEASURES]
        plans = sum(row.get("objective") is not None or row["status"] == "infeasible" for row in members)
        gaps = sorted(gap_at(row, AT_S) for row in members)
        quantiles = [_percent(gaps[max(0, round(share * len(gaps)) - 1)]) for share in SHARES]
        times = sorted(_seconds(row, "seconds_001pct") for row in members)
        middle = times[(len(times) - 1) // 2]
        cells = [kind, half, method, f"{members[0]['limit_s']:g}", str(len(members)), *reached]
        cells += [f"{100 * plans / len(members):.1f} %", *quantiles]
        cells.append("-" if middle == inf else f"{middle:.2f}")
        proven = [row for row in members if row["case"] in best]
        near = sum(_seconds(row, "seconds_001pct") <= 2 * best[row["case"]] for row in proven)
        cells.append(f"{100 * near / len(proven):.1f} %" if proven else "-")
        ratios = [row["objective"] / plans_of[row["case"]] for row in members if row.get("objective")]
        cells.append(f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.4f}" if ratios else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _share(rows: Sequence[Row], measure: str) -> float:
    return sum(_seconds(row, measure) < inf for row in rows) / len(rows)


def _best(rows: Sequence[Row]) -> dict[str, float]:
    """Return the least time to 0.01 % of each case that any method proved."""
    found: dict[str, float] = {}
    for row in rows:
        if row["status"] != "not applicable":
            seconds = max(LEAST_S, _seconds(row, "seconds_001pct"))
            found[row["case"]] = min(found.get(row["case"], inf), seconds)
    return {case: seconds for case, seconds in found.items() if seconds < inf}


def _best_plans(rows: Sequence[Row]) -> dict[str, float]:
    """Return the least objective of each case."""
    found: dict[str, float] = {}
    for row in rows:
        if row.get("objective"):
            found[row["case"]] = min(found.get(row["case"], inf), row["objective"])
    return found


def _percent(gap: float) -> str:
    return "none" if gap == inf else f"{100 * max(0.0, gap):.2f} %"


WIDTH, HEIGHT, LEFT, TOP = 360, 220, 50, 40
COLOURS = (
    "#1f6fb2",
    "#d1495b",
    "#3a8f5c",
    "#8a5fb5",
    "#c98a1b",
    "#4d4d4d",
    "#12908e",
    "#a0522d",
    "#e377c2",
    "#7a8b00",
)


def picture(rows: Sequence[Row]) -> str:
    """Draw the performance profiles: a row of charts for each kind and half."""
    found = groups(rows)
    panels = list(dict.fromkeys((kind, half) for kind, half, _ in found))
    methods = list(dict.fromkeys(method for _, _, method in found))
    colour = {method: COLOURS[i % len(COLOURS)] for i, method in enumerate(methods)}
    parts = []
    for p, (kind, half) in enumerate(panels):
        for m, (measure, words) in enumerate(MEASURES.items()):
            curves = {
                method: profile(found[kind, half, method], measure)
                for method in methods
                if (kind, half, method) in found
            }
            x, y = LEFT + m * (WIDTH + LEFT + 20), TOP + p * (HEIGHT + 2 * TOP)
            longest = max(float(row["limit_s"]) for row in rows)
            parts.append(_chart(x, y, f"{kind}, {half}: within {words}", curves, colour, longest))
    width, height = 2 * (WIDTH + LEFT + 20) + 20, max(1, len(panels)) * (HEIGHT + 2 * TOP) + 30
    for i, method in enumerate(methods):
        x = LEFT + i * 110
        parts.append(f'<rect x="{x}" y="{height - 22}" width="12" height="12" fill="{colour[method]}"/>')
        parts.append(f'<text x="{x + 16}" y="{height - 12}">{method}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _chart(
    x: float,
    y: float,
    title: str,
    curves: dict[str, list[tuple[float, float]]],
    colour: dict[str, str],
    longest: float,
) -> str:
    across, up = logarithmic(0.01, longest), linear(0, 100)

    def at(seconds: float, share: float) -> str:
        return (
            f"{_place(x, WIDTH, across, seconds):.1f},{y + HEIGHT - HEIGHT * up.place(100 * share) / 100:.1f}"
        )

    parts = [f'<text x="{x}" y="{y - 10}" font-weight="bold">{title}</text>']
    for tick in up.ticks:
        level = y + HEIGHT * (1 - tick.position / 100)
        parts.append(f'<line x1="{x}" x2="{x + WIDTH}" y1="{level}" y2="{level}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{level + 4}" text-anchor="end">{tick.label} %</text>')
    for tick in across.ticks:
        place = x + WIDTH * tick.position / 100
        parts.append(f'<text x="{place}" y="{y + HEIGHT + 16}" text-anchor="middle">{tick.label} s</text>')
    for method, steps in curves.items():
        points, last = [at(across.low, 0.0)], 0.0
        for seconds, share in steps:
            points += [at(seconds, last), at(seconds, share)]
            last = share
        points.append(at(longest, last))
        line = " ".join(points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour[method]}" stroke-width="1.6"/>')
    return "\n".join(parts)


def _place(x: float, width: float, axis: Axis, value: float) -> float:
    return x + width * axis.place(value) / 100
