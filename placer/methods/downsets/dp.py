"""Exact contiguous throughput by threshold search over downsets.

The linearised program gives a first plan. Then a test just below the best objective either finds a better
plan or proves that there is none; it runs on the graph and on its reverse by turns with growing budgets,
since one of them is often a thousand times cheaper. Where the budget does not suffice, three things
happen between two rounds: bisection on the relaxation without memory limits (see ``bisection``), beam
searches and perturbed linear orders, and the bound that sees transfers is improved (its prices prune later
tests).
Large graphs begin with the bisection, and end with it once it proves the gap that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.downsets.bisection import Bisection
from placer.methods.downsets.dpl import first_plan, improve, prepare
from placer.methods.downsets.kernels.arrays import Measures
from placer.methods.downsets.lattice import Lattice, close_types
from placer.methods.downsets.linear import best_on_order
from placer.methods.downsets.measures import KnownPrices, direction_bounds, join, measures, root_bound
from placer.methods.downsets.orders import depth_first, random_order, tucked
from placer.methods.downsets.relax import place_optional, relaxed_below
from placer.methods.downsets.search import Attempt, Limits, attempt
from placer.methods.downsets.transfers import TransferBound, applicable
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.tolerances import CERTAIN, EQUAL

__all__ = ["solve"]

FIRST_STEPS = 50_000
"""Budget of the first tests (a millisecond): many instances need no more, and merging would take longer."""
PLENTY_STEPS = 16 * FIRST_STEPS
"""Budget from which on other ways are tried as well."""
LARGEST_STEPS = 20_000_000_000
"""Largest budget of one test (some minutes); growing fourfold for ever would starve all else."""
PATIENCE = 12
"""Rounds without any progress after which the search gives up when memory or much effort did not help."""
LARGE = 1000
"""Items from which on bisection comes before all else."""
BISECTION_STEPS = 20_000
"""Budget per item of the first tests of large graphs."""
ENOUGH_STEPS = 2_000_000_000
"""Effort for exactness, after which the gap that was asked for is enough."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find an optimal contiguous plan, or the best one and a bound when a limit stops the search.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    lattice = prepare(instance, options, "downsets describe contiguous plans only")
    if isinstance(lattice, Outcome):
        return lattice
    best = Incumbent(instance, options, run)
    bound = root_bound(measures(lattice.graph), lattice.graph)
    if bound == np.inf:
        return Outcome(Stop.INFEASIBLE, message="the devices that some nodes may use are missing")
    best.raise_bound(bound * CERTAIN, "work")
    if run.start is not None:
        best.offer(run.start, "start")
    first_plan(lattice, best, run, options)
    prover = Prover(lattice, best, options, run)
    if lattice.size > LARGE and prover.bisect():
        return prover.outcome(run.stopped())
    improve(lattice, best, run, options, orders=2)
    return prover.outcome(prover.search())


