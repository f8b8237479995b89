"""Figures of a timeline: what each device did, and what it held, over time."""

from __future__ import annotations

import heapq
from itertools import accumulate

import numpy as np

from placer.simulation.costs import Placement
from placer.simulation.engine import Timeline
from placer.simulation.outcome import DeviceUse
from placer.simulation.tasks import Lane, Resource
from placer.training import STATE_FACTOR

__all__ = ["device_uses", "fill_and_drain", "latencies", "slots"]


def device_uses(placement: Placement, timeline: Timeline, steady_ms: float | None) -> tuple[DeviceUse, ...]:
    """Measure all devices of the instance.

    Parameters
    ----------
    placement, timeline
        What was run.
    steady_ms
        Time per sample in steady state; None for latency.
    """
    return tuple(_device_use(placement, timeline, steady_ms, d) for d in range(len(placement.classes)))


def _device_use(placement: Placement, timeline: Timeline, steady_ms: float | None, d: int) -> DeviceUse:
    program = timeline.program
    mine = [t for t, task in enumerate(program.tasks) if task.device == d and task.parts]
    lanes = {
        lane: timeline.samples
        * sum(part.duration_ms for t in mine for part in program.tasks[t].parts if part.lane is lane)
        for lane in Lane
    }
    busy = _union(timeline, mine)
    load = _load(timeline, mine)
    limit = placement.classes[d].memory_limit_bytes
    return DeviceUse(
        name=placement.name(d),
        compute_ms=lanes[Lane.COMPUTE],
        receive_ms=lanes[Lane.RECEIVE],
        send_ms=lanes[Lane.SEND],
        busy_ms=busy,
        idle_ms=max(timeline.makespan_ms - busy, 0.0),
        load_ms=load,
        steady_utilisation=None if steady_ms is None else (load / steady_ms if steady_ms else 0.0),
        in_flight=_in_flight(timeline, mine),
        memory=() if placement.is_host[d] else _memory(placement, timeline, d),
        memory_limit_bytes=None if placement.is_host[d] or np.isinf(limit) else float(limit),
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
    """Largest number of samples that are between their first start and their last finish."""
    if not mine:
        return 0
    entered, left = timeline.start_ms[mine].min(axis=0), timeline.finish_ms[mine].max(axis=0)
    changes = sorted([(t, -1) for t in left.tolist()] + [(t, 1) for t in entered.tolist()])
    return max(1, *accumulate(change for _, change in changes))


def _memory(placement: Placement, timeline: Timeline, d: int) -> tuple[tuple[float, float], ...]:
    """List the steps of the memory of an accelerator.

    A microbatch in flight holds the activations of a stage from the start of its forward task to the end
    of its last backward task on the device; those of backward nodes are held with the first stage.
    """
    instance = placement.instance
    here = [v for v in range(instance.n) if placement.device[v] == d]
    state = STATE_FACTOR[instance.training.optimizer]
    resident = float(sum(instance.memory_bytes[v] + instance.weight_bytes[v] * state for v in here))
    tasks = timeline.program.tasks
    mine = [t for t, task in enumerate(tasks) if task.device == d and (task.computed or not task.parts)]
    backward = [t for t in mine if tasks[t].backward]
    changes: list[tuple[float, float]] = []
    held = float(sum(instance.activation_bytes[v] for v in here if instance.backward[v]))
    if instance.backward.any():
        for t in (t for t in mine if not tasks[t].backward):
            held += float(sum(instance.activation_bytes[v] for v in tasks[t].computed))
            until = timeline.finish_ms[[t, *backward]].max(axis=0)
            for k in range(timeline.samples):
                changes += [(float(timeline.start_ms[t, k]), held), (float(until[k]), -held)]
            held = 0.0
    # What is freed at some time can be used again at that time.
    steps = {0.0: resident}
    in_flight = 0.0
    for time, size in sorted(changes):
        in_flight += size
        steps[time] = resident + in_flight
    return tuple(steps.items())


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
