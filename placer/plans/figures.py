"""Figures of a plan, recomputed from the instance: its objective, and what each device and piece does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.instance.instance import Instance
from placer.objectives import OBJECTIVES
from placer.options import Options
from placer.plans import virtual_stages
from placer.plans.evaluate import device_memory, plan_loads, stage_order
from placer.plans.in_flight import in_flight
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.result import DeviceReport, Piece, VirtualStage
from placer.plans.step_time import makespan_ms, microbatches_of

__all__ = [
    "device_reports",
    "objective_ms",
    "objective_of",
    "piece_reports",
    "stage_loads",
    "stages_of",
    "virtual_stage_reports",
]


@dataclass(frozen=True, eq=False)
class _Measured:
    """What a plan does, each figure computed when an objective asks for it."""

    instance: Instance
    plan: Plan
    options: Options

    @property
    def time_ms(self) -> float:
        loads = plan_loads(self.instance, self.plan)
        return loads.objective_ms(self.options.communication, self.options.schedule)

    @property
    def makespan_ms(self) -> float:
        return latency_schedule(self.instance, self.plan).makespan_ms

    @property
    def step_ms(self) -> float:
        stages = stages_of(self.instance, self.plan, self.options)
        if stages is None:  # data go in a circle: no such plan holds
            return float("inf")
        if self.plan.chunk is not None:
            return virtual_stages.step_ms(self.instance, self.plan, self.options)
        (forward, backward), once = stage_loads(self.instance, self.plan, self.options, stages)
        count = microbatches_of(self.instance, self.options)
        return makespan_ms(forward.tolist(), backward.tolist(), count, self.options.schedule) + once

    @property
    def memory_bytes(self) -> FloatArray:
        stages = stages_of(self.instance, self.plan, self.options)
        return device_memory(
            self.instance, self.plan, in_flight(self.instance, self.options), stages
        ).total_bytes

    @property
    def used(self) -> BoolArray:
        out = np.zeros(len(self.instance.devices), dtype=np.bool_)
        out[list(self.plan.used)] = True
        return out


def objective_ms(instance: Instance, plan: Plan, options: Options) -> float:
    """Time of a plan in ms: per sample of a pipeline, or of a single sample in pieces."""
    measured = _Measured(instance, plan, options)
    return measured.time_ms if options.pipelined else measured.makespan_ms


def objective_of(instance: Instance, plan: Plan, options: Options) -> float:
    """Objective of a plan in its unit, recomputed from the instance alone."""
    return OBJECTIVES[options.objective].value(instance, _Measured(instance, plan, options))


def stage_loads(
    instance: Instance, plan: Plan, options: Options, stages: Sequence[int]
) -> tuple[FloatArray, float]:
    """Return what stages do per microbatch, ``(2, S)`` in ms, and what happens once per step, the longest."""
    loads = plan_loads(instance, plan)
    each = replace(loads, compute_ms=loads.compute_ms - np.stack([0.0 * loads.sync_ms, loads.sync_ms]))
    once = float(loads.sync_ms.max()) * instance.training.microbatches
    return each.by_direction(options.communication)[:, list(stages)], once


def stages_of(instance: Instance, plan: Plan, options: Options) -> tuple[int, ...] | None:
    """Devices of a contiguous throughput plan in pipeline order: the plan's own, or one that holds."""
    if not options.pipelined or not options.strictly_ordered:
        return None
    return plan.stages or stage_order(instance, plan, in_flight(instance, options))


def device_reports(instance: Instance, plan: Plan, options: Options) -> list[DeviceReport]:
    """Report what each device does per sample."""
    loads = plan_loads(instance, plan)
    stages = stages_of(instance, plan, options)
    memory = device_memory(instance, plan, in_flight(instance, options), stages)
    compute, receive, send = (x.sum(axis=0) for x in (loads.compute_ms, loads.receive_ms, loads.send_ms))
    total = loads.load_ms(options.communication)
    if plan.piece is not None:
        # Pieces of one accelerator exchange their data through the host: count what each one moves.
        receive, send = np.zeros_like(receive), np.zeros_like(send)
        for piece in latency_schedule(instance, plan).pieces:
            receive[piece.device] += piece.receive_ms
            send[piece.device] += piece.send_ms
        total = compute + receive + send
    first = {d: team.devices[0] for team in plan.teams for d in team.devices}
    members = [np.flatnonzero(plan.device == first.get(d.index, d.index)) for d in instance.devices]
    return [
        DeviceReport(
            name=d.name,
            load_ms=float(total[d.index]),
            compute_ms=float(compute[d.index]),
            receive_ms=float(receive[d.index]),
            send_ms=float(send[d.index]),
            sync_ms=float(loads.sync_ms[d.index]),
            memory_bytes=float(memory.total_bytes[d.index]),
            memory_limit_bytes=None if np.isinf(d.memory_limit_bytes) else d.memory_limit_bytes,
            resident_bytes=float(memory.resident_bytes[d.index]),
            activation_bytes=float(memory.activation_bytes[d.index]),
            in_flight=int(memory.in_flight[d.index]),
            nodes=[instance.ids[v] for v in members[d.index]],
        )
        for d in instance.devices
    ]


def virtual_stage_reports(instance: Instance, plan: Plan, options: Options) -> list[VirtualStage]:
    """Report the virtual stages of a plan in pipeline order."""
    stages = plan.stages or ()
    at = virtual_stages.stage_of_nodes(plan)
    loads = virtual_stages.virtual_stages_ms(instance, plan, options)
    return [
        VirtualStage(
            device=instance.devices[stages[j % len(stages)]].name,
            nodes=[instance.ids[v] for v in np.flatnonzero(at == j)],
            forward_ms=float(forward),
            backward_ms=float(backward),
        )
        for j, (forward, backward) in enumerate(loads.T)
    ]


def piece_reports(instance: Instance, plan: Plan) -> list[Piece]:
    """Report the pieces of a latency plan with their times; orders are counted from 0 per device."""
    out: list[Piece] = []
    for piece in latency_schedule(instance, plan).pieces:
        device = instance.devices[piece.device].name
        order = out[-1].order + 1 if out and out[-1].device == device else 0
        out.append(
            Piece(
                device=device,
                order=order,
                nodes=[instance.ids[v] for v in piece.nodes],
                start_ms=piece.start_ms,
                finish_ms=piece.finish_ms,
            )
        )
    return out
