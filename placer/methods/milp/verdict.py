"""What the end of a solver means for the method that ran it."""

from __future__ import annotations

from placer.plans.status import Stop
from placer.solvers.solution import STOPS, Status

__all__ = ["verdict"]

CONTRADICTION = "the solver contradicts itself on this program, so its bound is left out"
UNDECIDED = "the solver could not tell whether there is a plan"


def verdict(status: Status, *, planned: bool) -> tuple[Stop, str]:
    """Return why the method stops, and what there is to say; ``planned``: whether a plan is known."""
    stop = STOPS.get(status)
    if stop is None or (stop is Stop.INFEASIBLE and planned):
        return Stop.FINISHED, CONTRADICTION if planned else UNDECIDED
    return stop, UNDECIDED if stop is Stop.FINISHED and not planned else ""
