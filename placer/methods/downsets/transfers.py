"""A lower bound that sees transfers: prices of items against what a device can earn within a load.

For any prices π ≥ 0 of items let V_t(T) = max {π(S) : load_t(S) ≤ T}, for type t. A plan with largest
load T covers all items with count_t sets per type, so Σπ ≤ Σ_t count_t·V_t(T). The largest T at which
this fails is a lower bound, whatever π. (The duals of the set covering program are the best π; Gilmore
and Gomory's argument for knapsack pricing.) An upper bound of V_t does as well:

- hosts: fractional knapsack over all hosts of a type together;
- accelerators: dynamic program over any order of the items, with state (all out, all in, both) per net
  that is open between its first and its last item, and load in buckets, each step rounded *down*. A net
  is paid when it becomes split. When the states become too many, the cheapest open net is forgotten: it
  costs nothing from then on. Memory, contiguity and schedules are forgotten as well, so the bound holds
  for ``gpipe`` too.

The prices are improved by multiplicative steps: an item that the best sets cover too often becomes
cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.methods.downsets.kernels.arrays import Graph, Measures
from placer.methods.downsets.kernels.open_nets import fill, trace
from placer.methods.downsets.lattice import Lattice, net_members
from placer.methods.downsets.measures import ROUNDING
from placer.methods.downsets.orders import depth_first
from placer.search.run import Run
from placer.search.work import TRANSFER_CELL_S, TRANSITION_S

__all__ = ["TransferBound", "applicable"]

MAX_STATES = 48
"""States of a step, after which the cheapest open net is forgotten; the codes of ``choice`` hold 127."""
MAX_ITEMS = 3000
"""At most: the table of choices then takes 150 MB, a byte for each item, state and bucket."""
SOME_STATES = 40
"""Transitions of a step, as graphs have it."""
RATE = 0.3
"""Of the first step on the prices in a cycle."""
FIRST_CYCLE, LONG_CYCLE = 20, 160
"""Steps of the first cycle, and of those that say whether more may help."""
OUT, IN, BOTH = 0, 1, 2


def applicable(lattice: Lattice) -> bool:
    """Whether the bound is worth its time: transfers add to the load, no teams, and no huge graph."""
    g = lattice.graph
    if lattice.kinds.shared:
        return False
    return g.mode == 0 and bool(g.paying.any()) and 1 < lattice.size <= MAX_ITEMS and len(g.net_size) > 0


@dataclass(frozen=True, eq=False)
class Steps:
    """Transitions of the dynamic program for one device type."""

    first: IntArray
    source: IntArray
    goal: IntArray
    takes: IntArray
    load: FloatArray  # ms
    states: IntArray


class TransferBound:
    """The bound, its prices and the curves V_t at any time.

    Parameters
    ----------
    lattice
        The items; only their costs matter.
    upper
        Loads of interest end here, in ms.
    run
        The clock.
    buckets
        Resolution of the load.
    """

    def __init__(self, lattice: Lattice, upper: float, run: Run, buckets: int = 1024) -> None:
        g = lattice.graph
        self.graph = g
        self.lattice = lattice
        self.unit = upper / buckets
        self.buckets = buckets
        self.order = _pricing_order(lattice)
        self.types = [t for t in range(len(g.devices)) if g.devices[t] > 0 and g.pool[t] == t]
        self.steps = {t: _steps(g, self.order, t) for t in self.types if g.paying[t]}
        widest = max(int(s.states.max()) for s in self.steps.values())
        self.table = np.zeros((2, widest, buckets + 1))
        self.choice = np.zeros((lattice.size, widest, buckets + 1), dtype=np.uint8)
        transitions = sum(len(s.source) for s in self.steps.values())
        run.spend(TRANSITION_S * transitions)
        # Each round fills the table of a type twice: for the bound, and for its best set.
        self._round_s = TRANSFER_CELL_S * 2 * (buckets + 1) * transitions
        self.prices = _first_prices(g)
        self.best_prices = self.prices.copy()
        self.bound_ms = 0.0
        self._step, self._cycle, self._begun_ms = 0, FIRST_CYCLE, 0.0

    @staticmethod
    def first_s(lattice: Lattice) -> float:
        """Work in nominal seconds after which there is a first bound, about."""
        return lattice.size * SOME_STATES * (TRANSITION_S + 2048 * TRANSFER_CELL_S)

    def improve(self, run: Run) -> bool:
        """Take steps on the prices while the run goes on; whether more may help.

        Steps shrink within a cycle; each cycle is twice as long as the one before.
        """
        while run.stopped() is None:
            if self._step == self._cycle:
                if self._cycle >= LONG_CYCLE and self.bound_ms <= self._begun_ms * (1 + 1e-5):
                    return False
                self._step, self._cycle, self._begun_ms = 0, 2 * self._cycle, self.bound_ms
            covered = self._round()
            run.spend(self._round_s)
            step = RATE / (1 + 0.05 * self._step)
            self._step += 1
            self.prices *= np.exp(step * np.clip(1.0 - covered, -2.0, 1.0))
            self.prices /= self.prices.sum()
        return True

    def _round(self) -> FloatArray:
        """Evaluate the prices; returns how often the best sets at the bound cover each item."""
        g, total = self.graph, float(self.prices.sum())
        room = np.zeros(self.buckets + 1)
        for t in self.types:
            if g.paying[t]:
                room += g.devices[t] * self._curve(t, self.prices)
            else:
                room += self._host_curve(t, self.prices)
        short = np.flatnonzero(room * (1 + ROUNDING) < total)
        at = int(short[-1]) + 1 if len(short) else 0
        if at * self.unit > self.bound_ms:
            self.bound_ms = at * self.unit
            self.best_prices = self.prices.copy()
        at = min(at, self.buckets)
        covered = np.zeros(len(self.prices))
        for t in self.types:
            if g.paying[t]:
                self._curve(t, self.prices)
                covered += g.devices[t] * self._best_set(t, at)
            else:
                covered += self._host_share(t, at)
        return covered

    def _curve(self, t: int, prices: FloatArray) -> FloatArray:
        """Upper bound of V_t at loads below (b + 1) units, ``(B + 1,)``."""
        s = self.steps[t]
        with np.errstate(divide="ignore", invalid="ignore"):  # a load of 0 has buckets of 0
            buckets = np.nan_to_num(s.load / self.unit * (1 - ROUNDING), posinf=self.buckets + 1.0)
        load = np.floor(buckets).astype(np.int64)
        load = np.minimum(load, self.buckets + 1)
        fill(s.first, s.source, s.goal, s.takes, load, prices[self.order], s.states, self.table, self.choice)
        self._load = load
        self._last = self.table[len(self.order) % 2, 0].copy()
        return np.asarray(np.maximum.accumulate(self._last))

    def _best_set(self, t: int, at: int) -> FloatArray:
        s = self.steps[t]
        bucket = int(np.argmax(self._last[: at + 1]))
        taken = np.zeros(len(self.order), dtype=np.int64)
        trace(s.first, s.source, s.goal, s.takes, self._load, self.choice, bucket, taken)
        out = np.zeros(len(self.order))
        out[self.order] = taken
        return out

    def _host_curve(self, t: int, prices: FloatArray) -> FloatArray:
        by = self._host_order(t, prices)
        time = self.graph.time[t].sum(axis=0)[by]
        reach = np.concatenate([[0.0], np.cumsum(time)])
        value = np.concatenate([[0.0], np.cumsum(prices[by])])
        capacity = self.graph.devices[t] * self.unit * np.arange(1, self.buckets + 2)
        return np.asarray(np.interp(capacity, reach, value))

    def _host_share(self, t: int, at: int) -> FloatArray:
        by = self._host_order(t, self.prices)
        time = self.graph.time[t].sum(axis=0)[by]
        left = self.graph.devices[t] * self.unit * (at + 1) - (np.cumsum(time) - time)
        out = np.zeros(len(self.prices))
        out[by] = np.clip(left / np.maximum(time, 1e-300), 0.0, 1.0)
        return out

    def _host_order(self, t: int, prices: FloatArray) -> IntArray:
        time = self.graph.time[t].sum(axis=0)
        runs = np.flatnonzero(self.graph.ok[t])
        ratio = prices[runs] / np.maximum(time[runs], 1e-300)
        return runs[np.argsort(-ratio, kind="stable")]

    def measure(self, target: float, side: Lattice) -> Measures | None:
        """Return the best prices as a measure of a merged or reversed lattice, for tests at a target.

        Not for relaxations: their plans may break it, and rules of the search that exchange plans need them.
        """
        g = self.graph
        at = int(np.floor(target / self.unit * (1 + ROUNDING)))
        if at > self.buckets:
            return None
        scale = np.full((1, len(g.devices)), np.inf)
        for t in self.types:
            if g.paying[t]:
                scale[0, t] = self._curve(t, self.best_prices)[at]
            else:
                scale[0, t] = self._host_curve(t, self.best_prices)[at]
        scale = np.ascontiguousarray(scale[:, g.pool])
        prices = np.zeros((1, side.size))
        where = side.position[side.problem.item[self.lattice.problem.lead]]
        np.add.at(prices[0], where, self.best_prices[self.lattice.position])
        return Measures(
            weight=prices,
            boundary=np.zeros((1, len(side.graph.net_size))),
            scale=scale,
            unit=np.zeros_like(scale),
            kind=np.array([3]),
            slack=ROUNDING * prices.sum(axis=1),
        )


def _first_prices(g: Graph) -> FloatArray:
    """Work on the fastest type, with a little for items that cost nothing."""
    time = np.where(g.ok, g.time.sum(axis=1), np.inf).min(axis=0)
    prices = np.where(np.isfinite(time), time, 0.0)
    prices += 1e-3 * max(float(prices.mean()), 1e-12)
    return np.asarray(prices / prices.sum())


def _pricing_order(lattice: Lattice) -> IntArray:
    """Items in many nets first (they split the rest), then branch by branch."""
    g = lattice.graph
    degree = np.diff(g.item_start)
    order = depth_first(lattice)
    hubs = degree[order] > max(6.0, 3.0 * float(degree.mean()))
    return np.concatenate([order[hubs], order[~hubs]])


def _steps(g: Graph, order: IntArray, t: int) -> Steps:
    """Enumerate the reachable states along the order."""
    start, members = net_members(g)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    last = [int(rank[members[start[e] : start[e + 1]]].max()) for e in range(len(g.net_size))]
    cost = g.net_cost[t].tolist()
    states: dict[tuple[tuple[int, int], ...], int] = {(): 0}
    forgotten: set[int] = set()
    rows: list[tuple[int, int, int, float]] = []
    first, widths = [0], []
    for i, v in enumerate(order.tolist()):
        nets = [e for e in g.item_nets[g.item_start[v] : g.item_start[v + 1]].tolist() if cost[e] > 0]
        time = float(g.time[t, :, v].sum())
        moves: list[tuple[int, tuple[tuple[int, int], ...], int, float]] = []
        for state, a in states.items():
            for take in (0, 1) if g.ok[t, v] else (0,):
                goal, paid = _after(state, nets, take, cost, last, i, forgotten)
                moves.append((a, goal, take, paid + take * time))
        while len({goal for _, goal, _, _ in moves}) > MAX_STATES:
            drop = min({e for _, goal, _, _ in moves for e, _ in goal}, key=lambda e: cost[e])
            forgotten.add(drop)
            moves = [(a, tuple(x for x in goal if x[0] != drop), take, paid) for a, goal, take, paid in moves]
        states = {}
        for a, goal, take, paid in moves:
            rows.append((a, states.setdefault(goal, len(states)), take, paid))
        first.append(len(rows))
        widths.append(len(states))
    table = np.array(rows)
    return Steps(
        first=np.array(first),
        source=table[:, 0].astype(np.int64),
        goal=table[:, 1].astype(np.int64),
        takes=table[:, 2].astype(np.int64),
        load=table[:, 3].copy(),
        states=np.array(widths),
    )


def _after(
    state: tuple[tuple[int, int], ...],
    nets: list[int],
    take: int,
    cost: list[float],
    last: list[int],
    step: int,
    forgotten: set[int],
) -> tuple[tuple[tuple[int, int], ...], float]:
    """State after an item with these nets is taken or left, and the transfers that become certain."""
    now, paid = dict(state), 0.0
    for e in nets:
        if e in forgotten:
            continue
        old = now.get(e, IN if take else OUT)
        if old != BOTH and old != (IN if take else OUT):
            old = BOTH
            paid += cost[e]
        now[e] = old
        if last[e] == step:
            del now[e]
    return tuple(sorted(now.items())), paid
