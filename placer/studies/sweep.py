"""What-if: one instance with more or fewer devices, more or less memory, faster or slower links, more time.

Points are solved from the scarcest to the most generous one.  A plan of a scarcer point is a plan of every
more generous one, and a bound of a more generous point holds for every scarcer one, so that a sweep never
contradicts itself: with more of anything the objective does not rise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, Unpack

from pydantic import ConfigDict, Field

from placer.errors import InputError, UsageError
from placer.formats.csv_table import to_csv
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.instance.overrides import apply
from placer.objectives import OBJECTIVES
from placer.options import Objective, OptionChanges, Options
from placer.plans.check import plan_of
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.plans.result import InstanceReference, Result, Status, gap_of, status_of
from placer.plans.status import Point
from placer.plans.verify import violations
from placer.solving.request import make_options
from placer.solving.solve import solve
from placer.studies.axes import MAX_POINTS, Axis, parse_axis, variant
from placer.studies.saved import Document

__all__ = ["Sweep", "SweepPoint", "common_options", "sweep"]

MANY = 12
"""Points beyond which only the first axis is summed up in words."""
WORTH = 0.05
"""A smaller resource is worth taking when its objective is within this share of the best one."""


class SweepPoint(Document):
    """One point; ``moved`` counts the nodes that lie elsewhere than in the plan of the point before it."""

    settings: dict[str, float]
    status: Status
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    devices_used: int | None = None
    moved: int | None = None
    seconds: float = 0.0
    message: str = ""


class Sweep(Document):
    """A sweep: the points in the order of their settings, and what they say.

    Parameters
    ----------
    instance, options
        What was varied, and the options common to all points.
    axes
        Names of what is varied, as in ``SweepPoint.settings``.
    points
        One for each combination; the last axis varies fastest.
    findings
        In words: up to where more is worth it, along each axis.
    interrupted
        Whether the sweep was stopped; points that were not solved are missing.
    results
        The result documents with the instance of each point; not part of the JSON document.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    format: Literal["placer-sweep"] = "placer-sweep"
    version: Literal[1] = 1
    instance: InstanceReference
    options: Options
    axes: list[str]
    points: list[SweepPoint]
    findings: list[str] = Field(default=[])
    interrupted: bool = False
    results: list[tuple[Instance, Result] | None] = Field(default=[], exclude=True, repr=False)

    def to_csv(self) -> str:
        """Return the points as CSV with a header line; absent values are empty."""
        fields = [name for name in SweepPoint.model_fields if name != "settings"]
        rows = (point.settings | point.model_dump(mode="json") for point in self.points)
        return to_csv([*self.axes, *fields], rows)


@dataclass
class _Solved:
    """A point that was solved: its place in the grid, its instance and its result or the reason for none."""

    place: tuple[int, ...]
    instance: Instance | None
    result: Result | None
    message: str = ""


def sweep(
    instance: Instance,
    axes: Sequence[Axis | str],
    options: Options | None = None,
    *,
    on_point: Callable[[SweepPoint], None] | None = None,
    on_progress: Callable[[Point, str], None] | None = None,
    interrupt: threading.Event | None = None,
    guard: bool = False,
    **changes: Unpack[OptionChanges],
) -> Sweep:
    """Solve an instance for every combination of the values of the axes.

    Parameters
    ----------
    instance
        The instance to vary.
    axes
        What to vary, as `Axis` or in the notation of `parse_axis`.
    options, **changes
        Options common to all points; a time limit holds for each of them.
    on_point
        Called with each point when it is solved; bounds may still be improved by later points.
    on_progress, interrupt, guard
        As for ``placer.solve``.

    Raises
    ------
    UsageError
        When axes or options are wrong.
    """
    chosen = [parse_axis(axis) if isinstance(axis, str) else axis for axis in axes]
    common = common_options(chosen, options, **changes)
    interrupt = interrupt or threading.Event()
    grid = _grid(chosen)
    solved: list[_Solved] = []
    for place in grid:
        if interrupt.is_set():
            break
        settings = [(axis, axis.values[i]) for axis, i in zip(chosen, place, strict=True)]
        made, here = _variant_or_reason(instance, settings), _options_at(common, settings)
        solved.append(_point(place, made, solved, here, on_progress, interrupt, guard))
        if on_point is not None:
            on_point(_row(chosen, solved[-1], solved))
    _share_bounds(solved, common)
    rows = [_row(chosen, point, solved) for point in solved]
    return Sweep(
        instance=InstanceReference(name=instance.name, sha256=fingerprint(instance)),
        options=common,
        axes=[axis.label for axis in chosen],
        points=rows,
        findings=_findings(chosen, grid, rows, common.objective),
        interrupted=interrupt.is_set(),
        results=[None if p.result is None or p.instance is None else (p.instance, p.result) for p in solved],
    )


def _grid(axes: list[Axis]) -> list[tuple[int, ...]]:
    """List the places of all points: for each axis the index of a value."""
    if not axes or len({axis.label for axis in axes}) < len(axes):
        raise UsageError("option vary: give at least one axis, and each one once")
    grid = list(product(*(range(len(axis.values)) for axis in axes)))
    if len(grid) > MAX_POINTS:
        raise UsageError(f"option vary: {len(grid)} points are more than {MAX_POINTS}")
    return grid


