"""From an outcome to the result document: verify the plan, recompute its figures, judge the bound."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from placer.errors import VerificationError
from placer.evaluate import device_loads, device_memory, latency_schedule, stage_order
from placer.fingerprint import fingerprint
from placer.instance import Instance
from placer.memory import in_flight
from placer.options import Objective, Options
from placer.plan import Plan
from placer.result import EQUAL, DeviceReport, InstanceReference, Piece, Progress, Result, gap_of, status_of
from placer.run import Outcome, Run
from placer.verify import violations

__all__ = ["BOUND_TOLERANCE", "device_reports", "objective_ms", "piece_reports", "stages_of", "to_result"]

BOUND_TOLERANCE = 1e-6
"""Relative excess of a solver's bound over a verified objective that its tolerances explain."""


def objective_ms(instance: Instance, plan: Plan, options: Options) -> float:
    """Objective of a plan in ms, recomputed from the instance alone."""
    if options.objective is Objective.LATENCY:
        return latency_schedule(instance, plan).makespan_ms
    loads = device_loads(instance, plan.device, plan.recompute, plan.replicas)
    return loads.objective_ms(options.communication, options.schedule)


def stages_of(instance: Instance, plan: Plan, options: Options) -> tuple[int, ...] | None:
    """Devices of a contiguous throughput plan in pipeline order: the plan's own, or one that holds."""
    if options.objective is Objective.LATENCY or not options.strictly_ordered:
        return None
    return plan.stages or stage_order(instance, plan, in_flight(instance, options))


def to_result(instance: Instance, original: Instance, options: Options, outcome: Outcome, run: Run) -> Result:
    """Verify an outcome and write it down.

    Parameters
    ----------
    instance
        The instance with the overrides of the options (see `placer.overrides`).
    original
        The instance as given; its identity is recorded, and its memory reported.
    options, outcome, run
        What was asked, what was found, and the clock.

    Raises
    ------
    VerificationError
        When the plan breaks a rule, or the bound lies above the plan's objective.
    """
    plan = outcome.plan
    objective = stages = None
    if plan is not None:
        broken = violations(instance, plan, options)
        if broken:
            raise VerificationError(f"the plan of method {options.method} does not hold: {broken[0]}")
        objective = objective_ms(instance, plan, options)
        stages = stages_of(instance, plan, options)
    bound = outcome.bound_ms if outcome.bound_ms is None else max(0.0, float(outcome.bound_ms))
    if objective is not None and bound is not None:
        if bound > objective * (1 + BOUND_TOLERANCE):
            raise VerificationError(
                f"method {options.method} claims the bound {bound}, above its plan's objective {objective}"
            )
        bound = objective if bound >= objective * (1 - EQUAL) else bound
    gap = gap_of(objective, bound)
    return Result(
        status=status_of(objective, gap, outcome.stop, options.gap),
        stop=outcome.stop,
        objective=objective,
        bound=bound,
        gap=gap,
        method=options.method,
        formulation=options.formulation.value if options.method in ("milp", "auto") else None,
        options=options,
        runtime_s=run.seconds,
        instance=InstanceReference(name=original.name, sha256=fingerprint(original)),
        versions=dict(_versions()),
        assignment=None
        if plan is None
        else {v: instance.devices[d].name for v, d in zip(instance.ids, plan.device.tolist(), strict=True)},
        pieces=piece_reports(instance, plan) if plan is not None and plan.piece is not None else None,
        stages=None if stages is None else [instance.devices[d].name for d in stages],
        replicas=[]
        if plan is None
        else sorted([instance.devices[d].name for d in group] for group in plan.replicas),
        recompute=[] if plan is None else [instance.devices[d].name for d in sorted(plan.recompute)],
        devices=[] if plan is None else device_reports(instance, plan, options),
        message=outcome.message,
        hints=list(outcome.hints),
        stats=dict(outcome.stats),
        progress=[
            Progress(seconds=p.seconds, incumbent=p.incumbent_ms, bound=p.bound_ms) for p in run.history
        ],
    ).sealed()


def device_reports(instance: Instance, plan: Plan, options: Options) -> list[DeviceReport]:
    """Report what each device does per sample."""
    loads = device_loads(instance, plan.device, plan.recompute, plan.replicas)
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
    first = {d: group[0] for group in plan.replicas for d in group}
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


@cache
def _versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for package in ("dnn-placer", "highspy", "pulp", "numba", "numpy"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:  # running from a source tree
            continue
    return out
