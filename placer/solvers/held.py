"""What a running solve holds: the best point and the best bound."""

from __future__ import annotations

import logging

import numpy as np

from formulations.program import Program
from placer.arrays import FloatArray
from placer.solvers.solution import Settings, Solution, Status
from placer.tolerances import BOUND_TOLERANCE, POINT_TOLERANCE

__all__ = ["Held"]

logger = logging.getLogger(__name__)


class Held:
    """The best point and the best bound so far, whatever stops the solver.

    Parameters
    ----------
    program
        What is solved.
    settings
        How it is solved: tolerance and cutoff.
    """

    def __init__(self, program: Program, settings: Settings) -> None:
        self.program = program
        self.cutoff = settings.cutoff
        self.feasibility = settings.feasibility
        self.values: FloatArray | None = None
        self.objective: float | None = None
        self.bound: float | None = None
        self.claimed = -np.inf
        """The best bound as the solver claims it, also above the best point."""
        self.nodes = 0

    def point(self) -> FloatArray:
        """Return the best point, which must exist."""
        assert self.values is not None
        return self.values

    def take_start(self, start: FloatArray | None) -> bool | None:
        """Keep a given start if it is feasible; return whether it is (None: no start)."""
        if start is None:
            return None
        excess = self.program.excess(start)
        if excess > self.feasibility:
            logger.warning("MIP start not used: it breaks a row or bound by %g", excess)
            return False
        self.take(start)
        logger.info("MIP start used: objective %.9g", self.objective)
        return True

    def take(self, values: FloatArray) -> bool:
        """Keep a point if it is feasible and the best one; integer columns are rounded."""
        if self.program.excess(values) > max(POINT_TOLERANCE, self.feasibility):
            logger.warning("the solver handed back a point that is not feasible")
            return False
        values = np.where(self.program.integer, np.round(values), values) + 0.0  # no -0.0
        objective = self.program.objective(values)
        if self.objective is not None and objective >= self.objective:
            return False
        self.values, self.objective = values, objective
        return True

    def take_bound(self, bound: float, nodes: int) -> bool:
        """Keep a bound if it is better; it never exceeds the best objective nor the cutoff."""
        self.nodes = max(self.nodes, nodes)
        if not np.isfinite(bound):
            return False
        self.claimed = max(self.claimed, bound)
        bound = min(x for x in (bound, self.objective, self.cutoff) if x is not None)
        if self.bound is not None and bound <= self.bound:
            return False
        self.bound = bound
        return True

    def forget_bound(self) -> None:
        """Drop the bound, whatever was claimed."""
        self.bound, self.claimed = None, -np.inf

    def solution(self, status: Status, seconds: float, start_used: bool | None) -> Solution:
        """Return what is held at the end."""
        return Solution(
            status=status,
            values=self.values,
            objective=self.objective,
            bound=self.bound,
            nodes=self.nodes,
            seconds=seconds,
            start_used=start_used,
        )

    @property
    def contradicted(self) -> bool:
        """Whether the solver claimed a bound above a point that it was looking for."""
        if self.objective is None or (self.cutoff is not None and self.objective >= self.cutoff):
            return False
        return self.claimed > self.objective + BOUND_TOLERANCE * max(1.0, abs(self.objective))

    def misses(self, cutoff: float) -> bool:
        """Whether there is no point at or below a cutoff."""
        return self.objective is None or self.objective > cutoff

    def proves(self, gap: float) -> bool:
        """Whether the bound is within a relative gap of the best point, up to rounding."""
        if self.objective is None or self.bound is None:
            return False
        rounding = BOUND_TOLERANCE * max(1.0, abs(self.objective))
        return self.objective - self.bound <= gap * abs(self.objective) + rounding
