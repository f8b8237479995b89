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
    s_e, L, T         loads and objective, see `formulations.throughput.shared`.
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
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pulp

from formulations.rows import Expression, Model, difference, total
from formulations.throughput.plan_rules import PlanRules
from formulations.throughput.shared import Loads, ThroughputParams, fits
from placer.arrays import IntArray
from placer.options import Recompute
from placer.plans.evaluate import stage_order
from placer.plans.plan import Plan
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem

__all__ = ["build", "decode", "encode"]


@dataclass(frozen=True)
class Slot:
    """A slot.

    Parameters
    ----------
    name
        Unique.
    is_host
        Whether it is in a gap between accelerators.
    kinds
        The kinds it may have.
    accelerators
        Slots that are not in a gap, up to and including it.
    in_flight
        Microbatches in flight.
    has_choice
        Whether what it is has to be decided: its kind, or whether a device is there at all.
    may_be_empty
        Whether it may have no kind.
    """

    name: str
    is_host: bool
    kinds: tuple[int, ...]
    accelerators: int
    in_flight: int
    has_choice: bool
    may_be_empty: bool


@dataclass(frozen=True, eq=False)
class Layout:
    """The slots, and which items may go to which kind, ``(N, K)``."""

    kinds: Kinds
    may: np.ndarray[Any, np.dtype[np.bool_]]
    slots: tuple[Slot, ...]
    mixed: bool

    @property
    def between(self) -> int:
        """Slots that are not in a gap."""
        return self.slots[-1].accelerators

    @property
    def on_host(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Items that may go to some host, ``(N,)``."""
        return np.asarray(self.may[:, self.kinds.hosts].any(axis=1))


def layout(problem: Problem, params: ThroughputParams) -> Layout:
    """Lay out the slots; there are none for hosts when no item can go to a host."""
    kinds = kinds_of(problem)
    may = fits(problem, kinds, params)
    accelerators, hosts = tuple(kinds.accelerators), tuple(kinds.hosts)
    k = sum(kinds.count(a) for a in accelerators)
    hosts_used = sum(kinds.count(h) for h in hosts) if may[:, list(hosts)].any() else 0
    flights, free = params.flights, params.flights.by_stage or bool((kinds.rank >= 0).any())
    mixed = flights.by_stage and hosts_used > 0
    slots = []
    if mixed:
        k, hosts_used, accelerators = k + hosts_used, 0, (*accelerators, *hosts)
    choice = len(accelerators) > 1 or (free and bool((kinds.rank >= 0).any()))
    for gap in range(k + 1):
        if gap:
            slot = Slot(f"A{gap:03d}", False, accelerators, gap, flights.at(k - gap + 1), choice, free)
            slots.append(slot)
        slots += [
            Slot(f"H{gap:03d}_{i}", True, hosts, gap, flights.most, True, True) for i in range(hosts_used)
        ]
    return Layout(kinds, may, tuple(slots), mixed)


def build(problem: Problem, params: ThroughputParams) -> pulp.LpProblem:
    """Build the program.

    Parameters
    ----------
    problem
        Contracted for contiguity.
    params
        Schedule, communication model, unit, upper bound, windows.

    Returns
    -------
    pulp.LpProblem
    """
    model = Model("throughput_ordered")
    places = layout(problem, params)
    Y = _cumulative(model, problem, places, params)
    _precedence(model, problem, Y)
    x = [[difference(b, a) for a, b in pairwise([0, *row])] for row in Y]
    inside = _kinds_of_slots(model, places, x)
    loads = Loads(model, problem, places.kinds, params)
    loads.place(inside)
    rules = PlanRules(model, problem, places.kinds)
    for slot, on in zip(places.slots, inside, strict=True):
        rules.add_device(slot.name, on)
        if slot.is_host or params.recompute is Recompute.NONE:
            loads.add_device(slot.name, on)
            loads.add_memory(on, slot.in_flight)
        else:
            again, rho = loads.add_recompute(slot.name, on)
            loads.add_device(slot.name, on, again)
            loads.add_memory(on, slot.in_flight, again, slot.name, rho)
    rules.finish()
    loads.finish()
    return model.problem


def decode(values: Mapping[str, float], problem: Problem, params: ThroughputParams) -> IntArray:
    """Return the device of each item, ``(N,)``, from the values of the variables."""
    places = layout(problem, params)
    at = slot_of_items(values, problem, places, params)
    free = {kind: iter(places.kinds.devices[kind].tolist()) for kind in range(len(places.kinds.devices))}
    device = np.full(problem.size, -1, dtype=np.int64)
    for s, slot in enumerate(places.slots):
        kind = slot.kinds[0]
        if slot.has_choice:
            kind = max(slot.kinds, key=lambda a: values.get(_kind_name(slot, a), 0.0))
        if (at == s).any():
            device[at == s] = next(free[kind])
    return device


def decode_stages(
    values: Mapping[str, float], problem: Problem, params: ThroughputParams, item_device: IntArray
) -> tuple[int, ...]:
    """Return the devices that hold items in the order of their slots; ``item_device`` is from `decode`."""
    at = slot_of_items(values, problem, layout(problem, params), params)
    return tuple(dict.fromkeys(item_device[np.argsort(at, kind="stable")].tolist()))


def slot_of_items(
    values: Mapping[str, float], problem: Problem, places: Layout, params: ThroughputParams
) -> IntArray:
    """Return the slot of each item, ``(N,)``: the first one with Y = 1."""
    out = np.zeros(problem.size, dtype=np.int64)
    for c in range(problem.size):
        for s, fixed in enumerate(_fixings(c, places, params)):
            value = values.get(_position_name(c, places.slots[s]), 0.0) if fixed is None else fixed
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
    places = layout(problem, params)
    kind_of = {int(d): kind for kind, devices in enumerate(places.kinds.devices) for d in devices}
    order = None if params.start is None else params.start.stages
    again = () if params.start is None else params.start.recompute
    if order is None:
        plan = Plan(problem.lift(item_device), recompute=again)
        order = stage_order(problem.instance, plan, params.flights)
    if order is None:
        raise ValueError("the assignment is not contiguous")
    used = set(item_device.tolist())
    slot = _slots_of_devices([d for d in order if d in used], places, kind_of)
    choices = [a for a in places.slots if a.has_choice]
    values = {_kind_name(a, kind): 0.0 for a in choices for kind in a.kinds}
    if params.recompute is Recompute.AUTO:
        values |= {f"rho_{a.name}": 0.0 for a in places.slots if not a.is_host}
        values |= {f"rho_{places.slots[slot[d]].name}": 1.0 for d in again if d in slot}
    for d, s in slot.items():
        if places.slots[s].has_choice:
            values[_kind_name(places.slots[s], kind_of[d])] = 1.0
    for c in range(problem.size):
        at = slot[int(item_device[c])]
        for s, fixed in enumerate(_fixings(c, places, params)):
            if fixed is None:
                values[_position_name(c, places.slots[s])] = float(at <= s)
    return values


def _slots_of_devices(stages: list[int], places: Layout, kind_of: Mapping[int, int]) -> dict[int, int]:
    """Slot of each device: the used ones in pipeline order; unused accelerators after them, if they need any.

    Where memory depends on the stage, the used ones take the last slots.
    """
    is_host = places.kinds.is_host
    slots, order = places.slots, list(stages)
    s = 0
    if all(slot.may_be_empty and not slot.is_host for slot in slots):
        s = len(slots) - len(stages)
    elif not all(slot.may_be_empty for slot in slots):
        order += [d for d in sorted(kind_of) if d not in stages and not is_host[kind_of[d]]]
    out: dict[int, int] = {}
    for d in order:
        while not places.mixed and slots[s].is_host != bool(is_host[kind_of[d]]):
            s += 1
        out[d] = s
        s += 1
    return out


# -- variables and constraints --------------------------------------------------------------------


def _position_name(c: int, slot: Slot) -> str:
    return f"Y_{c:05d}_{slot.name}"


def _kind_name(slot: Slot, kind: int) -> str:
    return f"t_{slot.name}_{kind}"


def _fixings(c: int, places: Layout, params: ThroughputParams) -> list[int | None]:
    """Y_{cs} for each slot: 0 or 1 where it is fixed, -1 where it equals the one before, else None."""
    k = places.between
    on_host = bool(places.on_host[c])
    first, last = (0, k + 1) if params.windows is None else params.windows[c].tolist()
    if places.mixed and params.windows is not None:  # windows leave out the slots that hosts may take
        last += sum(places.kinds.count(h) for h in places.kinds.hosts)
    if not on_host:
        first, last = max(first, 1), min(last, k)
    out: list[int | None] = []
    for s, slot in enumerate(places.slots):
        if slot.accelerators >= last or s == len(places.slots) - 1:
            out.append(1)
        elif slot.accelerators < first:
            out.append(0)
        else:
            out.append(-1 if slot.is_host and not on_host else None)
    return out


def _cumulative(model: Model, problem: Problem, places: Layout, params: ThroughputParams) -> list[list[Any]]:
    """Y_{cs}: a variable, or a number where it is fixed."""
    out: list[list[Any]] = []
    for c in range(problem.size):
        row: list[Any] = []
        for slot, fixed in zip(places.slots, _fixings(c, places, params), strict=True):
            before = row[-1] if row else 0
            if fixed is None:
                row.append(model.binary(_position_name(c, slot)))
                model.at_most(difference(before, row[-1]))
            else:
                row.append(before if fixed == -1 else fixed)
        out.append(row)
    return out


def _precedence(model: Model, problem: Problem, Y: list[list[Any]]) -> None:
    """Y_{us} ≥ Y_{ws} along the transitive reduction."""
    for u, w in sorted(nx.transitive_reduction(nx.DiGraph(problem.edges.tolist())).edges):
        done: set[tuple[int, int]] = set()
        for above, below in zip(Y[u], Y[w], strict=True):
            pair = (id(above), id(below))
            if pair not in done:
                model.at_most(difference(below, above))
            done.add(pair)


def _kinds_of_slots(model: Model, places: Layout, x: list[list[Expression]]) -> list[dict[int, list[Any]]]:
    """Return what each slot holds by kind; adds t and y where a slot has a choice."""
    chosen: list[dict[int, Any]] = []
    inside: list[dict[int, list[Any]]] = []
    for s, slot in enumerate(places.slots):
        column = [row[s] for row in x]
        t: dict[int, Any] = {slot.kinds[0]: 1}
        if slot.has_choice:
            t = {kind: model.binary(_kind_name(slot, kind)) for kind in slot.kinds}
            one = total(t.values())
            if slot.may_be_empty:
                model.at_most(one, 1.0)
            else:
                model.equal(one, 1.0)
        chosen.append(t)
        inside.append(_by_kind(model, places, slot, column, t))
    _counts(model, places, chosen)
    for (a, ta), (b, tb) in pairwise(zip(places.slots, chosen, strict=True)):
        if a.is_host and b.is_host:
            model.at_most(difference(total(tb.values()), total(ta.values())))
    _wanted_order(model, places, chosen)
    return inside


def _wanted_order(model: Model, places: Layout, chosen: list[dict[int, Any]]) -> None:
    """Keep kinds of lower rank from following kinds of higher rank."""
    rank = places.kinds.rank
    for r in sorted(set(rank[rank >= 0].tolist()))[1:]:
        before: Any = 0
        for slot, t in zip(places.slots, chosen, strict=True):
            low = total(t[kind] for kind in t if 0 <= rank[kind] < r)
            high = [t[kind] for kind in t if rank[kind] >= r]
            model.at_most(low.add(before), 1.0)
            if high:
                reached = model.real(f"R_{r}_{slot.name}", 0.0, 1.0)
                model.at_most(difference(before, reached))
                model.at_most(difference(total(high), reached))
                before = reached


def _by_kind(
    model: Model, places: Layout, slot: Slot, column: list[Expression], t: dict[int, Any]
) -> dict[int, list[Any]]:
    """Split x_{cs} over the kinds that slot s may have: y_{csκ}."""
    out: dict[int, list[Any]] = {kind: [0] * len(column) for kind in slot.kinds}
    for c, x in enumerate(column):
        if x.is_constant and x.constant == 0.0:
            continue
        kinds = [kind for kind in slot.kinds if places.may[c, kind]]
        parts = Expression()
        for kind in kinds:
            y = x if len(kinds) == 1 else model.real(f"y_{c:05d}_{slot.name}_{kind}", 0.0, 1.0)
            out[kind][c] = y
            parts.add(y)
            model.at_most(difference(y, t[kind]))
        if len(kinds) != 1:
            model.equal(difference(x, parts), 0.0)
    return out


def _counts(model: Model, places: Layout, chosen: list[dict[int, Any]]) -> None:
    choices: dict[int, list[Any]] = {}
    for t in chosen:
        for kind, variable in t.items():
            choices.setdefault(kind, []).append(variable)
    exact = any(not slot.may_be_empty for slot in places.slots)
    for kind, variables in choices.items():
        count = float(places.kinds.count(kind))
        if places.kinds.is_host[kind] or not exact:
            model.at_most(total(variables), count)
        else:
            model.equal(total(variables), count)
