"""Better contiguous plans by annealing: clusters of items wander between devices whose order is redrawn.

Where many items lie beside each other, as those that read one hub, no move of a single item makes the most
loaded device faster, but exchanges of several do.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.local_search.local_search import TOO_LARGE, exceeds_memory, items_to_move
from placer.methods.local_search.polish import Polish
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run

__all__ = ["solve"]

MOVES, MOVES_PER_ITEM = 1_000_000, 5_000
"""Moves of one annealing, at most."""
SHORTER = 10
"""The first annealing is so many times shorter; they grow when they find nothing better."""
UNKNOWN = 0.8
"""The bound, as a share of the best plan, where none is known."""
HEATS = (0.02, 0.005, 0.05)
"""First temperatures in targets, of annealings in turn."""
REACHES, GROWTH = (0.01, 0.1, 0.4), 2.0
"""Target as a share of the gap: least, first and most; it grows where it was reached, else shrinks."""
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
    longest = min(MOVES, MOVES_PER_ITEM * problem.size)
    moves = -(-longest // SHORTER)
    least, first, most = REACHES
    failures, tried, reach = 0, 0, first
    while polish.best is not None and failures < PATIENCE:
        if best.proven or run.stopped() is not None:
            break
        lower = best.bound or UNKNOWN * best.value
        target = best.value - reach * (best.value - lower)
        heat = HEATS[tried % len(HEATS)]
        better = polish.anneal(polish.best, lower, run, moves=moves, reach=reach, heat=heat)
        tried += 1
        failures = 0 if better else failures + 1
        moves = moves if better else min(longest, 2 * moves)
        reach = min(most, reach * GROWTH) if best.value <= target else max(least, reach / GROWTH)
    return best.outcome(run.stopped() or Stop.FINISHED, stats={"annealings": tried})
