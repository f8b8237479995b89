"""The page of a batch: tables, performance profiles, time against gap, filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placer.pages.chart_axes import Axis, linear, logarithmic
from placer.pages.convergence import Curve, steps
from placer.pages.folder import Folder
from placer.pages.html_document import render
from placer.pages.performance_profiles import Entry, profiles

__all__ = ["batch_page"]

SMALLEST_GAP = 1e-6
"""Gaps below lie on the lower edge of the chart: there, a logarithm would only show rounding."""
SMALLEST_TIME_S = 1e-3
DASHES = 4
SHAPES = 5


@dataclass(frozen=True)
class _Chart:
    """A profile: curves over the factor to the best, and how many problems they are about."""

    title: str
    explained: str
    curves: tuple[tuple[int, Curve], ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    factors: tuple[float, ...]
    axis: Axis
    problems: int


@dataclass(frozen=True)
class _Point:
    """A job in the chart of time against gap, in percent of both axes."""

    entry: Entry
    row: int
    x: float
    y: float


def batch_page(batch: Folder) -> str:
    """Make the page of a batch: one HTML document that opens offline and asks for nothing.

    Parameters
    ----------
    batch
        What the batch found, verified.

    Returns
    -------
    str
        The document.
    """
    entries = batch.entries
    methods = list(dict.fromkeys(entry.method for entry in entries))
    units = {entry.unit for entry in entries}
    scatter, time, gap, left_out = _scatter(entries)
    charts = [
        _profile(
            entries, methods, "objective", "Quality of plans", "objective over the best one of any method"
        ),
        _profile(
            entries, methods, "seconds", "Time to a proof", "seconds over the fastest proof of any method"
        ),
    ]
    return render(
        "batch.html",
        unit=f", {units.pop()}" if len(units) == 1 else "",
        scripts=("page.js", "tables.js", "batch.js"),
        devices=len(methods),
        batch=batch,
        entries=entries,
        methods=methods,
        states=list(dict.fromkeys(entry.state for entry in entries)),
        instances=len({entry.instance for entry in entries}),
        charts=[chart for chart in charts if chart is not None],
        share=linear(0.0, 100.0),
        scatter=scatter,
        time=time,
        gap=gap,
        left_out=left_out,
        dashes=DASHES,
        shapes=SHAPES,
        data={},
    )


def _profile(
    entries: Sequence[Entry], methods: Sequence[str], measure: str, title: str, explained: str
) -> _Chart | None:
    found, problems = profiles(entries, measure)
    if not problems:
        return None
    largest = max(factor for profile in found for factor, _ in profile.points)
    axis = linear(1.0, max(largest, 1.01)) if largest < 3 else logarithmic(1.0, largest)
    curves = []
    for profile in found:
        if profile.points[-1][1] > 0:
            placed = [(axis.place(factor), 100 - 100 * share) for factor, share in profile.points]
            path = steps([*placed, (100.0, placed[-1][1])])
            curves.append((methods.index(profile.method), Curve("method", profile.method, path)))
    factors = tuple(
        f for f in (1.0, 1.01, 1.05, 1.1, 1.5, 2.0, 5.0, 10.0, 100.0) if f <= largest * 10 or f < 1.02
    )
    rows = tuple(
        (p.method, tuple(max((s for f, s in p.points if f <= factor), default=0.0) for factor in factors))
        for p in found
    )
    return _Chart(title, explained, tuple(curves), rows, factors, axis, problems)


def _scatter(entries: Sequence[Entry]) -> tuple[list[_Point], Axis, Axis, int]:
    """Points of time against gap, both axes, and how many jobs have no gap or no time."""
    known = [
        (row, entry, max(entry.seconds, SMALLEST_TIME_S), max(entry.gap, SMALLEST_GAP))
        for row, entry in enumerate(entries)
        if entry.seconds is not None and entry.gap is not None
    ]
    time = logarithmic(
        min((t for *_, t, _ in known), default=0.1), max((t for *_, t, _ in known), default=1.0)
    )
    gap = logarithmic(SMALLEST_GAP, max((g for *_, g in known), default=0.1))
    points = [_Point(entry, row, time.place(t), 100 - gap.place(g)) for row, entry, t, g in known]
    return points, time, gap, len(entries) - len(known)
