"""What a solve is asked for and what it holds, whichever solver runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from placer.arrays import FloatArray
from placer.plans.status import Stop

__all__ = ["STOPS", "LpSolution", "Settings", "Solution", "Status"]


class Status(StrEnum):
    """Why the solver stopped; what it holds then is a separate question."""

    OPTIMAL = "optimal"
    """The gap asked for is proven."""
    INFEASIBLE = "infeasible"
    NOTHING_BETTER = "nothing better"
    """There is no point better than the cutoff."""
    UNBOUNDED = "unbounded"
    TIME_LIMIT = "time limit"
    WORK_LIMIT = "work limit"
    MEMORY_LIMIT = "memory limit"
    INTERRUPTED = "interrupted"
    TARGET = "target"
    """A point at or below the target was found."""
    LIMIT = "limit"
    """A limit on nodes, iterations or points."""
    FAILED = "failed"
    """Numerical or internal failure, or claims that contradict each other; the log says more."""


STOPS = {
    Status.OPTIMAL: Stop.FINISHED,
    Status.NOTHING_BETTER: Stop.FINISHED,
    Status.INFEASIBLE: Stop.INFEASIBLE,
    Status.TIME_LIMIT: Stop.TIME_LIMIT,
    Status.WORK_LIMIT: Stop.WORK_LIMIT,
    Status.MEMORY_LIMIT: Stop.MEMORY_LIMIT,
    Status.INTERRUPTED: Stop.INTERRUPTED,
    Status.LIMIT: Stop.FINISHED,
}
"""Why a method stops whose solver stopped so; the others leave that open."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to solve.

    Parameters
    ----------
    gap
        Relative gap at which to stop.
    threads, seed
        Equal values give equal results.
    cutoff
        Only points with a smaller objective are of interest; the bound never exceeds it.
    target
        Stop at the first point with an objective at or below it.
    memory_limit_mb
        Stop when the process holds more resident memory than this.
    feasibility
        Absolute tolerance of rows, bounds and integrality.
    node_limit
        Stop after so many branch-and-bound nodes.
    confirm
        Whether a claim that the program is infeasible is checked by solving it again in another way.
    extra
        Further HiGHS options by name, in pairs.
    """

    gap: float = 1e-4
    threads: int = 1
    seed: int = 0
    cutoff: float | None = None
    target: float | None = None
    memory_limit_mb: float | None = None
    feasibility: float = 1e-6
    node_limit: int | None = None
    confirm: bool = False
    extra: tuple[tuple[str, float | int | str | bool], ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Solution:
    """What a solve holds.

    Parameters
    ----------
    status
        Why the solver stopped.
    values
        The best point, ``(n,)``, integer columns rounded; None when there is none.
    objective
        Its objective; None when there is none.
    bound
        Proven lower bound within the solver's tolerances; None when there is none.
    nodes
        Branch-and-bound nodes.
    seconds
        Wall-clock time.
    start_used
        Whether the given start was feasible (None: no start was given).
    """

    status: Status
    values: FloatArray | None = None
    objective: float | None = None
    bound: float | None = None
    nodes: int = 0
    seconds: float = 0.0
    start_used: bool | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class LpSolution:
    """Solution of a linear program; the arrays are None unless the status is optimal.

    Parameters
    ----------
    values
        ``(n,)``.
    row_dual
        ``(m,)``; the derivative of the optimum with respect to each row's active side.
    """

    status: Status
    objective: float | None = None
    values: FloatArray | None = None
    row_dual: FloatArray | None = None
