"""Better contiguous plans by annealing: clusters of items wander between devices whose order is redrawn.

Where many items lie beside each other, as those that read one hub, no move of a single item makes the most
loaded device faster, but exchanges of several do.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.local_search.local_search import TOO_LARGE, exceeds_memory, items_to_move
from placer.methods.local_search.polish import SCHEDULES, Polish
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run

__all__ = ["solve"]

MOVES, MOVES_PER_ITEM = 1_000_000, 5_000
"""Moves of one annealing, at most."""
UNKNOWN = 0.8
"""The bound, as a share of the best plan, where none is known."""
PATIENCE = 15
"""Annealings in a row without a better plan after which no more are tried."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Improve a plan; it proves nothing.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.  Without a start in the run there is nothing to improve.
    """
    best = Incumbent(instance, options, run)
    best.follow(run)
    if best.plan is None or best.value == 0.0:
        return best.outcome(Stop.FINISHED, "needs a plan")
    problem = items_to_move(instance, options)
    if exceeds_memory(problem, options):
        return best.outcome(Stop.MEMORY_LIMIT, TOO_LARGE)

    def objective_ms(device: IntArray) -> float:
        better = polish.load_ms(device) < best.value
        return best.offer(problem.plan(device), "annealing") if better else np.inf

    polish = Polish(problem, options, objective_ms)
    polish.best, polish.best_ms = problem.start(best.plan), best.value
    moves = min(MOVES, MOVES_PER_ITEM * problem.size)
    failures = tried = 0
    while polish.best is not None and failures < PATIENCE:
        if best.proven or run.stopped() is not None:
            break
        heat, reach = SCHEDULES[tried % len(SCHEDULES)]
        lower = best.bound or UNKNOWN * best.value
        tried += 1
        better = polish.anneal(polish.best, lower, run, moves=moves, reach=reach, heat=heat)
        failures = 0 if better else failures + 1
    return best.outcome(run.stopped() or Stop.FINISHED, stats={"annealings": tried})
