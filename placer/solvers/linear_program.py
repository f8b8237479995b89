"""A linear program that is solved once, for its point or for the values of its rows."""

from __future__ import annotations

from formulations.program import Program
from placer.search.run import Run
from placer.solvers.highs import LinearMaster
from placer.solvers.solution import LpSolution, Status

__all__ = ["solve_linear"]

LARGEST = 1e14
"""Coefficients beyond which nothing is solved: the solver takes none of 1e15 and more."""


def solve_linear(program: Program, run: Run, *, seed: int = 0) -> LpSolution:
    """Solve a linear program; integrality is ignored, and coefficients out of proportion are a failure."""
    if program.largest > LARGEST:
        return LpSolution(status=Status.FAILED)
    return LinearMaster(program, seed=seed).solve(run)
