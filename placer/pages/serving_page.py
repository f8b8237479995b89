"""The page of an answer of ``placer serve``: the front, and memory, layers and times of devices."""

from __future__ import annotations

from dataclasses import dataclass

from placer.pages.chart_axes import Axis, linear
from placer.pages.html_document import render
from placer.serving.serving_plan import FrontPoint, ServedStage, ServingPlan, ServingResult

__all__ = ["MemoryRow", "memory_rows", "serving_page"]

UNITS = {"throughput": "tokens/s", "tpot": "ms per token", "concurrency": "sequences", "context": "tokens"}
"""Unit of each objective."""


@dataclass(frozen=True)
class MemoryRow:
    """Memory of a stage's devices; widths in percent of the chart.

    Parameters
    ----------
    index
        Number of the stage, for its colour.
    stage
        The stage.
    weights, cache, room, reserve
        Widths of what is used for weights, for keys and values, of what may be used (None: no limit), and of
        what is kept from plans beyond that.
    layers
        Layers it holds some of, numbered from 0, in words.
    """

    index: int
    stage: ServedStage
    weights: float
    cache: float
    room: float | None
    reserve: float
    layers: str

    @property
    def name(self) -> str:
        """Name of the devices."""
        return " + ".join(self.stage.devices)


@dataclass(frozen=True)
class _Point:
    """A plan of the front, in percent of both axes."""

    plan: FrontPoint
    x: float
    y: float
    chosen: bool


def serving_page(result: ServingResult) -> str:
    """Make the page of an answer: one HTML document that opens offline and asks for nothing.

    Parameters
    ----------
    result
        The answer.

    Returns
    -------
    str
        The document.
    """
    plan = result.plan
    points, x, y = _front(result)
    return render(
        "serving.html",
        scripts=("page.js", "tables.js"),
        devices=0 if plan is None else len(plan.stages),
        result=result,
        plan=plan,
        unit=UNITS[result.request.objective],
        rows=[] if plan is None else memory_rows(plan),
        reserved=plan is not None and any(stage.reserve_bytes for stage in plan.stages),
        asked={k: v for k, v in result.request.model_dump(mode="json").items() if v is not None},
        points=points,
        x=x,
        y=y,
        data={},
    )


def memory_rows(plan: ServingPlan) -> list[MemoryRow]:
    """Lay out the memory of all stages on one scale."""
    scale = max(
        max((s.room_bytes or 0.0) + (s.reserve_bytes or 0.0), s.weight_bytes + s.cache_bytes)
        for s in plan.stages
    )
    scale = scale or 1.0
    return [
        MemoryRow(
            index,
            stage,
            100 * stage.weight_bytes / scale,
            100 * stage.cache_bytes / scale,
            None if stage.room_bytes is None else 100 * stage.room_bytes / scale,
            100 * (stage.reserve_bytes or 0.0) / scale,
            _layers(stage),
        )
        for index, stage in enumerate(plan.stages)
    ]


def _layers(stage: ServedStage) -> str:
    if stage.layers is None or stage.layers[0] >= stage.layers[1]:
        return "none"
    first, after = stage.layers
    return str(first) if after == first + 1 else f"{first} to {after - 1}"


def _front(result: ServingResult) -> tuple[list[_Point], Axis, Axis]:
    """Points of the front, the answer among them, and the axes that they are drawn on."""
    plan = result.plan
    front = list(result.front)
    if front and plan is not None and _figures(plan) not in map(_figures, front):
        # An answer for most sequences may be beaten in both figures.
        front = sorted([*front, FrontPoint.of(plan)], key=lambda point: point.tpot_ms)
    times = [point.tpot_ms for point in front] or [0.0, 1.0]
    rates = [point.tokens_per_s for point in front] or [0.0, 1.0]
    x, y = linear(min(times), max(times)), linear(0.0, max(rates))
    points = [
        _Point(
            point,
            x.place(point.tpot_ms),
            100 - y.place(point.tokens_per_s),
            plan is not None and _figures(point) == _figures(plan),
        )
        for point in front
    ]
    return points, x, y


def _figures(plan: FrontPoint | ServingPlan) -> tuple[float, float]:
    return plan.tpot_ms, plan.tokens_per_s
