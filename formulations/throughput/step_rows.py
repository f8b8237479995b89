"""Time of a step of m microbatches as the objective of the program of ordered slots.

Slots are numbered σ = 1, 2, ... from the end.  Times are divided by m, so that they are near loads.

Variables
    F_σ, B_σ  forward and backward load of slot σ, at least what `formulations.throughput.loads` says;
    T         time of a step over m;  A  that of what happens once, after all microbatches.
``gpipe``, and inference, exactly
    m T ≥ Σ_σ (F_σ + B_σ) + (m − 1) (F* + B*),  F* ≥ F_σ,  B* ≥ B_σ
``1f1b``
    R_σ ≥ F_σ + B_σ + R_{σ−1}                      round trip from slot σ to the end and back
    T_σ ≥ each of                                   the pipeline of the last σ slots
        T_{σ−1} + (F_σ + B_σ) / m                       down through the slot and back up
        F_σ + B_σ                                       the slot serves all microbatches
        (R_{σ−1} + (m − σ + 1) F_σ) / m + B_σ           the first one comes back, then what is left
        (R_{σ−1} + (m − σ + 1) B_σ) / m + F_σ           the last one goes down when all else was served
        (2 R_{σ−1} + (m − σ + 1) (F_σ + B_σ)) / m       both, for m > σ;  above m for σ where m < σ
    m T ≥ Σ_σ (a_σ F_σ + b_σ B_σ)                  for some paths through the graph of the tasks
    u_σ ≥ x_{cσ},  u_σ ≤ Σ_c x_{cσ},  u_{σ+1} ≤ u_σ   slots that hold nothing come first
Objective
    min T + A,  A ≥ (m_0 / m) Σ_c s_{cκ} x_{cσκ}   (s: gradients of replicas, per microbatch of m_0)

The order of a stage's tasks depends on its place from the end, so empty slots have to come first, where they
change nothing.  Every row holds for every plan; those of the first kind most often come to the true time, and
where they do not, the longest path of the plan at hand is one more row.

Source: the schedules of GPipe (Huang et al., 2019) and PipeDream-flush (Narayanan et al., 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from formulations.expressions import ZERO, Expression, Model, dot, total
from formulations.throughput.place import Place

__all__ = ["StepRules", "StepTime"]


@dataclass(frozen=True)
class StepRules:
    """What a step is.

    Parameters
    ----------
    microbatches
        m.
    flow
        Whether forward and backward passes are apart, or there are no backward ones.
    paths
        How often a path goes through the forward and backward task of each stage, from the first of the
        stages on to the last one: pairs of equally long tuples.
    """

    microbatches: int
    flow: bool
    paths: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()


class StepTime:
    """Adds the time of a step to a model, slot by slot from the front, then `finish`.

    Parameters
    ----------
    model
        The model under construction.
    rules
        What a step is.
    low, high
        Known bounds on T + A, in the unit of the loads.
    """

    def __init__(self, model: Model, rules: StepRules, low: float = 0.0, high: float = inf) -> None:
        self.model, self.rules = model, rules
        self.items: list[Sequence[Expression]] = []
        self.forward: list[Expression] = []
        self.backward: list[Expression] = []
        self.once: Expression | None = None
        self.objective = model.real("T_step", low, high)

    def add(self, place: Place, loads: Sequence[Expression], once: Expression) -> None:
        """Add the forward and backward load of a slot, and what it does once, over m."""
        F = self._variable(f"F_{place.label}", loads[0])
        B = self._variable(f"B_{place.label}", loads[1]) if len(loads) > 1 else ZERO
        self.items.append(place.items)
        self.forward.append(F)
        self.backward.append(B)
        if not once.is_constant:
            if self.once is None:
                self.once = self.model.real("A")
            self.model.add(once <= self.once)

    def finish(self) -> None:
        """Minimise T + A."""
        once = ZERO if self.once is None else self.once
        time = self._flow() if self.rules.flow else self._one_forward_one_backward()
        self.model.add(time + once <= self.objective)
        self.model.minimise(self.objective)

    def _variable(self, name: str, load: Expression) -> Expression:
        if load.is_constant and load.constant == 0:
            return ZERO
        made = self.model.real(name)
        self.model.add(load <= made)
        return made

    def _flow(self) -> Expression:
        """(Σ L + (m − 1) (F* + B*)) / m."""
        m = self.rules.microbatches
        parts = [(1.0 / m) * total([*self.forward, *self.backward])]
        for name, loads in (("F", self.forward), ("B", self.backward)):
            if m > 1 and not all(load.is_constant for load in loads):
                most = self.model.real(f"{name}_most")
                for load in loads:
                    self.model.add(load <= most)
                parts.append(((m - 1.0) / m) * most)
        return total(parts)

    def _one_forward_one_backward(self) -> Expression:
        """T of the whole pipeline, above all rows."""
        self._empty_first()
        m = self.rules.microbatches
        time = trip = ZERO
        for place, (F, B) in enumerate(zip(reversed(self.forward), reversed(self.backward), strict=True), 1):
            both = F + B
            rest = m - min(place, m) + 1
            rows = [
                time + (1.0 / m) * both,
                both,
                (1.0 / m) * (trip + float(rest) * F) + B,
                (1.0 / m) * (trip + float(rest) * B) + F,
            ]
            if m > place:
                rows.append((1.0 / m) * (2.0 * trip + float(rest) * both))
            time = self.model.real(f"T_{place:03d}")
            for row in rows:
                self.model.add(row <= time)
            longer = self.model.real(f"R_{place:03d}")
            self.model.add(both + trip <= longer)
            trip = longer
        for a, b in self.rules.paths:
            own = len(self.forward) - len(a)
            F_count, B_count = ([n / m for n in counts] for counts in (a, b))
            path = dot([*F_count, *B_count], [*self.forward[own:], *self.backward[own:]])
            self.model.add(path <= time)
        return time

    def _empty_first(self) -> None:
        """u_σ ≥ x_{cσ}, u_σ ≤ Σ_c x_{cσ}, u falls from the last slot to the first."""
        before: Expression | None = None
        for s, items in enumerate(self.items):
            u = self.model.real(f"holds_{s:03d}", 0.0, 1.0)
            for x in items:
                self.model.add(x <= u)
            self.model.add(u <= total(items))
            if before is not None:
                self.model.add(before <= u)
            before = u
