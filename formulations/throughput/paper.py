"""Throughput as in the paper: one binary per node and device, contiguity by itself for each device's set.

Sets
    v ∈ V nodes, (u, v) ∈ E edges, i ∈ devices; r ∈ directions, r(v) the direction of node v.
Data
    p_{vi} processing time, c_{ui} transfer time of u's output over the link of i, m_v memory, M_i limit.
Variables
    x_{vi} ∈ {0, 1}         node v is on device i;
    z_{vi} ∈ [0, 1]         forward node v is on i, or may still be followed by nodes on i;
    CommIn_{ui} ∈ [0, 1]    device i receives the output of u;
    CommOut_{ui} ∈ [0, 1]   device i sends the output of u;
    Load, MaxLoad           as below.
Constraints
    Σ_i x_{vi} = 1;  x_{vi} = 0 where v may not go to i;  x_{ui} = x_{vi} for colocated u, v
    Σ_v m_v x_{vi} ≤ M_i                            where there is a limit; scaled, see `MEMORY_MOST`
    CommIn_{ui} ≥ x_{vi} − x_{ui}                   (u, v) ∈ E, accelerators i
    CommOut_{ui} ≥ x_{ui} − x_{vi}                  (u, v) ∈ E, accelerators i
    z_{vi} ≥ x_{vi}                                 contiguous plans only, forward nodes and edges:
    z_{vi} ≤ z_{ui},  z_{vi} ≤ x_{vi} − x_{ui} + 1  a path that leaves i cannot come back
Loads, for each direction
    sequential  Load_i = Σ p_{vi} x_{vi} + Σ c_{ui} (CommIn_{ui} + CommOut_{ui})
    overlap     Load_i ≥ Σ p_{vi} x_{vi},  Load_i ≥ Σ c_{ui} (CommIn_{ui} + CommOut_{ui})
    duplex      Load_i ≥ Σ p_{vi} x_{vi},  Load_i ≥ Σ c_{ui} CommIn_{ui},  Load_i ≥ Σ c_{ui} CommOut_{ui}
Objective
    1f1b   min MaxLoad,  MaxLoad ≥ Σ_r Load^r_i
    gpipe  min Σ_r MaxLoad^r,  MaxLoad^r ≥ Load^r_i

Source: Tarnawski et al., NeurIPS 2020, Section 4 and the appendix on the throughput program.  Times are
scaled as in `formulations.throughput.shared`, and what exceeds an upper bound is left out as in
`formulations.throughput.loads`: x_{vi} = 0, CommIn_{ui} = CommOut_{ui} = 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from formulations.expressions import ZERO, Expression, Model, dot, total
from formulations.program import Program
from formulations.throughput.shared import ThroughputParams
from formulations.throughput.stage_memory import MEMORY_MOST, memory_share
from placer.arrays import BoolArray, IntArray
from placer.instance.instance import Instance
from placer.options import Communication, Schedule
from placer.reductions.problem import Problem
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["build", "decode", "encode"]


def build(problem: Problem, params: ThroughputParams) -> Program:
    """Build the program on the nodes of the problem's instance.

    Parameters
    ----------
    problem
        Only its instance is used.
    params
        Schedule, communication model, unit, upper bound, contiguity.

    Returns
    -------
    Program
    """
    instance = problem.instance
    model = Model()
    may = _fits(instance, params)
    x = [
        [model.binary(_name(v, d.index)) if may[v, d.index] else ZERO for d in instance.devices]
        for v in range(instance.n)
    ]
    _assignment(model, instance, x)
    _memory(model, instance, x)
    if params.each_contiguous:
        for i in range(len(instance.devices)):
            _contiguity(model, instance, [row[i] for row in x], i)
    _objective(model, instance, params, x)
    return model.program()


def decode(values: Mapping[str, float], problem: Problem, params: ThroughputParams) -> IntArray:
    """Return the device of each item, ``(N,)``, from the values of the variables."""
    devices = range(len(problem.instance.devices))
    firsts = [int(nodes[0]) for nodes in problem.members]
    x = np.array([[values.get(_name(v, d), 0.0) for d in devices] for v in firsts])
    return np.asarray(x.argmax(axis=1))


def encode(item_device: IntArray, problem: Problem, params: ThroughputParams) -> dict[str, float]:
    """Return values of x for an assignment of items."""
    instance = problem.instance
    device, may = problem.plan(item_device).device, _fits(instance, params)
    return {
        _name(v, d.index): float(device[v] == d.index)
        for v in range(instance.n)
        for d in instance.devices
        if may[v, d.index]
    }


def _fits(instance: Instance, params: ThroughputParams) -> BoolArray:
    """Whether a node may go to a device, and by itself fits there and is not above the upper bound."""
    limits = np.array([d.memory_limit_bytes for d in instance.devices])
    resident = instance.class_kept_bytes[0][:, instance.device_class]
    fits = resident <= limits * (1 + MEMORY_TOLERANCE)
    hopeless = params.hopeless(instance.class_time_ms)[:, instance.device_class]
    return np.asarray(instance.allowed & fits & ~hopeless)


def _name(v: int, i: int) -> str:
    return f"x_{v:05d}_{i:03d}"


def _assignment(model: Model, instance: Instance, x: list[list[Expression]]) -> None:
    """Σ_i x_{vi} = 1,  x_{ui} = x_{vi} for colocated u, v."""
    for row in x:
        model.add(total(row) == 1)
    for u, *others in instance.groups.values():
        for v in others:
            for x_u, x_v in zip(x[u], x[v], strict=True):
                model.add(x_u == x_v)


def _memory(model: Model, instance: Instance, x: list[list[Expression]]) -> None:
    """Σ_v m_v x_{vi} ≤ M_i."""
    for device in instance.devices:
        limit = device.memory_limit_bytes
        if np.isfinite(limit):
            resident = instance.class_kept_bytes[0][:, device.class_index]
            m = [memory_share(need, limit) for need in resident.tolist()]
            model.add(dot(m, (row[device.index] for row in x)) <= MEMORY_MOST)


def _contiguity(model: Model, instance: Instance, x: list[Expression], i: int) -> None:
    """z_{vi} ≥ x_{vi},  z_{vi} ≤ z_{ui},  z_{vi} ≤ x_{vi} − x_{ui} + 1: no path that left i comes back."""
    z: dict[int, Expression] = {}
    for v in np.flatnonzero(~instance.backward).tolist():
        z[v] = model.real(f"z_{v:05d}_{i:03d}", 0.0, 1.0)
        model.add(z[v] >= x[v])
    for u, v in instance.forward_edges.tolist():
        model.add(z[v] <= z[u])
        model.add(z[v] <= x[v] - x[u] + 1)


def _objective(model: Model, instance: Instance, params: ThroughputParams, x: list[list[Expression]]) -> None:
    """Minimise MaxLoad ≥ Σ_r Load^r_i, or Σ_r MaxLoad^r with MaxLoad^r ≥ Load^r_i."""
    directions = [False, True] if instance.is_training else [False]
    gpipe = params.schedule is Schedule.GPIPE
    top = [model.real(f"MaxLoad_{r}") for r in range(len(directions) if gpipe else 1)]
    model.minimise(total(top))
    for device in instance.devices:
        column = [row[device.index] for row in x]
        loads = [_load(model, instance, params, column, device.index, backward) for backward in directions]
        for max_load, load in zip(top, loads if gpipe else [total(loads)], strict=True):
            model.add(max_load >= load)


def _load(
    model: Model, instance: Instance, params: ThroughputParams, x: list[Expression], i: int, backward: bool
) -> Expression:
    """Load_i in one direction: an expression, or a variable above its parts."""
    device = instance.devices[i]
    nodes = np.flatnonzero(instance.backward == backward).tolist()
    p = params.scaled(instance.class_time_ms[:, device.class_index])
    compute = dot(p[nodes].tolist(), [x[v] for v in nodes])
    receive, send = _transfers(model, instance, params, x, i, nodes)
    if params.communication is Communication.SEQUENTIAL or device.is_host:
        return total((compute, receive, send))
    load = model.real(f"Load_{i:03d}_{int(backward)}")
    duplex = params.communication is Communication.DUPLEX
    for part in (compute, receive, send) if duplex else (compute, receive + send):
        model.add(load >= part)
    return load


def _transfers(
    model: Model, instance: Instance, params: ThroughputParams, x: list[Expression], i: int, nodes: list[int]
) -> tuple[Expression, Expression]:
    """Σ c_{ui} CommIn_{ui} and Σ c_{ui} CommOut_{ui} over the outputs of some nodes."""
    transfers = instance.class_transfer_ms[:, instance.devices[i].class_index]
    never, costs = params.hopeless(transfers), params.scaled(transfers)
    receive, send = [], []
    for u in nodes:
        consumers, c = instance.successors[u].tolist(), float(costs[u])
        if never[u]:
            for v in consumers:
                model.add(x[v] == x[u])
        if c > 0 and consumers:
            comm_in = model.real(f"CommIn_{u:05d}_{i:03d}", 0.0, 1.0)
            comm_out = model.real(f"CommOut_{u:05d}_{i:03d}", 0.0, 1.0)
            for v in consumers:
                model.add(comm_in >= x[v] - x[u])
                model.add(comm_out >= x[u] - x[v])
            receive.append(c * comm_in)
            send.append(c * comm_out)
    return total(receive), total(send)
