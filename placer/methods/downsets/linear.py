"""The linearised program: the best plan whose pieces are intervals of one topological order.

On a chain every prefix is a downset, and a state has one way to grow: a threshold test costs as much as the
pieces near the target, and bisection does the rest.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import measures, root_bound
from placer.methods.downsets.search import Limits, attempt
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from placer.tolerances import CERTAIN, EXACT

__all__ = ["best_on_order"]


def best_on_order(
    lattice: Lattice,
    positions: IntArray,
    best: Incumbent,
    run: Run,
    *,
    precision: float = EXACT,
    memory_mb: float = 512.0,
    phase: str = "linear order",
    alone: bool = False,
) -> bool:
    """Find the best plan along an order, if it is better than the incumbent; whether it was.

    Parameters
    ----------
    lattice
        The items.
    positions
        Topological order, ``(N,)``.
    best
        Takes the plans.
    run
        The clock.
    precision
        Relative precision of the optimum on this order.
    memory_mb
        For states.
    phase
        Names what finds a plan.
    alone
        Whether the items have no other order: then a test that finds nothing bounds the objective.
    """
    chain = lattice.chained(positions)
    if chain.one_way and not chain.backwards:
        chain = chain.reversed()
    m = measures(chain.graph)
    low = max(best.bound, root_bound(m, chain.graph))
    limits = Limits(memory_mb=memory_mb)
    high, step = best.value, 0.01
    improved, closing = False, best.plan is not None
    while run.stopped() is None and low < high * (1 - 2 * precision):
        # After a bisection step found a plan, it is often the best: one test just below it tells.
        if closing:
            target = high * (1 - precision)
        elif high < np.inf:
            target = (low + high) / 2
        else:
            target = min(low * (1 + step), lattice.enough) if low > 0 else lattice.enough
            step *= 4
        found = attempt(chain, m, target, run, limits)
        if found.pieces is not None:
            high = min(best.offer(chain.plan(found.pieces), phase), target)
            improved, closing = True, not closing
        else:
            if alone and found.exhausted:
                best.raise_bound(min(target, best.value) * CERTAIN, phase)
            if closing or target >= lattice.enough:
                break
            low = target
    return improved
