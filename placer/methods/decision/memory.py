"""The smallest largest share of memory: bisection over the share of every limit that a plan may use.

A plan within a share says what it really uses, which is the next upper bound; a proof that there is none
makes the share a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from placer.instance.instance import Instance
from placer.methods.decision.within import Answer, within
from placer.objectives import OBJECTIVES
from placer.options import Objective, Options
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.run import Outcome, Run
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["solve"]

ALIKE = 4 * MEMORY_TOLERANCE
"""Relative distance of two shares that the rounding of memory limits explains."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find the most even plan, with a method that answers whether there is one within given limits.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``; the objective is memory.
    """
    search = _Search(instance, options, run)
    if run.start is not None:
        search.take(run.start)
    else:
        first = search.ask(1.0)
        if first.plan is None:
            stop = Stop.INFEASIBLE if first.none else first.stop
            return Outcome(stop, message=first.message)
    while not search.is_closed and run.stopped() is None:
        search.ask((search.upper + search.lowest) / 2)
    message = "" if search.lowest <= search.bound else "some shares could not be decided"
    return Outcome(run.stopped() or Stop.FINISHED, search.plan, search.bound, message)


@dataclass
class _Search:
    """The best plan and bound so far, and the least share that is left to ask for."""

    instance: Instance
    options: Options
    run: Run
    plan: Plan | None = None
    upper: float = inf
    bound: float = 0.0
    lowest: float = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether no share is left that would be better by more than the gap asked for."""
        return self.upper - self.lowest <= max(self.options.gap, ALIKE) * self.upper

    def ask(self, share: float) -> Answer:
        """Ask for a plan within a share of all limits, and keep what that brings."""
        answer = within(OBJECTIVES[Objective.MEMORY].tightened(self.instance, share), self.options, self.run)
        if answer.plan is not None:
            self.take(answer.plan)
        else:
            self.lowest = share
            self.bound = share if answer.none and share <= self.upper else self.bound
        self.run.report(None if self.plan is None else self.upper, self.bound, self.options.method)
        return answer

    def take(self, plan: Plan) -> None:
        """Keep a plan; its share is at most that asked for, but for rounding."""
        self.plan, self.upper = plan, objective_of(self.instance, plan, self.options)
        self.run.keep(plan)
