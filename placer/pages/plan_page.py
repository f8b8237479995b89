"""The page of a plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from placer.instance.instance import Instance
from placer.instance.order import topological_position
from placer.instance.overrides import apply
from placer.instance.short_names import short_names
from placer.pages.convergence import convergence
from placer.pages.html_document import render
from placer.pages.load_chart import by_direction, load_chart
from placer.pages.outline import outline
from placer.pages.sentence import limit
from placer.pages.timeline import Slice, timeline
from placer.pages.verification import Trust, verdict
from placer.plans.check import plan_of
from placer.plans.evaluate import sending_ms
from placer.plans.result import Result

__all__ = ["plan_page"]

SCRIPTS = ("page.js", "layout.js", "drawing.js", "graph.js", "timeline.js", "plan.js")


def plan_page(result: Result, instance: Instance | None = None) -> str:
    """Make the page of a plan: one HTML document that opens offline and asks for nothing.

    A plan that does not hold is not shown, only what is wrong with it.

    Parameters
    ----------
    result
        The result.
    instance
        The instance that it is about; without it there is no graph and no timeline, and nothing but the
        digest of the document can be checked.

    Returns
    -------
    str
        The document.
    """
    judged = verdict(result, instance)
    sound = judged.trust is not Trust.BROKEN
    shown = sound and result.assignment is not None
    known = instance if judged.trust is Trust.VERIFIED else None
    if known is not None:
        known = apply(known, result.options)
    direction = by_direction(result, known) if shown else None
    again = {*result.recomputed_nodes}
    run = timeline(instance, result) if shown and instance is not None else None
    return render(
        "plan.html",
        scripts=SCRIPTS,
        devices=len(result.devices),
        result=result,
        verdict=judged,
        sound=sound,
        shown=shown,
        known=known,
        sentence=limit(result, direction, known) if sound else None,
        loads=load_chart(result, direction) if shown else None,
        again={d.name: len(again.intersection(d.nodes)) for d in result.devices},
        memory_scale=max((d.memory_limit_bytes or d.memory_bytes for d in result.devices), default=0.0),
        progress=convergence(result) if sound else None,
        options={name: _plain(value) for name, value in result.options.model_dump(mode="json").items()},
        timeline=run,
        data=_data(result, known, () if run is None else run.slices) if shown else {},
    )


def _plain(value: object) -> str:
    """Value of an option in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict) and not value:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _data(result: Result, instance: Instance | None, slices: Sequence[Slice]) -> dict[str, Any]:
    """Collect what the scripts draw: columns over nodes, in topological order where it is known."""
    index = {d.name: i for i, d in enumerate(result.devices)}
    devices = _devices(result)
    if instance is None:
        assignment = result.assignment or {}
        names = list(assignment)
        return {
            "devices": devices,
            "nodes": {"name": names, "device": [index[d] for d in assignment.values()]},
            "edges": None,
            "groups": [],
            "slices": [],
        }
    plan = plan_of(instance, result)
    order = np.argsort(topological_position(instance))
    rank = np.empty_like(order)
    rank[order] = np.arange(instance.n)
    classes = instance.device_class[plan.device]
    every = np.arange(instance.n)
    folded = outline(instance, plan)
    short = tuple(map(short_names(instance.names).__getitem__, instance.names))
    return {
        "devices": devices,
        "nodes": {
            "name": [instance.names[v] for v in order],
            "short": None if short == instance.names else [short[v] for v in order],
            "id": None if instance.ids == instance.names else [instance.ids[v] for v in order],
            "device": plan.device[order].tolist(),
            "time": _rounded(instance.class_time_ms[every, classes][order]),
            "transfer": _rounded(sending_ms(instance, plan.device, plan.teams)[order]),
            "memory": _rounded(instance.held_bytes[order]),
            "backward": instance.backward[order].astype(int).tolist(),
            "layer": [instance.layer[v] for v in order] if any(instance.layer) else None,
            "group": folded.leaf[order].tolist(),
        },
        "edges": rank[instance.edges].ravel().tolist(),
        "groups": [vars(g) for g in folded.groups],
        "slices": [[index[s.device], s.lane, s.label, s.start_ms, s.end_ms, s.slot] for s in slices],
    }


def _devices(result: Result) -> list[dict[str, Any]]:
    """Name devices; replicas hold what the first of them holds, and are named together where it is shown."""
    index = {d.name: i for i, d in enumerate(result.devices)}
    together = {name: group for group in result.replicas for name in group}
    return [
        {
            "name": d.name,
            "label": " + ".join(together.get(d.name, [d.name])),
            "holds": index[together.get(d.name, [d.name])[0]],
        }
        for d in result.devices
    ]


def _rounded(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    """Nine significant digits: more than is shown, and half as long as the exact numbers."""
    return [float(f"{x:.9g}") for x in values]
