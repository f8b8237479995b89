"""Figures of results and batches, as matplotlib figures to save or to change further.

Needs the extra ``plot``: ``pip install matplotlib``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from placer.errors import UsageError
from placer.objectives import OBJECTIVES
from placer.pages.load_chart import load_chart
from placer.pages.performance_profiles import Entry, profiles
from placer.pages.timeline import timeline as slices_of
from placer.plans.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from placer.instance.instance import Instance

__all__ = ["convergence", "loads", "memory", "performance_profile", "timeline"]

COLOURS = {"compute": "#3d6fb4", "receive": "#d98324", "send": "#3f9577", "sync": "#8a63b8"}
HATCHES = {"compute": "", "receive": "//", "send": "..", "sync": "--"}
LANES = ("receive", "compute", "send")
GIB = 1024**3


def loads(result: Result) -> Figure:
    """Draw what each device computes, receives and sends, against objective and bound.

    Parameters
    ----------
    result
        A result with a plan.

    Raises
    ------
    UsageError
        When there is no plan, or matplotlib is not installed.
    """
    chart = load_chart(_planned(result))
    figure, axes = _axes(height=0.45 * len(chart.rows) + 1.4)
    seen: set[str] = set()
    for y, row in enumerate(chart.rows):
        thickness = 0.7 / len(row.bars)
        for k, bar in enumerate(row.bars):
            left = 0.0
            for s in bar.segments:
                middle = y - 0.35 + (k + 0.5) * thickness
                axes.barh(
                    middle,
                    s.ms,
                    thickness,
                    left=left,
                    color=COLOURS[s.kind],
                    hatch=HATCHES[s.kind],
                    edgecolor="white",
                    label=None if s.kind in seen else s.kind,
                )
                seen.add(s.kind)
                left += s.ms
    for mark in chart.marks:
        style = "-" if mark.kind == "objective" else "--"
        axes.axvline(mark.ms, color="#b3123f", linestyle=style, label=f"{mark.label} {mark.ms:.4g} ms")
    _device_axis(axes, [row.device.name for row in chart.rows])
    axes.set_xlabel("ms per sample")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def memory(result: Result) -> Figure:
    """Draw the memory of each device against its limit, in GiB.

    Raises
    ------
    UsageError
        When there is no plan, or matplotlib is not installed.
    """
    devices = _planned(result).devices
    figure, axes = _axes(height=0.45 * len(devices) + 1.4)
    for y, d in enumerate(devices):
        if d.memory_limit_bytes is not None:
            axes.barh(y, d.memory_limit_bytes / GIB, 0.7, color="none", edgecolor="#59616e")
        axes.barh(y, d.memory_bytes / GIB, 0.7, color=COLOURS["compute"])
    _device_axis(axes, [d.name for d in devices])
    axes.set_xlabel("GiB; the outline is the limit")
    return figure


def convergence(result: Result) -> Figure:
    """Draw how the best objective and the bound came together over time.

    Raises
    ------
    UsageError
        When nothing was recorded, or matplotlib is not installed.
    """
    points = [(p.seconds, p.incumbent, p.bound) for p in result.progress]
    points.append((result.runtime_s, result.objective, result.bound))
    figure, axes = _axes(height=3.2)
    for column, label, style in ((1, "best objective", "-"), (2, "proven bound", "--")):
        known = [(p[0], p[column]) for p in points if p[column] is not None]
        if known:
            axes.step(*zip(*known, strict=True), where="post", linestyle=style, marker=".", label=label)
    if not axes.has_data():
        raise UsageError("this result holds neither an objective nor a bound to draw")
    axes.set_xlabel("seconds")
    axes.set_ylabel(OBJECTIVES[result.options.objective].unit)
    axes.legend(frameon=False)
    return figure


def timeline(result: Result, instance: Instance) -> Figure:
    """Draw what each device does when, in a simulated run of the plan.

    Parameters
    ----------
    result
        A result with a plan, which must hold.
    instance
        Its instance.

    Raises
    ------
    UsageError
        When there is no plan, it does not hold, or matplotlib is not installed.
    """
    from placer.plans.check import check

    broken = check(instance, _planned(result))
    if broken:
        raise UsageError(f"the plan does not hold: {broken[0]}")
    drawn = slices_of(instance, result).slices
    names = [d.name for d in result.devices if any(s.device == d.name for s in drawn)]
    figure, axes = _axes(height=0.6 * len(names) + 1.4)
    for k, lane in enumerate(LANES):
        for y, name in enumerate(names):
            spans = [(s.start_ms, s.end_ms - s.start_ms) for s in drawn if (s.device, s.lane) == (name, lane)]
            axes.broken_barh(
                spans,
                (y - 0.4 + k * 0.8 / len(LANES), 0.75 / len(LANES)),
                facecolors=COLOURS[lane],
                hatch=HATCHES[lane],
                edgecolor="white",
                linewidth=0.5,
                label=lane if y == 0 else None,
            )
    _device_axis(axes, names)
    axes.set_xlabel("ms")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def performance_profile(entries: Sequence[Entry], measure: str = "objective") -> Figure:
    """Draw how often each method is within a factor of the best.

    Parameters
    ----------
    entries
        The jobs (`placer.pages.performance_profiles.Entry`).
    measure
        ``"objective"`` for the quality of plans, ``"seconds"`` for the time to a proof.

    Raises
    ------
    UsageError
        When no job has a value to compare, or matplotlib is not installed.
    """
    found, problems = profiles(entries, measure)
    if not problems:
        raise UsageError("no job has a value to compare")
    figure, axes = _axes(height=3.6)
    largest = max(factor for p in found for factor, _ in p.points) * 1.05
    for k, p in enumerate(found):
        factors, shares = zip(*p.points, (largest, p.points[-1][1]), strict=True)
        percent = [100 * s for s in shares]
        axes.step(factors, percent, where="post", label=p.method, linestyle=("-", "--", ":", "-.")[k % 4])
    axes.set_xscale("log")
    axes.set_ylim(0, 102)
    axes.set_xlabel("objective over the best" if measure == "objective" else "seconds over the fastest")
    axes.set_ylabel(f"% of {problems} problems")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _planned(result: Result) -> Result:
    if result.assignment is None:
        raise UsageError("this result has no plan to draw")
    return result


def _axes(height: float) -> tuple[Figure, Axes]:
    """Make a figure that belongs to no window, so that nothing has to be closed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("figures need matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(8, height), layout="constrained")
    axes: Any = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    figure._repr_png_ = lambda: _png(figure)  # type: ignore[attr-defined]
    return figure, axes


def _png(figure: Figure) -> bytes:
    """Draw a figure for a notebook, which asks for it where the figure ends a cell."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return drawn.getvalue()


def _device_axis(axes: Axes, names: Sequence[str]) -> None:
    """Devices from the top down; names are text, whatever mathematics they look like."""
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    axes.invert_yaxis()
