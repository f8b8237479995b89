"""The lower bound: values of items under which no k sets of low load are worth all items.

For any values π of the items, let V_t(T) be the largest value of a set that one device of type t serves
within load T.  A plan of objective T partitions the items, so Σπ ≤ Σ_t n_t max(0, V_t(T)).  The largest T
that violates this is a lower bound.  V is known for all T at once, so every pricing yields its best T.

The master program at a trial load T proposes values; smoothing towards the best values so far keeps
them from jumping.  A trial ends when the bound passes T, or when the sets known cover all items (then T
is the end of what this relaxation can prove with these clusters), and the next T lies halfway.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.methods.colgen.linear_loads import Loads
from placer.methods.colgen.master import Master, MasterPoint
from placer.methods.colgen.pricing import Grid, Pricer
from placer.search.run import Run
from placer.tolerances import EQUAL

__all__ = ["Generation", "Phase", "item_weights"]

VALUE_SCALE = 2**27
"""Sum of the integer values of all items."""
SMOOTHING = (0.8, 0.5, 0.2, 0.0)
"""Shares of the best values so far, tried in turn until a set improves the master program."""
COVERED = 1e-7
"""Uncovered share of the weight that counts as none."""


@dataclass(frozen=True)
class Phase:
    """How finely to look: units of load, clusters of items, and the relative width at which to stop."""

    units: int
    clusters: int
    width: float


class Generation:
    """Sets generated so far and the bound they led to.

    Parameters
    ----------
    loads, pricers
        The problem.
    upper_ms
        Objective of a known plan: no larger bound is looked for.
    values
        Values of the items to begin with, ``(N,)``, or None.
    """

    def __init__(
        self, loads: Loads, pricers: list[Pricer], upper_ms: float, values: FloatArray | None = None
    ) -> None:
        self.loads, self.pricers = loads, pricers
        self.upper_ms = self.top_ms = upper_ms
        self.counts: IntArray = np.array([kind.count for kind in loads.types], dtype=np.int64)
        self.lower_ms = 0.0
        self.reach_ms = upper_ms
        """Smallest load at which the sets known cover everything."""
        self.weight = item_weights(loads, upper_ms)
        self.first = self.weight.copy() if values is None else values
        """Values to begin with, ``(N,)``."""
        self.center = self.first
        self.center_use = self.no_use = np.zeros((len(loads.types), len(loads.facets) + 1))
        """Prices of loads and memory that go with the values, ``(T, F + 1)``."""
        self.inside: BoolArray = np.zeros((0, loads.problem.size), dtype=np.bool_)
        self.type: IntArray = np.zeros(0, dtype=np.int64)
        self.from_ms: FloatArray = np.zeros(0)
        """Load from which on each set takes part: its own, or less where rounding down made it fit."""
        self.use: FloatArray = np.zeros((0, self.no_use.shape[1]))
        """What each set takes of the resources, as the pricers see it."""
        self.own_ms: FloatArray = np.zeros(0)
        """Load of each set."""
        self.point: MasterPoint | None = None
        self.rounds = 0
        self._known: dict[tuple[int, bytes], int] = {}
        self._values: list[IntArray] = []
        self._total = 0

    # -- the bound ------------------------------------------------------------------------------

    def price(self, value: FloatArray, use: FloatArray, run: Run) -> None:
        """Price all types with values ``(N,)``, and loads and memory ``(T, F + 1)``; raise the bound."""
        run.spend(sum(pricer.work_s for pricer in self.pricers))
        norm = float(np.abs(value).sum())
        integer = (
            np.round(value * (VALUE_SCALE / norm)).astype(np.int64) if norm > 0 else value.astype(np.int64)
        )
        self._total = int(integer.sum())
        scale = VALUE_SCALE / norm if norm > 0 else 0.0
        self._values = [
            pricer.values(integer, scale * mine) for pricer, mine in zip(self.pricers, use, strict=True)
        ]
        if self.excess(self.lower_ms) <= 0:
            return
        low, high = self.lower_ms, self.upper_ms
        if self.excess(high) > 0:
            low = high
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.excess(middle) > 0 else (low, middle)
        self.lower_ms = max(self.lower_ms, low * (1 - EQUAL))

    def excess(self, load_ms: float) -> int:
        """By how much all items are worth more than the best sets within a load, in integer values."""
        best = 0
        for pricer, values, count in zip(self.pricers, self._values, self.counts.tolist(), strict=True):
            capacity = pricer.capacity(load_ms)
            if capacity >= 0:
                best += count * max(0, int(values[capacity]) + pricer.credit(load_ms))
        return self._total - best

    # -- column generation ----------------------------------------------------------------------

    def run_phase(self, phase: Phase, pricers: list[Pricer], run: Run, gap: float) -> None:
        """Generate sets until the trial loads are close, the gap is closed, or the run is over."""
        self.pricers, self.top_ms = pricers, self.upper_ms
        grid = Grid(phase.units, self.top_ms)
        for pricer in self.pricers:
            pricer.set_grid(grid)
        self.from_ms = self.own_ms.copy()
        known = (self.center, self.center_use), (self.first, self.no_use)
        self.center, self.center_use = max(known, key=lambda one: self._promise(one[0], one[1], run))
        run.report(bound_ms=self.lower_ms, phase="column generation")
        clusters, resources = self._clusters(phase.clusters), self.no_use.shape[1]
        self.master = Master(self.weight, clusters, self.counts, resources=resources)
        for t, pricer in enumerate(self.pricers):
            mine = np.flatnonzero(self.type == t)
            self.use[mine] = pricer.use(self.inside[mine])
        if len(self.type):
            self.master.add(self.inside, self.type, self.use)
        self.reach_ms = self.upper_ms
        step = 2 * phase.width * self.upper_ms
        while run.stopped() is None and not self.closed(gap):
            if self.reach_ms - self.lower_ms <= phase.width * self.upper_ms:
                return
            # Small steps first: what the last phase proved is near what this one can prove.
            trial = min(0.5 * (self.lower_ms + self.reach_ms), self.lower_ms + step)
            covers = self._trial(trial, run)
            step *= 2
            run.report(bound_ms=self.lower_ms, phase="column generation")
            if covers:
                self.reach_ms = trial

    def _promise(self, value: FloatArray, use: FloatArray, run: Run) -> float:
        """Price with some values; tell how much all items are worth more than the best sets now."""
        self.price(value, use, run)
        return self.excess(self.lower_ms) / max(1, self._total)

    def closed(self, gap: float) -> bool:
        """Whether the bound is within a relative gap of the known plan."""
        return self.upper_ms - self.lower_ms <= gap * self.upper_ms

    def _trial(self, trial: float, run: Run) -> bool:
        """Look for values that prove the trial load impossible; True when the sets cover everything."""
        self.master.switch(self.from_ms <= trial * (1 + 2 * EQUAL))
        self.master.limit(np.append(np.full(len(self.loads.facets), trial / self.top_ms), 1.0))
        best_excess = -np.inf
        mixes = [(pricer.mix, pricer.memory_mix) for pricer in self.pricers]
        while run.stopped() is None:
            point = self.master.solve(run)
            if point is None:
                return False
            self.rounds += 1
            self.point = point
            if point.objective <= COVERED:
                return True
            norm = float(np.abs(point.item_value).sum())
            found = False
            for smoothing in SMOOTHING:
                before, now = smoothing / np.abs(self.center).sum(), (1 - smoothing) / norm
                mixed = before * self.center + now * point.item_value
                use = before * self.center_use + now * point.use_value
                self.price(mixed, use, run)
                excess = self.excess(trial) / max(1, abs(self._total))
                if excess > best_excess:
                    best_excess, self.center, self.center_use = excess, mixed, use
                    mixes = [(pricer.mix, pricer.memory_mix) for pricer in self.pricers]
                sets = [pricer.best_set(trial) for pricer in self.pricers]
                found = self._add(sets, trial, point)
                self._adapt(sets, trial)
                if self.lower_ms >= trial or found or run.stopped() is not None:
                    break
            if self.lower_ms >= trial:
                break
            if not found:
                return True
        for pricer, mix in zip(self.pricers, mixes, strict=True):
            pricer.set_mix(*mix)
        return False

    def _add(self, sets: list[BoolArray], trial: float, point: MasterPoint) -> bool:
        """Add the sets that improve the master program; tell whether there were any."""
        new: list[int] = []
        switched = False
        uses = [pricer.use(s[None])[0] for pricer, s in zip(self.pricers, sets, strict=True)]
        for t, inside in enumerate(sets):
            if point.item_value[inside].sum() - point.type_value[t] - uses[t] @ point.use_value[t] <= 1e-9:
                continue
            key = (t, np.packbits(inside).tobytes())
            known = self._known.get(key)
            if known is None:
                self._known[key] = len(self._known)
                new.append(t)
            elif self.from_ms[known] > trial * (1 + 2 * EQUAL):
                self.from_ms[known] = trial
                switched = True
        if new:
            chosen = np.array([sets[t] for t in new])
            kinds = np.array(new, dtype=np.int64)
            own = np.array([float(self.loads.load_ms(t, sets[t][None])[0]) for t in new])
            use = np.array([uses[t] for t in new])
            self.inside = np.concatenate([self.inside, chosen])
            self.use = np.concatenate([self.use, use])
            self.type = np.concatenate([self.type, kinds])
            self.own_ms = np.concatenate([self.own_ms, own])
            self.from_ms = np.concatenate([self.from_ms, np.minimum(trial, own)])
            self.master.add(chosen, kinds, use)
        if switched:
            self.master.switch(self.from_ms <= trial * (1 + 2 * EQUAL))
        return bool(new) or switched

    def _adapt(self, sets: list[BoolArray], trial: float) -> None:
        """Let the pricers weigh their limits by what the sets break."""
        for pricer, inside in zip(self.pricers, sets, strict=True):
            if pricer.mixes and inside.any():
                pricer.adapt(inside[None], trial)

    def _clusters(self, count: int) -> IntArray:
        """Cut the order of the walk into clusters of about equal weight, ``(N,)``."""
        order = self.pricers[0].diagram.order
        if count >= len(order):
            return np.arange(len(order))
        reached = np.cumsum(self.weight[order])
        middle = (reached - self.weight[order] / 2) / reached[-1]
        cluster = np.zeros(len(order), dtype=np.int64)
        cluster[order] = np.minimum(count - 1, (middle * count).astype(np.int64))
        return np.unique(cluster, return_inverse=True)[1]


def item_weights(loads: Loads, upper_ms: float) -> FloatArray:
    """Weight of each item: its time where it is fastest, but never nothing, ``(N,)``."""
    even = np.full(len(loads.facets), 1.0 / len(loads.facets))
    time = np.array(
        [np.where(kind.allowed, loads.item_weight(t, even), np.inf) for t, kind in enumerate(loads.types)]
    ).min(axis=0)
    floor = 1e-6 * upper_ms if upper_ms > 0 else 1.0
    return np.asarray(np.clip(time, floor, max(upper_ms, floor)))
