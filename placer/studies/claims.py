"""What methods claim about one problem: how good their plans are, and who contradicts whom."""

from __future__ import annotations

from typing import Protocol

from placer.tolerances import BOUND_TOLERANCE

__all__ = ["Claim", "ratio", "refuted"]


class Claim(Protocol):
    """The verified plan of a method and its proven bound, where it has them."""

    @property
    def method(self) -> str:
        """Its name, for people."""

    @property
    def objective(self) -> float | None:
        """Of its plan."""

    @property
    def bound(self) -> float | None:
        """That no plan is below."""


def ratio(objective: float | None, best: float | None) -> float | None:
    """Return how many times the best objective another one is; None where that means nothing."""
    if objective is None or best is None:
        return None
    if best > 0:
        return objective / best
    return 1.0 if objective == 0 else None


def refuted(claim: Claim, plan: Claim, unit: str, *, infeasible: bool) -> str | None:
    """Say how the plan of a method contradicts what another one claims to have proven; None if it does not.

    Parameters
    ----------
    claim, plan
        What is claimed, and who has a plan, if any.
    unit
        Of objectives and bounds.
    infeasible
        Whether it is claimed that there is no plan.
    """
    if plan.objective is None:
        return None
    but = f"but {plan.method} has a verified plan of {plan.objective!r} {unit}"
    if infeasible:
        return f"{claim.method} claims that there is no plan, {but}"
    if claim.bound is not None and claim.bound > plan.objective * (1 + BOUND_TOLERANCE):
        return f"{claim.method} claims that no plan is below {claim.bound!r} {unit}, {but}"
    return None
