"""Slices: what a timeline shows, as stretches of single activities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from placer.simulation.engine import Timeline
from placer.simulation.plan_costs import Placement
from placer.simulation.tasks import Lane

__all__ = ["Slice", "Slicer", "critical_path"]


@dataclass(frozen=True)
class Slice:
    """One uninterrupted activity of a device.

    Parameters
    ----------
    device
        Name of the device.
    lane
        What it does.
    slot
        Hosts run several nodes at once in latency plans: slices of one slot do not overlap.
    nodes
        Indices of the nodes computed, received or sent, in this order; none where weights are synchronised.
    label
        Names of the first and the last of them.
    sample
        Which sample or microbatch, from 0.
    direction
        ``"forward"`` or ``"backward"``; a latency plan's piece of both kinds of nodes counts as forward.
    start_ms, end_ms
        When.
    """

    device: str
    lane: Lane
    slot: int
    nodes: tuple[int, ...]
    label: str
    sample: int
    direction: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, eq=False)
class Slicer:
    """Makes slices of a timeline; a task has a slot where its device does several things at once."""

    placement: Placement
    timeline: Timeline
    slots: dict[int, int]

    def stages(self, task: int, sample: int) -> Iterator[Slice]:
        """One slice per part of a task: all that it receives, computes or sends.

        The last one ends exactly when the task does.
        """
        work = self.timeline.program.tasks[task]
        names = self.placement.instance.names
        end = float(self.timeline.start_ms[task, sample])
        for i, part in enumerate(work.parts):
            start, end = end, end + part.duration_ms
            if i + 1 == len(work.parts):
                end = float(self.timeline.finish_ms[task, sample])
            ends = [names[v] for v in dict.fromkeys((*part.nodes[:1], *part.nodes[-1:]))]
            yield Slice(
                device=self.placement.name(work.device),
                lane=part.lane,
                slot=self.slots.get(task, 0),
                nodes=part.nodes,
                label=" … ".join(ends),
                sample=sample,
                direction="backward" if work.backward else "forward",
                start_ms=start,
                end_ms=end,
            )

    def nodes(self, task: int, sample: int) -> Iterator[Slice]:
        """One slice per node and per transfer of a task; none of zero length."""
        names = self.placement.instance.names
        parts = self.timeline.program.tasks[task].parts
        for whole, part in zip(self.stages(task, sample), parts, strict=True):
            end = whole.start_ms
            for v, time in zip(part.nodes, part.times_ms, strict=True):
                start, end = end, end + time
                if time > 0:
                    yield replace(whole, nodes=(v,), label=names[v], start_ms=start, end_ms=end)
            if part.synchronisation_ms > 0:
                start, end = end, end + part.synchronisation_ms
                yield replace(whole, nodes=(), label="synchronise weights", start_ms=start, end_ms=end)

    def on_replicas(self, task: int, slices: Iterable[Slice]) -> Iterator[Slice]:
        """Repeat slices of a task for each of the devices that share its work."""
        members = self.placement.members(self.timeline.program.tasks[task].device)
        for s in slices:
            yield from (replace(s, device=self.placement.name(d)) for d in members)


def critical_path(slicer: Slicer) -> tuple[Slice, ...]:
    """Follow what each task waited for, from the end of the last one back to the beginning."""
    timeline = slicer.timeline
    at = np.unravel_index(int(np.nanargmax(timeline.finish_ms)), timeline.finish_ms.shape)
    step: tuple[int, int] | None = (int(at[0]), int(at[1]))
    path: list[Slice] = []
    while step is not None:
        path += [s for s in reversed(list(slicer.stages(*step))) if s.end_ms > s.start_ms]
        step = max(timeline.waited_for(*step), key=timeline.finish_ms.__getitem__, default=None)
    return tuple(reversed(path))
