"""The smallest largest share of memory: bisection over the share of every limit that a plan may use.

A plan within a share says what it really uses, which is the next upper bound; a proof that there is none
makes the share a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from placer.instance.instance import Instance
from placer.methods.decision.within import Answer, within
from placer.objectives import OBJECTIVES
from placer.options import Objective, Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
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
        search.best.offer(run.start, "start")
    else:
        first = search.ask(1.0)
        if first.plan is None:
            stop = Stop.INFEASIBLE if first.none else first.stop
            return Outcome(stop, message=first.message)
    while not search.is_closed and run.stopped() is None:
        search.ask((search.best.value + search.lowest) / 2)
    message = "" if search.lowest <= search.best.bound else "some shares could not be decided"
    return search.best.outcome(run.stopped() or Stop.FINISHED, message)


@dataclass
class _Search:
    """The search, and the least share that is left to ask for."""

    instance: Instance
    options: Options
    run: Run
    lowest: float = 0.0

    def __post_init__(self) -> None:
        self.best = Incumbent(self.instance, self.options, self.run)

    @property
    def is_closed(self) -> bool:
        """Whether no share is left that would be better by more than the gap asked for."""
        return self.best.value - self.lowest <= max(self.options.gap, ALIKE) * self.best.value

    def ask(self, share: float) -> Answer:
        """Ask for a plan within a share of all limits, and keep what that brings."""
        answer = within(OBJECTIVES[Objective.MEMORY].tightened(self.instance, share), self.options, self.run)
        if answer.plan is not None:
            self.best.offer(answer.plan, self.options.method)
        else:
            self.lowest = share
            if answer.none:
                self.best.raise_bound(share, self.options.method)
        return answer
