"""What the throughput programs share: loads of devices, memory, and the objective by schedule.

Sets
    c ∈ items (N), e ∈ nets (a producer's item u(e) and the items of its consumers), κ ∈ kinds of devices,
    r ∈ directions (forward, backward).
Data
    p^r_{cκ} processing time, m_c memory, w_{eκ} transfer time of net e over the link of κ,
    M_κ memory limit.
Variables of one device
    x_c ∈ [0, 1]  item c is on it (given by the program);
    s_e ≥ |x_a − x_b| for items a, b of net e: the net is split by the device, which then pays w_e once;
    for the full duplex model instead  out_e ≥ x_{u(e)} − x_b  and  in_e ≥ x_b − x_{u(e)}.
    with servers, v_e ≥ w_e being what net e costs between servers, σ the device's server:
    z_e ≥ x_{u(e)} − Σ_{d in σ} x_{bd},  z_e ≥ x_b − Σ_{d in σ} x_{u(e)d}:  it pays v_e − w_e more.
Load of one device and direction
    sequential   L^r = Σ_c p^r_c x_c + Σ_{e of r} w_e s_e
    overlap      L^r ≥ Σ_c p^r_c x_c,  L^r ≥ Σ_{e of r} w_e s_e
    duplex       L^r ≥ Σ_c p^r_c x_c,  L^r ≥ Σ_{e of r} w_e in_e,  L^r ≥ Σ_{e of r} w_e out_e
    hosts        L^r = Σ_c p^r_c x_c
Objective
    1f1b   min T,  T ≥ Σ_r L^r for every device
    gpipe  min Σ_r T^r,  T^r ≥ L^r for every device
Memory
    Σ_c (m_c + (f − 1) a_c) x_c ≤ M for every device with a limit, scaled so that the limit is `MEMORY_UNIT`;
    m_c with one microbatch in flight, a_c for each further one of the f that are in flight.
Recomputation of one device (ρ ∈ {0, 1}: its activations are dropped and computed again)
    r_c = ρ x_c               by  r_c ≤ x_c,  r_c ≤ ρ,  r_c ≥ x_c + ρ − 1
    in_u ≥ x_b − x_{c(u)} + ρ − 1   for forward outputs u of o_u bytes that items b read
    load                      Σ_c f_{cκ} r_c more in the backward direction, f the forward time
    memory                    (f − 1) a_c r_c less and f Σ_u o_u in_u more

All times are divided by ``unit_ms / TIME_UNIT``, so that the objective is near `TIME_UNIT`.

Where an upper bound U on the objective is known, no coefficient leaves a solver's range, whatever the times:
an item that alone exceeds U on a device may not go there, a net whose w_e (or v_e, between servers) exceeds U
may not be split there (x_a = x_b in place of s_e), and what is below `NEGLIGIBLE` of the unit counts as 0: a
relaxation, so that bounds stay bounds.

Source: Tarnawski et al., NeurIPS 2020, Section 4 and appendix (CommIn, CommOut, MaxLoad); nets replace the
pair of CommIn and CommOut variables, because a device never pays both for one producer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from formulations.rows import Expression, Inside, Model, difference, total
from formulations.throughput.goals import Cap, Goal, Secondary
from placer.arrays import BoolArray, FloatArray, IntArray
from placer.options import Communication, Recompute, Schedule
from placer.plans.in_flight import InFlight
from placer.plans.plan import Plan
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem

__all__ = ["MEMORY_MOST", "MEMORY_UNIT", "TIME_UNIT", "Loads", "ThroughputParams", "fits", "memory_share"]

MEMORY_UNIT = 1000.0
"""Memory rows read Σ ≤ 1000, so that an absolute tolerance of 1e-6 is 1e-9 of the limit."""

MEMORY_MOST = MEMORY_UNIT + 1e-6
"""The right side of these rows: verification takes as much more for rounding."""

TIME_UNIT = 100.0
"""Objectives are near 100, so that the solver's absolute tolerance of 1e-6 is 1e-8 of them."""


NEGLIGIBLE = 1e-8
"""Share of the unit below which a time counts as 0: `TIME_UNIT` times that is the solver's tolerance."""

UPPER_SLACK = 1e-7
"""Relative slack above an upper bound: ten of the solver's tolerances, so that the plan that has it stays."""