def common_options(
    axes: Sequence[Axis], options: Options | None = None, **changes: Unpack[OptionChanges]
) -> Options:
    """Validate the options of all points; one that is varied has its largest value."""
    for axis in axes:
        if axis.resource == "max-ms":
            changes["max_ms"] = axis.values[-1]
    return make_options(options, **changes)


def _options_at(common: Options, settings: list[tuple[Axis, float]]) -> Options:
    """Return the options of a point."""
    most = next((value for axis, value in settings if axis.resource == "max-ms"), common.max_ms)
    return common.model_copy(update={"max_ms": most})


def _variant_or_reason(instance: Instance, settings: list[tuple[Axis, float]]) -> Instance | str:
    """Return the instance of a point, or in words why there is none."""
    try:
        return variant(instance, settings)
    except InputError as error:
        return str(error)


def _point(
    place: tuple[int, ...],
    made: Instance | str,
    solved: list[_Solved],
    options: Options,
    on_progress: Callable[[Point, str], None] | None,
    interrupt: threading.Event,
    guard: bool,
) -> _Solved:
    """Solve one point from the best plan of the points before it."""
    if isinstance(made, str):
        return _Solved(place, None, None, made)
    start = _best_start(made, solved, options)
    try:
        result = solve(made, options, start=start, on_progress=on_progress, interrupt=interrupt, guard=guard)
    except InputError as error:
        return _Solved(place, None, None, str(error))
    return _Solved(place, made, result)


def _best_start(instance: Instance, solved: list[_Solved], options: Options) -> Plan | None:
    """Return the best earlier plan that holds for an instance."""
    instance = apply(instance, options)
    best: tuple[float, Plan] | None = None
    for point in solved:
        if point.result is None or point.result.assignment is None:
            continue
        if any(name not in instance.device_index for name in point.result.assignment.values()):
            continue
        plan = plan_of(instance, point.result)
        if violations(instance, plan, options):
            continue
        objective = objective_of(instance, plan, options)
        if best is None or objective < best[0]:
            best = (objective, plan)
    return None if best is None else best[1]


def _share_bounds(solved: list[_Solved], options: Options) -> None:
    """Raise the bound of each point to that of every more generous one.

    Not where devices must be used: then more devices are a burden.
    """
    if options.use_devices or any(
        p.instance is not None and p.instance.constraints.use_devices for p in solved
    ):
        return
    for point in solved:
        result = point.result
        if result is None or result.objective is None:
            continue
        above = [
            other.result.bound
            for other in solved
            if other.result is not None
            and other.result.bound is not None
            and all(a >= b for a, b in zip(other.place, point.place, strict=True))
        ]
        bound = min(max(above), result.objective) if above else result.bound
        if bound is not None and (result.bound is None or bound > result.bound):
            gap = gap_of(result.objective, bound)
            status = status_of(result.objective, gap, result.stop, options.gap)
            point.result = result.model_copy(update={"bound": bound, "gap": gap, "status": status}).sealed()


def _row(axes: list[Axis], point: _Solved, solved: list[_Solved]) -> SweepPoint:
    settings = {axis.label: axis.values[i] for axis, i in zip(axes, point.place, strict=True)}
    result = point.result
    if result is None:
        return SweepPoint(settings=settings, status=Status.UNKNOWN, message=point.message)
    moved = None
    earlier = [p.result.assignment for p in solved[: solved.index(point)] if p.result is not None]
    if result.assignment is not None and earlier and earlier[-1] is not None:
        moved = sum(earlier[-1][v] != d for v, d in result.assignment.items())
    return SweepPoint(
        settings=settings,
        status=result.status,
        objective=result.objective,
        bound=result.bound,
        gap=result.gap,
        devices_used=None if result.assignment is None else sum(bool(d.nodes) for d in result.devices),
        moved=moved,
        seconds=result.runtime_s,
        message="" if result.assignment is not None else result.message,
    )


def _findings(
    axes: list[Axis], grid: list[tuple[int, ...]], rows: list[SweepPoint], objective: Objective
) -> list[str]:
    """Say for each line along an axis from which value on more brings little."""
    shown = OBJECTIVES[objective].shown
    by_place = dict(zip(grid, rows, strict=False))
    out = []
    for k, axis in enumerate(axes[:1] if len(grid) > MANY else axes):
        lines: dict[tuple[int, ...], list[tuple[float, float]]] = {}
        for place, row in by_place.items():
            if row.objective is not None:
                others = place[:k] + place[k + 1 :]
                lines.setdefault(others, []).append((axis.values[place[k]], row.objective))
        for others, line in lines.items():
            if len(line) < 2:
                continue
            best_value, best = min(line, key=lambda at: (at[1], at[0]))
            enough = next(value for value, objective in line if objective <= best * (1 + WORTH))
            rest = [a for a in axes if a is not axis]
            where = ", ".join(f"{a.label} {a.values[i]:g}" for a, i in zip(rest, others, strict=True))
            near = f"{axis.label} {enough:g} is within {100 * WORTH:.0f} % of the best"
            out.append(f"{where and where + ': '}{near} ({shown(best, 6)} at {axis.label} {best_value:g})")
    return out
