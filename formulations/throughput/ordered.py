"""Contiguous throughput with ordered slots: the default program.

A contiguous plan orders the devices so that every forward edge goes to the same or a later one.  Number the
accelerators in that order, 1..k, and put L slots for hosts (as many as there are) into every gap:

    H_{0,1} .. H_{0,L},  A_1,  H_{1,1} .. H_{1,L},  A_2,  ...,  A_k,  H_{k,1} .. H_{k,L}

Sets
    c ∈ items, s ∈ slots in this order, κ ∈ kinds of devices (accelerator kinds on A, host kinds on H slots).
Variables
    Y_{cs} ∈ {0, 1}   item c lies at slot s or before; Y at the last slot is 1;
    x_{cs} = Y_{cs} − Y_{c,s−1}: item c lies at slot s;
    t_{sκ} ∈ {0, 1}   slot s is a device of kind κ (only where there is a choice);
    y_{csκ} ∈ [0, 1]  item c lies at slot s and that is of kind κ (x where c has no choice);
    s_e, L, T         loads and objective, see `formulations.throughput.loads`.
Constraints
    Y_{cs} ≥ Y_{c,s−1}
    Y_{us} ≥ Y_{ws}                    for every edge u → w of the transitive reduction and every slot s
    Σ_κ y_{csκ} = x_{cs},  y_{csκ} ≤ t_{sκ},  y_{csκ} = 0 where c may not go to κ
    Σ_κ t_{sκ} = 1 on A slots, ≤ 1 on H slots;  Σ_s t_{sκ} = count of κ (≤ for host kinds)
    Σ_κ t_{sκ} falls over the H slots of a gap
    Y_{cs} fixed by the windows of c   (see `ThroughputParams.windows`)
    loads ≤ T, memory ≤ limit at every slot;  rules on the whole plan: `formulations.throughput.plan_rules`
Items that may not go to a host share one Y over all slots of a gap with the accelerator before it.

The order alone makes plans contiguous, and the slots remove the symmetry of interchangeable devices.

Memory by stage (``1f1b``: the stage that is s-th from the end has f_s = min(s, m) microbatches in flight).
Slots count from the end: with hosts, k + L slots S_1 .. S_{k+L} of any kind replace the layout above, so that
S_j is at most the (k + L − j + 1)-th stage from the end and has to keep what that asks for. A plan with empty
slots before its last stage is asked for too much, but moved to the end it is asked for exactly what it needs;
so the optimum is exact without counting the stages that are used.

Wanted order of devices: kinds have ranks; empty slots have no kind (Σ_κ t_{sκ} ≤ 1 everywhere), and
    R_{sr} ≥ R_{s−1,r},  R_{sr} ≥ Σ_{κ of rank ≥ r} t_{sκ}     some slot up to s has rank r or more
    Σ_{κ of rank < r} t_{sκ} ≤ 1 − R_{s−1,r}                   and then none of a lower one follows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np

from formulations.expressions import ONE, ZERO, Expression, Model, total
from formulations.program import Program
from formulations.throughput.loads import Loads
from formulations.throughput.place import Inside, Place
from formulations.throughput.plan_rules import PlanRules
from formulations.throughput.shared import ThroughputParams
from formulations.throughput.slot_layout import Layout, Slot, fixings, kind_name, lay_out, position_name
from formulations.throughput.stage_memory import limit_memory, recomputing, rho_name
from formulations.throughput.unit_memory import UnitMemory, unit_name
from placer.arrays import IntArray
from placer.instance.recompute_units import units_of
from placer.options import Recompute
from placer.plans.evaluate import stage_order
from placer.reductions.problem import Problem

__all__ = ["build", "decode", "encode"]


def build(problem: Problem, params: ThroughputParams) -> Program:
    """Build the program.

    Parameters
    ----------
    problem
        Contracted for contiguity.
    params
        Schedule, communication model, unit, upper bound, windows.

    Returns
    -------
    Program
    """
    model = Model()
    layout = lay_out(problem, params)
    Y = _positions(model, problem, layout, params)
    _precedence(model, problem, Y)
    x = [[now - before for before, now in pairwise([ZERO, *row])] for row in Y]
    t: list[dict[int, Expression]] = []
    y: list[Inside] = []
    for s, slot in enumerate(layout.slots):
        t.append(_kind_of(model, slot))
        y.append(_by_kind(model, layout, slot, [row[s] for row in x], t[s]))
    _counts(model, layout, t)
    _hosts_in_turn(model, layout, t)
    _wanted_order(model, layout, t)
    loads = Loads(model, problem, layout.kinds, params, y)
    rules = PlanRules(model, problem, layout.kinds)
    units = UnitMemory(model, problem, layout.kinds) if params.recompute is Recompute.LAYERS else None
    for slot, inside in zip(layout.slots, y, strict=True):
        place = Place(slot.name, inside, slot.in_flight)
        rules.add(place)
        if units is not None:
            place = units.choosing(place)
            units.limit(place, loads.memory_most)
        else:
            if not slot.is_host:
                place = recomputing(model, layout.kinds, place, params.recompute)
            limit_memory(model, problem, layout.kinds, place, loads.memory_most)
        loads.add(place)
    rules.finish()
    loads.finish()
    return model.program()


def decode(values: Mapping[str, float], problem: Problem, params: ThroughputParams) -> IntArray:
    """Return the device of each item, ``(N,)``, from the values of the variables."""
    layout = lay_out(problem, params)
    at = slot_of_items(values, problem, layout, params)
    free = {kind: iter(layout.kinds.devices[kind].tolist()) for kind in range(len(layout.kinds.devices))}
    device = np.full(problem.size, -1, dtype=np.int64)
    for s, slot in enumerate(layout.slots):
        kind = slot.kinds[0]
        if slot.has_choice:
            kind = max(slot.kinds, key=lambda a: values.get(kind_name(slot, a), 0.0))
        if (at == s).any():
            device[at == s] = next(free[kind])
    return device


def decode_stages(
    values: Mapping[str, float], problem: Problem, params: ThroughputParams, item_device: IntArray
) -> tuple[int, ...]:
    """Return the devices that hold items in the order of their slots; ``item_device`` is from `decode`."""
    at = slot_of_items(values, problem, lay_out(problem, params), params)
    return tuple(dict.fromkeys(item_device[np.argsort(at, kind="stable")].tolist()))


def decode_again(values: Mapping[str, float], problem: Problem, params: ThroughputParams) -> tuple[int, ...]:
    """Return the nodes that are computed again, where units choose by themselves."""
    slots, units = lay_out(problem, params).slots, units_of(problem.instance)
    return tuple(
        v
        for g, nodes in enumerate(units.members)
        if any(values.get(unit_name(g, a.name, kind), 0.0) > 0.5 for a in slots for kind in a.kinds)
        for v in nodes.tolist()
    )


def slot_of_items(
    values: Mapping[str, float], problem: Problem, layout: Layout, params: ThroughputParams
) -> IntArray:
    """Return the slot of each item, ``(N,)``: the first one with Y = 1."""
    out = np.zeros(problem.size, dtype=np.int64)
    for c in range(problem.size):
        for s, fixed in enumerate(fixings(c, layout, params)):
            value = values.get(position_name(c, layout.slots[s]), 0.0) if fixed is None else fixed
            if value > 0.5 and fixed != -1:
                out[c] = s
                break
    return out


def encode(item_device: IntArray, problem: Problem, params: ThroughputParams) -> dict[str, float]:
    """Return values of the discrete variables for an assignment of items, as a start for the solver.

    Raises
    ------
    ValueError
        When the assignment is not contiguous.
    """
    layout = lay_out(problem, params)
    kind_of = _kind_of_devices(layout)
    order = None if params.start is None else params.start.stages
    again = () if params.start is None else params.start.recompute
    nodes = () if params.start is None else params.start.again
    if order is None:
        plan = replace(problem.plan(item_device), recompute=again, again=nodes)
        order = stage_order(problem.instance, plan, params.flights)
    if order is None:
        raise ValueError("the assignment is not contiguous")
    used = set(item_device.tolist())
    slot = _slots_of_devices([d for d in order if d in used], layout, kind_of)
    choices = [a for a in layout.slots if a.has_choice]
    values = {kind_name(a, kind): 0.0 for a in choices for kind in a.kinds}
    if params.recompute is Recompute.AUTO:
        values |= {rho_name(a.name): 0.0 for a in layout.slots if not a.is_host}
        values |= {rho_name(layout.slots[slot[d]].name): 1.0 for d in again if d in slot}
    if params.recompute is Recompute.LAYERS:
        values |= _units_again(item_device, problem, params, layout, slot)
    for d, s in slot.items():
        if layout.slots[s].has_choice:
            values[kind_name(layout.slots[s], kind_of[d])] = 1.0
    for c in range(problem.size):
        at = slot[int(item_device[c])]
        for s, fixed in enumerate(fixings(c, layout, params)):
            if fixed is None:
                values[position_name(c, layout.slots[s])] = float(at <= s)
    return values


def _units_again(
    item_device: IntArray,
    problem: Problem,
    params: ThroughputParams,
    layout: Layout,
    slot: Mapping[int, int],
) -> dict[str, float]:
    """Values of what units recompute in the plan to start from."""
    units, kind_of = units_of(problem.instance), _kind_of_devices(layout)
    values = {
        unit_name(g, a.name, kind): 0.0 for g in range(len(units)) for a in layout.slots for kind in a.kinds
    }
    for v in () if params.start is None else params.start.again:
        d = int(item_device[problem.item[v]])
        values[unit_name(int(units.of[v]), layout.slots[slot[d]].name, kind_of[d])] = 1.0
    return values


def _kind_of_devices(layout: Layout) -> dict[int, int]:
    return {int(d): kind for kind, devices in enumerate(layout.kinds.devices) for d in devices}


def _slots_of_devices(stages: list[int], layout: Layout, kind_of: Mapping[int, int]) -> dict[int, int]:
    """Slot of each device: the used ones in pipeline order; unused accelerators after them, if they need any.

    Where memory depends on the stage, the used ones take the last slots.
    """
    is_host = layout.kinds.is_host
    slots, order = layout.slots, list(stages)
    s = 0
    if all(slot.may_be_empty and not slot.is_host for slot in slots):
        s = len(slots) - len(stages)
    elif not all(slot.may_be_empty for slot in slots):
        order += [d for d in sorted(kind_of) if d not in stages and not is_host[kind_of[d]]]
    out: dict[int, int] = {}
    for d in order:
        while not layout.mixed and slots[s].is_host != bool(is_host[kind_of[d]]):
            s += 1
        out[d] = s
        s += 1
    return out


# -- variables and constraints --------------------------------------------------------------------


def _positions(
    model: Model, problem: Problem, layout: Layout, params: ThroughputParams
) -> list[list[Expression]]:
    """Y_{cs} ≥ Y_{c,s−1}; a number where it is fixed."""
    Y: list[list[Expression]] = []
    for c in range(problem.size):
        row = [ZERO]
        for slot, fixed in zip(layout.slots, fixings(c, layout, params), strict=True):
            before = row[-1]
            if fixed is None:
                row.append(model.binary(position_name(c, slot)))
                model.add(row[-1] >= before)
            else:
                row.append({0: ZERO, 1: ONE}.get(fixed, before))
        Y.append(row[1:])
    return Y


def _precedence(model: Model, problem: Problem, Y: list[list[Expression]]) -> None:
    """Y_{us} ≥ Y_{ws} along the transitive reduction."""
    for u, w in sorted(nx.transitive_reduction(nx.DiGraph(problem.edges.tolist())).edges):
        pairs = {(id(above), id(below)): (above, below) for above, below in zip(Y[u], Y[w], strict=True)}
        for above, below in pairs.values():
            model.add(above >= below)


def _kind_of(model: Model, slot: Slot) -> dict[int, Expression]:
    """Σ_κ t_{sκ} = 1 at one slot, or ≤ 1 where it may be empty; the number 1 where there is no choice."""
    if not slot.has_choice:
        return {slot.kinds[0]: ONE}
    t = {kind: model.binary(kind_name(slot, kind)) for kind in slot.kinds}
    model.add(total(t.values()) <= 1 if slot.may_be_empty else total(t.values()) == 1)
    return t


def _by_kind(
    model: Model, layout: Layout, slot: Slot, x: list[Expression], t: dict[int, Expression]
) -> Inside:
    """y_{csκ} ≤ t_{sκ},  Σ_κ y_{csκ} = x_{cs}  at one slot; x itself where c has no choice."""
    y: dict[int, list[Expression]] = {kind: [ZERO] * len(x) for kind in slot.kinds}
    for c, held in enumerate(x):
        if held.is_constant and held.constant == 0:
            continue
        kinds = [kind for kind in slot.kinds if layout.may[c, kind]]
        for kind in kinds:
            several = len(kinds) > 1
            y[kind][c] = model.real(f"y_{c:05d}_{slot.name}_{kind}", 0.0, 1.0) if several else held
            model.add(y[kind][c] <= t[kind])
        if len(kinds) != 1:
            model.add(held == total(y[kind][c] for kind in kinds))
    return y


def _counts(model: Model, layout: Layout, t: list[dict[int, Expression]]) -> None:
    """Σ_s t_{sκ} = count of κ, or ≤ for host kinds and where slots may be empty; pools in all."""
    if layout.kinds.shared:
        _pools(model, layout, t)
        return
    exact = any(not slot.may_be_empty for slot in layout.slots)
    for kind in dict.fromkeys(kind for chosen in t for kind in chosen):
        used = total(chosen[kind] for chosen in t if kind in chosen)
        count = float(layout.kinds.count(kind))
        model.add(used <= count if layout.kinds.is_host[kind] or not exact else used == count)


def _pools(model: Model, layout: Layout, t: list[dict[int, Expression]]) -> None:
    """Σ_s Σ_{κ of the pool} w_κ t_{sκ} ≤ devices of the pool."""
    kinds = layout.kinds
    for pool in kinds.pools:
        own = np.flatnonzero(kinds.pool == pool).tolist()
        taken = total(float(kinds.width[k]) * chosen[k] for chosen in t for k in own if k in chosen)
        model.add(taken <= float(kinds.room[pool]))


def _hosts_in_turn(model: Model, layout: Layout, t: list[dict[int, Expression]]) -> None:
    """Σ_κ t_{sκ} falls over the H slots of a gap."""
    for (a, ta), (b, tb) in pairwise(zip(layout.slots, t, strict=True)):
        if a.is_host and b.is_host:
            model.add(total(ta.values()) >= total(tb.values()))


def _wanted_order(model: Model, layout: Layout, t: list[dict[int, Expression]]) -> None:
    """R_{sr} ≥ R_{s−1,r},  R_{sr} ≥ Σ_{κ of rank ≥ r} t_{sκ},  Σ_{κ of rank < r} t_{sκ} ≤ 1 − R_{s−1,r}."""
    rank = layout.kinds.rank
    for r in sorted(set(rank[rank >= 0].tolist()))[1:]:
        before = ZERO
        for slot, chosen in zip(layout.slots, t, strict=True):
            low = total(chosen[kind] for kind in chosen if 0 <= rank[kind] < r)
            high = [chosen[kind] for kind in chosen if rank[kind] >= r]
            model.add(low <= 1 - before)
            if high:
                R = model.real(f"R_{r}_{slot.name}", 0.0, 1.0)
                model.add(before <= R)
                model.add(total(high) <= R)
                before = R
