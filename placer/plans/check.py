"""Checking a result against its instance: everything that can be recomputed is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from placer.arrays import IntArray
from placer.errors import UsageError
from placer.instance import overrides
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance, expect_instance
from placer.objectives import OBJECTIVES
from placer.plans.figures import device_reports, objective_of, piece_reports, virtual_stage_reports
from placer.plans.plan import Plan, Team
from placer.plans.result import DeviceReport, Piece, Result, VirtualStage, gap_of, status_of
from placer.plans.verify import violations
from placer.tolerances import EQUAL

__all__ = ["check", "plan_of"]


def check(instance: Instance, result: Result) -> list[str]:
    """List everything in a result that does not hold, in words; an empty list means that it holds.

    Recomputes loads, memory, contiguity, colocation and the objective from the instance, and checks
    that the document was not altered since it was written.  The bound is a claim of the solver: it is
    checked for consistency only (not above the objective).

    Parameters
    ----------
    instance
        The instance that the result is about.
    result
        The result.

    Returns
    -------
    list of str
    """
    expect_instance(instance)
    found = []
    if result.instance.sha256 != fingerprint(instance):
        found.append(
            f"the result is about another instance ({result.instance.name!r}, "
            f"sha256 {result.instance.sha256[:12]}…)"
        )
    if result.digest != result.computed_digest():
        found.append("the document was altered after it was written (its digest does not match)")
    if result.assignment is None:
        if result.objective is not None or result.gap is not None or result.devices or result.pieces:
            found.append("there is no assignment, but an objective, a gap, devices or pieces")
        elif status_of(None, None, result.stop, result.options.gap) is not result.status:
            found.append(f"status {result.status} does not fit: there is no assignment")
        return found
    options = result.options
    try:
        instance = overrides.apply(instance, options)
    except UsageError as error:
        return [*found, str(error)]
    pipeline = options.pipelined and options.strictly_ordered
    if pipeline != (result.stages is not None):
        found.append("contiguous pipelines list their stages, others do not")
    try:
        plan = plan_of(instance, result)
    except ValueError as error:
        return [*found, str(error)]
    broken = violations(instance, plan, options)
    if broken:
        return found + broken
    return found + _figures(instance, plan, result)


def plan_of(instance: Instance, result: Result) -> Plan:
    """Read the plan out of a result.

    Raises
    ------
    ValueError
        When nodes or devices are missing or unknown, or pieces and assignment differ.
    """
    if result.assignment is None:
        raise ValueError("the result has no assignment")
    missing = [v for v in instance.ids if v not in result.assignment]
    unknown = [v for v in result.assignment if v not in instance.index]
    if missing or unknown:
        raise ValueError(f"node {(missing or unknown)[0]!r} is {'not assigned' if missing else 'unknown'}")
    for v, name in result.assignment.items():
        if name not in instance.device_index:
            raise ValueError(f"node {v!r} is assigned to {name!r}, which is no device")
    device = np.array([instance.device_index[result.assignment[v]] for v in instance.ids])
    for name in [*(result.stages or []), *result.recompute, *(d for g in result.replicas for d in g)]:
        if name not in instance.device_index:
            raise ValueError(f"a stage or recomputing device is called {name!r}, which is no device")
    stages = None if result.stages is None else tuple(instance.device_index[d] for d in result.stages)
    recompute = tuple(instance.device_index[name] for name in result.recompute)
    for name in result.recomputed_nodes:
        if name not in instance.index:
            raise ValueError(f"a recomputing node is called {name!r}, which is no node")
    again = tuple(instance.index[name] for name in result.recomputed_nodes)
    if result.options.pipelined:
        chunk = _chunks(instance, result, device)
        teams = _teams(instance, result)
        return Plan(device, stages=stages, recompute=recompute, teams=teams, chunk=chunk, again=again)
    piece = np.full(instance.n, -1, dtype=np.int64)
    for part in result.pieces or []:
        for v in part.nodes:
            if result.assignment.get(v) != part.device or piece[instance.index[v]] != -1:
                raise ValueError(f"node {v!r} is listed in a piece of {part.device}, but not assigned so")
            piece[instance.index[v]] = part.order
    return Plan(device, piece)


def _chunks(instance: Instance, result: Result, device: IntArray) -> IntArray | None:
    """Which of the virtual stages of its device each node is in, ``(n,)``; None without virtual stages."""
    if result.virtual_stages is None:
        return None
    ranks = len(result.stages or ()) or 1
    chunk = np.full(instance.n, -1, dtype=np.int64)
    for j, stage in enumerate(result.virtual_stages):
        for v in stage.nodes:
            if result.assignment is None or result.assignment.get(v) != stage.device:
                raise ValueError(f"node {v!r} is in a virtual stage of {stage.device}, but not assigned so")
            chunk[instance.index[v]] = j // ranks
    return chunk


def _teams(instance: Instance, result: Result) -> tuple[Team, ...]:
    """Read which devices run stages together.

    Raises
    ------
    ValueError
        When shards do not fit them.
    """
    groups = [group for group in result.replicas if group]
    sizes = {group[0]: len(group) for group in groups}
    for name, shards in result.shards.items():
        if shards < 1 or name not in sizes or sizes[name] % shards:
            raise ValueError(
                f"{name!r} splits its nodes over {shards} devices, which its group does not allow"
            )
    return tuple(
        Team(
            tuple(instance.device_index[d] for d in group),
            result.shards.get(group[0], 1),
            result.options.zero,
        )
        for group in groups
    )


def _figures(instance: Instance, plan: Plan, result: Result) -> list[str]:
    """Compare every figure of the document with a recomputed one."""
    found = []
    objective = objective_of(instance, plan, result.options)
    if not _same(result.objective, objective):
        unit = OBJECTIVES[result.options.objective].unit
        found.append(f"the objective is {objective!r} {unit}, not {result.objective!r}")
    if result.bound is not None and not 0 <= result.bound <= objective * (1 + EQUAL):
        found.append(f"the bound {result.bound!r} is not between 0 and the objective {objective!r}")
    if not _same(result.gap, gap_of(objective, result.bound), absolute=EQUAL):
        found.append(f"the gap is {gap_of(objective, result.bound)!r}, not {result.gap!r}")
    status = status_of(objective, gap_of(objective, result.bound), result.stop, result.options.gap)
    if status is not result.status:
        found.append(f"the status is {status}, not {result.status}")
    found += _table(_device_rows(instance, plan, result), result.devices, "device")
    if plan.chunk is not None:
        rows = virtual_stage_reports(instance, plan, result.options)
        found += _table(rows, result.virtual_stages or [], "virtual stage")
    if plan.piece is not None:
        found += _table(piece_reports(instance, plan), result.pieces or [], "piece")
    return found


def _device_rows(instance: Instance, plan: Plan, result: Result) -> list[DeviceReport]:
    """Rows of the devices as they should be, in the form of the release that wrote the document.

    Earlier ones wrote down no memory for hosts, and in latency plans one host of each class only.
    """
    rows = device_reports(instance, plan, result.options)
    given = {row.name: row for row in result.devices}
    nothing = {"memory_bytes": 0.0, "resident_bytes": 0.0, "activation_bytes": 0.0}
    out = []
    for device, row in zip(instance.devices, rows, strict=True):
        old = given.get(row.name)
        if device.is_host and old is None and plan.piece is not None and not row.nodes:
            continue
        unknown = device.is_host and old is not None and old.memory_bytes == 0
        out.append(row.model_copy(update=nothing) if unknown else row)
    return out


def _table(
    expected: Sequence[DeviceReport | Piece | VirtualStage],
    got: Sequence[DeviceReport | Piece | VirtualStage],
    what: str,
) -> list[str]:
    if len(expected) != len(got):
        return [f"there are {len(expected)} {what}s, not {len(got)}"]
    found = []
    for row, (right, given) in enumerate(zip(expected, got, strict=True)):
        for key, value in right.model_dump().items():
            other = getattr(given, key)
            equal = set(value) == set(other) if isinstance(value, list) else _same(other, value)
            if not equal:
                shown = "" if isinstance(value, list) else f": {value!r}, not {other!r}"
                found.append(f"{what} {row}: {key} differs{shown}")
    return found


def _same(a: object, b: object, absolute: float = 0.0) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=EQUAL, abs_tol=absolute)
    return a == b
