"""A lower bound for ``gpipe``, where forward and backward loads have maxima of their own.

A plan has a largest forward load F and a largest backward load B, and costs F + B.  Cut the plane of all
(F, B) into boxes.  For values π ≥ 0 of the items, let V_t(F, B) be the largest value of a set that a device
of type t serves with a forward load of at most F and a backward load of at most B.  A box is *refuted* when
Σπ > Σ_t n_t V_t at its upper corner: no plan lies in it.  One pricing yields V at all boxes, and so refutes
many.  The smallest F + B at the lower corner of a box that is left is a lower bound on every plan.

Column generation at the upper corner of that box looks for values that refute it; when the sets known cover
all items there, the bound is the end of what this relaxation proves.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.methods.colgen.bound import VALUE_SCALE
from placer.methods.colgen.kernels.knapsack import best_box_values, follow_box
from placer.methods.colgen.linear_loads import Loads
from placer.methods.colgen.master import Master
from placer.methods.colgen.pricing import ROUNDING, Pricer
from placer.options import Communication, Schedule
from placer.search.run import Run
from placer.search.work import BOX_S
from placer.tolerances import EQUAL

__all__ = ["BoxBound", "applicable", "units"]

MOST_UNITS = 1024
CELLS = 100_000_000
"""States times boxes of one pricing at most: some 0.2 s and 100 MB."""
WORST_LOSS = 0.02
"""Relative loss by rounding down beyond which the boxes are too coarse to be of use."""
SMOOTHING = (0.6, 0.3, 0.0)
"""Shares of the best values so far, tried in turn until a set improves the master program."""
COVERED, IMPROVES = 1e-6, 1e-6


def units(pricers: list[Pricer]) -> int:
    """Return how many units of load each direction can have within the time and memory of a pricing."""
    states = max(pricer.diagram.states for pricer in pricers)
    return min(MOST_UNITS, int((CELLS / max(1, states)) ** 0.5))


def applicable(loads: Loads, pricers: list[Pricer]) -> bool:
    """Whether there are two maxima, and the boxes are fine enough to prove more than their sum does."""
    if loads.schedule is not Schedule.GPIPE or loads.communication is not Communication.SEQUENTIAL:
        return False
    if not loads.problem.time_ms[1][np.isfinite(loads.problem.time_ms[1])].any():
        return False
    devices = sum(kind.count for kind in loads.types if not kind.is_host) or 1
    return loads.problem.size / (2 * devices * units(pricers)) <= WORST_LOSS


class BoxBound:
    """The boxes that are left, and the sets that were generated.

    Parameters
    ----------
    loads, pricers
        The problem; of the pricers only the diagrams and the items allowed matter.
    weight
        Weight of each item in the master program, ``(N,)``.
    upper_ms
        Objective of a known plan: boxes at or above it are of no interest.
    count
        Units of load per direction.
    """

    def __init__(
        self, loads: Loads, pricers: list[Pricer], weight: FloatArray, upper_ms: float, count: int
    ) -> None:
        self.loads, self.pricers, self.weight, self.upper_ms = loads, pricers, weight, upper_ms
        self.counts: IntArray = np.array([kind.count for kind in loads.types], dtype=np.int64)
        low = [self._least_ms(way) for way in (0, 1)]
        least = 1e-9 * upper_ms or 1.0
        self.unit = np.array([max(upper_ms - low[1], least), max(upper_ms - low[0], least)]) / count
        steps = np.arange(count + 1)
        self.corner_ms: FloatArray = steps[:, None] * self.unit[0] + steps[None, :] * self.unit[1]
        self.left: BoolArray = self.corner_ms < upper_ms
        shape = (count + 1, count + 1)
        self._weights = [[self._units(pricer, way) for way in (0, 1)] for pricer in pricers]
        self._taken = [np.zeros((p.diagram.states, *shape), dtype=np.uint8) for p in pricers]
        widest = max(int(np.diff(p.diagram.offset).max()) for p in pricers)
        self._layers = np.empty((2, widest, *shape), dtype=np.int32)
        self.inside: BoolArray = np.zeros((0, loads.problem.size), dtype=np.bool_)
        self.type: IntArray = np.zeros(0, dtype=np.int64)
        self.need: IntArray = np.zeros((0, 2), dtype=np.int64)
        """Units that each set takes, forward and backward."""
        self.center = weight / weight.sum()
        self.rounds = 0

    @property
    def bound_ms(self) -> float:
        """The bound; `upper_ms` when all boxes below it are refuted."""
        return float(self.corner_ms[self.left].min(initial=self.upper_ms)) * (1 - EQUAL)

    @property
    def lowest(self) -> tuple[int, int]:
        """The box that limits the bound."""
        i, j = divmod(int(np.argmin(np.where(self.left, self.corner_ms, np.inf))), self.left.shape[1])
        return i, j

    @property
    def forward_share(self) -> float:
        """Share of the forward load in the corner of that box."""
        i, j = self.lowest
        return float((i + 1) * self.unit[0] / ((i + 1) * self.unit[0] + (j + 1) * self.unit[1]))

    def improve(self, run: Run, gap: float) -> bool:
        """Refute boxes until the gap is closed or the run is over; False when nothing more can be proven."""
        self._price(self.center, run)
        while run.stopped() is None and self.upper_ms - self.bound_ms > gap * self.upper_ms:
            before = self.bound_ms
            if not self._refute(*self.lowest, run):
                return False
            if self.bound_ms > before:
                run.report(bound_ms=self.bound_ms, phase="boxes")
        return True

    def _refute(self, i: int, j: int, run: Run) -> bool:
        """Generate sets at one box until it is refuted; False when they cover all items."""
        master = Master(self.weight, np.arange(self.loads.problem.size), self.counts)
        fits = (self.need <= (i, j)).all(axis=1)
        known = {(int(t), s.tobytes()) for t, s in zip(self.type[fits], self.inside[fits], strict=True)}
        if fits.any():
            master.add(self.inside[fits], self.type[fits])
        while run.stopped() is None:
            point = master.solve(run)
            self.rounds += 1
            if point is None or point.objective <= COVERED:
                return point is None
            found: list[tuple[int, BoolArray]] = []
            for smoothing in SMOOTHING:
                mixed = smoothing * self.center
                mixed = mixed + (1 - smoothing) * point.item_value / np.abs(point.item_value).sum()
                self._price(mixed, run)
                if not self.left[i, j]:
                    self.center = mixed
                    return True
                sets = [(t, self._best_set(t, i, j)) for t in range(len(self.pricers))]
                found = [
                    (t, s)
                    for t, s in sets
                    if point.item_value[s].sum() - point.type_value[t] > IMPROVES
                    and (t, s.tobytes()) not in known
                ]
                if found or run.stopped() is not None:
                    break
            if not found:
                return run.stopped() is not None
            known |= {(t, s.tobytes()) for t, s in found}
            new, types = np.array([s for _, s in found]), np.array([t for t, _ in found], dtype=np.int64)
            master.add(new, types)
            self.inside, self.type = np.concatenate([self.inside, new]), np.concatenate([self.type, types])
            self.need = np.concatenate([self.need, [self._need(t, s) for t, s in found]])
        return True

    def _price(self, value: FloatArray, run: Run) -> None:
        """Compute V at all boxes for values of the items, and drop the boxes that they refute."""
        norm = float(np.abs(value).sum())
        integer = np.round(value * (VALUE_SCALE / norm)).astype(np.int64)
        room = np.zeros(self.left.shape, dtype=np.int64)
        for pricer, (forward, backward), taken in zip(self.pricers, self._weights, self._taken, strict=True):
            diagram = pricer.diagram
            best = best_box_values(
                diagram.offset,
                diagram.target,
                forward,
                backward,
                integer[diagram.order].astype(np.int32),
                taken,
                self._layers,
            )
            room += pricer.kind.count * np.maximum(best, 0).astype(np.int64)
            run.spend(BOX_S * taken.size)
        self.left &= room >= int(integer.sum())

    def _best_set(self, t: int, i: int, j: int) -> BoolArray:
        diagram = self.pricers[t].diagram
        forward, backward = self._weights[t]
        chosen = follow_box(diagram.offset, diagram.target, forward, backward, self._taken[t], i, j)
        out = np.zeros(len(chosen), dtype=bool)
        out[diagram.order[chosen]] = True
        return out

    def _need(self, t: int, inside: BoolArray) -> IntArray:
        """Units that a set takes, ``(2,)``."""
        diagram, need, s = self.pricers[t].diagram, np.zeros(2, dtype=np.int64), 0
        for item in diagram.order.tolist():
            choice = int(inside[item])
            need += [self._weights[t][way][s, choice] for way in (0, 1)]
            s = int(diagram.target[s, choice])
        return need

    def _units(self, pricer: Pricer, way: int) -> IntArray:
        """Weight of each transition in one direction, rounded down to units, ``(states, 2)``."""
        loads, kind, diagram = self.loads, pricer.kind, pricer.diagram
        time = np.where(pricer.allowed, loads.problem.time_ms[way, :, kind.cls], 0.0)
        cost = loads.nets.cost_ms[way, :, kind.cls]
        weight = diagram.transition_weight(time, cost, cost)
        weight[~pricer.allowed[np.repeat(diagram.order, np.diff(diagram.offset)[:-1])], 1] = np.inf
        most = ceil(self.upper_ms / self.unit[way]) + 1.0
        whole = np.floor(np.minimum(weight * (1 - ROUNDING) / self.unit[way], most))
        return np.asarray(whole, dtype=np.int64)

    def _least_ms(self, way: int) -> float:
        """Return a load that the largest one in a direction reaches: all times, spread evenly."""
        times = np.array(
            [
                np.where(kind.allowed, self.loads.problem.time_ms[way, :, kind.cls], np.inf)
                for kind in self.loads.types
            ]
        ).min(axis=0)
        return float(times[np.isfinite(times)].sum() / self.counts.sum()) * (1 - EQUAL)
