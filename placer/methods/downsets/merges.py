"""Merges of items that are exact below a target: smaller lattices with the same plans, or as good ones.

*Closing.* A type on which an item alone exceeds the target is closed to it. (``close_types``)

*Cutoff merge.* Items a, b that share nets of total weight c: if they lie on different devices, a's device
has at least load p_a + c and b's at least p_b + c (an accelerator that holds part of a net pays for it; a
host does not). If one of the two exceeds the target for every pair of types, a and b share a device in
every plan within the target. Forced items on a cycle of the contracted graph are forced together as well,
because a contiguous plan cannot split them. (``_cutoff``, ``merged``)

*Dominance merge.* Let v have no precedence at all, or w as its only predecessor, or as its only
successor. Moving v to w's device then keeps the order of devices. If p_v + o ≤ c on that device, where c
is the weight of the nets {v, w} and o that of v's nets without w, then its load does not grow: the nets
{v, w} are cut no more. v's old device loses p_v and the nets {v, w}, and may have to pay o: it does not
grow if o ≤ p_v + c. No other device sees a difference, because a net is cut for it by what it holds
itself. So some plan as good has both on one device. On a host nothing is saved, so that p_v = 0 is asked
for where w may go to one. v must be allowed wherever w is, and its memory must never bind. Under overlap
only items without time are moved, under duplex none (who sends and who receives changes). (``_dominated``)
"""

from __future__ import annotations

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray, distinct
from placer.instance.graphs import components, strong_components, topological_order
from placer.methods.downsets.kernels.arrays import Graph
from placer.methods.downsets.lattice import Lattice, in_groups

__all__ = ["close_types", "merge_below", "merged", "net_members"]

MAX_NET = 12
"""Larger nets are not looked at: the pairs in a net grow with the square of its size."""


def close_types(lattice: Lattice, target: float) -> Lattice:
    """Close each type to the items that exceed the target on it by themselves."""
    g = lattice.graph
    ok = g.ok & (g.time.sum(axis=1) <= target)
    graph = g._replace(ok=ok, time=np.where(ok[:, None, :], g.time, 0.0))
    return Lattice(lattice.problem, lattice.types, lattice.position, lattice.edges, graph, lattice.backwards)


def merge_below(lattice: Lattice, target: float, rounds: int = 20) -> Lattice:
    """Merge until nothing more merges; the best objective stays if it is at most ``target``."""
    lattice = close_types(lattice, target)
    for _ in range(rounds):
        pairs, weights = _pairs(lattice)
        if not len(pairs):
            break
        forced = pairs[_cutoff(lattice.graph, pairs, weights, target)]
        if not len(forced):
            forced = _dominated(lattice, pairs, weights)
        if not len(forced):
            break
        lattice = close_types(merged(lattice, forced), target)
    return lattice


def net_members(g: Graph) -> tuple[IntArray, IntArray]:
    """Items of each net: ``(start (E + 1,), items)``."""
    owner = np.repeat(np.arange(g.ok.shape[1]), np.diff(g.item_start))
    return in_groups(g.item_nets, owner, len(g.net_size))


def merged(lattice: Lattice, together: IntArray) -> Lattice:
    """Return the lattice with the given pairs of items, and cycles that this closes, as single items."""
    label = components(lattice.size, together)
    label = strong_components(lattice.size, label[lattice.edges])[label]
    edges = label[lattice.edges]
    edges = distinct(edges[edges[:, 0] != edges[:, 1]])
    order = topological_order(distinct(label), edges)
    assert order is not None
    rank = np.zeros(lattice.size, dtype=np.int64)
    rank[order] = np.arange(len(order))
    group = rank[label]
    graph = _contract(lattice.graph, group, rank[edges])
    return Lattice(
        lattice.problem, lattice.types, group[lattice.position], rank[edges], graph, lattice.backwards
    )


