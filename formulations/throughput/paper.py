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
scaled as in `formulations.throughput.shared`, and what exceeds an upper bound is left out as there:
x_{vi} = 0, CommIn_{ui} = CommOut_{ui} = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pulp

from formulations.rows import Expression, Model, difference, total
from formulations.throughput.shared import MEMORY_MOST, ThroughputParams, memory_share
from placer.arrays import BoolArray, IntArray
from placer.instance.instance import Instance
from placer.options import Communication, Schedule
from placer.reductions.problem import Problem

__all__ = ["build", "decode", "encode"]


def build(problem: Problem, params: ThroughputParams) -> pulp.LpProblem:
    """Build the program on the nodes of the problem's instance.

    Parameters
    ----------
    problem
        Only its instance is used.
    params
        Schedule, communication model, unit, upper bound, contiguity.

    Returns
    -------
    pulp.LpProblem
    """
    instance = problem.instance
    model = Model("throughput_paper")
    may = _fits(instance, params)
    x = [
        [model.binary(_name(v, d.index)) if may[v, d.index] else 0 for d in instance.devices]
        for v in range(instance.n)
    ]
    for row in x:
        model.equal(total(row), 1.0)
    for nodes in instance.groups.values():
        for v in nodes[1:].tolist():
            for a, b in zip(x[nodes[0]], x[v], strict=True):
                model.equal(difference(a, b), 0.0)
    _memory(model, instance, x)
    if params.each_contiguous:
        for i in range(len(instance.devices)):
            _contiguity(model, instance, [row[i] for row in x], i)
    _objective(model, instance, params, x)
    return model.problem


def decode(values: Mapping[str, float], problem: Problem, params: ThroughputParams) -> IntArray:
    """Return the device of each item, ``(N,)``, from the values of the variables."""
    devices = range(len(problem.instance.devices))
    firsts = [int(nodes[0]) for nodes in problem.members]
    x = np.array([[values.get(_name(v, d), 0.0) for d in devices] for v in firsts])
    return np.asarray(x.argmax(axis=1))


def encode(item_device: IntArray, problem: Problem, params: ThroughputParams) -> dict[str, float]:
    """Return values of x for an assignment of items."""
    instance = problem.instance
    device, may = problem.lift(item_device), _fits(instance, params)
    return {
        _name(v, d.index): float(device[v] == d.index)
        for v in range(instance.n)
        for d in instance.devices
        if may[v, d.index]
    }


def _fits(instance: Instance, params: ThroughputParams) -> BoolArray:
    """Whether a node may go to a device, and by itself fits there and is not above the upper bound."""
    limits = np.array([d.memory_limit_bytes for d in instance.devices])
    fits = instance.resident_bytes[:, None] <= limits * (1 + 1e-9)
    hopeless = params.hopeless(instance.class_time_ms)[:, instance.device_class]
    return np.asarray(instance.allowed & fits & ~hopeless)


def _name(v: int, i: int) -> str:
    return f"x_{v:05d}_{i:03d}"


def _memory(model: Model, instance: Instance, x: list[list[Any]]) -> None:
    for device in instance.devices:
        limit = device.memory_limit_bytes
        if not np.isfinite(limit):
            continue
        used = Expression()
        for v, row in enumerate(x):
            used.add(row[device.index], memory_share(float(instance.resident_bytes[v]), limit))
        model.at_most(used, MEMORY_MOST)


def _contiguity(model: Model, instance: Instance, x: list[Any], i: int) -> None:
    """Keep forward paths that left device i from coming back."""
    z: dict[int, Any] = {}
    for v in np.flatnonzero(~instance.backward).tolist():
        z[v] = model.real(f"z_{v:05d}_{i:03d}", 0.0, 1.0)
        model.at_most(difference(x[v], z[v]))
    for u, v in instance.forward_edges.tolist():
        model.at_most(difference(z[v], z[u]))
        model.at_most(difference(z[v], difference(x[v], x[u])), 1.0)


def _objective(model: Model, instance: Instance, params: ThroughputParams, x: list[list[Any]]) -> None:
    directions = [False, True] if instance.is_training else [False]
    gpipe = params.schedule is Schedule.GPIPE
    top = [model.real(f"MaxLoad_{r}") for r in range(len(directions) if gpipe else 1)]
    model.minimise(total(top))
    for device in instance.devices:
        column = [row[device.index] for row in x]
        loads = [_load(model, instance, params, column, device.index, backward) for backward in directions]
        if gpipe:
            for variable, load in zip(top, loads, strict=True):
                model.at_most(difference(load, variable))
        else:
            model.at_most(difference(total(loads), top[0]))


def _load(
    model: Model, instance: Instance, params: ThroughputParams, x: list[Any], i: int, backward: bool
) -> Expression:
    """Load of device i in one direction: an expression, or a variable above its parts."""
    device = instance.devices[i]
    compute, receive, send = Expression(), Expression(), Expression()
    times = params.scaled(instance.class_time_ms[:, device.class_index])
    transfers = instance.class_transfer_ms[:, device.class_index]
    costs, never = params.scaled(transfers), params.hopeless(transfers)
    for v in np.flatnonzero(instance.backward == backward).tolist():
        compute.add(x[v], float(times[v]))
        cost = float(costs[v])
        if never[v]:
            for w in instance.successors[v].tolist():
                model.equal(difference(x[w], x[v]), 0.0)
        if cost > 0 and len(instance.successors[v]):
            comm_in = model.real(f"CommIn_{v:05d}_{i:03d}", 0.0, 1.0)
            comm_out = model.real(f"CommOut_{v:05d}_{i:03d}", 0.0, 1.0)
            for w in instance.successors[v].tolist():
                model.at_most(difference(difference(x[w], x[v]), comm_in))
                model.at_most(difference(difference(x[v], x[w]), comm_out))
            receive.add(comm_in, cost)
            send.add(comm_out, cost)
    if params.communication is Communication.SEQUENTIAL or device.is_host:
        return total([compute, receive, send])
    load = model.real(f"Load_{i:03d}_{int(backward)}")
    parts = [compute, total([receive, send])]
    if params.communication is Communication.DUPLEX:
        parts = [compute, receive, send]
    for part in parts:
        model.at_most(difference(part, load))
    return total([load])
