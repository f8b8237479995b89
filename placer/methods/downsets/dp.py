"""Exact contiguous throughput by threshold search over downsets.

The linearised program gives a first plan. A test just below the best objective either finds a better plan or
proves that there is none (see ``proof``). Other ways take turns with it: bisection on the relaxation without
memory limits (see ``bisection``), for ``gpipe`` bisection over boxes of both loads (see ``peak_boxes``),
searches with few states and along random orders for better plans, and the bound that sees transfers (see
``transfers``), whose prices prune the test. Each is taken further for
its share of the counted work; the turns double, and a way that gets on has another. So whichever of them is
the right one for an instance, the others cost a constant multiple of its work. Large graphs begin with the
bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from placer.instance.instance import Instance
from placer.methods.downsets.bisection import Bisection
from placer.methods.downsets.dpl import first_plan, improve, prepare
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.linear import best_on_order
from placer.methods.downsets.measures import measures, root_bound
from placer.methods.downsets.necks import neck_bound
from placer.methods.downsets.orders import depth_first, random_order, tucked
from placer.methods.downsets.peak_boxes import PeakBoxes
from placer.methods.downsets.proof import Proof
from placer.methods.downsets.search import Limits
from placer.methods.downsets.transfers import TransferBound, applicable
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.search.work import ORDER_ENTRY_S
from placer.tolerances import CERTAIN

__all__ = ["DynamicProgram", "solve"]

LARGE = 1000
"""Items from which on bisection comes before all else."""
ALONE = 5
"""Turns that bisection has to itself there until it finds a better plan: without one, all else takes long."""
LARGEST_TURN_S = 300.0
"""Turns in nominal seconds end growing here."""
STATES_SHARE = 0.25
"""Of the memory for each search: four are mostly under way, the test and the bisection on two sides each."""
GETS_ON = 0.1
"""Share of the gap that a way must close within its turn to have another."""
PATIENCE = 12
"""Rounds without any progress after which the search gives up when memory or much effort did not help."""
ENOUGH_STEPS = 2_000_000_000
"""Effort for exactness, after which the gap that was asked for is enough."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find an optimal contiguous plan, or the best one and a bound when a limit stops the search.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    return DynamicProgram(instance, options).go_on(run)


class DynamicProgram:
    """The search, which goes on where the last run ended.

    Parameters
    ----------
    instance, options
        See ``placer.methods``.
    """

    def __init__(self, instance: Instance, options: Options) -> None:
        self.instance, self.options = instance, options
        self._prover: Prover | None = None

    def go_on(self, run: Run) -> Outcome:
        """Search within a run, whose start and bound count; say what is known then."""
        prover = self._prover or self._begin(run)
        if isinstance(prover, Outcome):
            return prover
        self._prover = prover
        prover.listen(run)
        return prover.outcome(prover.search())

    def _begin(self, run: Run) -> Prover | Outcome:
        lattice = prepare(self.instance, self.options, "downsets describe contiguous plans only")
        if isinstance(lattice, Outcome):
            return lattice
        best = Incumbent(self.instance, self.options, run)
        bound = root_bound(measures(lattice.graph), lattice.graph)
        if bound == np.inf:
            return Outcome(Stop.INFEASIBLE, message="the devices that some nodes may use are missing")
        best.raise_bound(bound * CERTAIN, "work")
        best.raise_bound(neck_bound(lattice) * CERTAIN, "necks")
        return Prover(lattice, best, self.options)


@dataclass
class Way:
    """One of the ways that take turns.

    Parameters
    ----------
    go_on
        Works within a run; whether there is anything left to do.
    share
        Of the work, in terms of that of the test.
    least_s
        Work in nominal seconds below which it does not begin.
    saved_s
        Work that it may do: what it did not use stays, and what it did too much is taken off.
    """

    go_on: Callable[[Run], bool]
    share: float
    least_s: float = 0.0
    saved_s: float = 0.0