def _contract(g: Graph, group: IntArray, edges: IntArray) -> Graph:
    n, types = int(group.max()) + 1, len(g.devices)
    time = np.zeros((types, 2, n))
    np.add.at(np.moveaxis(time, 2, 0), group, np.moveaxis(g.time, 2, 0))
    memory, activation = np.zeros(n), np.zeros(n)
    np.add.at(memory, group, g.memory)
    np.add.at(activation, group, g.activation)
    ok = np.ones((types, n), dtype=bool)
    np.logical_and.at(ok.T, group, g.ok.T)
    start, members = net_members(g)
    nets: dict[tuple[int, ...], FloatArray] = {}
    for e in range(len(g.net_size)):
        inside = sorted(set(group[members[start[e] : start[e + 1]]].tolist()))
        if len(inside) > 1:
            producer = int(group[g.net_producer[e]])
            key = (int(g.net_direction[e]), producer if g.mode == 2 else inside[0], *inside)
            nets[key] = nets[key] + g.net_cost[:, e] if key in nets else g.net_cost[:, e]
    if g.optional.any():
        raise ValueError("merge before items become optional")
    size = np.array([len(key) - 2 for key in nets], dtype=np.int64)
    flat = np.array([v for key in nets for v in key[2:]], dtype=np.int64)
    item_start, item_nets = in_groups(flat, np.repeat(np.arange(len(size)), size), n)
    succ_start, succ = in_groups(edges[:, 0], edges[:, 1], n)
    reader = group[np.repeat(np.arange(len(group)), np.diff(g.read_start))]
    foreign = reader != group[g.output_producer[g.read]]
    read_start, read = in_groups(reader[foreign], g.read[foreign], n)
    return g._replace(
        read_start=read_start,
        read=read,
        output_producer=group[g.output_producer],
        chain=len(edges) == n - 1 and bool((edges[:, 1] - edges[:, 0] == 1).all()),
        ok=ok,
        time=np.where(ok[:, None, :], time, 0.0),
        memory=memory,
        activation=activation,
        succ_start=succ_start,
        succ=succ,
        net_size=size,
        net_producer=np.array([key[1] for key in nets], dtype=np.int64),
        net_direction=np.array([key[0] for key in nets], dtype=np.int64),
        net_cost=np.ascontiguousarray(np.array(list(nets.values())).reshape(-1, types).T),
        optional=np.zeros(n, dtype=bool),
        near_start=np.zeros(n + 1, dtype=np.int64),
        net_optional=np.full(len(size), -1, dtype=np.int64),
        item_start=item_start,
        item_nets=item_nets,
    )


def _pairs(lattice: Lattice) -> tuple[IntArray, FloatArray]:
    """Pairs of items in a common net: ``(P, 2)``, and weights ``(P, 2, 2, T)``.

    The first axis after P tells all common nets from those of exactly the pair, the second the direction.
    """
    g = lattice.graph
    start, members = net_members(g)
    weight: dict[tuple[int, int], FloatArray] = {}
    for e in np.flatnonzero(g.net_size <= MAX_NET):
        inside = np.sort(members[start[e] : start[e + 1]]).tolist()
        for i, a in enumerate(inside):
            for b in inside[i + 1 :]:
                w = weight.setdefault((a, b), np.zeros((2, 2, len(g.devices))))
                w[0, g.net_direction[e]] += g.net_cost[:, e]
                if len(inside) == 2:
                    w[1, g.net_direction[e]] += g.net_cost[:, e]
    pairs = np.array(list(weight), dtype=np.int64).reshape(-1, 2)
    return pairs, np.array(list(weight.values())).reshape(-1, 2, 2, len(g.devices))