@dataclass
class Prover:
    """Closes the gap between a plan and its bound."""

    lattice: Lattice
    best: Incumbent
    options: Options
    run: Run
    steps: int = 0
    states: int = 0
    transfers: TransferBound | None = None
    rng: np.random.Generator = field(init=False)
    _prices: KnownPrices = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.options.seed)
        self._cache: tuple[float, tuple[Lattice, ...], tuple[Lattice, ...]] | None = None
        self._relaxable = True
        self._bisection = Bisection(self.lattice, self.best, self.options, self.run)

    def outcome(self, stop: Stop | None) -> Outcome:
        """Say what was found, and why the search stopped (None: it came to its end)."""
        best = self.best
        effort = self, self._bisection
        stats = {"steps": sum(x.steps for x in effort), "states": sum(x.states for x in effort)}
        if best.plan is None:
            if stop is None:
                return Outcome(Stop.INFEASIBLE, stats=stats)
            return best.outcome(stop, "stopped before a plan was found", stats)
        message = (
            "" if best.proven or best.is_within(self.options.gap) else "stopped before the optimum was proven"
        )
        return best.outcome(stop or Stop.FINISHED, message, stats)

    def bisect(self) -> bool:
        """Bisect with growing budgets; whether that proves the gap asked for."""
        budget = BISECTION_STEPS * self.lattice.size
        return any(self._bisection.search(growth * budget) for growth in (1, 4, 16))

    def search(self) -> Stop | None:
        """Search until the optimum is proven (None) or a limit stops it."""
        budget, idle = FIRST_STEPS, 0
        while not self.best.proven:
            before = self.best.value, self.best.bound
            target = self.best.target if self.best.plan is not None else self.lattice.enough
            if self.run.enough_ms is not None:
                target = min(target, self.run.enough_ms * (1 + EQUAL))
            found, full = self._both_ways(target, budget)
            if found.exhausted and self.best.plan is None:
                return None
            if not found.exhausted and self.best.value >= before[0]:
                if budget > FIRST_STEPS:
                    self._between_rounds(budget, target)
                budget = min(4 * budget, LARGEST_STEPS)
            if (stop := self.run.stopped()) is not None:
                return stop
            if self.steps > ENOUGH_STEPS and self.best.is_within(self.options.gap):
                return None
            idle = idle + 1 if (self.best.value, self.best.bound) == before else 0
            if idle >= PATIENCE and (full or self.steps > ENOUGH_STEPS):
                return Stop.MEMORY_LIMIT if full or self.best.plan is None else None
        return None

    def _both_ways(self, target: float, budget: int) -> tuple[Attempt, bool]:
        """Test a target on the graph and on its reverse; whether the memory did not suffice for either."""
        limits = Limits(steps=budget, memory_mb=self.options.memory_limit_mb / 3)
        if budget == FIRST_STEPS:  # many instances are so easy that merging would take longer than the search
            plain = close_types(self.lattice, target)
            relaxed: tuple[Lattice, ...] = ()
            smaller = _ways(plain)
        else:
            relaxed, smaller = self._sides(target)
        full = True
        for side in relaxed:
            before = self.best.value
            found = self._test_relaxed(side, target, limits)
            if found.exhausted or self.best.value < before or self.run.stopped() is not None:
                return found, False
            full = full and found.stop is Stop.MEMORY_LIMIT
            if found.pieces is not None:  # the relaxation has a plan where the problem may have none
                self._relaxable = False
                break
        else:
            if relaxed and not full:
                return found, False
        full = True
        for side in smaller:
            found = self._test(side, target, limits)
            if found.pieces is not None or found.exhausted or self.run.stopped() is not None:
                return found, False
            full = full and found.stop is Stop.MEMORY_LIMIT
        return found, full

    def _sides(self, target: float) -> tuple[tuple[Lattice, ...], tuple[Lattice, ...]]:
        """Relaxed and exact lattices for a target, each with its reverse; kept while the target stays."""
        if self._cache is None or self._cache[0] != target:
            relaxed = relaxed_below(self.lattice, target) if self._relaxable else None
            smaller = self.lattice.merged(target)
            both = () if relaxed is None else _ways(relaxed)
            self._cache = (target, both, _ways(smaller))
        _, relaxed_sides, exact_sides = self._cache
        return (relaxed_sides if self._relaxable else ()), exact_sides

    def _test_relaxed(self, side: Lattice, target: float, limits: Limits) -> Attempt:
        """One test of a relaxation: complete without a plan it proves as much as one of the problem."""
        found = self._attempt(side, measures(side.graph, self._prices), target, limits, None)
        if found.pieces is not None:
            pieces = place_optional(side, found.pieces)
            held = [(t, float(side.graph.memory[positions].sum())) for t, positions in pieces]
            if all(memory <= side.graph.limit[t] for t, memory in held):
                self.best.offer(side.plan(pieces), "relaxation")
        return found

    def _test(self, side: Lattice, target: float, limits: Limits, order: IntArray | None = None) -> Attempt:
        """One test; a plan goes to the incumbent, and its own order is searched."""
        m = measures(side.graph, self._prices)
        priced = None if self.transfers is None else self.transfers.measure(target, side)
        if priced is not None:
            m = join(m, priced)
        found = self._attempt(side, m, target, limits, order)
        if found.pieces is not None:
            self.best.offer(side.plan(found.pieces), "search")
            along = np.concatenate([positions for _, positions in found.pieces])
            best_on_order(side, along, self.best, self.run, memory_mb=limits.memory_mb)
        return found

    def _attempt(
        self, side: Lattice, m: Measures, target: float, limits: Limits, order: IntArray | None
    ) -> Attempt:
        if side.graph.ok.any(axis=0).all():
            floor = direction_bounds(m, side.graph)
            found = attempt(side, m, target, self.run, limits, floor=floor, order=order)
        else:  # at this target some item exceeds every device by itself
            found = Attempt(None, True, None, 0, 0)
        self.steps += found.steps
        self.states += found.states
        if found.exhausted:
            self.best.raise_bound(min(target, self.best.value) * CERTAIN, "search")
        return found

    def _between_rounds(self, budget: int, target: float) -> None:
        """Raise the bound and improve the plan in other ways, with an effort that grows with the budget."""
        best = self.best
        self._bisection.search(budget)
        for _ in range(4):
            if self.run.stopped() is not None or best.proven:
                return
            self._beam(best.target if best.plan is not None else target, budget // 4)
        if best.plan is None or budget < PLENTY_STEPS:
            return
        if applicable(self.lattice):
            if self.transfers is None:
                self.transfers = TransferBound(self.lattice, best.value)
            rounds = min(400, max(20, budget // 20_000))
            best.raise_bound(self.transfers.improve(self.run, rounds) * CERTAIN, "transfers")
        for _ in range(4):
            if self.run.stopped() is not None or best.proven:
                return
            self._beam(best.value - 0.3 * (best.value - best.bound), budget // 4)
            self._beam(best.target, budget // 4)
            order = random_order(self.lattice, self.rng, branches=bool(self.rng.random() < 0.7))
            best_on_order(self.lattice, tucked(self.lattice, order), best, self.run, precision=1e-4)

    def _beam(self, target: float, budget: int) -> None:
        """Search with few states per level and few pieces per state, in a random order of branching."""
        sides = self._sides(self.best.target if self.best.plan is not None else target)[1]
        side = sides[int(self.rng.integers(len(sides)))]
        if self.rng.random() < 0.5:
            along = depth_first(side)
        else:
            along = random_order(side, self.rng, branches=bool(self.rng.random() < 0.7))
        order = np.empty_like(along)
        order[along] = np.arange(len(along))
        width = int(self.rng.choice([8, 32, 128]))
        devices = max(1, int(side.graph.devices.sum()))
        piece_steps = max(2000, budget // (width * devices))
        limits = Limits(budget, self.options.memory_limit_mb / 3, width, piece_steps)
        self._test(side, target, limits, order)


def _ways(lattice: Lattice) -> tuple[Lattice, ...]:
    """Return the reverse of a lattice, and the lattice itself where that tells as much."""
    return (lattice.reversed(),) if lattice.one_way else (lattice.reversed(), lattice)
