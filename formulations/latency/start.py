"""The point of a known plan in the ordered latency program, to start the solver from."""

from __future__ import annotations

import numpy as np

from formulations.latency.columns import OrderedModel
from formulations.latency.latency_problem import Step
from formulations.latency.network import Network
from placer.arrays import FloatArray
from placer.plans.latency_schedule import LatencySchedule
from placer.plans.plan import Plan

__all__ = ["encode"]


def encode(model: OrderedModel, plan: Plan, schedule: LatencySchedule) -> FloatArray | None:
    """Return the point of a plan.

    Parameters
    ----------
    model
        The program.
    plan
        A valid plan.
    schedule
        Its schedule, from ``placer.plans.latency_schedule``.

    Returns
    -------
    ndarray or None
        The point, ``(columns,)``; None when the network has dropped the plan (it exceeds the upper bound).
    """
    steps = model.problem.steps(plan, _starts(model, plan, schedule))
    arcs = _arcs(model.network, steps)
    if arcs is None:
        return None
    point = np.zeros(model.program.columns)
    point[model.f[arcs]] = 1.0
    point[model.C] = schedule.makespan_ms / model.upper_ms
    point[model.a] = schedule.available_ms / model.upper_ms
    _set_positions(point, model, steps)
    _set_pieces(point, model, steps, schedule)
    _set_devices(point, model, steps)
    return point


def _starts(model: OrderedModel, plan: Plan, schedule: LatencySchedule) -> FloatArray:
    """When the step of each node starts, ``(n,)`` in ms."""
    instance = model.problem.instance
    start = np.zeros(instance.n)
    for v in range(instance.n):
        before = instance.predecessors[v]
        start[v] = schedule.available_ms[before].max(initial=0.0)
    for piece in schedule.pieces:
        start[piece.nodes] = piece.start_ms
    return start


def _arcs(network: Network, steps: list[Step]) -> list[int] | None:
    """Arcs that the steps take; None when one was dropped."""
    if not network.arcs:
        return []
    state = {row.tobytes(): i for i, row in enumerate(network.inside)}
    arc = {
        key: a
        for a, key in enumerate(
            zip(network.source.tolist(), network.target.tolist(), network.kind.tolist(), strict=True)
        )
    }
    done = np.zeros(len(network.core), dtype=np.bool_)
    taken = []
    for step in steps:
        core = [v for v in step.nodes if network.core[v]]
        if not core:
            continue
        before = state.get(done.tobytes(), -1)
        done[core] = True
        found = arc.get((before, state.get(done.tobytes(), -1), step.kind))
        if found is None:
            return None
        taken.append(found)
    return taken


def _set_positions(point: FloatArray, model: OrderedModel, steps: list[Step]) -> None:
    """Set L, U, x and y."""
    j = 0
    for step in steps:
        nodes = list(step.nodes)
        if step.kind >= 0:
            point[model.L[nodes, j:]] = 1.0
            point[model.U[nodes, j + 1 :]] = 1.0
            point[model.x[nodes, j, step.kind]] = 1.0
            j += 1
        else:
            point[model.U[nodes, j:]] = 1.0
            point[model.L[nodes, j:]] = 1.0
            point[model.y[nodes, step.host]] = 1.0


def _set_pieces(point: FloatArray, model: OrderedModel, steps: list[Step], schedule: LatencySchedule) -> None:
    """Set b, r, o, S, F and T."""
    problem, unit = model.problem, model.upper_ms
    instance = problem.instance
    point[model.T] = point[model.a]
    rank = np.argsort(problem.order)
    times = {int(piece.nodes[0]): piece for piece in schedule.pieces}
    last = 0.0
    j = 0
    for step in steps:
        if step.kind < 0:
            continue
        nodes = np.array(step.nodes)
        piece = times[int(nodes.min())]
        point[model.b[j, step.kind]] = 1.0
        inside = np.zeros(problem.n, dtype=np.bool_)
        inside[nodes] = True
        u, w = instance.edges[:, 0], instance.edges[:, 1]
        point[model.r[u[~inside[u] & inside[w]], j, step.kind]] = 1.0
        point[model.o[u[inside[u] & ~inside[w]], j, step.kind]] = 1.0
        point[model.S[j]], point[model.F[j]] = piece.start_ms / unit, piece.finish_ms / unit
        in_turn = nodes[np.argsort(rank[nodes])]
        computed = piece.start_ms + piece.receive_ms + np.cumsum(problem.time_ms[in_turn, step.kind])
        point[model.T[in_turn]] = computed / unit
        last = piece.start_ms / unit
        j += 1
    point[model.S[j:]] = point[model.F[j:]] = last


def _set_devices(point: FloatArray, model: OrderedModel, steps: list[Step]) -> None:
    """Set β, m and z: the members of a kind are numbered in the order of their first use."""
    if not model.beta.size:
        return
    problem = model.problem
    offset = np.cumsum([0, *(len(members) for members in problem.kinds)])
    used: list[list[int]] = [[] for _ in problem.kinds]
    column_of: dict[int, int] = {}
    j = 0
    for step in steps:
        if step.kind < 0:
            continue
        known = used[step.kind]
        if step.device not in known:
            known.append(step.device)
        d = int(offset[step.kind]) + known.index(step.device)
        column_of.update(dict.fromkeys(step.nodes, d))
        point[model.beta[j, d]] = 1.0
        point[model.m[j, d]] = model.need[list(step.nodes), step.kind].sum()
        j += 1
    for g, nodes in enumerate(model.large_groups):
        if int(nodes[0]) in column_of:
            point[model.z[g, column_of[int(nodes[0])]]] = 1.0
