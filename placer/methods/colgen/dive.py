"""Plans from sets: fix the set that the master program likes best, generate sets for the rest, repeat."""

from __future__ import annotations

import numpy as np

from placer.arrays import BoolArray, IntArray
from placer.methods.colgen.bound import Generation
from placer.methods.colgen.master import Master, MasterPoint
from placer.search.run import Run

__all__ = ["dive"]

FORBIDDEN = -(2**20)
"""Value of an item that is fixed already; the values of all others sum up to at most 2^26."""
VALUE_SCALE = 2**26
COVERED = 1e-6
OVERWEIGHT = 2e-3
"""Relative excess of a set's load over the trial load that a dive accepts."""


def dive(generation: Generation, trial_ms: float, run: Run, *, rounds: int) -> IntArray | None:
    """Build an assignment whose loads are about ``trial_ms``.

    Parameters
    ----------
    generation
        Its sets are the first choice; its grid is in use.
    trial_ms
        Load to fill each device to.
    rounds
        Pricing rounds before each choice.

    Returns
    -------
    device : (N,) array or None
        None when the run is over first or some item fits nowhere.  Loads and memory are not checked.
    """
    loads = generation.loads
    device = np.full(loads.problem.size, -1, dtype=np.int64)
    free = [kind.devices.tolist() for kind in loads.types]
    near = generation.own_ms <= trial_ms * (1 + OVERWEIGHT)
    inside, kinds = generation.inside[near], generation.type[near]
    while any(free) and (device < 0).any():
        if run.stopped() is not None:
            return None
        rest = device < 0
        usable = ~inside[:, ~rest].any(axis=1) & np.array([len(f) > 0 for f in free])[kinds]
        inside, kinds = inside[usable], kinds[usable]
        step = _Step(generation, trial_ms, rest, [len(f) for f in free])
        inside, kinds, point = step.generate(inside, kinds, run, rounds)
        if point is None or not len(kinds):
            break
        score = point.share * (1 + 1e-3 * inside @ generation.weight / generation.weight.sum())
        chosen = int(np.argmax(score))
        if not point.share[chosen] > 0 or not inside[chosen].any():
            break
        device[inside[chosen]] = free[int(kinds[chosen])].pop(0)
    return _complete(generation, device)


class _Step:
    """Generates sets for the items that are left."""

    def __init__(self, generation: Generation, trial_ms: float, rest: BoolArray, counts: list[int]) -> None:
        self.generation, self.trial_ms, self.rest = generation, trial_ms, rest
        self.counts = np.array(counts, dtype=np.int64)
        left = int(rest.sum())
        self.master = Master(generation.weight[rest], np.arange(left), self.counts)

    def generate(
        self, inside: BoolArray, kinds: IntArray, run: Run, rounds: int
    ) -> tuple[BoolArray, IntArray, MasterPoint | None]:
        """Add sets to those given, ``(S, N)``; return all, their types and the last solution."""
        if len(kinds):
            self.master.add(inside[:, self.rest], kinds)
        point = self.master.solve(run)
        for _ in range(rounds):
            if point is None or point.objective <= COVERED or run.stopped() is not None:
                break
            new = self._price(point)
            run.spend(sum(pricer.work_s for pricer in self.generation.pricers))
            if not new:
                break
            sets, types = np.array([s for s, _ in new]), np.array([t for _, t in new], dtype=np.int64)
            self.master.add(sets[:, self.rest], types)
            inside, kinds = np.concatenate([inside, sets]), np.concatenate([kinds, types])
            point = self.master.solve(run)
        return inside, kinds, point

    def _price(self, point: MasterPoint) -> list[tuple[BoolArray, int]]:
        value = np.full(len(self.rest), FORBIDDEN, dtype=np.int64)
        norm = max(float(np.abs(point.item_value).sum()), 1e-300)
        value[self.rest] = np.round(point.item_value * (VALUE_SCALE / norm)).astype(np.int64)
        new = []
        for t, pricer in enumerate(self.generation.pricers):
            if not self.counts[t]:
                continue
            pricer.values(value)
            best = pricer.best_set(self.trial_ms) & self.rest
            if point.item_value[best[self.rest]].sum() > point.type_value[t] + 1e-9:
                new.append((best, t))
        return new


def _complete(generation: Generation, device: IntArray) -> IntArray | None:
    """Put what is left where the load stays lowest, heaviest items first."""
    loads, problem = generation.loads, generation.loads.problem
    kind_of = {int(d): t for t, kind in enumerate(loads.types) for d in kind.devices}
    left = np.flatnonzero(device < 0)
    for i in left[np.argsort(-generation.weight[left], kind="stable")].tolist():
        after = np.full(problem.allowed.shape[1], np.inf)
        for d in np.flatnonzero(problem.allowed[i]).tolist():
            inside = device == d
            inside[i] = True
            after[d] = float(loads.load_ms(kind_of[d], inside[None])[0])
        d = int(np.argmin(after))
        if not np.isfinite(after[d]):
            return None
        device[i] = d
    return device
