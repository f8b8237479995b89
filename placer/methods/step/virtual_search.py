"""Local search for plans with virtual stages: boundaries between them move, single items, devices change.

The items stand in a row, virtual stage by virtual stage, with boundaries between these.  A move shifts all
boundaries of a range by the same number of items: what one virtual stage loses another one gains, however far
they are apart.  Where the graph is no chain, single items move as well, as far as what they read and what
reads them allow.  Of all moves the best is made, until none is better; then a few random ones, and so on.

Plans are compared by their broken rules, then by their time, then by the squares of the loads of devices,
since the time depends on few of them.  A long step is judged by a shorter one and the largest load, and the
few best by the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.methods.step.virtual_costs import Costs, Figures
from placer.plans.interleaved import interleaved_ms
from placer.search.run import Run
from placer.tolerances import EQUAL

__all__ = ["Found", "LocalSearch"]

CELLS = 1_500_000
"""Items of all plans that are evaluated at once."""
CELL_S, TASK_S = 2e-8, 2e-9
"""Nominal seconds for an item of a plan, and for a pass of a virtual stage."""
LONG, JUDGED = 8, 16
"""Groups of microbatches from which on a step is judged by so many, and plans that are judged by all."""
KICKS = 4
"""Random moves before the next descent, at most."""
SWAPS = 60
"""Pairs of devices that are exchanged at most in one round."""


@dataclass(frozen=True, eq=False)
class Found:
    """A plan of items.

    Parameters
    ----------
    at
        Virtual stage of each item in pipeline order, ``(N,)``.
    devices
        Device of each rank, ``(P,)``.
    value
        What plans are compared by: broken rules, time in ms, squares of loads.
    recompute
        Devices that compute their activations again.
    """

    at: IntArray
    devices: IntArray
    value: tuple[float, float, float]
    recompute: tuple[int, ...]


@dataclass(eq=False)
class LocalSearch:
    """Improves plans.

    Parameters
    ----------
    costs
        Of plans.
    spare
        Devices that no rank is on, and that differ from each other.
    alike
        Kind of each device: those of one kind are interchangeable, ``(D,)``.
    run
        The clock.
    rng
        For random moves.
    """

    costs: Costs
    spare: list[int]
    alike: IntArray
    run: Run
    rng: np.random.Generator
    _edges: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self._edges = self.costs.problem.edges

    def judged(self, at: IntArray, devices: IntArray) -> Found:
        """Evaluate one plan."""
        figures = self.costs.figures(at[None], devices)
        time = float(interleaved_ms(figures.load_ms, self.costs.microbatches)[0])
        return self._found(at, devices, figures, 0, time)

    def best_of(self, at: IntArray, devices: IntArray) -> Found | None:
        """Return the plan of some, ``(C, N)``, that holds and takes least time; None if none holds."""
        self.run.check()
        figures = self.costs.figures(at, devices)
        held = np.flatnonzero(figures.excess == 0)
        if not len(held):
            return None
        self.run.spend(CELL_S * at.size + TASK_S * figures.load_ms.size * self.costs.microbatches)
        times = interleaved_ms(figures.load_ms[..., held], self.costs.microbatches)
        c = int(held[times.argmin()])
        return self._found(at[c], devices, figures, c, float(times.min()))

    def _found(self, at: IntArray, devices: IntArray, figures: Figures, c: int, time: float) -> Found:
        spread = float((figures.load_ms[..., c].sum(axis=(0, 1)) ** 2).sum())
        recompute = tuple(sorted(devices[figures.recompute[:, c]].tolist()))
        value = (float(figures.excess[c]), time, spread)
        return Found(at, devices, value, tuple(d for d in recompute if d in set(devices[at % len(devices)])))

    def descend(self, found: Found) -> Found:
        """Make the best move until none is better.

        Raises
        ------
        Stopped
            When the run is over.
        """
        while True:
            better = found
            for moves in self._moves(found):
                better = self._best(found, better, moves)
            if better is found:
                better = self._other_devices(found)
            if better is found:
                return found
            found = better

    def kicked(self, found: Found) -> Found:
        """Make a few random moves."""
        at = found.at
        for _ in range(int(self.rng.integers(2, KICKS + 1))):
            row, cuts = self._row(at, len(found.devices))
            low, high = sorted(self.rng.integers(1, len(cuts) - 1, 2).tolist())
            at = at.copy()
            shift = _shifts(row, cuts, int(self.rng.choice([-1, 1])) * self._step(len(at), len(cuts)))
            moved = at - (shift[high] - shift[low - 1])
            if self._is_contiguous(moved, len(cuts) - 1):
                at = moved
        return self.judged(at, found.devices)

    def _step(self, items: int, stages: int) -> int:
        return int(self.rng.integers(1, max(2, items // (2 * stages))))

    def _is_contiguous(self, at: IntArray, stages: int) -> bool:
        inside = at.min() >= 0 and at.max() < stages
        return bool(inside and (at[self._edges[:, 0]] <= at[self._edges[:, 1]]).all())

    def _row(self, at: IntArray, ranks: int) -> tuple[IntArray, IntArray]:
        """Items in a row, ``(N,)``, and where virtual stages begin in it, ``(V P + 1,)``."""
        row = np.lexsort((np.arange(len(at)), at))
        return row, np.searchsorted(at[row], np.arange(ranks * self.costs.options.virtual_stages + 1))

    def _moves(self, found: Found) -> Iterator[IntArray]:
        """Yield plans that differ by one move, ``(C, N)``."""
        size, ranks = len(found.at), len(found.devices)
        row, cuts = self._row(found.at, ranks)
        most = max(100, CELLS // size)
        step = 1
        while step == 1 or step <= size // (2 * len(cuts)):
            for by in (step, -step):
                low, high = np.triu_indices(len(cuts) - 2)
                low, high = low + 1, high + 1
                # At its ends a range must not pass the boundaries beside it.
                fits = cuts[high] + by <= cuts[high + 1] if by > 0 else cuts[low] + by >= cuts[low - 1]
                pairs = np.flatnonzero(fits)
                if len(pairs) > most:
                    pairs = self.rng.choice(pairs, most, replace=False)
                shift = _shifts(row, cuts, by)
                moved = found.at - (shift[high[pairs]] - shift[low[pairs] - 1])
                yield moved
            step *= 2
        yield self._single_moves(found.at, len(cuts) - 1, most)

    def _single_moves(self, at: IntArray, stages: int, most: int) -> IntArray:
        """Return plans in which one item is in another virtual stage, ``(C, N)``."""
        first, last = np.zeros(len(at), dtype=np.int64), np.full(len(at), stages - 1)
        np.maximum.at(first, self._edges[:, 1], at[self._edges[:, 0]])
        np.minimum.at(last, self._edges[:, 0], at[self._edges[:, 1]])
        count = last - first + 1
        item = np.repeat(np.arange(len(at)), count)
        to = np.arange(len(item)) - np.repeat(np.cumsum(count) - count - first, count)
        chosen = np.flatnonzero(to != at[item])
        if len(chosen) > most:
            chosen = self.rng.choice(chosen, most, replace=False)
        moved = np.tile(at, (len(chosen), 1))
        moved[np.arange(len(chosen)), item[chosen]] = to[chosen]
        return moved

    def _best(self, now: Found, best: Found, moved: IntArray) -> Found:
        """Return the best plan of some, or the best so far."""
        self.run.check()
        if not len(moved):
            return best
        figures = self.costs.figures(moved, now.devices)
        self.run.spend(CELL_S * moved.size)
        spread = (figures.load_ms.sum(axis=(0, 1)) ** 2).sum(axis=0)
        least = self._at_least(figures.load_ms)
        limit = best.value[1] * (1 + EQUAL)
        good = (figures.excess < best.value[0]) | ((figures.excess <= best.value[0]) & (least <= limit))
        chosen = np.flatnonzero(good)
        if len(chosen) > JUDGED and best.value[0] > 0:  # first of all the rules have to hold
            order = np.lexsort((spread[chosen], least[chosen], figures.excess[chosen]))
            chosen = chosen[order[:JUDGED]]
        if not len(chosen):
            return best
        times, chosen = self._times(figures.load_ms[..., chosen], chosen)
        for c, time in zip(chosen.tolist(), times.tolist(), strict=True):
            if _is_better((float(figures.excess[c]), time, float(spread[c])), best.value):
                best = self._found(moved[c], now.devices, figures, c, time)
        return best

    def _at_least(self, load_ms: FloatArray) -> FloatArray:
        """Return the work of a device with what must come before and after it, the most of all, ``(C,)``."""
        both = load_ms.sum(axis=0)
        before = np.cumsum(both[0], axis=0) - both[0]
        return np.asarray((before + self.costs.microbatches * both.sum(axis=0)).max(axis=0))

    def _times(self, load_ms: FloatArray, chosen: IntArray) -> tuple[FloatArray, IntArray]:
        """Return times of plans, and which they are of: of a long step those that promise to be shortest."""
        ranks = load_ms.shape[2]
        count = self.costs.microbatches
        self.run.spend(TASK_S * load_ms.size * min(count, LONG * ranks))
        if count <= LONG * ranks:
            return interleaved_ms(load_ms, count), chosen
        short = LONG * ranks
        estimate = interleaved_ms(load_ms, short)
        estimate += (count - short) * load_ms.sum(axis=(0, 1)).max(axis=0)
        few = np.argsort(estimate, kind="stable")[:JUDGED]
        return interleaved_ms(load_ms[..., few], count), chosen[few]

    def _other_devices(self, found: Found) -> Found:
        """Exchange the devices of two ranks, or one for a spare one, where that is better."""
        ranks, devices, best = len(found.devices), found.devices, found
        pairs = [(a, b) for a in range(ranks) for b in range(a) if self._differ(devices[a], devices[b])]
        if len(pairs) > SWAPS:
            pairs = [pairs[k] for k in self.rng.choice(len(pairs), SWAPS, replace=False)]
        for a, b in pairs:
            changed = devices.copy()
            changed[[a, b]] = changed[[b, a]]
            best = self._if_better(found, changed, best)
        for a in range(ranks):
            for d in self.spare:
                if self._differ(devices[a], d):
                    changed = devices.copy()
                    changed[a] = d
                    best = self._if_better(found, changed, best)
        if best is not found:
            self.spare = sorted({*self.spare, *devices.tolist()} - set(best.devices.tolist()))
        return best

    def _differ(self, a: int, b: int) -> bool:
        return bool(self.alike[a] != self.alike[b])

    def _if_better(self, found: Found, devices: IntArray, best: Found) -> Found:
        self.run.check()
        rank = np.full(len(self.alike), -1)
        rank[devices] = np.arange(len(devices))
        edges = rank[self.costs.problem.instance.rank_edges]
        if ((edges >= 0).all(axis=1) & (edges[:, 0] > edges[:, 1])).any():
            return best
        changed = self.judged(found.at, devices)
        return changed if _is_better(changed.value, best.value) else best


def _shifts(row: IntArray, cuts: IntArray, by: int) -> IntArray:
    """By how much items go down when the first boundaries all move up by some items, ``(V P, N)``."""
    position = np.empty(len(row), dtype=np.int64)
    position[row] = np.arange(len(row))
    inner = cuts[1:-1, None]
    passed = (position >= np.minimum(inner, inner + by)) & (position < np.maximum(inner, inner + by))
    return np.concatenate([np.zeros((1, len(row)), dtype=np.int64), np.cumsum(passed, axis=0) * np.sign(by)])


def _is_better(value: tuple[float, float, float], than: tuple[float, float, float]) -> bool:
    """Whether a plan breaks fewer rules, takes less time, or has more even loads; rounding does not count."""
    for a, b in zip(value, than, strict=True):
        if a < b - EQUAL * abs(b):
            return True
        if a > b + EQUAL * abs(b):
            return False
    return False
