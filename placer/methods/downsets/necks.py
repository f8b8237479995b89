"""A lower bound that sees where pieces end: items that all others come before or after.

Such an item, a *neck*, is whole on one device, and all before it is done by then. What lies between two necks
is forgotten but for its time and its memory, of which pieces take any amounts. Then each piece does best to
take all it can, so that counting the pieces of the greedy way tells whether the devices suffice for a load.
Items take their least time and memory, on devices with the largest limit; transfers are forgotten.

A piece that starts after time x and memory y of all items gets to the first neck that ends later than x + T
or y + M, and of what lies before that neck it takes what T and M leave of each.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.methods.downsets.comparable import necks
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import ROUNDING

__all__ = ["neck_bound"]

PRECISION = 1e-7
"""Relative precision of the bound."""


def neck_bound(lattice: Lattice) -> float:
    """Return a load in ms that every plan has at least; 0 where memory leaves no plan."""
    g = lattice.graph
    kept = np.flatnonzero(~g.optional & _ordered(lattice))
    if not len(kept) or not len(g.devices):
        return 0.0
    rank = np.full(lattice.size, -1)
    rank[kept] = np.arange(len(kept))
    edges = rank[lattice.edges]
    way = _Way.of(
        np.where(g.ok, g.time.sum(axis=1), np.inf).min(axis=0)[kept],
        np.where(g.ok, g.memory, np.inf).min(axis=0)[kept],
        necks(len(kept), edges[(edges >= 0).all(axis=1)]),
        float(g.limit.max()),
    )
    devices = int(g.devices[g.pool == np.arange(len(g.pool))].sum())
    low, high = 0.0, way.time
    if devices < 1 or way.pieces(high, devices) > devices:
        return 0.0
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        low, high = (middle, high) if way.pieces(middle, devices) > devices else (low, middle)
    return low


def _ordered(lattice: Lattice) -> BoolArray:
    """Items with a place in the order; others may come anywhere and would leave no neck, ``(N,)``."""
    out = np.zeros(lattice.size, dtype=bool)
    out[lattice.edges.ravel()] = True
    return out


@dataclass(frozen=True, eq=False)
class _Way:
    """Necks along time and memory of all items before them.

    Parameters
    ----------
    begins, ends
        Of each neck, in ms and in bytes.
    time, memory
        Of all items.
    limit
        Memory of a device.
    """

    begins: tuple[list[float], list[float]]
    ends: tuple[list[float], list[float]]
    time: float
    memory: float
    limit: float

    @classmethod
    def of(cls, time: FloatArray, memory: FloatArray, neck: BoolArray, limit: float) -> _Way:
        """Lay out items in topological order, ``(N,)`` each; what no device may hold counts as nothing."""
        sums = [np.cumsum(np.where(np.isfinite(x), x, 0.0)) for x in (time, memory)]
        at = np.flatnonzero(neck)
        before = [np.concatenate([[0.0], x])[at].tolist() for x in sums]
        after = [x[at].tolist() for x in sums]
        return cls(
            (before[0], before[1]), (after[0], after[1]), float(sums[0][-1]), float(sums[1][-1]), limit
        )

    def pieces(self, load_ms: float, most: int) -> int:
        """Pieces within a load that all items need; more than ``most`` when those do not suffice."""
        slack_ms, slack = ROUNDING * self.time, ROUNDING * self.memory
        x, y = 0.0, 0.0
        for used in range(1, most + 1):
            reach_ms, reach = x + load_ms + slack_ms, y + self.limit + slack
            neck = min(bisect_right(self.ends[0], reach_ms), bisect_right(self.ends[1], reach))
            last = neck == len(self.ends[0])
            x = min(reach_ms, self.time if last else self.begins[0][neck])
            y = min(reach, self.memory if last else self.begins[1][neck])
            if last and x >= self.time and y >= self.memory:
                return used
        return most + 1
