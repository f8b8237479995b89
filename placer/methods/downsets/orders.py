"""Topological orders of a lattice for linearised programs."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from placer.arrays import IntArray
from placer.methods.downsets.lattice import Lattice, net_members

__all__ = ["along", "cheap_boundary", "depth_first", "random_order", "tucked"]


def along(lattice: Lattice, key: Callable[[int], float]) -> IntArray:
    """Order positions by precedence, the available ones by a key taken when they become available."""
    g = lattice.graph
    missing = np.bincount(lattice.edges[:, 1], minlength=lattice.size).tolist()
    start, succ = g.succ_start.tolist(), g.succ.tolist()
    heap = [(key(v), v) for v in range(lattice.size) if not missing[v]]
    heapq.heapify(heap)
    out = []
    while heap:
        _, v = heapq.heappop(heap)
        out.append(v)
        for w in succ[start[v] : start[v + 1]]:
            missing[w] -= 1
            if not missing[w]:
                heapq.heappush(heap, (key(w), w))
    return np.array(out, dtype=np.int64)


def depth_first(lattice: Lattice) -> IntArray:
    """Follow each branch to its end before the next one begins."""
    clock = iter(range(0, -2 * lattice.size - 2, -1))
    return along(lattice, lambda v: float(next(clock)))


def random_order(lattice: Lattice, rng: np.random.Generator, *, branches: bool) -> IntArray:
    """Return a random order, or with ``branches`` one that stays on a branch more often than not."""
    noise = rng.random(lattice.size)
    if not branches:
        return along(lattice, lambda v: float(noise[v]))
    clock = iter(range(2 * lattice.size))
    return along(lattice, lambda v: -next(clock) + 8.0 * float(noise[v]))


def cheap_boundary(lattice: Lattice) -> IntArray:
    """Take next what leaves the cheapest boundary; near-linear, ties by position."""
    g = lattice.graph
    cost = g.net_cost.max(axis=0).tolist() if len(g.devices) else []
    start, members = net_members(g)
    first, items = start.tolist(), members.tolist()
    owner_start, owner_nets = g.item_start.tolist(), g.item_nets.tolist()
    size, done = g.net_size.tolist(), [0] * len(g.net_size)
    missing = np.bincount(lattice.edges[:, 1], minlength=lattice.size).tolist()
    succ_start, succ = g.succ_start.tolist(), g.succ.tolist()

    def delta(v: int) -> float:
        nets = owner_nets[owner_start[v] : owner_start[v + 1]]
        return float(sum(cost[e] * ((done[e] == 0) - (done[e] == size[e] - 1)) for e in nets))

    current = {v: delta(v) for v in range(lattice.size) if not missing[v]}
    heap = [(d, v) for v, d in current.items()]
    heapq.heapify(heap)
    out = []
    while heap:
        d, v = heapq.heappop(heap)
        if current.get(v) != d:
            continue
        del current[v]
        out.append(v)
        changed: set[int] = set()
        for e in owner_nets[owner_start[v] : owner_start[v + 1]]:
            done[e] += 1
            if done[e] in (1, size[e] - 1):
                changed.update(w for w in items[first[e] : first[e + 1]] if w in current)
        for w in succ[succ_start[v] : succ_start[v + 1]]:
            missing[w] -= 1
            if not missing[w]:
                current[w] = np.inf
                changed.add(w)
        for w in sorted(changed):
            if (new := delta(w)) != current[w]:
                current[w] = new
                heapq.heappush(heap, (new, w))
    return np.array(out, dtype=np.int64)


def tucked(lattice: Lattice, positions: IntArray) -> IntArray:
    """Move items without precedence to just behind the weighted median of the items of their nets.

    Backward-only items may come anywhere; a good order has them near what they exchange data with.
    """
    g = lattice.graph
    bound = np.zeros(lattice.size, dtype=bool)
    bound[lattice.edges.ravel()] = True
    loose = np.flatnonzero(~bound)
    if bound.sum() == 0 or len(loose) == 0:
        return positions
    start, members = net_members(g)
    cost = g.net_cost.max(axis=0)
    place = np.empty(lattice.size)
    place[positions] = np.arange(lattice.size)
    settled = bound.copy()
    left = set(loose.tolist())
    while left:
        ready = []
        for x in sorted(left):
            nets = g.item_nets[g.item_start[x] : g.item_start[x + 1]].tolist()
            near = [
                (float(place[v]), cost[e])
                for e in nets
                for v in members[start[e] : start[e + 1]]
                if settled[v]
            ]
            if near:
                near.sort()
                weight = np.cumsum([w for _, w in near])
                place[x] = near[int(np.searchsorted(weight, weight[-1] / 2))][0] + 0.5
                ready.append(x)
        if not ready:
            break
        settled[ready] = True
        left.difference_update(ready)
    return np.argsort(place, kind="stable")
