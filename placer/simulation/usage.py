"""Figures of a timeline: what each device did, and what it held, over time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from placer.arrays import FloatArray
from placer.instance.training import STATE_FACTOR
from placer.simulation.engine import Timeline
from placer.simulation.outcome import DeviceUse
from placer.simulation.plan_costs import Placement
from placer.simulation.tasks import Lane, Resource, Task

__all__ = ["device_uses", "fill_and_drain", "latencies", "slots"]


def device_uses(
    placement: Placement, timeline: Timeline, steady_ms: float | None, recomputed: Collection[int]
) -> tuple[DeviceUse, ...]:
    """Measure all devices of the instance.

    Parameters
    ----------
    placement, timeline
        What was run.
    steady_ms
        Time per sample in steady state; None for latency, which leaves activations out of account.
    recomputed
        Nodes whose activations are dropped and computed again.
    """
    memory = [
        _memory(placement, timeline, d, activations=steady_ms is not None, recomputed=recomputed)
        for d in range(len(placement.is_host))
    ]
    uses = [_device_use(placement, timeline, steady_ms, d, steps) for d, steps in enumerate(memory)]
    for first, team in placement.teams.items():
        for d in team.devices[1:]:
            uses[d] = replace(uses[first], name=placement.name(d))
    return tuple(uses)


def _device_use(
    placement: Placement,
    timeline: Timeline,
    steady_ms: float | None,
    d: int,
    memory: tuple[tuple[float, float], ...],
) -> DeviceUse:
    program = timeline.program
    mine = [t for t, task in enumerate(program.tasks) if task.device == d and task.parts]
    lanes = {
        lane: timeline.samples
        * sum(part.duration_ms for t in mine for part in program.tasks[t].parts if part.lane is lane)
        for lane in Lane
    }
    busy = _union(timeline, mine)
    load = _load(timeline, mine)
    limit = placement.instance.devices[d].memory_limit_bytes
    return DeviceUse(
        name=placement.name(d),
        compute_ms=lanes[Lane.COMPUTE],
        receive_ms=lanes[Lane.RECEIVE],
        send_ms=lanes[Lane.SEND],
        busy_ms=busy,
        idle_ms=max(timeline.makespan_ms - busy, 0.0),
        load_ms=load,
        steady_utilisation=None if steady_ms is None else (load / steady_ms if steady_ms else 0.0),
        in_flight=_in_flight(timeline, [t for t in mine if program.tasks[t].computed]),
        memory=memory,
        memory_limit_bytes=None if np.isinf(limit) else float(limit),
    )


def _load(timeline: Timeline, mine: list[int]) -> float:
    """Work per sample of the busiest resource; forward and backward work take turns and add up."""
    work: dict[tuple[bool, Resource], float] = {}
    for task in (timeline.program.tasks[t] for t in mine):
        key = (task.backward, task.resource)
        work[key] = work.get(key, 0.0) + task.duration_ms
    return sum(max((x for (way, _), x in work.items() if way == b), default=0.0) for b in (False, True))


def _union(timeline: Timeline, mine: list[int]) -> float:
    """Length of the union of the times at which some of the tasks run."""
    start, finish = timeline.start_ms[mine].ravel(), timeline.finish_ms[mine].ravel()
    order = np.argsort(start, kind="stable")
    start, finish = start[order], finish[order]
    covered = np.maximum.accumulate(np.concatenate([[0.0], finish]))[:-1]  # until when before each task
    return float(np.maximum(finish - np.maximum(start, covered), 0.0).sum())


def _in_flight(timeline: Timeline, mine: list[int]) -> int:
    """Largest number of samples that are between their first start and their last finish.

    Those in different virtual stages of a device count each.
    """
    if not mine:
        return 0
    changes = []
    for part in _by_chunk(timeline, mine):
        changes += [(t, 1) for t in timeline.start_ms[part].min(axis=0).tolist()]
        changes += [(t, -1) for t in timeline.finish_ms[part].max(axis=0).tolist()]
    return max(1, *accumulate(change for _, change in sorted(changes)))


def _by_chunk(timeline: Timeline, tasks: Sequence[int]) -> list[list[int]]:
    """Tasks of each virtual stage."""
    parts: dict[int, list[int]] = {}
    for t in tasks:
        parts.setdefault(timeline.program.tasks[t].chunk, []).append(t)
    return list(parts.values())


def _memory(
    placement: Placement, timeline: Timeline, d: int, *, activations: bool, recomputed: Collection[int]
) -> tuple[tuple[float, float], ...]:
    """List the steps of the memory of an accelerator, with or without activations.

    A microbatch in flight holds the activations of a stage from the start of its forward task to the end
    of its last backward task on the device; those of backward nodes are held with the first stage.  Without
    a backward pass they are held while the stage runs.  Of nodes that are computed again only what they read
    is held so long, and their activations while a task runs.
    """
    instance = placement.instance
    here = [v for v in range(instance.n) if placement.device[v] == d]
    state = _state(placement, d)
    resident = sum(
        placement.bytes("memory_bytes", v) + placement.bytes("weight_bytes", v) * state for v in here
    )
    tasks = timeline.program.tasks
    mine = [t for t, task in enumerate(tasks) if task.device == d and not _only_moves(task)]
    changes: list[tuple[float, float]] = []

    def hold(size: float, start: FloatArray, finish: FloatArray) -> None:
        changes.extend((time, size) for time in start.tolist())
        changes.extend((time, -size) for time in finish.tolist())

    kept = {v: placement.bytes("activation_bytes", v) for v in here}
    for part in _by_chunk(timeline, mine) if activations else ():
        forward, backward = ([t for t in part if tasks[t].backward == way] for way in (False, True))
        turned = [v for v in here if instance.backward[v] and placement.chunk[v] == tasks[part[0]].chunk]
        for t in forward or backward[:1]:
            nodes = [v for v in tasks[t].computed if not instance.backward[v]]
            again = [v for v in nodes + turned if v in recomputed]
            held = sum(kept[v] for v in nodes + turned if v not in recomputed)
            start, finish = timeline.start_ms[t], timeline.finish_ms[t]
            until = timeline.finish_ms[[t, *backward]].max(axis=0)
            hold(held, start, until if instance.is_training else finish)
            if again:
                hold(_read_bytes(placement, again), start, until)
                for when in {t, *backward[:1]}:
                    hold(sum(kept[v] for v in again), timeline.start_ms[when], timeline.finish_ms[when])
            turned = []
    steps = {0.0: resident}
    in_flight = 0.0
    for time, size in sorted(changes):  # what is freed at some time can be used again at that time
        in_flight += size
        steps[time] = resident + in_flight
    return tuple(steps.items())


def _only_moves(task: Task) -> bool:
    """Whether a task receives or sends, and takes no turn in computing."""
    return bool(task.parts) and all(part.lane is not Lane.COMPUTE for part in task.parts)


def _state(placement: Placement, d: int) -> float:
    """Bytes kept per byte of weights: themselves, gradients, and the state of the optimizer.

    Replicas share out the latter, and then the former.
    """
    whole, team = STATE_FACTOR[placement.instance.training.optimizer], placement.team(d)
    gradients = 1.0 if whole > 1 else 0.0
    state = whole - 1.0 - gradients
    if team.zero >= 1:
        state /= team.mode.replicas
    if team.zero >= 2:
        gradients /= team.mode.replicas
    return 1.0 + gradients + state


def _read_bytes(placement: Placement, again: list[int]) -> float:
    """Size of the forward outputs that nodes of one stage read, as far as known, but those of their own."""
    instance = placement.instance
    forward = [v for v in again if not instance.backward[v]]
    read = {u for v in forward for u in placement.producers[v]} - {*forward}
    return float(sum(np.nan_to_num(instance.output_bytes[u]) for u in read))


def fill_and_drain(timeline: Timeline) -> tuple[float, float]:
    """Time until every device with work has begun, and since one of them had none left, ms."""
    rows: dict[int, list[int]] = {}
    for t, task in enumerate(timeline.program.tasks):
        if task.parts:
            rows.setdefault(task.device, []).append(t)
    began = max(float(timeline.start_ms[mine].min()) for mine in rows.values())
    ended = min(float(timeline.finish_ms[mine].max()) for mine in rows.values())
    return began, timeline.makespan_ms - ended


def latencies(timeline: Timeline) -> tuple[float, ...]:
    """Time from the first start to the last finish of each sample, ms."""
    return tuple((timeline.finish_ms.max(axis=0) - timeline.start_ms.min(axis=0)).tolist())


def slots(timeline: Timeline) -> dict[int, int]:
    """Slot of each task of a single sample, so that those of one device and slot do not overlap."""
    free: dict[int, list[int]] = {}
    running: dict[int, list[tuple[float, int]]] = {}
    found: dict[int, int] = {}
    for t in np.argsort(timeline.start_ms[:, 0], kind="stable").tolist():
        d = timeline.program.tasks[t].device
        busy, idle = running.setdefault(d, []), free.setdefault(d, [])
        while busy and busy[0][0] <= timeline.start_ms[t, 0]:
            heapq.heappush(idle, heapq.heappop(busy)[1])
        found[t] = heapq.heappop(idle) if idle else len(busy)
        heapq.heappush(busy, (float(timeline.finish_ms[t, 0]), found[t]))
    return found
