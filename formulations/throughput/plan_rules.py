"""Rules on the plan as a whole, for every throughput program: nodes apart, how many devices, which devices.

Sets
    G ⊆ items, a group whose members go to different devices; d ∈ devices or slots, κ ∈ kinds.
Variables
    x_{cdκ} ∈ [0, 1]  item c is on d, and that is of kind κ (given by the program);
    u_d ∈ [0, 1]      d holds items (1 wherever one lies);  v_{dκ} ∈ [0, 1]  d is of kind κ and holds items.
Constraints
    Σ_{c ∈ G} Σ_κ x_{cdκ} ≤ 1       for every group and d
    x_{cd} ≤ u_d,  Σ_d u_d ≤ n      where at most n devices are allowed
    v_{dκ} ≤ Σ_c x_{cdκ},  Σ_d v_{dκ} ≥ count of κ   for the kinds of devices that must be used

Members of kinds with devices that must be used are all of that sort (see `placer.reductions.kinds`).
"""

from __future__ import annotations

from typing import Any

from formulations.rows import Expression, Inside, Model, difference, total
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem

__all__ = ["PlanRules"]


class PlanRules:
    """Adds the rules of an instance to a model, device by device, then `finish`.

    Parameters
    ----------
    model
        The model under construction.
    problem, kinds
        Items and devices; the rules are those of ``problem.instance``.
    """

    def __init__(self, model: Model, problem: Problem, kinds: Kinds) -> None:
        self.model, self.kinds = model, kinds
        rules = problem.instance.constraints
        self.apart = [[int(problem.item[v]) for v in group] for group in rules.apart]
        self.max_devices = rules.max_devices
        needed = {problem.instance.device_index[name] for name in rules.use_devices}
        self.needed = [k for k, devices in enumerate(kinds.devices) if needed & set(devices.tolist())]
        self.used = Expression()
        self.filled: dict[int, Expression] = {kind: Expression() for kind in self.needed}

    def add_device(self, label: str, inside: Inside) -> None:
        """Add the rules of one device or slot."""
        for group in self.apart:
            self.model.at_most(total(items[c] for items in inside.values() for c in group), 1.0)
        if self.max_devices is not None:
            self._count(label, inside)
        for kind in self.needed:
            if kind in inside:
                v = self.model.real(f"v_{label}_{kind}", 0.0, 1.0)
                self.model.at_most(difference(v, total(inside[kind])))
                self.filled[kind].add(v)

    def finish(self) -> None:
        """Add the rules over all devices."""
        if self.max_devices is not None:
            self.model.at_most(self.used, float(self.max_devices))
        for kind, count in self.filled.items():
            self.model.at_most(Expression(float(self.kinds.count(kind))).add(count, -1.0))

    def _count(self, label: str, inside: Inside) -> None:
        u = self.model.real(f"u_{label}", 0.0, 1.0)
        self.used.add(u)
        items: list[Any] = [total(column) for column in zip(*inside.values(), strict=True)]
        for x in items:
            self.model.at_most(difference(x, u))