ONE = InFlight(1)
"""One microbatch in flight everywhere: what a node keeps does not depend on the plan."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ThroughputParams:
    """What a throughput program is built for, beside the problem.

    Parameters
    ----------
    schedule, communication
        As in the options.
    unit_ms
        About the objective; what it stands for in the model is `TIME_UNIT`.
    upper_bound_ms
        Objective of a known plan, or None: plans that are worse may be cut off.
    lower_bound_ms
        A proven lower bound on the objective, 0 where there is none.
    windows
        First and last accelerator slot at or before which an item lies, ``(N, 2)``, or None (ordered
        program only): an item in a gap lies between the accelerator slots g and g + 1 and counts as at
        slot g for the first and g + 1 for the last.
    each_contiguous
        Whether the set of each device must be contiguous by itself (the paper's program only).
    goal, caps
        A secondary goal to minimise in place of the objective, which then is at most the upper bound, and
        what earlier goals may be at most (not in the paper's program).
    flights, recompute
        Microbatches in flight, and which stages may or must recompute (ordered program only).
    start
        The plan to start from, for its stages and what it recomputes, or None (ordered program only).
    """

    schedule: Schedule = Schedule.ONE_F_ONE_B
    communication: Communication = Communication.SEQUENTIAL
    unit_ms: float = 1.0
    upper_bound_ms: float | None = None
    lower_bound_ms: float = 0.0
    windows: IntArray | None = None
    each_contiguous: bool = False
    goal: Goal | None = None
    caps: tuple[Cap, ...] = ()
    flights: InFlight = ONE
    recompute: Recompute = Recompute.NONE
    start: Plan | None = None

    @property
    def scale(self) -> float:
        """What times in ms are multiplied with."""
        return TIME_UNIT / self.unit_ms

    def hopeless(self, time_ms: FloatArray) -> BoolArray:
        """Whether a time exceeds the upper bound, so that nothing may take it."""
        if self.upper_bound_ms is None:
            return np.zeros(np.shape(time_ms), dtype=np.bool_)
        return np.asarray(time_ms > self.upper_bound_ms * (1 + 1e-9))

    def negligible(self, time_ms: FloatArray) -> BoolArray:
        """Whether a time is so short that it counts as 0."""
        return np.asarray(time_ms < NEGLIGIBLE * self.unit_ms)

    def scaled(self, time_ms: FloatArray) -> FloatArray:
        """Return times in the unit of the program; what is hopeless or cannot run is kept out, and 0."""
        kept = np.isfinite(time_ms) & ~self.hopeless(time_ms) & ~self.negligible(time_ms)
        return np.where(kept, time_ms, 0.0) / self.unit_ms * TIME_UNIT


def fits(problem: Problem, kinds: Kinds, params: ThroughputParams) -> BoolArray:
    """Whether an item may go to a kind, fits there, and is not above the upper bound alone, ``(N, K)``."""
    may = kinds.allowed & (problem.memory_bytes[:, None] <= kinds.limit_bytes * (1 + 1e-9))
    if params.upper_bound_ms is not None:
        may &= kinds.time_ms.sum(axis=0) <= params.upper_bound_ms * (1 + 1e-9)
    return np.asarray(may)


def _net_costs_ms(problem: Problem, kinds: Kinds) -> tuple[FloatArray, FloatArray]:
    """Return w_e, and v_e − w_e, by kind: each ``(E, K)``."""
    cost = problem.net_cost_ms[:, kinds.class_index]
    extra = np.zeros_like(cost)
    if problem.net_across_ms is not None:
        first = [devices[0] for devices in kinds.devices]
        extra = np.maximum(0.0, problem.net_across_ms[:, first] - cost)
        extra[:, kinds.is_host] = 0.0
    return cost, extra


def memory_share(need_bytes: float, limit_bytes: float) -> float:
    """Memory in units of the program; anything is too much where the limit is 0."""
    if limit_bytes > 0:
        return MEMORY_UNIT * (need_bytes / limit_bytes)
    return 2 * MEMORY_UNIT * (need_bytes > 0)


class Loads:
    """Adds the loads of devices and the objective to a model.

    Parameters
    ----------
    model
        The model under construction.
    problem, kinds
        Items, nets and devices.
    params
        Schedule, communication model and unit.
    """

    def __init__(self, model: Model, problem: Problem, kinds: Kinds, params: ThroughputParams) -> None:
        self.model, self.problem, self.kinds, self.params = model, problem, kinds, params
        two = bool(problem.time_ms[1].any() or problem.net_backward.any())
        two = two or params.recompute is not Recompute.NONE
        self.directions = (0, 1) if two else (0,)
        self.time = params.scaled(kinds.time_ms)
        self.again = params.scaled(problem.forward_ms[:, kinds.class_index])
        cost, extra = _net_costs_ms(problem, kinds)
        self.never, self.cost = params.hopeless(cost), params.scaled(cost)
        self.never_across, self.extra = params.hopeless(cost + extra), params.scaled(extra)
        self.server = problem.instance.server_of[[devices[0] for devices in kinds.devices]]
        self.in_server: dict[int, list[Expression]] = {}
        high = None
        if params.upper_bound_ms is not None:
            high = params.upper_bound_ms * (1 + UPPER_SLACK) / params.unit_ms * TIME_UNIT
        low = params.lower_bound_ms * (1 - 1e-9) / params.unit_ms * TIME_UNIT
        parts = self.directions if params.schedule is Schedule.GPIPE else (0,)
        alone = len(parts) == 1
        self.top = [model.real(f"T_{r}", low if alone else 0.0, high) for r in parts]
        objective = Expression()
        for variable in self.top:
            objective.add(variable)
        model.minimise(objective)
        if not alone and low > 0:
            model.at_most(difference(low, objective))
        if len(self.top) > 1 and high is not None:
            model.at_most(objective, high)
        self.secondary = (
            None
            if params.goal is None
            else Secondary(model, params.goal, params.caps, params.scale, MEMORY_MOST)
        )

    def place(self, insides: Iterable[Inside]) -> None:
        """Tell what all devices hold, before the first one is added: which items are in which server."""
        if not (self.extra.any() or self.never_across.any()):
            return
        for inside in insides:
            for kind, items in inside.items():
                sums = self.in_server.setdefault(int(self.server[kind]), [Expression() for _ in items])
                for c, x in enumerate(items):
                    sums[c].add(x)

    def add_device(self, label: str, inside: Inside, again: Inside | None = None) -> None:
        """Bound the objective by the load of one device; ``again`` are the items that it recomputes."""
        transfers = Expression()
        loads = [self._direction(label, r, inside, again or {}, transfers) for r in self.directions]
        if self.secondary is not None:
            self.secondary.add_device(label, inside, total(loads), transfers)
        if self.params.schedule is Schedule.GPIPE:
            for variable, load in zip(self.top, loads, strict=True):
                self.model.at_most(load.add(variable, -1.0))
        else:
            both = Expression()
            for load in loads:
                both.add(load)
            self.model.at_most(both.add(self.top[0], -1.0))

    def finish(self) -> None:
        """Close the model after its last device."""
        if self.secondary is not None:
            self.secondary.finish()

    def add_recompute(self, label: str, inside: Inside) -> tuple[Inside, Any]:
        """Add ρ and r of one device; return r by kind, and ρ."""
        rho: Any = 1 if self.params.recompute is Recompute.ALL else self.model.binary(f"rho_{label}")
        again: dict[int, list[Any]] = {}
        for kind, items in inside.items():
            if self.kinds.is_host[kind]:
                continue
            again[kind] = []
            for c, x in enumerate(items):
                r: Any = x
                if not isinstance(rho, int) and not (isinstance(x, int | float) and x == 0):
                    r = self.model.real(f"r_{c:05d}_{label}_{kind}", 0.0, 1.0)
                    self.model.at_most(difference(r, x))
                    self.model.at_most(difference(r, rho))
                    self.model.at_most(difference(x, r).add(rho), 1.0)
                again[kind].append(r)
        return again, rho

    def add_memory(
        self, inside: Inside, in_flight: int = 1, again: Inside | None = None, label: str = "", rho: Any = 0
    ) -> None:
        """Limit the memory of one device with so many microbatches in flight; see `add_recompute`."""
        row, never = Expression(), MEMORY_MOST
        further = (in_flight - 1) * self.problem.activation_bytes
        for kind, items in inside.items():
            limit = float(self.kinds.limit_bytes[kind])
            if not np.isfinite(limit):
                continue
            recomputed = again.get(kind) if again else None
            for c, x in enumerate(items):
                held, more = float(self.problem.memory_bytes[c]), float(further[c])
                if memory_share(held + more, limit) <= never:
                    row.add(x, memory_share(held + more, limit))
                    if recomputed is not None:
                        row.add(recomputed[c], -memory_share(more, limit))
                elif recomputed is not None and memory_share(held, limit) <= never:
                    self.model.at_most(difference(x, recomputed[c]))
                    row.add(x, memory_share(held, limit))
                else:
                    self.model.at_most(Expression().add(x))
            if recomputed is not None:
                row.add(self._received(f"{label}_{kind}", items, rho, in_flight / limit if limit else np.inf))
        if self.secondary is not None and self.secondary.share is not None:
            self.model.at_most(row.add(self.secondary.share, -1.0))
        else:
            self.model.at_most(row, MEMORY_MOST)

    def _received(self, label: str, items: Sequence[Any], rho: Any, unit: float) -> Expression:
        """Memory of the forward outputs that a recomputing device receives: Σ_u o_u in_u, with its unit."""
        out = Expression()
        for i, (size, producer, readers) in enumerate(self.problem.stashes):
            gaps = [difference(items[b], items[producer]).add(rho) for b in readers if b != producer]
            gaps = [g for g in gaps if not (g.is_constant and g.constant <= 1)]
            received: Any = 0.0
            if gaps and size * unit <= 1 + 1e-9:
                received = self.model.real(f"stash_{i}_{label}", 0.0, 1.0)
                out.add(received, MEMORY_UNIT * size * unit)
            for gap in gaps:
                self.model.at_most(gap.add(received, -1.0), 1.0)
        return out

    def _direction(
        self, label: str, r: int, inside: Inside, again: Inside, transfers: Expression
    ) -> Expression:
        """Load of one device in direction ``r``: an expression, for two models a variable above its parts.

        Adds what it receives and sends to ``transfers``.
        """
        compute = Expression()
        for kind, items in inside.items():
            for c, x in enumerate(items):
                compute.add(x, float(self.time[r, c, kind]))
        if r == self.directions[-1]:
            for kind, items in again.items():
                for c, x in enumerate(items):
                    compute.add(x, float(self.again[c, kind]))
        accelerators = {kind: x for kind, x in inside.items() if not self.kinds.is_host[kind]}
        model = self.params.communication
        if model is Communication.SEQUENTIAL:
            moved = self._splits(label, r, accelerators, both=True)
            transfers.add(moved)
            return compute.add(moved)
        load = self.model.real(f"L_{r}_{label}")
        parts = [compute]
        if model is Communication.OVERLAP:
            parts.append(self._splits(label, r, accelerators, both=True))
        else:
            parts.append(self._splits(label, r, accelerators, send=True))
            parts.append(self._splits(label, r, accelerators, receive=True))
        for part in parts[1:]:
            transfers.add(part)
        for part in parts:
            self.model.at_most(part.add(load, -1.0))
        return Expression().add(load)

    def _splits(
        self,
        label: str,
        r: int,
        inside: Inside,
        *,
        both: bool = False,
        send: bool = False,
        receive: bool = False,
    ) -> Expression:
        """Transfer time of one device in direction ``r``: Σ_e w_e s_e, or only what it sends or receives."""
        cost = self._across(label, r, inside, send=both or send, receive=both or receive)
        name = "s" if both else "out" if send else "in"
        for e in np.flatnonzero(self.problem.net_backward == bool(r)).tolist():
            for kinds in self._equal_costs(e, inside):
                never, weight = bool(self.never[e, kinds[0]]), float(self.cost[e, kinds[0]])
                net = self.problem.net(e).tolist()
                on = [total(inside[kind][c] for kind in kinds) for c in net]
                gaps = []
                for other in on[1:]:
                    if both or send:
                        gaps.append(difference(on[0], other))
                    if both or receive:
                        gaps.append(difference(other, on[0]))
                gaps = [g for g in gaps if not (g.is_constant and g.constant <= 0)]
                if never:
                    for gap in gaps:
                        self.model.at_most(gap)
                if weight == 0.0 or not gaps:
                    continue
                s = self.model.real(f"{name}_{e}_{kinds[0]}_{label}", 0.0, 1.0)
                cost.add(s, weight)
                for gap in gaps:
                    self.model.at_most(gap.add(s, -1.0))
        return cost

    def _across(self, label: str, r: int, inside: Inside, *, send: bool, receive: bool) -> Expression:
        """Return what crossing servers costs one device beyond its own link: Σ_e (v_e − w_e) z_e."""
        cost = Expression()
        some = (self.extra > 0).any(axis=1) | self.never_across.any(axis=1)
        for e in np.flatnonzero((self.problem.net_backward == bool(r)) & some).tolist():
            producer, *readers = self.problem.net(e).tolist()
            for kind, items in inside.items():
                never, weight = bool(self.never_across[e, kind]), float(self.extra[e, kind])
                near = self.in_server[int(self.server[kind])]
                gaps = [difference(items[producer], near[b]) for b in readers] if send else []
                gaps += [difference(items[b], near[producer]) for b in readers] if receive else []
                gaps = [g for g in gaps if not (g.is_constant and g.constant <= 0)]
                if never:
                    for gap in gaps:
                        self.model.at_most(gap)
                    continue
                if weight == 0.0 or not gaps:
                    continue
                way = f"{'out' if send else ''}{'in' if receive else ''}"
                z = self.model.real(f"z_{way}_{e}_{kind}_{label}", 0.0, 1.0)
                cost.add(z, weight)
                for gap in gaps:
                    self.model.at_most(gap.add(z, -1.0))
        return cost

    def _equal_costs(self, e: int, inside: Inside) -> list[list[int]]:
        """Group the kinds a device may be by what net e costs on them."""
        groups: dict[tuple[bool, float], list[int]] = {}
        for kind in inside:
            groups.setdefault((bool(self.never[e, kind]), float(self.cost[e, kind])), []).append(kind)
        return list(groups.values())
