"""The bound of sets that keep every limit at once.

Pricing with one weight, a mix of facets and memory, allows sets that break one limit and fall short of
another.  Where a device holds few items, that hides which of them do not go together.  Here labels along the
same diagram keep the facets and the memory apart; the mix tells how much what follows a label can be worth,
which leaves few labels.

For values π of the items let V_t(T) be the largest value of a set that a device of type t serves within load
T and its memory.  A load T is *refuted* when Σπ > Σ_t n_t V_t(T): no plan reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.methods.colgen.bound import COVERED, VALUE_SCALE, Generation
from placer.methods.colgen.kernels.set_labels import Labels, Prices, Sets, best_label, completions
from placer.methods.colgen.master import Master
from placer.methods.colgen.pricing import Grid, Pricer
from placer.search.run import Run
from placer.search.work import PRICING_CELL_S, SET_LABEL_S
from placer.tolerances import EQUAL

__all__ = ["LimitBound", "applicable"]

Values = npt.NDArray[np.int32]

UNITS, LEAST_UNITS = 4096, 256
CELLS = 20_000_000
"""States times units of a table at most: 80 MB."""
ROWS = 500_000
"""Labels of one search at most."""
STEPS = 300_000_000
"""Steps of one search at most: some 2 s."""
SMOOTHING = (0.6, 0.0)
"""Shares of the best values so far, tried in turn until a set improves the master program."""
SLACK = 1e-9
"""Relative excess over a limit that a set may have, against rounding errors of the sums."""
WIDTH = 3e-5
"""Relative distance between a load that is refuted and one that is not at which the search ends."""
FIRST_STEP = 1e-3
"""Relative distance of the first load from the bound; steps double."""
IMPROVES = 1e-9


def applicable(pricers: list[Pricer]) -> bool:
    """Whether sets have several limits, all transfers are seen, and tables are fine enough to be of use."""
    whole = not any(pricer.diagram.cut.any() for pricer in pricers if not pricer.kind.is_host)
    return whole and any(pricer.mixes for pricer in pricers) and _units(pricers) >= LEAST_UNITS


def _units(pricers: list[Pricer]) -> int:
    """Return how many units of load a table can have."""
    return min(UNITS, CELLS // (1 + max(pricer.diagram.states for pricer in pricers)))


class _Scratch:
    """What the kernels work on, the same for all types."""

    def __init__(self, pricers: list[Pricer], resources: int) -> None:
        states = 1 + max(pricer.diagram.states for pricer in pricers)
        self.table = np.empty(states * (1 + _units(pricers)), dtype=np.int32)
        self.place = np.empty((ROWS, 5), dtype=np.int64)
        self.worth = np.empty(ROWS, dtype=np.int32)
        head, self.steps = np.empty(states, dtype=np.int64), np.zeros(2, dtype=np.int64)
        self.labels = Labels(self.place, self.worth, np.empty((ROWS, resources)), head, self.steps)


@dataclass(frozen=True)
class _Priced:
    """The largest value of a set of a type, and such a set, ``(N,)``; None for the empty one."""

    value: int
    inside: BoolArray | None


class _Search:
    """Looks for the most valuable set of one type that keeps all limits."""

    def __init__(self, pricer: Pricer, scratch: _Scratch) -> None:
        self.pricer, self.scratch = pricer, scratch
        loads, diagram, t = pricer.loads, pricer.diagram, pricer.t
        facets = np.eye(len(loads.facets))
        parts = [(loads.item_weight(t, only), *loads.net_weight(t, only)) for only in facets]
        none = np.zeros(loads.nets.count)
        parts.append((loads.problem.memory_bytes, none, none))
        need = np.stack([diagram.transition_weight(*part) for part in parts], axis=2)
        self.sets = Sets(diagram.offset, diagram.target, np.ascontiguousarray(need))
        self.memory_limit = pricer.limit if pricer.limits_memory else np.inf

    def keeps(self, inside: BoolArray, load_ms: float) -> bool:
        """Whether a set ``(N,)`` keeps all limits."""
        loads, more = self.pricer.loads, 1 + SLACK
        return bool(
            loads.load_ms(self.pricer.t, inside[None])[0] <= load_ms * more
            and loads.memory_bytes(inside[None])[0] <= self.memory_limit * more
        )

    def best(self, value: IntArray, load_ms: float, known: _Priced, run: Run) -> _Priced | None:
        """Return the best set for integer values of items ``(N,)``; None where that takes too long.

        Parameters
        ----------
        known
            The best of the sets known.
        """
        pricer, scratch = self.pricer, self.scratch
        diagram, capacity = pricer.diagram, pricer.capacity(load_ms)
        gain = value[diagram.order].astype(np.int32)
        shape = (diagram.states + 1, capacity + 1)
        table = scratch.table[: shape[0] * shape[1]].reshape(shape)
        completions(diagram.offset, diagram.target, pricer.weight, gain, table)
        run.spend(PRICING_CELL_S * table.size)
        if table[0, capacity] <= known.value:
            return known
        mixed = self._follow(table, gain, capacity)
        if self.keeps(mixed, load_ms):
            return _Priced(int(table[0, capacity]), mixed)
        prices = Prices(pricer.weight, gain, table)
        limit = np.append(np.full(len(pricer.loads.facets), load_ms), self.memory_limit) * (1 + SLACK)
        scratch.steps[:] = STEPS, 0
        row = best_label(self.sets, prices, scratch.labels, limit, known.value)
        run.spend(SET_LABEL_S * float(scratch.steps[1]))
        pricer.adapt(mixed[None], load_ms)
        if row < -1:
            return None
        return known if row < 0 else _Priced(int(scratch.worth[row]), self._trace(row))

    def _trace(self, row: int) -> BoolArray:
        """Trace the set of a label."""
        order, place = self.pricer.diagram.order, self.scratch.place
        inside = np.zeros(len(order), dtype=np.bool_)
        for item in order[::-1].tolist():
            inside[item] = place[row, 1] == 1
            row = int(place[row, 0])
        return inside

    def _follow(self, table: Values, gain: Values, left: int) -> BoolArray:
        """Trace the best set of a table."""
        diagram, weight, state = self.pricer.diagram, self.pricer.weight, 0
        inside = np.zeros(len(gain), dtype=np.bool_)
        for step, item in enumerate(diagram.order.tolist()):
            after = left - int(weight[state, 1])
            take = after >= 0 and table[diagram.target[state, 1], after] + gain[step] == table[state, left]
            inside[item] = take
            left = after if take else left - int(weight[state, 0])
            state = int(diagram.target[state, int(take)])
        return inside


class LimitBound:
    """Sets that keep all limits, and the bound that they lead to.

    Parameters
    ----------
    generation
        Its sets that keep all limits are the first ones; its values and bound are where the search begins.
    """

    def __init__(self, generation: Generation) -> None:
        self.loads, self.weight, self.counts = generation.loads, generation.weight, generation.counts
        self.lower_ms, self.reach_ms = generation.lower_ms, generation.upper_ms
        """Smallest load at which the sets known cover everything; a plan's at first."""
        self._step_ms = FIRST_STEP * generation.upper_ms
        """Distance of the next load from the bound: where a run ended, the next one tries the same load."""
        self.is_complete = False
        """Whether the bound is all that such sets prove."""
        self.may_go_on = True
        """Whether more work may prove more."""
        self.center = generation.center / np.abs(generation.center).sum()
        scratch = _Scratch(generation.pricers, len(self.loads.facets) + 1)
        for pricer in generation.pricers:
            pricer.set_grid(Grid(_units(generation.pricers), generation.upper_ms))
        self.searches = [_Search(pricer, scratch) for pricer in generation.pricers]
        self.inside: BoolArray = np.zeros((0, self.loads.problem.size), dtype=np.bool_)
        self.type: IntArray = np.zeros(0, dtype=np.int64)
        self.own_ms: FloatArray = np.zeros(0)
        self._known: set[tuple[int, bytes]] = set()
        self._add(list(zip(generation.type.tolist(), generation.inside, strict=True)))

    def improve(self, run: Run, gap: float, upper_ms: float) -> None:
        """Refute loads below a known plan until the gap is closed, nothing is left, or the run is over."""
        self.reach_ms = min(self.reach_ms, upper_ms)
        while self.reach_ms - self.lower_ms > max(WIDTH, gap / 2) * upper_ms:
            trial = min((self.lower_ms + self.reach_ms) / 2, self.lower_ms + self._step_ms)
            refuted = self._is_refuted(trial, run)
            if refuted is None:
                self.may_go_on = run.stopped() is not None
                return
            self._step_ms *= 2
            if refuted:
                self.lower_ms = trial * (1 - EQUAL)
                run.report(bound_ms=self.lower_ms, phase="all limits")
            else:
                self.reach_ms = trial
        self.is_complete, self.may_go_on = True, False

    def _is_refuted(self, trial: float, run: Run) -> bool | None:
        """Generate sets until a load is refuted, or they cover all items; None where it takes too long."""
        master = Master(self.weight, np.arange(self.loads.problem.size), self.counts)
        fits = self.own_ms <= trial * (1 + SLACK)
        if fits.any():
            master.add(self.inside[fits], self.type[fits])
        while run.stopped() is None:
            point = master.solve(run)
            if point is None:
                return None
            if point.objective <= COVERED:
                return False
            found: list[tuple[int, BoolArray]] = []
            for smoothing in SMOOTHING:
                mixed = smoothing * self.center
                mixed = mixed + (1 - smoothing) * point.item_value / np.abs(point.item_value).sum()
                sets = self._price(mixed, trial, run)
                if sets is None:
                    return None
                if self.excess > 0:
                    self.center = mixed
                    return True
                better = [
                    (t, s) for t, s in sets if point.item_value[s].sum() - point.type_value[t] > IMPROVES
                ]
                found = self._add(better)
                if found:
                    break
            if not found:
                return None
            master.add(np.array([s for _, s in found]), np.array([t for t, _ in found], dtype=np.int64))
        return None

    def _price(self, mixed: FloatArray, trial: float, run: Run) -> list[tuple[int, BoolArray]] | None:
        """Find the best sets for values of the items, and by how much all items are worth more.

        None where that takes too long.
        """
        value = np.round(mixed * (VALUE_SCALE / np.abs(mixed).sum())).astype(np.int64)
        worth = np.where(self.own_ms <= trial * (1 + SLACK), self.inside @ value, 0)
        self.excess, sets = int(value.sum()), []
        for t, search in enumerate(self.searches):
            mine = np.flatnonzero(self.type == t)
            first = int(mine[worth[mine].argmax()]) if len(mine) else -1
            known = _Priced(0, None)
            if first >= 0 and worth[first] > 0:
                known = _Priced(int(worth[first]), self.inside[first])
            priced = search.best(value, trial, known, run)
            if priced is None:
                return None
            self.excess -= int(self.counts[t]) * priced.value
            if priced.inside is not None:
                sets.append((t, priced.inside))
        return sets

    def _add(self, sets: list[tuple[int, BoolArray]]) -> list[tuple[int, BoolArray]]:
        """Keep the sets that are new and keep the memory limit; returns those."""
        new = []
        for t, inside in sets:
            key = t, np.packbits(inside).tobytes()
            if key not in self._known and self.searches[t].keeps(inside, np.inf):
                self._known.add(key)
                new.append((t, inside))
        if new:
            self.inside = np.concatenate([self.inside, [s for _, s in new]])
            self.type = np.concatenate([self.type, np.array([t for t, _ in new], dtype=np.int64)])
            own = [float(self.loads.load_ms(t, s[None])[0]) for t, s in new]
            self.own_ms = np.concatenate([self.own_ms, own])
        return new