class Prover:
    """Closes the gap between a plan and its bound."""

    def __init__(self, lattice: Lattice, best: Incumbent, options: Options) -> None:
        self.lattice, self.best, self.options = lattice, best, options
        memory_mb = STATES_SHARE * options.memory_limit_mb
        self.proof = Proof(lattice, best, options, memory_mb)
        self.bisection = Bisection(lattice, best, options, memory_mb)
        self.boxes = PeakBoxes(lattice, best, options, memory_mb)
        self.rng = np.random.default_rng(options.seed)
        self.steps = self.states = 0
        self._improved = False
        test, bisect = Way(self.proof.go_on, 1.0), Way(self.bisection.search, 1.0)
        boxes = Way(self.boxes.go_on, 1.0)
        look, price = Way(self._look, 0.5), Way(self._price, 0.5, TransferBound.first_s(lattice))
        self._large = lattice.size > LARGE
        self._ways = (bisect, boxes, look, test, price) if self._large else (test, bisect, boxes, look, price)
        self._complete = (test, bisect, boxes)
        self._bisect = bisect
        self._turn_s, self._idle = lattice.merging_s, 0
        self._alone = ALONE if self._large else 0

    @property
    def run(self) -> Run:
        """The run that it works within now."""
        return self.best.run

    def listen(self, run: Run) -> None:
        """Work within a run from now on, and take the plan and the bound that it begins with."""
        self.best.follow(run)
        first_plan(self.lattice, self.best, run, self.options)

    def outcome(self, stop: Stop | None) -> Outcome:
        """Say what was found, and why the search stopped (None: it came to its end)."""
        best = self.best
        effort = self, self.proof, self.bisection, self.boxes
        stats = {"steps": sum(x.steps for x in effort), "states": sum(x.states for x in effort)}
        if best.plan is None:
            if stop is None:
                return Outcome(Stop.INFEASIBLE, stats=stats)
            return best.outcome(stop, "stopped before a plan was found", stats)
        message = (
            "" if best.proven or best.is_within(self.options.gap) else "stopped before the optimum was proven"
        )
        return best.outcome(stop or Stop.FINISHED, message, stats)

    def search(self) -> Stop | None:
        """Search until the optimum is proven (None) or a limit stops it."""
        if not self._large and not self._improved:
            self._improve(self.run)
        while self._alone > 0:
            self._alone -= 1
            before_ms = self.best.value
            if not self._take_turn(self._bisect, self._turn_s) or self.best.value < before_ms:
                self._alone = 0
                break
            self._turn_s *= 2
        while True:
            before = self.best.value, self.best.bound
            left = False
            for way in self._ways:
                open_ = self._take_turn(way, self._turn_s)
                left = left or (open_ and way in self._complete)
                if self.best.proven or self.proof.impossible:
                    return None
                if (stop := self.run.stopped()) is not None:
                    return stop
                if self._large and way is self._bisect and self.bisection.near_enough:
                    return None
            if self._steps() > ENOUGH_STEPS and self.best.is_within(self.options.gap):
                return None
            if left:
                self._turn_s = min(2 * self._turn_s, LARGEST_TURN_S)
            self._idle = self._idle + 1 if (self.best.value, self.best.bound) == before else 0
            if self._idle >= PATIENCE and (not left or self._steps() > ENOUGH_STEPS):
                return Stop.MEMORY_LIMIT if not left or self.best.plan is None else None

    def _take_turn(self, way: Way, turn_s: float) -> bool:
        """Let a way work for its share, once more if it gets on; whether it has anything left to do."""
        way.saved_s += way.share * turn_s
        if way.saved_s < way.least_s:
            return False
        way.least_s = 0.0
        more, gap = True, self.best.value - self.best.bound
        for bonus_s in (0.0, way.share * turn_s):
            way.saved_s += bonus_s
            began = self.run.work_s
            if more and way.saved_s > 0.0 and self.run.stopped() is None:
                more = way.go_on(self.run.part(work=way.saved_s))
                way.saved_s -= self.run.work_s - began
            if self.best.proven or not self.best.value - self.best.bound <= (1 - GETS_ON) * gap:
                break
        if not more:
            way.saved_s = min(way.saved_s, 0.0)
        return more

    def _steps(self) -> int:
        return self.steps + self.proof.steps + self.bisection.steps + self.boxes.steps

    def _improve(self, run: Run) -> None:
        """Take the best plans along two orders."""
        improve(self.lattice, self.best, run, self.options, orders=2)
        self._improved = True

    def _price(self, run: Run) -> bool:
        """Improve the bound that sees transfers."""
        proof, best = self.proof, self.best
        if best.plan is None or not applicable(self.lattice):
            return False
        if proof.transfers is None:
            proof.transfers = TransferBound(self.lattice, best.value, run)
        more = proof.transfers.improve(run)
        best.raise_bound(proof.transfers.bound_ms * CERTAIN, "transfers")
        return more

    def _look(self, run: Run) -> bool:
        """Look for better plans by searches with few states and along random orders."""
        if not self._improved:
            self._improve(run)
        while run.stopped() is None and not self.best.proven:
            self._beam(self.proof.target(run), run)
            if self.best.plan is None:
                continue
            order = random_order(self.lattice, self.rng, branches=bool(self.rng.random() < 0.7))
            order = tucked(self.lattice, order)
            run.spend(2 * ORDER_ENTRY_S * self.lattice.entries)
            best_on_order(self.lattice, order, self.best, run, precision=1e-4)
            self._beam(self.best.value - 0.3 * (self.best.value - self.best.bound), run)
        return True

    def _beam(self, target: float, run: Run) -> None:
        """Search with few states per level and few pieces per state, in a random order of branching."""
        sides = self.proof.exact(run)
        side = sides[int(self.rng.integers(len(sides)))]
        if self.rng.random() < 0.5:
            along = depth_first(side)
        else:
            along = random_order(side, self.rng, branches=bool(self.rng.random() < 0.7))
        order = np.empty_like(along)
        order[along] = np.arange(len(along))
        run.spend(ORDER_ENTRY_S * side.entries)
        width = int(self.rng.choice([8, 32, 128]))
        devices = max(1, int(side.graph.devices.sum()))
        left = int((run.work_left or 0.0) / self.lattice.step_s)
        limits = Limits(left, self.proof.memory_mb, width, max(2000, left // (4 * width * devices)))
        search = self.proof.search(side, target, limits, order=order)
        found = search.go_on(run, limits.steps)
        self.steps += found.steps
        self.states += found.states
        if found.pieces is not None:
            self.proof.take(side, found, run)
