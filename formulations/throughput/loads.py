"""Loads of devices and the objective by schedule, for every throughput program.

Sets
    c ∈ items (N), e ∈ nets (a producer's item u(e) and the items of its consumers), κ ∈ kinds of devices,
    r ∈ directions (forward, backward).
Data
    p^r_{cκ} processing time, f_{cκ} forward time, w_{eκ} transfer time of net e over the link of κ.
Variables of one device
    x_c ∈ [0, 1]  item c is on it, r_c ∈ [0, 1] and is computed again (given by the program; of units g of
    nodes in place of items where these choose by themselves);
    s_e ≥ |x_a − x_b| for items a, b of net e: the net is split by the device, which then pays w_e once;
    for the full duplex model instead  out_e ≥ x_{u(e)} − x_b  and  in_e ≥ x_b − x_{u(e)}.
    with servers, v_e ≥ w_e being what net e costs between servers, σ the device's server:
    z_e ≥ x_{u(e)} − Σ_{d in σ} x_{bd},  z_e ≥ x_b − Σ_{d in σ} x_{u(e)d}:  it pays v_e − w_e more.
Load of one device and direction
    sequential   L^r = Σ_c p^r_c x_c + Σ_{e of r} w_e s_e
    overlap      L^r ≥ Σ_c p^r_c x_c,  L^r ≥ Σ_{e of r} w_e s_e
    duplex       L^r ≥ Σ_c p^r_c x_c,  L^r ≥ Σ_{e of r} w_e in_e,  L^r ≥ Σ_{e of r} w_e out_e
    hosts        L^r = Σ_c p^r_c x_c
    and Σ_c f_c r_c more in the last direction, where activations are computed again
Objective
    1f1b   min T,  T ≥ Σ_r L^r for every device
    gpipe  min Σ_r T^r,  T^r ≥ L^r for every device

Where an upper bound U on the objective is known, no coefficient leaves a solver's range, whatever the times:
an item that alone exceeds U on a device may not go there, a net whose w_e (or v_e, between servers) exceeds
U may not be split there (x_a = x_b in place of s_e), and what is below ``NEGLIGIBLE`` of the unit counts as
0: a relaxation, so that bounds stay bounds.

Source: Tarnawski et al., NeurIPS 2020, Section 4 and appendix (CommIn, CommOut, MaxLoad); nets replace the
pair of CommIn and CommOut variables, because a device never pays both for one producer.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import numpy as np

from formulations.expressions import ZERO, Expression, Model, dot, total
from formulations.throughput.goals import Secondary
from formulations.throughput.place import Inside, Place
from formulations.throughput.shared import TIME_UNIT, UPPER_SLACK, ThroughputParams
from formulations.throughput.stage_memory import MEMORY_MOST
from formulations.throughput.step_rows import StepTime
from placer.arrays import FloatArray
from placer.instance.recompute_units import units_of
from placer.options import Communication, Recompute, Schedule
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem
from placer.tolerances import EQUAL

__all__ = ["Loads"]


class Loads:
    """Adds the loads of devices and the objective to a model, device by device, then `finish`.

    Parameters
    ----------
    model
        The model under construction.
    problem, kinds
        Items, nets and devices.
    params
        Schedule, communication model and unit.
    insides
        What all devices hold: which items are in which server.
    """

    def __init__(
        self,
        model: Model,
        problem: Problem,
        kinds: Kinds,
        params: ThroughputParams,
        insides: Iterable[Inside],
    ) -> None:
        self.model, self.problem, self.kinds, self.params = model, problem, kinds, params
        two = bool(problem.time_ms[1].any() or problem.net_backward.any())
        self.directions = (0, 1) if two or params.recompute is not Recompute.NONE else (0,)
        self.time = params.scaled(kinds.time_ms if params.step is None else _loads_ms(problem, kinds))
        self.again = params.scaled(_again_ms(problem, params.recompute)[:, kinds.class_index])
        cost, extra = _net_costs_ms(problem, kinds)
        self.never, self.cost = params.hopeless(cost), params.scaled(cost)
        self.never_across, self.extra = params.hopeless(cost + extra), params.scaled(extra)
        self.server = problem.instance.server_of[[devices[0] for devices in kinds.devices]]
        self.in_server: dict[int, list[Expression]] = {}
        if self.extra.any() or self.never_across.any():
            self._sum_servers(insides)
        self.step = self._step() if params.step is not None else None
        if self.step is None:
            self._objective()
        self.secondary = (
            None if params.goal is None else Secondary(model, params.goal, params.caps, params.scale)
        )

    def add(self, place: Place) -> None:
        """T ≥ Σ_r L^r, or T^r ≥ L^r, for one device."""
        loads, transfers = zip(*(self._load(place, r) for r in self.directions), strict=True)
        if self.secondary is not None:
            self.secondary.add(place, total(loads), total(transfers))
        if self.step is not None:
            self.step.add(place, loads, self._once(place, self.step.rules.microbatches))
        elif self.params.schedule is Schedule.GPIPE:
            for T, load in zip(self.top, loads, strict=True):
                self.model.add(load <= T)
        else:
            self.model.add(total(loads) <= self.top[0])

    @property
    def memory_most(self) -> Expression:
        """What the memory of a device is at most: its limit, or z where that is minimised."""
        if self.secondary is None or self.secondary.z is None:
            return Expression({}, MEMORY_MOST)
        return self.secondary.z

    def finish(self) -> None:
        """Close the model after its last device."""
        if self.secondary is not None:
            self.secondary.finish()
        if self.step is not None:
            self.step.finish()

    def _sum_servers(self, insides: Iterable[Inside]) -> None:
        """Σ_{d in σ} x_{cd} for every server σ."""
        parts: dict[int, list[Inside]] = {}
        for inside in insides:
            for kind, items in inside.items():
                parts.setdefault(int(self.server[kind]), []).append({0: items})
        for server, held in parts.items():
            self.in_server[server] = [total(x) for x in zip(*(items[0] for items in held), strict=True)]

    def _range(self) -> tuple[float, float]:
        """Return the known bounds on the objective in its unit."""
        params, high = self.params, inf
        if params.upper_bound_ms is not None:
            high = params.upper_bound_ms * (1 + UPPER_SLACK) / params.unit_ms * TIME_UNIT
        return params.lower_bound_ms * (1 - EQUAL) / params.unit_ms * TIME_UNIT, high

    def _step(self) -> StepTime | None:
        """Minimise the time of a step between the known bounds."""
        rules = self.params.step
        return None if rules is None else StepTime(self.model, rules, *self._range())

    def _once(self, place: Place, microbatches: int) -> Expression:
        """Time in which a stage sums its gradients, once per step, over the microbatches of the step."""
        share = self.problem.instance.training.microbatches / microbatches
        sync_ms = share * self.problem.sync_ms[:, self.kinds.class_index]
        parts = [dot(self.params.scaled(sync_ms[:, kind]).tolist(), x) for kind, x in place.x.items()]
        return total(parts)

    def _objective(self) -> None:
        """Minimise Σ T between the known bounds."""
        model, params = self.model, self.params
        low, high = self._range()
        parts = self.directions if params.schedule is Schedule.GPIPE else (0,)
        alone = len(parts) == 1
        self.top = [model.real(f"T_{r}", low if alone else 0.0, high) for r in parts]
        objective = total(self.top)
        model.minimise(objective)
        if not alone and low > 0:
            model.add(objective >= low)
        if not alone and high < inf:
            model.add(objective <= high)

    def _load(self, place: Place, r: int) -> tuple[Expression, Expression]:
        """L^r of one device, for two communication models a variable above its parts; and its transfers."""
        compute = [dot(self.time[r, :, kind].tolist(), items) for kind, items in place.x.items()]
        if r == self.directions[-1]:
            compute += [dot(self.again[:, kind].tolist(), items) for kind, items in place.r.items()]
        communication = self.params.communication
        if communication is Communication.DUPLEX:
            sent, received = self._transfers(place, r, "out"), self._transfers(place, r, "in")
            parts = [sent, received]
        else:
            parts = [self._transfers(place, r, "s")]
        if communication is Communication.SEQUENTIAL:
            return total((*compute, *parts)), parts[0]
        load = self.model.real(f"L_{r}_{place.label}")
        for part in (total(compute), *parts):
            self.model.add(load >= part)
        return load, total(parts)

    def _transfers(self, place: Place, r: int, way: str) -> Expression:
        """Σ_e w_e s_e of one device in direction r, or of what it sends ("out") or receives ("in")."""
        inside = {kind: x for kind, x in place.x.items() if not self.kinds.is_host[kind]}
        costs = self._across(place.label, r, inside, way)
        for e in np.flatnonzero(self.problem.net_backward == bool(r)).tolist():
            for kinds in self._equal_costs(e, inside):
                net = self.problem.net(e).tolist()
                x = [[inside[kind][c] for kind in kinds] for c in net]
                u, *readers = [on[0] if len(on) == 1 else total(on) for on in x]
                gaps = []
                for b in readers:
                    gaps += [u - b] if way != "in" else []
                    gaps += [b - u] if way != "out" else []
                never, weight = bool(self.never[e, kinds[0]]), float(self.cost[e, kinds[0]])
                costs.append(self._paid(f"{way}_{e}_{kinds[0]}_{place.label}", gaps, weight, never))
        return total(costs)

    def _across(self, label: str, r: int, inside: Inside, way: str) -> list[Expression]:
        """(v_e − w_e) z_e of every net: what crossing servers costs one device beyond its own link."""
        costs = []
        some = (self.extra > 0).any(axis=1) | self.never_across.any(axis=1)
        name = {"s": "outin"}.get(way, way)
        for e in np.flatnonzero((self.problem.net_backward == bool(r)) & some).tolist():
            u, *readers = self.problem.net(e).tolist()
            for kind, x in inside.items():
                near = self.in_server[int(self.server[kind])]
                gaps = [x[u] - near[b] for b in readers] if way != "in" else []
                gaps += [x[b] - near[u] for b in readers] if way != "out" else []
                never, weight = bool(self.never_across[e, kind]), float(self.extra[e, kind])
                costs.append(self._paid(f"z_{name}_{e}_{kind}_{label}", gaps, weight, never))
        return costs

    def _paid(self, name: str, gaps: list[Expression], weight: float, never: bool) -> Expression:
        """Weight times s with s ≥ every gap; where that must never be paid, no gap instead."""
        gaps = [gap for gap in gaps if not (gap.is_constant and gap.constant <= 0)]
        if never:
            for gap in gaps:
                self.model.add(gap <= 0)
        if never or weight == 0.0 or not gaps:
            return ZERO
        s = self.model.real(name, 0.0, 1.0)
        for gap in gaps:
            self.model.add(s >= gap)
        return weight * s

    def _equal_costs(self, e: int, inside: Inside) -> list[list[int]]:
        """Group the kinds a device may be by what net e costs on them."""
        groups: dict[tuple[bool, float], list[int]] = {}
        for kind in inside:
            groups.setdefault((bool(self.never[e, kind]), float(self.cost[e, kind])), []).append(kind)
        return list(groups.values())


def _loads_ms(problem: Problem, kinds: Kinds) -> FloatArray:
    """Return the times of items without what happens once per step, ``(2, N, K)``."""
    return np.where(kinds.allowed, problem.load_ms[:, :, kinds.class_index], np.inf)


def _again_ms(problem: Problem, recompute: Recompute) -> FloatArray:
    """Return f_c, or f_g where units choose by themselves, ``(·, C)``."""
    if recompute is not Recompute.LAYERS:
        return problem.forward_ms
    return units_of(problem.instance).again_ms(problem.instance.class_time_ms)


def _net_costs_ms(problem: Problem, kinds: Kinds) -> tuple[FloatArray, FloatArray]:
    """Return w_e, and v_e − w_e, by kind: each ``(E, K)``."""
    cost = problem.net_cost_ms[:, kinds.class_index]
    extra = np.zeros_like(cost)
    if problem.net_across_ms is not None:
        first = [devices[0] for devices in kinds.devices]
        extra = np.maximum(0.0, problem.net_across_ms[:, first] - cost)
        extra[:, kinds.is_host] = 0.0
    return cost, extra
