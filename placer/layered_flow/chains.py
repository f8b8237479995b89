"""Plans where links bind: chains of groups, found by a beam search over the layers.

For a target F a group is one device, or some that start and end together, that pass F; a chain puts group
after group so that the links from each to the next carry F.  With v_i what device i is worth at F (`Covers`),
a chain that has reached layer p *loses* the worth of its devices less p, and it can go on only while the
devices left are worth the layers left.  Chains of least loss are kept at each layer.  Loss to come is
estimated where devices are left among which links are strong, but that only weak links lead to: entering
them again takes a group of several devices, or they stay unused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb

import networkx as nx
import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.layered_flow.flow_problem import FlowProblem, Ranges
from placer.search.run import Run
from placer.tolerances import EQUAL

__all__ = ["plan_of_chains"]

WIDTH = 24
"""Chains that are kept at each layer."""
ALIKE = 4
"""Of those that use as many devices of each kind and place."""
LARGEST = 6
"""Devices of a group."""
MIXTURES = 1_000
"""Groups of other sizes are left out where there are more of different kinds."""
MIXED = 40
"""Groups of different kinds that are tried."""
TARGETS = 4
"""Devices beyond weak links for which a group is chosen that hands on most to them."""
CHAIN_S = 6e-3
"""Work of making a chain longer, in nominal seconds."""
CERTAIN = 0.75
"""Share of the estimated loss to come that ends a chain."""


@dataclass(frozen=True, eq=False)
class _Chain:
    """A chain: layers, loss, devices used (bits), its last group, and what it was before."""

    layer: int
    loss: float
    used: int
    group: tuple[int, ...]
    rate: FloatArray
    before: _Chain | None

    def ranges(self) -> Ranges:
        found: Ranges = {}
        chain: _Chain = self
        while chain.before is not None:
            found |= dict.fromkeys(chain.group, (chain.before.layer, chain.layer))
            chain = chain.before
        return found


def plan_of_chains(problem: FlowProblem, flow: float, value: FloatArray, run: Run) -> Ranges | None:
    """Return ranges that most likely pass a flow, or None where no chain was found.

    Parameters
    ----------
    problem
        The problem.
    flow
        Tokens per second.
    value
        What each device is worth at this flow, in layers, ``(n,)``.
    run
        Limits.
    """
    return _Beam(problem, flow, value).search(run)


class _Beam:
    def __init__(self, problem: FlowProblem, flow: float, value: FloatArray) -> None:
        self.problem, self.flow, self.value = problem, flow * (1 - EQUAL), value
        self.slack = float(value.sum()) - problem.layers + EQUAL * problem.layers
        self.rates = [np.minimum(rate, flow) for rate in problem.useful]
        self.kind = np.zeros(problem.n, dtype=np.int64)
        for t, devices in enumerate(problem.kinds):
            self.kind[devices] = t
        inner = problem.links[:-1, :-1]
        parts = nx.connected_components(nx.from_numpy_array((inner >= flow) | (inner.T >= flow)))
        self.part = np.zeros(problem.n, dtype=np.int64)
        for c, devices in enumerate(parts):
            self.part[list(devices)] = c
        self.sort = [*(self.part * len(problem.kinds) + self.kind).tolist(), -1]
        self.masks = [sum(1 << i for i in range(problem.n) if self.sort[i] == x) for x in set(self.sort[:-1])]
        self.left: dict[int, list[float]] = {}
        self.entry = self._entry_loss(float(inner[inner < flow].max(initial=0.0)))
        self.mixtures = self._mixtures()

    def _entry_loss(self, weak: float) -> float:
        """Estimate what a group of equal devices loses whose members get a weak link each."""
        losses = [np.inf]
        for devices in self.problem.kinds:
            passed = np.minimum(self.rates[devices[0]], weak)
            for size in range(2, min(LARGEST, len(devices)) + 1):
                enough = np.flatnonzero(size * passed >= self.flow)
                if len(enough):
                    losses.append(size * self.value[devices[0]] - enough[-1] - 1)
        return max(0.0, min(losses))

    def _mixtures(self) -> list[dict[int, int]]:
        """Return kinds, with numbers, of groups of devices: the best of the same kinds, and all of one."""
        best: dict[tuple[int, ...], tuple[float, dict[int, int]]] = {}
        kinds = self.problem.kinds
        for size in range(2, LARGEST + 1):
            if comb(len(kinds) + size - 1, size) > MIXTURES:
                break
            for mixture in combinations_with_replacement(range(len(kinds)), size):
                worth = sum(float(self.value[kinds[t][0]]) for t in mixture)
                shortest = min(len(self.rates[kinds[t][0]]) for t in mixture)
                together = np.sum([self.rates[kinds[t][0]][:shortest] for t in mixture], axis=0)
                (enough,) = np.nonzero(together >= self.flow)
                loss = worth - enough[-1] - 1 if len(enough) else np.inf
                alike = tuple(sorted(set(mixture))) if len(set(mixture)) > 1 else mixture
                if loss <= min(self.slack, best.get(alike, (np.inf,))[0]):
                    best[alike] = loss, {t: mixture.count(t) for t in set(mixture)}
        one = [mixture for _, mixture in best.values() if len(mixture) == 1]
        several = sorted((m for m in best.values() if len(m[1]) > 1), key=lambda pair: pair[0])
        return one + [mixture for _, mixture in several[:MIXED]]

    def search(self, run: Run) -> Ranges | None:
        """Extend the best chains layer by layer; return the first that reaches the sink."""
        n, layers = self.problem.n, self.problem.layers
        waiting: list[list[_Chain]] = [[] for _ in range(layers + 1)]
        waiting[0].append(_Chain(0, 0.0, 0, (n,), np.array([self.flow]), None))
        for layer in range(layers):
            best, waiting[layer] = self._best(waiting[layer]), []
            for chain in best:
                if run.stopped() is not None:
                    return None
                run.spend(CHAIN_S)
                for longer in self._extended(chain):
                    if longer.layer == layers and self._reaches_the_sink(longer):
                        return longer.ranges()
                    if longer.layer < layers and longer.loss + CERTAIN * self._to_come(longer) <= self.slack:
                        waiting[longer.layer].append(longer)
        return None

    def _reaches_the_sink(self, chain: _Chain) -> bool:
        out = self.problem.links[list(chain.group), self.problem.n]
        return bool(np.minimum(out, chain.rate).sum() >= self.flow)

    def _best(self, chains: list[_Chain]) -> list[_Chain]:
        """Return the chains of least loss, few of those that use as many devices of each sort."""
        kept: list[_Chain] = []
        alike: dict[tuple[int, ...], int] = {}
        seen = set()
        for chain in sorted(chains, key=lambda c: c.loss + self._to_come(c)):
            sort = (self.sort[chain.group[0]], *((chain.used & mask).bit_count() for mask in self.masks))
            if (chain.used, chain.group) not in seen and alike.get(sort, 0) < ALIKE:
                seen.add((chain.used, chain.group))
                alike[sort] = alike.get(sort, 0) + 1
                kept.append(chain)
                if len(kept) == WIDTH:
                    break
        return kept

    def _to_come(self, chain: _Chain) -> float:
        """Estimate what is lost where devices are left beyond weak links."""
        if chain.used not in self.left:
            free = [not chain.used >> i & 1 for i in range(self.problem.n)]
            self.left[chain.used] = np.bincount(self.part, self.value * free).tolist()
        losses = [min(worth, self.entry) for worth in self.left[chain.used]]
        return sum(losses) - (max(losses) if chain.before is None else losses[self.part[chain.group[0]]])

    def _extended(self, chain: _Chain) -> Iterator[_Chain]:
        """Yield the chain with one more group."""
        links = self.problem.links[list(chain.group), :-1]
        into = np.minimum(links, chain.rate[:, None]).sum(axis=0)
        into[[bool(chain.used >> i & 1) for i in range(self.problem.n)]] = 0.0
        for j in np.flatnonzero(into >= self.flow).tolist():
            yield from self._with(chain, (j,), into)
        seen = set()
        for order in self._orders(into):
            ranked = [order[self.kind[order] == t].tolist() for t in range(len(self.problem.kinds))]
            for picked in self.mixtures:
                if all(count <= len(ranked[t]) for t, count in picked.items()):
                    group = tuple(sorted(j for t, count in picked.items() for j in ranked[t][:count]))
                    if group not in seen:
                        seen.add(group)
                        yield from self._with(chain, group, into)

    def _orders(self, into: FloatArray) -> Iterator[IntArray]:
        """Yield orders in which to take devices: by what reaches them, or by what they hand on."""
        able = np.flatnonzero(into > 0)
        yield able[np.argsort(-into[able], kind="stable")]
        links = self.problem.links[:-1, :-1]
        for part in range(int(self.part.max()) + 1):
            others, inside = able[self.part[able] != part], np.flatnonzero(self.part == part)
            onward = np.minimum(into[others][:, None], links[np.ix_(others, inside)])
            reached = np.sort(onward, axis=0)[-LARGEST:].sum(axis=0)
            for target in np.argsort(-reached, kind="stable")[:TARGETS].tolist():
                if reached[target] >= self.flow:
                    yield others[np.argsort(-onward[:, target], kind="stable")]

    def _with(self, chain: _Chain, group: tuple[int, ...], into: FloatArray) -> Iterator[_Chain]:
        """Yield the chain with a group that holds as many layers as it can."""
        members = list(group)
        if into[members].sum() < self.flow:
            return
        left = self.problem.layers - chain.layer
        longest = min(left, *(len(self.rates[j]) for j in members))
        passed = np.array([np.minimum(self.rates[j][:longest], into[j]) for j in members])
        (enough,) = np.nonzero(passed.sum(axis=0) >= self.flow)
        if len(enough):
            k = int(enough[-1]) + 1
            used = chain.used
            for j in members:
                used |= 1 << j
            loss = chain.loss + float(self.value[members].sum()) - k
            if loss <= self.slack:
                yield _Chain(chain.layer + k, loss, used, group, passed[:, k - 1], chain)
