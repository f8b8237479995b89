"""What labels can use, and what the rest of the nodes costs at least: a knapsack of accelerator memory.

Whatever plan follows, the nodes that it puts on accelerators fit into their memory R that is left, all of it
together.  For every price λ per byte the rest costs at least

    sum over nodes of min(time on an accelerator + λ memory, time on a host) - λ R,

the Lagrangian relaxation of that knapsack; the largest of several prices is taken.
"""

from __future__ import annotations

from math import inf

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.serving.serving_model import Costs, ServingModel

__all__ = ["Completion", "Kinds"]

PRICES = 24
"""Prices that are tried at most."""
MARGIN = 1 - 1e-12
"""Factor of bounds: their sums are added in another order."""


class Kinds:
    """Which devices have an interval, which take any node; how many of either are used, as one number.

    Parameters
    ----------
    model
        The devices.
    scattered
        Whether all take any node.
    """

    def __init__(self, model: ServingModel, *, scattered: bool) -> None:
        self.intervals = [
            o for o, option in enumerate(model.options) if not (scattered or model.pools[option.pool].host)
        ]
        self.free = [
            o
            for o, option in enumerate(model.options)
            if (scattered or model.pools[option.pool].host) and option.devices == 1
            for _ in model.pools[option.pool].names
        ]
        self.hosts = sum(model.pools[model.options[o].pool].host for o in self.free)
        self._before = [f > 0 and self.free[f - 1] == o for f, o in enumerate(self.free)]
        unit = 2 ** len(self.free)
        self.step: dict[int, int] = {}
        self._pools: list[tuple[int, int, float]] = []
        pools = sorted({model.options[o].pool for o in self.intervals})
        stride = {}
        for p in pools:
            count = len(model.pools[p].names)
            stride[p] = unit
            self._pools.append((unit, count + 1, model.pools[p].room_bytes))
            unit *= count + 1
        for o in self.intervals:
            self.step[o] = stride[model.options[o].pool] * model.options[o].devices
        self._least = {
            o: (
                stride[model.options[o].pool],
                len(model.pools[model.options[o].pool].names),
                model.options[o].devices,
            )
            for o in self.intervals
        }

    def has_left(self, used: IntArray, o: int) -> BoolArray:
        """Whether enough devices are left for an option."""
        stride, count, devices = self._least[o]
        return np.asarray(used // stride % (count + 1) + devices <= count)

    def alone(self, used: IntArray, o: int) -> BoolArray:
        """Whether no other interval than that of an option was opened; free devices do not count."""
        free = len(self.free)
        return np.asarray(used >> free << free == self.step[o])

    def room_left(self, used: IntArray) -> FloatArray:
        """Memory of the accelerators with intervals that are not used."""
        out = np.zeros(len(used))
        for stride, base, room in self._pools:
            left = base - 1 - used // stride % base
            out += np.where(left > 0, left * room, 0.0) if room < inf else np.where(left > 0, inf, 0.0)
        return out

    def may_use(self, used: IntArray, f: int) -> BoolArray:
        """Whether a free device may be used: of those that are alike, the first ones are."""
        if not self._before[f]:
            return np.ones(len(used), dtype=np.bool_)
        return np.asarray(used >> (f - 1) & 1 > 0)

    def with_free(self, used: IntArray, f: int) -> IntArray:
        """Note that a free device is used, where that matters."""
        alike = self._before[f] or (f + 1 < len(self.free) and self._before[f + 1])
        return used | (1 << f) if alike else used


class Completion:
    """Bounds on what nodes from some on cost."""

    def __init__(
        self, model: ServingModel, costs: Costs, held: FloatArray, kinds: Kinds, prefilled: bool
    ) -> None:
        options = sorted({*kinds.intervals, *kinds.free})
        inside = [o for o in options if not model.pools[model.options[o].pool].host]
        hosts = [o for o in options if model.pools[model.options[o].pool].host]
        n = len(model.ids)
        self._host = costs.time_ms[hosts].min(axis=0) if hosts else np.full(n, inf)
        devices = np.array([[model.options[o].devices] for o in inside])
        held = held[inside] * devices if inside else np.zeros((0, n))
        held = held.copy()
        held[:, -1] = np.maximum(0.0, held[:, -1] - model.tied_bytes * (devices[:, 0] if inside else 1))
        times = costs.time_ms[inside] if inside else np.zeros((0, n))
        fastest = times.min(axis=0) if inside else np.full(n, inf)
        least = held.min(axis=0) if inside else np.zeros(n)
        self._token = _Prices(times, held, self._host, _ratios(self._host - fastest, least))
        self._beside = _Prices(0.0 * held, held, self._host, _ratios(self._host, least))
        self._prompt = np.zeros(n + 1)
        if prefilled and costs.prefill_ms is not None:
            self._prompt[:-1] = costs.prefill_ms[options].min(axis=0)[::-1].cumsum()[::-1] * MARGIN

    def token(self, k: int, left: FloatArray) -> FloatArray:
        """Bound what nodes from k on add to the time of a token, with so much memory left, ``(m,)``."""
        return self._token.bound(k, left)

    def hosts(self, k: int, left: FloatArray) -> FloatArray:
        """Bound what they add to the loads of hosts."""
        return self._beside.bound(k, left)

    def prompt(self, k: int) -> float:
        """Bound what they add to the time of a prompt."""
        return float(self._prompt[k])


class _Prices:
    """The relaxation, for several prices: sums over the nodes from k on, ``(prices, n + 1)``."""

    def __init__(self, times: FloatArray, held: FloatArray, beside: FloatArray, prices: FloatArray) -> None:
        self.prices = prices
        each = [np.minimum((times + p * held).min(axis=0, initial=inf), beside) for p in prices]
        self.sums = np.zeros((len(prices), len(beside) + 1))
        self.sums[:, :-1] = np.array(each)[:, ::-1].cumsum(axis=1)[:, ::-1]

    def bound(self, k: int, left: FloatArray) -> FloatArray:
        """Largest bound over the prices."""
        out = np.full(len(left), self.sums[0, k] * MARGIN)
        finite = left < inf
        for price, total in zip(self.prices[1:], self.sums[1:, k], strict=True):
            room = np.where(finite, left, 0.0)
            out = np.maximum(out, np.where(finite, total * MARGIN - price * room * (2 - MARGIN), out))
        return out


def _ratios(gain: FloatArray, held: FloatArray) -> FloatArray:
    """Prices at which nodes change sides, 0 first; some of them where they are many."""
    good = (held > 0) & np.isfinite(gain) & (gain > 0)
    found = np.sort(gain[good] / held[good])
    found = found[np.append(True, np.diff(found) > 1e-12 * found[1:])] if len(found) else found
    if len(found) > PRICES:
        found = found[np.linspace(0, len(found) - 1, PRICES).astype(np.int64)]
    return np.concatenate([[0.0], found])