def _cutoff(g: Graph, pairs: IntArray, weights: FloatArray, target: float) -> BoolArray:
    """Which pairs no plan within the target separates, ``(P,)``: the cutoff merge."""
    together = np.ones(len(pairs), dtype=bool)
    loads = []
    for side in (0, 1):
        time = np.moveaxis(g.time[:, :, pairs[:, side]], 2, 0)  # (P, T, 2)
        cost = np.moveaxis(weights[:, 0], 1, 2)
        # Under duplex the larger of both lanes is at least half of all.
        load = time + cost if g.mode == 0 else np.maximum(time, cost if g.mode == 1 else cost / 2)
        loads.append(np.where(g.ok[:, pairs[:, side]].T[:, :, None], load, np.inf))
    types = len(g.devices)
    for s in range(types):
        for t in range(types):
            if g.pool[s] == g.pool[t] and g.devices[s] < 2:
                continue
            a, b = loads[0][:, s], loads[1][:, t]
            least = np.maximum(a, b).sum(axis=1) if g.gpipe else np.maximum(a.sum(axis=1), b.sum(axis=1))
            together &= least > target
    return together


def _dominated(lattice: Lattice, pairs: IntArray, weights: FloatArray) -> IntArray:
    """Return pairs (v, w) by the dominance merge, each item in at most one, ``(M, 2)``."""
    g = lattice.graph
    if g.mode == 2:
        return np.zeros((0, 2), dtype=np.int64)
    total = np.zeros((lattice.size, 2, len(g.devices)))
    owner = np.repeat(np.arange(lattice.size), np.diff(g.item_start))
    np.add.at(total, (owner, g.net_direction[g.item_nets]), g.net_cost[:, g.item_nets].T)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    weights = np.concatenate([weights, weights])
    movable = _near_only(lattice, both) & _movable(g, both, total[both[:, 0]] - weights[:, 0], weights[:, 1])
    used = np.zeros(lattice.size, dtype=bool)
    out = []
    for v, w in both[movable].tolist():
        if not used[v] and not used[w]:
            used[[v, w]] = True
            out.append((v, w))
    return np.array(out, dtype=np.int64).reshape(-1, 2)


def _near_only(lattice: Lattice, pairs: IntArray) -> BoolArray:
    """Whether v has no precedence, or w as its only predecessor, or as its only successor, ``(P,)``."""
    n, edges = lattice.size, lattice.edges
    before, after = np.bincount(edges[:, 1], minlength=n), np.bincount(edges[:, 0], minlength=n)
    some_before, some_after = np.full(n, -1), np.full(n, -1)
    some_before[edges[:, 1]] = edges[:, 0]
    some_after[edges[:, 0]] = edges[:, 1]
    v, w = pairs.T
    alone = (before[v] == 0) & (after[v] == 0)
    first = (before[v] == 1) & (some_before[v] == w)
    last = (after[v] == 1) & (some_after[v] == w)
    return np.asarray(alone | first | last)


def _movable(g: Graph, pairs: IntArray, others: FloatArray, joint: FloatArray) -> BoolArray:
    """Whether v never hurts on w's device, ``(P,)``; ``others`` and ``joint`` are ``(P, 2, T)`` in ms."""
    v, w = pairs.T
    time = np.moveaxis(g.time[:, :, v], 2, 0)  # (P, T, 2)
    others, joint = np.moveaxis(others, 1, 2), np.moveaxis(joint, 1, 2)
    grows, shrinks = time + others - joint, others - time - joint
    at_w, at_v = g.ok[:, w].T, g.ok[:, v].T
    possible = np.ones(len(pairs), dtype=bool)
    if g.mode == 1:
        possible = ~(at_v & (time.sum(axis=2) > 0)).any(axis=1)
    elif not g.gpipe:
        grows, shrinks = grows.sum(axis=2, keepdims=True), shrinks.sum(axis=2, keepdims=True)
    worst = float((g.memory + (g.flights - 1) * g.activation).sum())
    worst += g.flights * float(g.output_bytes.sum())
    roomy = (worst <= g.limit) | ((g.memory[v] == 0) & ~g.again.any())[:, None]
    joined = at_v & roomy & (grows <= 0).all(axis=2)
    left = (shrinks <= 0).all(axis=2)
    return np.asarray(possible & (joined | ~at_w).all(axis=1) & (left | ~at_v).all(axis=1))
