"""Bisection between bound and plan, on the relaxation without memory limits.

Memory limits that rarely bind still forbid most merges, and with them the search is thousands of times
slower. Without the limits a test that fails proves as much: there is no plan. A plan that it finds is
checked; if it breaks a limit, the same search with limits looks for one that does not.

Searches with few states per level come first: on long graphs they find plans next to the best ones in
fractions of a second. Then complete tests half-way between bound and plan raise the bound or improve the
plan, on the graph and on its reverse by turns. Budgets are counted in steps, so that the same instance and
seed give the same plan wherever the clock does not stop it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from placer.methods.downsets.kernels.arrays import Measures
from placer.methods.downsets.lattice import Lattice, close_types
from placer.methods.downsets.measures import KnownPrices, direction_bounds, measures
from placer.methods.downsets.search import Attempt, Limits, attempt
from placer.options import Options
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from placer.tolerances import CERTAIN, EXACT

__all__ = ["Bisection", "without_limits"]

FIRST_RISE = 0.01
"""Relative distance of the first target from the bound; it doubles until there is a plan."""
BEAM_PRECISION = 1e-3
"""Relative distance of targets, with and without a plan, at which searches with few states end."""
MERGED_FOR = 1.25
"""Merges are made for targets up to this multiple of the present one (and serve all smaller ones)."""
BEAMS = ((4, 20_000), (16, 20_000))
"""States per level and steps per state, the cheaper ones first."""
CLOSE = 1e-6
"""Relative gap from which on the target lies just below the best plan instead of half-way."""


def without_limits(lattice: Lattice) -> Lattice:
    """Return the relaxation in which accelerators hold any amount of memory."""
    return lattice.rebuilt(lattice.problem, limited=False)


@dataclass
class Bisection:
    """Bisection with budgets; it keeps what it learned between calls.

    Parameters
    ----------
    lattice
        The items.
    best
        Takes plans and bounds.
    options, run
        See ``placer.methods``.
    """

    lattice: Lattice
    best: Incumbent
    options: Options
    run: Run
    steps: int = 0
    states: int = 0
    _rise: float = FIRST_RISE
    _sides: tuple[Lattice, Lattice] | None = field(default=None, repr=False)
    _prices: KnownPrices = field(default_factory=dict, repr=False)
    _merged_for: float = 0.0
    _leading: int = 0
    """The side that settled the last test."""
    _missed: float = 0.0
    """Largest target at which searches with few states found nothing."""
    _loose: float = np.inf
    """Smallest target that only a plan beyond the memory limits, or above the target, is known for."""

    def search(self, budget: int) -> bool:
        """Bisect with so many steps per test; whether the gap asked for is proven."""
        self._find_plans()
        while self.run.stopped() is None and not self.near_enough:
            target = self._target()
            if target is None or not self._settle(target, budget):
                break
        return self.near_enough

    @property
    def near_enough(self) -> bool:
        """Whether nothing is left to do."""
        return self.best.proven or self.best.is_within(self.options.gap)

    def _find_plans(self) -> None:
        """Bisect by searches with few states until the targets with and without a plan are close."""
        while self.run.stopped() is None and not self.near_enough and self.best.bound > 0:
            low, high = max(self.best.bound, self._missed), self.best.value
            if high <= low * (1 + BEAM_PRECISION) or low >= self.lattice.enough:
                return
            target = min(low * (1 + self._rise), (low + high) / 2)
            before = self.best.value
            # A plan may cost more than the target once what recomputes is known: then it is no progress.
            if not self._beams(target) or self.best.value >= before:
                self._missed = target
                self._rise *= 2

    def _beams(self, target: float) -> bool:
        """Search with few states per level; whether that found a plan."""
        for side in self._sides_for(target):
            for width, pieces in BEAMS:
                devices = max(1, int(side.graph.devices.sum()))
                limits = Limits(2 * width * pieces * devices, self._memory_mb, width, pieces)
                found = self._attempt(side, target, limits)
                if self._take(side, found, target, limits):
                    return True
                if found.exhausted or self.run.stopped() is not None:
                    return False
        return False

    def _target(self) -> float | None:
        """Return the next target, or None when plans without limits say no more."""
        low, high = self.best.bound, min(self.best.value, self._loose)
        if low <= 0.0:
            return None if high == np.inf else high / 2
        if high <= low * (1 + CLOSE):
            return None if high == self._loose else self.best.target
        return min(low * (1 + self._rise), (low + high) / 2)

    def _settle(self, target: float, budget: int) -> bool:
        """Find out whether there is a plan within the target, up to memory; False if the budget ended."""
        sides = self._sides_for(target)
        for share, turn in ((0.25, 0), (0.25, 1), (0.5, 0)):
            side = sides[(self._leading + turn) % 2]
            limits = Limits(int(share * budget), self._memory_mb)
            found = self._attempt(side, target, limits)
            if found.exhausted or found.pieces is not None:
                self._leading = (self._leading + turn) % 2
                if found.pieces is not None and not (
                    self._take(side, found, target, limits) and self.best.value <= target * (1 + EXACT)
                ):
                    self._loose = target
                return True
            if self.run.stopped() is not None:
                break
        return False

    def _take(self, side: Lattice, found: Attempt, target: float, limits: Limits) -> bool:
        """Keep a plan of the relaxation; if it breaks a limit, look for one that does not.

        Merges that are exact without limits leave fewer plans where there are some: what is found among
        them is a plan, and what is not found proves nothing.
        """
        if found.pieces is None or self._offer(side, found):
            return found.pieces is not None
        g = self.lattice.graph
        limited = replace(side, graph=side.graph._replace(limit=g.limit, by_stage=g.by_stage, again=g.again))
        if limited.one_way and not limited.backwards:
            limited = limited.reversed()
        again = self._attempt(limited, target, limits, complete=False)
        return again.pieces is not None and self._offer(limited, again)

    def _offer(self, side: Lattice, found: Attempt) -> bool:
        """Offer the pieces if they keep the memory limits; whether they do."""
        g, pieces = self.lattice.graph, found.pieces or []
        if not self.lattice.one_way:
            memory = side.graph.memory + (g.flights - 1) * side.graph.activation
            if any(float(memory[positions].sum()) > g.limit[t] for t, positions in pieces):
                return False
        return self.best.offer(side.plan(pieces), "bisection") < np.inf

    def _attempt(self, side: Lattice, target: float, limits: Limits, *, complete: bool = True) -> Attempt:
        """Test a target; if the lattice holds all plans, a complete test without one raises the bound."""
        m: Measures = measures(side.graph, self._prices)
        if side.graph.ok.any(axis=0).all():
            found = attempt(side, m, target, self.run, limits, floor=direction_bounds(m, side.graph))
        else:  # some item exceeds every device by itself
            found = Attempt(None, True, None, 0, 0)
        self.steps += found.steps
        self.states += found.states
        if found.exhausted and complete:
            self.best.raise_bound(min(target, self.best.value) * CERTAIN, "bisection")
        return found

    def _sides_for(self, target: float) -> tuple[Lattice, Lattice]:
        """Return the merged relaxation and its reverse for a target."""
        if self._sides is None or not self._merged_for / MERGED_FOR**2 <= target <= self._merged_for:
            self._merged_for = MERGED_FOR * target
            smaller = without_limits(self.lattice).merged(self._merged_for)
            self._sides = (smaller, smaller.reversed())
        plain, turned = self._sides
        return close_types(plain, target), close_types(turned, target)

    @property
    def _memory_mb(self) -> float:
        return self.options.memory_limit_mb / 3
