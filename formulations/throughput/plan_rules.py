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

from formulations.expressions import Expression, Model, total
from formulations.throughput.place import Place
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
        self.used: list[Expression] = []
        self.filled: dict[int, list[Expression]] = {kind: [] for kind in self.needed}

    def add(self, place: Place) -> None:
        """Add the rules of one device or slot."""
        for group in self.apart:
            self.model.add(total(x[c] for x in place.x.values() for c in group) <= 1)
        if self.max_devices is not None:
            u = self.model.real(f"u_{place.label}", 0.0, 1.0)
            for x in place.items:
                self.model.add(x <= u)
            self.used.append(u)
        for kind in self.needed:
            if kind in place.x:
                v = self.model.real(f"v_{place.label}_{kind}", 0.0, 1.0)
                self.model.add(v <= total(place.x[kind]))
                self.filled[kind].append(v)

    def finish(self) -> None:
        """Add the rules over all devices."""
        if self.max_devices is not None:
            self.model.add(total(self.used) <= float(self.max_devices))
        for kind, filled in self.filled.items():
            self.model.add(total(filled) >= float(self.kinds.count(kind)))
