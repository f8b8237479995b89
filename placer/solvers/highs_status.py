"""What HiGHS says of a model when it ends."""

from __future__ import annotations

from placer.solvers.solution import Status

__all__ = ["STATUS"]

STATUS: dict[str, Status] = {
    "kOptimal": Status.OPTIMAL,
    "kModelEmpty": Status.OPTIMAL,
    "kInfeasible": Status.INFEASIBLE,
    "kUnbounded": Status.UNBOUNDED,
    "kUnboundedOrInfeasible": Status.UNBOUNDED,
    "kObjectiveBound": Status.NOTHING_BETTER,
    "kObjectiveTarget": Status.TARGET,
    "kTimeLimit": Status.TIME_LIMIT,
    "kMemoryLimit": Status.MEMORY_LIMIT,
    "kInterrupt": Status.INTERRUPTED,
    "kHighsInterrupt": Status.INTERRUPTED,
    "kIterationLimit": Status.LIMIT,
    "kSolutionLimit": Status.LIMIT,
}
"""What each HiGHS model status (by name) means; all others are failures."""
