"""The test just below the best plan: it finds a better one, or proves that there is none.

Many instances are so easy that merging their items would take longer than the test, so that the graph as it
is comes first, for as long as merging takes. Then merged items and a relaxation (see ``relax``) follow, and
once the relaxation turns out to have a plan, the merged items alone. What was merged for a target serves
smaller ones too, until a test has taken as long as it takes to merge again. Where the bound that sees
transfers gets better, its prices prune the test, which begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from placer.arrays import IntArray
from placer.methods.downsets.lattice import Lattice, close_types
from placer.methods.downsets.linear import best_on_order
from placer.methods.downsets.measures import KnownPrices, join, measures
from placer.methods.downsets.race import Race, ways
from placer.methods.downsets.relax import place_optional, relaxed_below
from placer.methods.downsets.search import NO_LIMIT, Attempt, Limits, Search
from placer.methods.downsets.transfers import TransferBound
from placer.options import Options
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from placer.tolerances import CERTAIN, EQUAL

__all__ = ["Proof"]

STALE = 1e-3
"""Relative distance between targets from which on it may help to merge again."""
BETTER = 0.1
"""Share of the gap that a bound must close for its prices to be worth beginning anew."""


@dataclass(frozen=True, eq=False)
class _Sides:
    """Lattices for targets up to so many ms, each with its reverse: of the relaxation, and exact ones."""

    target: float
    relaxed: tuple[Lattice, ...]
    exact: tuple[Lattice, ...]


@dataclass
class Proof:
    """The test below the best plan, and what is kept of it while plans get better.

    Parameters
    ----------
    lattice
        The items.
    best
        Takes plans and bounds.
    options
        See ``placer.methods``.
    memory_mb
        Memory for the states of one search.
    transfers
        The bound that sees transfers, once there is one.
    """

    lattice: Lattice
    best: Incumbent
    options: Options
    memory_mb: float
    transfers: TransferBound | None = None
    steps: int = 0
    states: int = 0
    impossible: bool = False
    """Whether a test found that there is no plan at all (as fast as asked for)."""
    _race: Race | None = field(default=None, repr=False)
    _sides: _Sides | None = field(default=None, repr=False)
    _prices: KnownPrices = field(default_factory=dict, repr=False)
    _relaxable: bool = True
    _relaxed: bool = False
    """Whether the test under way is one of the relaxation."""
    _passing: bool = False
    """Whether it is worth merging for the test under way once it has taken as long."""
    _priced: float = 0.0
    """The bound whose prices prune the test under way."""

    def go_on(self, run: Run) -> bool:
        """Test while the run goes on; whether there is anything left to do."""
        if not self._relaxed and self._is_priced_better():
            self._race = None
        while run.stopped() is None and not self.best.proven:
            race = self._race_for(self.target(run), run)
            steps, states, before = race.steps, race.states, self.best.value
            at, found = race.go_on(run, self._steps(race))
            self.steps += race.steps - steps
            self.states += race.states - states
            if found.exhausted:
                self.best.raise_bound(min(race.target, self.best.value) * CERTAIN, "search")
                self._race = None
                if self.best.plan is None:
                    self.impossible = True
                    return False
            elif found.pieces is not None:
                self.take(race.sides[at], found, run, relaxed=self._relaxed)
                self._relaxable = self._relaxable and (not self._relaxed or self.best.value < before)
                self._race = None
            elif race.full and self._relaxed:
                self._relaxable, self._race = False, None
            elif race.full:
                return False
        return not self.best.proven

    def target(self, run: Run) -> float:
        """Return what a better plan has at most, in ms; what any plan has while there is none."""
        target = self.best.target if self.best.plan is not None else self.lattice.enough
        return target if run.enough_ms is None else min(target, run.enough_ms * (1 + EQUAL))

    def exact(self, run: Run) -> tuple[Lattice, ...]:
        """Return merged lattices that hold a plan below the best one wherever there is one."""
        target = self.target(run)
        if self._sides is None or self._sides.target < target:
            self._merge(target, run)
        assert self._sides is not None
        return tuple(close_types(side, target) for side in self._sides.exact)

    def search(
        self,
        side: Lattice,
        target: float,
        limits: Limits,
        *,
        relaxed: bool = False,
        order: IntArray | None = None,
    ) -> Search:
        """Begin a test; ``relaxed`` if the lattice is that of the relaxation."""
        m = measures(side.graph, self._prices)
        priced = None if relaxed or self.transfers is None else self.transfers.measure(target, side)
        return Search(side, m if priced is None else join(m, priced), target, limits, order)

    def take(self, side: Lattice, found: Attempt, run: Run, *, relaxed: bool = False) -> None:
        """Offer a plan that a test found, and the best one along its order."""
        pieces = found.pieces or []
        if not relaxed:
            self.best.offer(side.plan(pieces), "search")
            along = np.concatenate([positions for _, positions in pieces])
            best_on_order(side, along, self.best, run, memory_mb=self.memory_mb)
            return
        pieces = place_optional(side, pieces)
        held = [(t, float(side.graph.memory[t, positions].sum())) for t, positions in pieces]
        if all(memory <= side.graph.limit[t] for t, memory in held):
            self.best.offer(side.plan(pieces), "relaxation")

    def _race_for(self, target: float, run: Run) -> Race:
        race = self._race
        if race is None or race.target != target:
            race = self._begin(target)
        elif self._passing and race.work_s >= self._merging_s:
            known = self._sides
            self._merge(target, run)
            race = self._begin(target) if self._is_smaller(known) else race
            self._passing = False
        self._race = race
        return race

    def _begin(self, target: float) -> Race:
        if self._sides is None:
            sides, self._relaxed = ways(close_types(self.lattice, target)), False
            self._passing = True
        else:
            self._relaxed = self._relaxable and bool(self._sides.relaxed)
            sides = self._sides.relaxed if self._relaxed else self._sides.exact
            sides = tuple(close_types(side, target) for side in sides)
            self._passing = self._sides.target > target * (1 + STALE)
        self._priced = self.best.bound if self.transfers is None else self.transfers.bound_ms
        limits, relaxed = Limits(memory_mb=self.memory_mb), self._relaxed
        return Race(sides, target, lambda side: self.search(side, target, limits, relaxed=relaxed))

    def _merge(self, target: float, run: Run) -> None:
        """Merge for a target."""
        relaxed = relaxed_below(self.lattice, target) if self._relaxable else None
        exact = self.lattice.merged(target)
        run.spend(self._merging_s)
        self._sides = _Sides(target, () if relaxed is None else ways(relaxed), ways(exact))

    def _is_smaller(self, known: _Sides | None) -> bool:
        """Whether the sides merged last are better than those used before."""
        assert self._sides is not None
        if known is None:
            return bool(self._sides.relaxed) or self._sides.exact[0].size < self.lattice.size
        return any(
            len(new) != len(old) or (bool(new) and new[0].size < old[0].size)
            for new, old in ((self._sides.relaxed, known.relaxed), (self._sides.exact, known.exact))
        )

    @property
    def _merging_s(self) -> float:
        """Work of `_merge` in nominal seconds."""
        return self.lattice.merging_s * (2 if self._relaxable else 1)

    def _steps(self, race: Race) -> int:
        """Return the steps that a test may take before it is worth merging for it."""
        if not self._passing:
            return NO_LIMIT
        return 1 + int(max(0.0, self._merging_s - race.work_s) / self.lattice.step_s)

    def _is_priced_better(self) -> bool:
        """Whether prices have become so much better that a test under way should use them."""
        if self.transfers is None or self._race is None:
            return False
        known = max(self._priced, self.best.bounds.get("work", 0.0))
        return self.transfers.bound_ms - known > BETTER * (self._race.target - known)
