"""Boxes of the largest forward and the largest backward load under ``gpipe``: their tests need no peaks.

A plan of at most T whose largest forward load lies between a and b has backward loads of at most T - a. So
boxes of forward loads up to b and backward loads up to T - a, side by side from the least possible forward
load on, hold all plans of at most T. In a box every piece keeps both limits by itself, and their sum keeps T:
states of one downset differ by the devices used alone, unlike in the test that knows the sum of both maxima.
A box with a plan beyond T is parted where both parts are without that plan; one without a plan is done, and
once all are, so is T. Before all that come tests of the sum of both loads of one device alone, as under
``1f1b``: it exceeds T nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from placer.arrays import IntArray
from placer.methods.downsets.kernels.arrays import Graph
from placer.methods.downsets.lattice import Lattice, close_types
from placer.methods.downsets.measures import KnownPrices, direction_bounds, measures
from placer.methods.downsets.race import Race, ways
from placer.methods.downsets.search import Limits, Search
from placer.options import Options, Schedule
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from placer.tolerances import CERTAIN

__all__ = ["PeakBoxes"]

CLOSE = 1e-6
"""Relative gap from which on T lies just below the best plan instead of half-way."""
TOGETHER = 1e-3
"""Relative gap of the largest sum of one device from which on both loads are limited apart."""
WIDEST = 0.05
"""Of a box, as a share of T: beyond that rules cut less."""
ROUNDING = 1e-12
"""Relative slack of a box, more than the rounding of a load and less than that of a bound."""


@dataclass
class PeakBoxes:
    """Bisection over boxes that goes on where it was stopped.

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
    _target: float = 0.0
    """What is tested; 0 when nothing is."""
    _boxes: list[tuple[float, float]] = field(default_factory=list, repr=False)
    """Ranges of the largest forward load that are left."""
    _sides: tuple[Lattice, ...] = field(default=(), repr=False)
    _race: Race | None = field(default=None, repr=False)
    _prices: KnownPrices = field(default_factory=dict, repr=False)
    _reached: float = np.inf
    """Smallest target that some plan's largest sum of both loads of one device keeps."""

    def go_on(self, run: Run) -> bool:
        """Test while the run goes on; whether there is anything left to do."""
        if not self.lattice.graph.gpipe or self.lattice.graph.again.any() or self.best.plan is None:
            return False
        while run.stopped() is None and not self.best.proven and not self.best.is_within(self.options.gap):
            if not self.best.bound < self._target < self._high:
                self._begin(run)
            if not self._boxes:
                self.best.raise_bound(self._target * CERTAIN, "boxes")
                self._target = 0.0
            elif not self._test(run):
                return self._race is not None and not self._race.full
        return not self.best.proven

    @property
    def _together(self) -> bool:
        """Whether forward and backward loads are still limited in sum alone."""
        return self._reached > self.best.bound * (1 + TOGETHER)

    @property
    def _high(self) -> float:
        """What a target is worth testing below."""
        return min(self.best.value, self._reached) if self._together else self.best.value

    def _begin(self, run: Run) -> None:
        """Choose a target, and merge for it."""
        low, high = self.best.bound, self._high
        self._target = self.best.target if high <= low * (1 + CLOSE) else (low + high) / 2
        merged = (self._in_sum() if self._together else self.lattice).merged(self._target)
        run.spend(self.lattice.merging_s)
        self._prices, self._race = {}, None
        self._sides = tuple(close_types(side, self._target) for side in ways(merged))
        if self._together:
            self._boxes = [(0.0, np.inf)]
            return
        forward, backward = direction_bounds(measures(merged.graph, self._prices), merged.graph)
        ends = np.arange(forward, self._target - backward, WIDEST * self._target).tolist()
        self._boxes = list(pairwise([*ends, self._target - backward]))

    def _in_sum(self) -> Lattice:
        """Return the lattice whose pieces are limited in the sum of both loads alone."""
        options = self.lattice.options.model_copy(update={"schedule": Schedule.ONE_F_ONE_B})
        return replace(self.lattice, options=options).rebuilt(self.lattice.problem)

    def _test(self, run: Run) -> bool:
        """Settle the last box or halve it; False if the run ended first, or nothing comes of it."""
        least, most = self._boxes[-1]
        if self._race is None:
            peaks = most * (1 + ROUNDING), (self._target - least) * (1 + ROUNDING)
            self._race = Race(self._sides, self._target, lambda side: self._search(side, peaks))
        race, before = self._race, (self._race.steps, self._race.states)
        at, found = race.go_on(run)
        self.steps += race.steps - before[0]
        self.states += race.states - before[1]
        if found.pieces is None and not found.exhausted:
            return False
        self._race = None
        self._boxes.pop()
        if found.pieces is not None:
            side, value = race.sides[at], self.best.value
            self.best.offer(side.plan(found.pieces), "boxes")
            if most == np.inf:
                self._reached = self._target
                return True
            forward, backward = _peaks(side.graph, found.pieces)
            if forward + backward <= self._target * (1 + 10 * ROUNDING):
                self._target = 0.0  # the box is not done; with a better plan there is a smaller target
                return self.best.value < value
            middle = (forward + self._target - backward) / 2
            self._boxes += [(middle, most), (least, middle)]
        return True

    def _search(self, side: Lattice, peaks: tuple[float, float]) -> Search:
        m, limits = measures(side.graph, self._prices), Limits(memory_mb=self.memory_mb)
        if not side.graph.gpipe:
            return Search(side, m, self._target, limits)
        return Search(side, m, sum(peaks), limits, peaks=peaks, most=self._target)


def _peaks(g: Graph, pieces: list[tuple[int, IntArray]]) -> tuple[float, float]:
    """Return the largest forward and the largest backward load of pieces ``(type, items)``."""
    loads = [[0.0, 0.0]]
    owner = np.repeat(np.arange(g.ok.shape[1]), np.diff(g.item_start))
    for t, items in pieces:
        inside = np.zeros(g.ok.shape[1], dtype=bool)
        inside[items] = True
        held = np.bincount(g.item_nets[inside[owner]], minlength=len(g.net_size))
        cut = (held > 0) & (held < g.net_size) & g.paying[t]
        sent = inside[g.net_producer]
        load = []
        for direction in range(2):
            compute = float(g.time[t, direction, items].sum())
            costs = [g.net_cost[t, cut & (g.net_direction == direction) & way].sum() for way in (sent, ~sent)]
            together = [compute + sum(costs), max(compute, sum(costs)), max(compute, *costs)]
            load.append(float(together[g.mode]))
        loads.append(load)
    forward, backward = np.max(loads, axis=0).tolist()
    return forward, backward
