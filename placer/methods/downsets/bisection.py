"""Bisection between bound and plan, on the relaxation without memory limits.

Memory limits that rarely bind still forbid most merges, and with them the search is thousands of times
slower. Without the limits a test that fails proves as much: there is no plan. A plan that it finds is
checked; if it breaks a limit, the same search with limits looks for one that does not.

So do forward and backward loads that are looked at apart, as ``gpipe`` has them: states of one downset then
differ in both. No device exceeds the sum of the largest forward and the largest backward load, so that a test
of the largest sum of one device, as under ``1f1b``, proves as much. Such tests come first; when their plans
say no more, because they cost more than the target, the two loads are looked at apart.

Searches with few states per level come first: on long graphs they find plans next to the best ones in
fractions of a second. Then complete tests half-way between bound and plan raise the bound or improve the
plan, on the graph and on its reverse by turns. A test that was stopped is taken further the next time, as
long as its target lies between bound and plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from placer.methods.downsets.lattice import Lattice, close_types
from placer.methods.downsets.measures import KnownPrices, measures
from placer.methods.downsets.race import Race
from placer.methods.downsets.search import Attempt, Limits, Search
from placer.options import Options, Schedule
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from placer.tolerances import CERTAIN, EXACT

__all__ = ["Bisection", "relaxation"]

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


def relaxation(lattice: Lattice, *, together: bool = False) -> Lattice:
    """Return the relaxation in which accelerators hold any amount of memory.

    With ``together`` their forward and backward loads are limited in sum alone.
    """
    if together:
        options = lattice.options.model_copy(update={"schedule": Schedule.ONE_F_ONE_B})
        lattice = replace(lattice, options=options)
    return lattice.rebuilt(lattice.problem, limited=False)


@dataclass
class Bisection:
    """Bisection that goes on where it was stopped.

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
    """

    lattice: Lattice
    best: Incumbent
    options: Options
    memory_mb: float
    steps: int = 0
    states: int = 0
    _rise: float = FIRST_RISE
    _sides: tuple[Lattice, Lattice] | None = field(default=None, repr=False)
    _prices: KnownPrices = field(default_factory=dict, repr=False)
    _merged_for: float = 0.0
    _leading: int = 0
    """The side that settled the last test."""
    _race: Race | None = field(default=None, repr=False)
    """The test under way."""
    _missed: float = 0.0
    """Largest target at which searches with few states found nothing."""
    _loose: float = np.inf
    """Smallest target that only a plan beyond the memory limits, or above the target, is known for."""
    _together: bool = False
    """Whether forward and backward loads are still limited in sum alone."""

    def __post_init__(self) -> None:
        self._together = self.lattice.graph.gpipe

    def search(self, run: Run) -> bool:
        """Bisect while the run goes on; whether there is anything left to do."""
        self._find_plans(run)
        while run.stopped() is None and not self.near_enough:
            target = self._target()
            if target is None and self._together:
                self._tell_apart()
                self._find_plans(run)
                continue
            if target is None:
                return False
            if not self._settle(target, run):
                return self._race is None or not self._race.full
        return not self.near_enough

    @property
    def near_enough(self) -> bool:
        """Whether the gap asked for is proven."""
        return self.best.proven or self.best.is_within(self.options.gap)

    def _tell_apart(self) -> None:
        """Begin anew with forward and backward loads apart."""
        self._together, self._sides, self._race = False, None, None
        self._prices, self._missed, self._loose, self._rise = {}, 0.0, np.inf, FIRST_RISE

    def _find_plans(self, run: Run) -> None:
        """Bisect by searches with few states until the targets with and without a plan are close."""
        while run.stopped() is None and not self.near_enough and self.best.bound > 0:
            low, high = max(self.best.bound, self._missed), self.best.value
            if high <= low * (1 + BEAM_PRECISION) or low >= self.lattice.enough:
                return
            target = min(low * (1 + self._rise), (low + high) / 2)
            before = self.best.value
            # A plan may cost more than the target once what recomputes is known: then it is no progress.
            if not self._beams(target, run) or self.best.value >= before:
                if run.stopped() is not None:
                    return
                self._missed = target
                self._rise *= 2

    def _beams(self, target: float, run: Run) -> bool:
        """Search with few states per level; whether that found a plan."""
        for side in self._sides_for(target, run):
            for width, pieces in BEAMS:
                devices = max(1, int(side.graph.devices.sum()))
                limits = Limits(2 * width * pieces * devices, self.memory_mb, width, pieces)
                found = self._attempt(side, target, limits, run)
                if self._take(side, found, target, limits, run):
                    return True
                if found.exhausted or run.stopped() is not None:
                    return False
        return False

    def _target(self) -> float | None:
        """Return the next target, or None when plans without limits say no more."""
        low, high = self.best.bound, min(self.best.value, self._loose)
        if self._race is not None and low * (1 + CLOSE) < self._race.target < high:
            return self._race.target
        if low <= 0.0:
            return None if high == np.inf else high / 2
        if high <= low * (1 + CLOSE):
            return None if high == self._loose else self.best.target
        return min(low * (1 + self._rise), (low + high) / 2)

    def _settle(self, target: float, run: Run) -> bool:
        """Find out whether there is a plan within the target, up to memory; False if the run ended first."""
        if self._race is None or self._race.target != target:
            sides = self._sides_for(target, run)
            sides = sides if self._leading == 0 else sides[::-1]
            limits = Limits(memory_mb=self.memory_mb)
            self._race = Race(sides, target, lambda side: self._begin(side, target, limits))
        race = self._race
        at, found = race.go_on(run)
        if found.pieces is None and not found.exhausted:
            return False
        self._race = None
        self._leading ^= at
        self._count(race.steps, race.states)
        if found.exhausted:
            self._exclude(target)
        else:
            limits = Limits(2 * race.steps + BEAMS[0][1], self.memory_mb)
            taken = self._take(race.sides[at], found, target, limits, run)
            if not taken or self.best.value > target * (1 + EXACT):
                self._loose = target
        return True

    def _take(self, side: Lattice, found: Attempt, target: float, limits: Limits, run: Run) -> bool:
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
        again = self._attempt(limited, target, limits, run, complete=False)
        return again.pieces is not None and self._offer(limited, again)

    def _offer(self, side: Lattice, found: Attempt) -> bool:
        """Offer the pieces if they keep the memory limits; whether they do."""
        g, pieces = self.lattice.graph, found.pieces or []
        if not self.lattice.one_way:
            memory = side.graph.memory + (g.flights - 1) * side.graph.activation
            if any(float(memory[t, positions].sum()) > g.limit[t] for t, positions in pieces):
                return False
        return self.best.offer(side.plan(pieces), "bisection") < np.inf

    def _begin(self, side: Lattice, target: float, limits: Limits) -> Search:
        return Search(side, measures(side.graph, self._prices), target, limits)

    def _attempt(
        self, side: Lattice, target: float, limits: Limits, run: Run, *, complete: bool = True
    ) -> Attempt:
        """Test a target; if the lattice holds all plans, a complete test without one raises the bound."""
        found = self._begin(side, target, limits).go_on(run, limits.steps)
        self._count(found.steps, found.states)
        if found.exhausted and complete:
            self._exclude(target)
        return found

    def _exclude(self, target: float) -> None:
        self.best.raise_bound(min(target, self.best.value) * CERTAIN, "bisection")

    def _count(self, steps: int, states: int) -> None:
        self.steps += steps
        self.states += states

    def _sides_for(self, target: float, run: Run) -> tuple[Lattice, Lattice]:
        """Return the merged relaxation and its reverse for a target."""
        if self._sides is None or not self._merged_for / MERGED_FOR**2 <= target <= self._merged_for:
            self._merged_for = MERGED_FOR * target
            smaller = relaxation(self.lattice, together=self._together).merged(self._merged_for)
            run.spend(self.lattice.merging_s)
            self._sides = (smaller, smaller.reversed())
        plain, turned = self._sides
        return close_types(plain, target), close_types(turned, target)
