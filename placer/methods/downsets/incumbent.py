"""The best plan and the best bound of a contiguous throughput solve."""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.methods.downsets.lattice import Lattice
from placer.options import Options
from placer.plans.figures import objective_ms
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.verify import violations
from placer.search.run import Run
from placer.tolerances import EXACT

__all__ = ["Incumbent"]


class Incumbent:
    """The best plan so far, by its objective recomputed from the instance, and the best proven bound."""

    def __init__(self, lattice: Lattice, options: Options, run: Run) -> None:
        self.problem = lattice.problem
        self.options = options
        self.run = run
        self.objective_ms = np.inf
        self.bound_ms = 0.0
        self.memory_by_stage = lattice.one_way
        self.plan: Plan | None = None

    @property
    def device(self) -> IntArray | None:
        """Device of each node in the best plan."""
        return None if self.plan is None else self.plan.device

    @property
    def target(self) -> float:
        """The objective that a better plan has at most."""
        return self.objective_ms * (1 - EXACT)

    @property
    def gap(self) -> float:
        """Relative gap; inf without a plan."""
        if self.device is None:
            return np.inf
        return max(0.0, self.objective_ms - self.bound_ms) / max(self.objective_ms, 1e-300)

    @property
    def proven(self) -> bool:
        """Whether nothing better is left to find."""
        return self.device is not None and (
            self.objective_ms <= 0.0 or self.bound_ms >= self.objective_ms * (1 - 2 * EXACT)
        )

    def offer(self, lattice: Lattice, pieces: list[tuple[int, IntArray]], phase: str) -> float:
        """Take a plan if it is better; returns its objective in ms."""
        return self.offer_plan(lattice.plan(pieces), phase)

    def offer_plan(self, plan: Plan, phase: str) -> float:
        """Take a plan if it is better; returns its objective in ms (inf if it breaks a rule).

        Relaxations and other methods know less of memory than the search: their plans may break its limits.
        """
        plan = with_recompute(self.problem.instance, plan, self.options)
        if self.memory_by_stage and violations(self.problem.instance, plan, self.options):
            return float(np.inf)
        objective = objective_ms(self.problem.instance, plan, self.options)
        if objective < self.objective_ms:
            self.objective_ms, self.plan = objective, plan
            self.run.keep(plan)
            self.run.report(objective, self.safe_bound, phase)
        return objective

    @property
    def safe_bound(self) -> float:
        """The bound, never above the objective."""
        return min(self.bound_ms, self.objective_ms)

    def raise_bound(self, bound_ms: float, phase: str) -> None:
        """Take a proven bound if it is better."""
        if bound_ms > self.bound_ms:
            self.bound_ms = float(bound_ms)
            self.run.report(None, self.safe_bound, phase)
