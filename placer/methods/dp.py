"""Exact contiguous throughput by threshold search over downsets.

The linearised program gives a first plan.  Then a test just below the best objective either finds a better plan or
proves that there is none; it runs on the graph and on its reverse by turns with growing budgets, since one of
them is often a thousand times cheaper.  Where the budget does not suffice, beam searches at targets between bound and
objective improve the plan, and full tests there raise the bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.downsets.incumbent import Incumbent
from placer.downsets.lattice import Lattice
from placer.downsets.linear import best_on_order
from placer.downsets.measures import direction_bounds, measures, root_bound
from placer.downsets.merges import merge_below
from placer.downsets.search import Attempt, Limits, attempt
from placer.instance import Instance
from placer.methods.dpl import CERTAIN, improve, unplaceable
from placer.options import Options
from placer.run import Outcome, Run, Stop

__all__ = ["solve"]

FIRST_STEPS = 50_000


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find an optimal contiguous plan, or the best one and a bound when a limit stops the search.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    if not options.contiguous:
        return Outcome(Stop.NOT_APPLICABLE, message="downsets describe contiguous plans only")
    lattice = Lattice.of(instance, options)
    if message := unplaceable(lattice):
        return Outcome(Stop.INFEASIBLE, message=message)
    best = Incumbent(lattice, options, run)
    bound = root_bound(measures(lattice.graph), lattice.graph)
    if bound == np.inf:
        return Outcome(Stop.INFEASIBLE, message="the devices that some nodes may use are missing")
    best.raise_bound(bound * CERTAIN, "work")
    if run.start is not None:
        best.offer_device(run.start.device, "start")
    improve(lattice, best, run, options)
    return Prover(lattice, best, options, run).outcome()


@dataclass
class Prover:
    """Closes the gap between a plan and its bound."""

    lattice: Lattice
    best: Incumbent
    options: Options
    run: Run
    steps: int = 0
    states: int = 0

    def outcome(self) -> Outcome:
        """Search until the optimum is proven or a limit stops it."""
        stop = self._search()
        best = self.best
        stats = {"steps": self.steps, "states": self.states}
        if best.device is None:
            if stop is None:
                return Outcome(Stop.INFEASIBLE, message="proven: no contiguous plan exists", stats=stats)
            return Outcome(stop, None, best.bound_ms, "stopped before a plan was found", stats)
        message = "" if best.proven else "stopped before the optimum was proven"
        return Outcome(stop or Stop.FINISHED, best.plan, best.safe_bound, message, stats)

    def _search(self) -> Stop | None:
        budget, full = FIRST_STEPS, 0
        while not self.best.proven:
            target = self.best.target if self.best.device is not None else self.lattice.enough
            limits = Limits(steps=budget, memory_mb=self.options.memory_limit_mb / 2)
            smaller = merge_below(self.lattice, target)
            full = 0
            for side in (smaller, smaller.reversed()):
                found = self._test(side, target, limits)
                if self.run.stopped() is not None:
                    return self.run.stopped()
                if found.exhausted:
                    if self.best.device is None:
                        return None
                    self.best.raise_bound(target * CERTAIN, "search")
                    break
                if found.pieces is not None:
                    break
                full += found.stop is Stop.MEMORY_LIMIT
            if full == 2:
                return Stop.MEMORY_LIMIT
            if found.pieces is None:
                budget *= 4
        return None

    def _test(self, side: Lattice, target: float, limits: Limits) -> Attempt:
        """One test; a plan goes to the incumbent, and its own order is searched."""
        if (side.graph.ok.sum(axis=0) == 0).any():
            return Attempt(None, True, None, 0, 0)
        m = measures(side.graph)
        floor = direction_bounds(m, side.graph)
        found = attempt(side, m, target, self.run, limits, floor=floor)
        self.steps += found.steps
        self.states += found.states
        if found.pieces is not None:
            self.best.offer(side, found.pieces, "search")
            order = np.concatenate([positions for _, positions in found.pieces])
            best_on_order(side, order, self.best, self.run, memory_mb=limits.memory_mb)
        return found
