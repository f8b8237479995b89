"""How the best objective and the bound came together over time, as step curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placer.pages.chart_axes import Axis, linear
from placer.plans.result import Progress, Result

__all__ = ["Convergence", "Curve", "convergence", "steps"]


@dataclass(frozen=True)
class Curve:
    """A step curve; ``path`` is SVG path data in percent of both axes, the vertical one downwards."""

    kind: str
    label: str
    path: str


@dataclass(frozen=True)
class Convergence:
    """The curves, their axes (seconds, the unit of the objective) and the points for a table."""

    curves: tuple[Curve, ...]
    seconds: Axis
    values: Axis
    points: tuple[Progress, ...]


def convergence(result: Result) -> Convergence | None:
    """Lay out the progress of a solve; None when nothing was recorded.

    Parameters
    ----------
    result
        The result; its last figures close the curves.
    """
    points = list(result.progress)
    if result.objective is not None or result.bound is not None:
        end = max(result.runtime_s, points[-1].seconds if points else 0.0)
        points.append(Progress(seconds=end, incumbent=result.objective, bound=result.bound))
    values = [x for p in points for x in (p.incumbent, p.bound) if x is not None]
    if not values:
        return None
    seconds = linear(0.0, max(p.seconds for p in points))
    scale = linear(min(values) if min(values) < 0.8 * max(values) else 0.95 * min(values), max(values))
    curves = []
    for kind, label in (("objective", "best objective"), ("bound", "proven bound")):
        series = [(p.seconds, p.incumbent if kind == "objective" else p.bound) for p in points]
        known = [(s, v) for s, v in series if v is not None]
        if known:
            placed = [(seconds.place(s), 100 - scale.place(v)) for s, v in known]
            curves.append(Curve(kind, label, steps(placed)))
    return Convergence(tuple(curves), seconds, scale, tuple(points))


def steps(points: Sequence[tuple[float, float]]) -> str:
    """Return SVG path data that keeps each value until the next point; a single point is a dot."""
    x, y = points[0]
    path = [f"M{x:.3f} {y:.3f}h0"]
    for x, y in points[1:]:
        path.append(f"H{x:.3f}V{y:.3f}")
    return "".join(path)
