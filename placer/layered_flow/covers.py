"""Upper bounds by what covers a layer: devices, with how many layers each, that pass a flow together.

In a plan of flow F each layer is held by devices whose rates sum to F at least: a *cover*.  Let a device of
kind t be worth v_t layers, such that Σ v_t / k >= 1 for every cover of devices with k layers each.  A device
is in the covers of k layers, so all covers are together worth Σ_t N_t v_t at most, and L at least: F is
possible only if Σ_t N_t v_t >= L.  The best values are duals of a program over covers (`Packing`), made one
by one: the cheapest cover is found by merging labels (rate, price), those dominated being dropped.

The threshold bound is the special case v_i = max_k k·min(τ_i(k), F) / F, which needs no program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.layered_flow.flow_problem import FlowProblem
from placer.layered_flow.worths import Packing
from placer.search.run import Run
from placer.tolerances import BOUND_TOLERANCE, EQUAL

__all__ = ["Cover", "Covers", "cheapest_cover", "threshold"]

LABELS = 2048
"""Labels that are kept apart; rates of more are rounded up to so many, which keeps the bound valid."""
HALVINGS = 100


def threshold(problem: FlowProblem) -> float:
    """Largest F with Σ_i max_k k·min(τ_i(k), F) >= L·F, and no more than the links of either end carry."""
    n, work = problem.n, [np.arange(1, len(rate) + 1) for rate in problem.useful]

    def passes(flow: float) -> bool:
        held = sum((k * np.minimum(rate, flow)).max() for k, rate in zip(work, problem.useful, strict=True))
        return bool(problem.layers * flow <= held * (1 + EQUAL))

    low, high = 0.0, float(min(problem.links[n].sum(), problem.links[:, n].sum()))
    if passes(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return high


class Covers:
    """The bound by covers, with the covers that were found so far.

    Parameters
    ----------
    problem
        The problem.
    repeated
        Whether a cover may take more devices of a kind than there are.  The values are then valid for any
        flows: what passes a flow is worth no less than a device that passes as much or more.
    """

    def __init__(self, problem: FlowProblem, *, repeated: bool = False) -> None:
        self.problem = problem
        self.counts = np.array([float(len(kind)) for kind in problem.kinds])
        self.rates = [problem.useful[kind[0]] for kind in problem.kinds]
        self.most = [None if repeated else len(kind) for kind in problem.kinds]
        self._packing = Packing(self.counts)
        self._found: list[float] = []

    def values(self, flow: float, run: Run) -> tuple[float, FloatArray] | None:
        """Return a bound on the layers that a flow can pass, and what a device of each kind is worth.

        The bound is valid as it is: the values are scaled by the cheapest cover.  None when the run is over.
        """
        rates = [np.minimum(rate, flow) for rate in self.rates]
        self._packing.switch(np.array(self._found) >= flow * (1 - EQUAL))
        while (point := self._packing.solve(run)) is not None:
            _, value = point
            prices = [value[t] / np.arange(1, len(rate) + 1) for t, rate in enumerate(rates)]
            cover = cheapest_cover(rates, prices, self.most, flow)
            if cover.price >= 1 - BOUND_TOLERANCE:
                value = value / min(cover.price, 1.0)
                return float(self.counts @ value), value
            uses = np.zeros(len(rates))
            for t, k in cover.devices:
                uses[t] += 1 / k
            self._packing.add(1.0, uses)
            self._found.append(cover.rate)
        return None

    def limit(self, low: float, high: float, run: Run, precision: float) -> float:
        """Return a proven bound, given a flow that is possible (or 0) and a proven bound."""
        step = precision
        while high - low > precision * high and run.stopped() is None:
            # Close to the bound first: it is often the best one.
            flow = max((low + high) / 2, high * (1 - step))
            found = self.values(flow, run)
            if found is None:
                break
            if found[0] < self.problem.layers * (1 - EQUAL):
                high, step = flow, 8 * step
            else:
                low = flow
        return high


@dataclass(frozen=True)
class Cover:
    """Devices that pass a flow: rate, price (infinite: there is none), and pairs (kind, layers)."""

    rate: float
    price: float
    devices: tuple[tuple[int, int], ...]


def cheapest_cover(
    rates: Sequence[FloatArray], prices: Sequence[FloatArray], most: Sequence[int | None], flow: float
) -> Cover:
    """Return a cover of least price.

    Parameters
    ----------
    rates, prices
        Of a device of each kind with 1, 2, ... layers.
    most
        Devices of each kind that may be taken; any number when None.
    flow
        What they are to pass together.
    """
    best = Cover(0.0, np.inf, ())
    labels = np.zeros((3, 1))  # rate, price, and the place of the last device in `made`
    made = [(-1, -1, -1)]
    for t, (rate, price) in enumerate(zip(rates, prices, strict=True)):
        (some,) = np.nonzero(rate > 0)
        newest, taken = labels, 0
        while len(some) and newest.shape[1] and taken != most[t]:
            sums = np.minimum(flow, newest[0][:, None] + rate[some]).ravel()
            paid = (newest[1][:, None] + price[some]).ravel()
            kept = _undominated(sums, paid, flow, best.price)
            first = len(made)
            made += [(int(newest[2, j // len(some)]), t, int(some[j % len(some)]) + 1) for j in kept.tolist()]
            newest = np.stack([sums[kept], paid[kept], np.arange(first, len(made))])
            newest[0] = _rounded(newest[0], flow)
            full = newest[0] >= flow * (1 - EQUAL)
            for _, paid_for, place in newest[:, full].T[:1]:  # the first is the cheapest
                best = Cover(float(newest[0, full][0]), float(paid_for), _traced(made, int(place)))
            newest, taken = newest[:, ~full], taken + 1
            both = np.concatenate([labels, newest], axis=1)
            labels = both[:, _undominated(both[0], both[1], flow, best.price)]
    return best


def _undominated(rate: FloatArray, price: FloatArray, flow: float, below: float) -> IntArray:
    """Return the labels below a price of which none passes more for less, by falling rate."""
    rate = np.where(rate >= flow * (1 - EQUAL), flow, rate)
    order = np.lexsort((price, -rate))
    least = np.minimum.accumulate(np.append(below, price[order]))[:-1]
    return np.asarray(order[price[order] < least])


def _rounded(rate: FloatArray, flow: float) -> FloatArray:
    """Round up to few rates where there are many labels."""
    if len(rate) <= LABELS:
        return rate
    return np.asarray(np.ceil(rate / flow * LABELS) * (flow / LABELS))


def _traced(made: Sequence[tuple[int, int, int]], place: int) -> tuple[tuple[int, int], ...]:
    devices = []
    while place:
        place, t, k = made[place]
        devices.append((t, k))
    return tuple(devices)
