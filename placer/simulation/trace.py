"""Timelines as Chrome trace events, for Perfetto and chrome://tracing.

Format: the "Trace Event Format" document of the Chrome project.  A process is a device, its threads are
the lanes; ``X`` are slices, ``s`` and ``f`` the two ends of a flow, ``C`` counters, ``M`` names.  Times are
microseconds, rounded to nanoseconds so that the end of a slice and the start of the next one agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import floor
from typing import Any

from placer.simulation.outcome import Simulation
from placer.simulation.plan_costs import Placement
from placer.simulation.slices import Slice
from placer.simulation.tasks import Lane

__all__ = ["DEFAULT_SAMPLES", "trace_events", "trace_json"]

DEFAULT_SAMPLES = 8

Event = dict[str, Any]

THREAD = {Lane.COMPUTE: 1, Lane.RECEIVE: 2, Lane.SEND: 3}
"""Thread of each lane."""


def trace_json(simulation: Simulation, samples: int = DEFAULT_SAMPLES) -> str:
    """Write a trace of the first samples as a JSON document; names are escaped by JSON alone."""
    document = {
        "traceEvents": trace_events(simulation, samples),
        "displayTimeUnit": "ms",
        "otherData": {
            "instance": simulation.slicer.placement.instance.name,
            "samples": str(min(samples, simulation.samples)),
        },
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"


def trace_events(simulation: Simulation, samples: int = DEFAULT_SAMPLES) -> list[Event]:
    """Make the events: names, one slice per node and transfer, flows, and memory.

    Parameters
    ----------
    simulation
        What was simulated.
    samples
        How many samples to show, from the first.
    """
    slices = [s for s in simulation.node_slices(samples) if _us(s.end_ms) > _us(s.start_ms)]
    process = {use.name: d + 1 for d, use in enumerate(simulation.devices)}
    return [
        *_names(slices, process),
        *(_slice(s, process, simulation.slicer.placement.instance.ids) for s in slices),
        *_flows(simulation.slicer.placement, slices, process),
        *_memory(simulation, process, max((s.end_ms for s in slices), default=0.0)),
    ]


def _us(ms: float) -> float:
    return round(1e3 * ms, 3)


def _place(s: Slice, process: dict[str, int]) -> Event:
    """Process and thread; a further slot of a device is a thread after those of the lanes."""
    return {"pid": process[s.device], "tid": THREAD[s.lane] if s.slot == 0 else len(THREAD) + s.slot}


def _names(slices: list[Slice], process: dict[str, int]) -> Iterator[Event]:
    for device, pid in process.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": device}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for device, lane, slot in sorted({(s.device, s.lane, s.slot) for s in slices}):
        tid = THREAD[lane] if slot == 0 else len(THREAD) + slot
        place = {"pid": process[device], "tid": tid}
        name = lane.value if slot == 0 else f"{lane.value} {slot + 1}"
        yield {"ph": "M", "name": "thread_name", **place, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", **place, "args": {"sort_index": tid}}


def _slice(s: Slice, process: dict[str, int], ids: tuple[str, ...]) -> Event:
    start = _us(s.start_ms)
    return {
        "name": s.label,
        "cat": f"{s.lane.value},{s.direction}",
        "ph": "X",
        "ts": start,
        "dur": round(_us(s.end_ms) - start, 3),
        **_place(s, process),
        "args": {"node": ids[s.nodes[0]] if s.nodes else "", "sample": s.sample, "direction": s.direction},
    }


def _flows(placement: Placement, slices: list[Slice], process: dict[str, int]) -> Iterator[Event]:
    """Arrows from where an output leaves a device to where it is received, or read by a host."""
    # Where a node is computed again, in the backward pass, the first time counts.
    latest_first = sorted(slices, key=lambda s: -s.start_ms)
    computed = {(s.nodes[0], s.sample): s for s in latest_first if s.lane is Lane.COMPUTE and s.nodes}
    sent = {(s.nodes[0], s.sample): s for s in slices if s.lane is Lane.SEND}
    received: dict[tuple[int, int], list[Slice]] = {}
    for s in slices:
        if s.lane is Lane.RECEIVE:
            received.setdefault((s.nodes[0], s.sample), []).append(s)
    number = 0
    for u, sample in sorted(computed.keys() | sent.keys()):
        source = sent.get((u, sample)) or computed[u, sample]
        targets = received.get((u, sample), [])
        fetched = {placement.device[u]} | {process[s.device] - 1 for s in targets}
        readers = [w for w in placement.consumers[u] if placement.device[w] not in fetched]
        for target in [*targets, *(computed[w, sample] for w in readers if (w, sample) in computed)]:
            number += 1
            flow = {"name": placement.instance.names[u], "cat": "transfer", "id": number}
            # Inside the slices, so that the ends are bound to these and not to their neighbours.
            middle = floor(1e3 * (_us(source.start_ms) + _us(source.end_ms)) / 2) / 1e3
            yield {**flow, "ph": "s", "ts": middle, **_place(source, process)}
            yield {**flow, "ph": "f", "bp": "e", "ts": _us(target.start_ms), **_place(target, process)}


def _memory(simulation: Simulation, process: dict[str, int], end_ms: float) -> Iterator[Event]:
    for use in simulation.devices:
        for time, used in use.memory:
            if time <= end_ms:
                place = {"pid": process[use.name], "tid": 0}
                yield {"ph": "C", "name": "memory", **place, "ts": _us(time), "args": {"bytes": used}}
