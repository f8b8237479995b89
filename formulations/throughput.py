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
Load of one device and direction
    sequential   L^r = Σ_c p^r_c x_c + Σ_{e of r} w_e s_e
    overlap      L^r ≥ Σ_c p^r_c x_c,  L^r ≥ Σ_{e of r} w_e s_e
    duplex       L^r ≥ Σ_c p^r_c x_c,  L^r ≥ Σ_{e of r} w_e in_e,  L^r ≥ Σ_{e of r} w_e out_e
    hosts        L^r = Σ_c p^r_c x_c
Objective
    1f1b   min T,  T ≥ Σ_r L^r for every device
    gpipe  min Σ_r T^r,  T^r ≥ L^r for every device
Memory
    Σ_c m_c x_c ≤ M for every accelerator, scaled so that the limit is `MEMORY_UNIT`.

All times are divided by ``unit_ms / TIME_UNIT``, so that the objective is near `TIME_UNIT`.

Source: Tarnawski et al., NeurIPS 2020, Section 4 and appendix (CommIn, CommOut, MaxLoad); nets replace the
pair of CommIn and CommOut variables, because a device never pays both for one producer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from formulations.rows import Expression, Model, difference, total
from placer.instance import BoolArray, IntArray
from placer.kinds import Kinds
from placer.options import Communication, Schedule
from placer.problem import Problem

__all__ = ["MEMORY_UNIT", "TIME_UNIT", "Inside", "Loads", "ThroughputParams", "fits"]

MEMORY_UNIT = 1000.0
"""Memory rows read Σ ≤ 1000, so that an absolute tolerance of 1e-6 is 1e-9 of the limit."""

TIME_UNIT = 100.0
"""Objectives are near 100, so that the solver's absolute tolerance of 1e-6 is 1e-8 of them."""

Inside = Mapping[int, Sequence[Any]]
"""By kind: for each item a number, variable or `Expression` in [0, 1] that says that it is on the device."""


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
    """

    schedule: Schedule = Schedule.ONE_F_ONE_B
    communication: Communication = Communication.SEQUENTIAL
    unit_ms: float = 1.0
    upper_bound_ms: float | None = None
    lower_bound_ms: float = 0.0
    windows: IntArray | None = None
    each_contiguous: bool = False

    @property
    def scale(self) -> float:
        """What times in ms are multiplied with."""
        return TIME_UNIT / self.unit_ms


def fits(problem: Problem, kinds: Kinds, params: ThroughputParams) -> BoolArray:
    """Whether an item may go to a kind, fits there, and is not above the upper bound alone, ``(N, K)``."""
    may = kinds.allowed & (problem.memory_bytes[:, None] <= kinds.limit_bytes * (1 + 1e-9))
    if params.upper_bound_ms is not None:
        may &= kinds.time_ms.sum(axis=0) <= params.upper_bound_ms * (1 + 1e-9)
    return np.asarray(may)


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
        self.directions = (0, 1) if two else (0,)
        self.time = np.where(np.isfinite(kinds.time_ms), kinds.time_ms, 0.0) * params.scale
        self.cost = problem.net_cost_ms[:, kinds.class_index] * params.scale
        high = None if params.upper_bound_ms is None else params.upper_bound_ms * (1 + 1e-9) * params.scale
        low = params.lower_bound_ms * (1 - 1e-9) * params.scale
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

    def add_device(self, label: str, inside: Inside) -> None:
        """Bound the objective by the load of one device."""
        loads = [self._direction(label, r, inside) for r in self.directions]
        if self.params.schedule is Schedule.GPIPE:
            for variable, load in zip(self.top, loads, strict=True):
                self.model.at_most(load.add(variable, -1.0))
        else:
            both = Expression()
            for load in loads:
                both.add(load)
            self.model.at_most(both.add(self.top[0], -1.0))

    def add_memory(self, inside: Inside) -> None:
        """Limit the memory of one device."""
        row = Expression()
        limit = Expression()
        for kind, items in inside.items():
            bytes_limit = float(self.kinds.limit_bytes[kind])
            if not np.isfinite(bytes_limit):
                continue
            for c, x in enumerate(items):
                need = float(self.problem.memory_bytes[c])
                if bytes_limit > 0:
                    row.add(x, MEMORY_UNIT * need / bytes_limit)
                elif need > 0:
                    limit.add(x)
        self.model.at_most(row, MEMORY_UNIT)
        self.model.at_most(limit)

    def _direction(self, label: str, r: int, inside: Inside) -> Expression:
        """Load of one device in direction ``r``: an expression, for two models a variable above its parts."""
        compute = Expression()
        for kind, items in inside.items():
            for c, x in enumerate(items):
                compute.add(x, float(self.time[r, c, kind]))
        accelerators = {kind: x for kind, x in inside.items() if not self.kinds.is_host[kind]}
        model = self.params.communication
        if model is Communication.SEQUENTIAL:
            return compute.add(self._splits(label, r, accelerators, both=True))
        load = self.model.real(f"L_{r}_{label}")
        parts = [compute]
        if model is Communication.OVERLAP:
            parts.append(self._splits(label, r, accelerators, both=True))
        else:
            parts.append(self._splits(label, r, accelerators, send=True))
            parts.append(self._splits(label, r, accelerators, receive=True))
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
        cost = Expression()
        name = "s" if both else "out" if send else "in"
        for e in np.flatnonzero(self.problem.net_backward == bool(r)).tolist():
            for kinds in self._equal_costs(e, inside):
                weight = float(self.cost[e, kinds[0]])
                net = self.problem.net(e).tolist()
                on = [total(inside[kind][c] for kind in kinds) for c in net]
                gaps = []
                for other in on[1:]:
                    if both or send:
                        gaps.append(difference(on[0], other))
                    if both or receive:
                        gaps.append(difference(other, on[0]))
                gaps = [g for g in gaps if not (g.is_constant and g.constant <= 0)]
                if weight == 0.0 or not gaps:
                    continue
                s = self.model.real(f"{name}_{e}_{kinds[0]}_{label}", 0.0, 1.0)
                cost.add(s, weight)
                for gap in gaps:
                    self.model.at_most(gap.add(s, -1.0))
        return cost

    def _equal_costs(self, e: int, inside: Inside) -> list[list[int]]:
        """Group the kinds a device may be by what net e costs on them."""
        groups: dict[float, list[int]] = {}
        for kind in inside:
            groups.setdefault(float(self.cost[e, kind]), []).append(kind)
        return list(groups.values())
