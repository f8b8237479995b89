"""Merges of items that are exact below a target: smaller lattices with the same plans, or as good ones.

*Closing.* A type on which an item alone exceeds the target is closed to it.

*Cutoff merge.* Items a, b that share nets of total weight c: if they lie on different devices, a's device has at least
load p_a + c and b's at least p_b + c (an accelerator that holds part of a net pays for it; a host does not).
If one of the two exceeds the target for every pair of types, a and b share a device in every plan
within the target.  Forced items on a cycle of the contracted graph are forced together as well, because a
contiguous plan cannot split them.

*Dominance merge.* Let v have no precedence at all, or w as its only predecessor, or as its only successor.  Moving v to
w's device then keeps the order of devices.  If p_v + o ≤ c on that device, where c is the weight of the
nets {v, w} and o that of v's nets without w, then its load does not grow: the nets {v, w} are cut no more.  v's old
device loses p_v and the nets {v, w}, and may have to pay o: it does not grow if o ≤ p_v + c.  No other
device sees a difference, because a net is cut for it by what it holds itself.  So some plan as good has both on
one device.  On a host nothing is saved, so that p_v = 0 is asked for where w may go to one.  v must be allowed wherever w
is, and its memory must never bind.  Under overlap only items without time are moved, under duplex none
(who sends and who receives changes).
"""

from __future__ import annotations

import networkx as nx
import numpy as np

from placer.downsets.lattice import Lattice, in_groups
from placer.instance import BoolArray, FloatArray, IntArray
from placer.kernels.threshold import Graph

__all__ = ["close_types", "merge_below", "merged", "net_members"]

MAX_NET = 12
"""Larger nets are not looked at for pairs."""


def close_types(lattice: Lattice, target: float) -> Lattice:
    """Close each type to the items that exceed the target on it by themselves."""
    g = lattice.graph
    ok = g.ok & (g.time.sum(axis=1) <= target)
    graph = g._replace(ok=ok, time=np.where(ok[:, None, :], g.time, 0.0))
    return Lattice(lattice.problem, lattice.types, lattice.position, lattice.edges, graph, lattice.backwards)


def merge_below(lattice: Lattice, target: float, rounds: int = 20) -> Lattice:
    """Merge until nothing more merges; plans with an objective of at most ``target`` keep their best value."""
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
    label = _components(lattice.size, together)
    quotient = nx.DiGraph()
    quotient.add_nodes_from(sorted(set(label.tolist())))
    quotient.add_edges_from(
        label[lattice.edges][label[lattice.edges[:, 0]] != label[lattice.edges[:, 1]]].tolist()
    )
    representative = np.arange(lattice.size)
    for component in nx.strongly_connected_components(quotient):
        representative[list(component)] = min(component)
    label = representative[label]
    edges = label[lattice.edges]
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0).reshape(-1, 2)
    quotient = nx.DiGraph()
    quotient.add_nodes_from(sorted(set(label.tolist())))
    quotient.add_edges_from(edges.tolist())
    rank = np.zeros(lattice.size, dtype=np.int64)
    ranked = list(nx.lexicographical_topological_sort(quotient))
    rank[ranked] = np.arange(len(ranked))
    group = rank[label]
    graph = _contract(lattice.graph, group, rank[edges])
    return Lattice(
        lattice.problem, lattice.types, group[lattice.position], rank[edges], graph, lattice.backwards
    )


def _components(n: int, pairs: IntArray) -> IntArray:
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(pairs.tolist())
    label = np.zeros(n, dtype=np.int64)
    for component in nx.connected_components(graph):
        label[list(component)] = min(component)
    return label


def _contract(g: Graph, group: IntArray, edges: IntArray) -> Graph:
    n, types = int(group.max()) + 1, len(g.count)
    time = np.zeros((types, 2, n))
    np.add.at(time, (slice(None), slice(None), group), g.time)
    memory = np.zeros(n)
    np.add.at(memory, group, g.memory)
    ok = np.ones((types, n), dtype=bool)
    np.logical_and.at(ok, (slice(None), group), g.ok)
    start, members = net_members(g)
    nets: dict[tuple[int, ...], FloatArray] = {}
    for e in range(len(g.net_size)):
        inside = sorted(set(group[members[start[e] : start[e + 1]]].tolist()))
        if len(inside) > 1:
            producer = int(group[g.net_producer[e]])
            key = (int(g.net_direction[e]), producer if g.mode == 2 else inside[0], *inside)
            nets[key] = nets[key] + g.net_cost[:, e] if key in nets else g.net_cost[:, e]
    size = np.array([len(key) - 2 for key in nets], dtype=np.int64)
    flat = np.array([v for key in nets for v in key[2:]], dtype=np.int64)
    item_start, item_nets = in_groups(flat, np.repeat(np.arange(len(size)), size), n)
    succ_start, succ = in_groups(edges[:, 0], edges[:, 1], n)
    return g._replace(
        chain=len(edges) == n - 1 and bool((edges[:, 1] - edges[:, 0] == 1).all()),
        ok=ok,
        time=np.where(ok[:, None, :], time, 0.0),
        memory=memory,
        succ_start=succ_start,
        succ=succ,
        net_size=size,
        net_producer=np.array([key[1] for key in nets], dtype=np.int64),
        net_direction=np.array([key[0] for key in nets], dtype=np.int64),
        net_cost=np.ascontiguousarray(np.array(list(nets.values())).reshape(-1, types).T),
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
                w = weight.setdefault((a, b), np.zeros((2, 2, len(g.count))))
                w[0, g.net_direction[e]] += g.net_cost[:, e]
                if len(inside) == 2:
                    w[1, g.net_direction[e]] += g.net_cost[:, e]
    pairs = np.array(list(weight), dtype=np.int64).reshape(-1, 2)
    return pairs, np.array(list(weight.values())).reshape(-1, 2, 2, len(g.count))


def _cutoff(g: Graph, pairs: IntArray, weights: FloatArray, target: float) -> BoolArray:
    """Which pairs no plan within the target separates, ``(P,)``."""
    together = np.ones(len(pairs), dtype=bool)
    loads = []
    for side in (0, 1):
        time = np.moveaxis(g.time[:, :, pairs[:, side]], 2, 0)  # (P, T, 2)
        cost = np.moveaxis(weights[:, 0], 1, 2)
        if g.mode == 0:
            load = time + cost
        else:
            load = np.maximum(time, cost if g.mode == 1 else cost / 2)
        loads.append(np.where(g.ok[:, pairs[:, side]].T[:, :, None], load, np.inf))
    types = len(g.count)
    for s in range(types):
        for t in range(types):
            if s == t and g.count[s] < 2:
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
    start, preds = in_groups(lattice.edges[:, 1], lattice.edges[:, 0], lattice.size)
    total = np.zeros((lattice.size, 2, len(g.count)))
    owner = np.repeat(np.arange(lattice.size), np.diff(g.item_start))
    np.add.at(total, (owner, g.net_direction[g.item_nets]), g.net_cost[:, g.item_nets].T)
    roomy = g.memory.sum() <= g.limit
    used = np.zeros(lattice.size, dtype=bool)
    out = []
    for p, pair in enumerate(pairs.tolist()):
        for v, w in (pair, pair[::-1]):
            before, after = preds[start[v] : start[v + 1]], g.succ[g.succ_start[v] : g.succ_start[v + 1]]
            alone = not len(before) and not len(after)
            if used[v] or used[w] or not (alone or before.tolist() == [w] or after.tolist() == [w]):
                continue
            others = (total[v] - weights[p, 0]).T
            if _movable(g, v, w, others, weights[p, 1].T, roomy):
                used[[v, w]] = True
                out.append((v, w))
                break
    return np.array(out, dtype=np.int64).reshape(-1, 2)


def _movable(g: Graph, v: int, w: int, others: FloatArray, joint: FloatArray, roomy: BoolArray) -> bool:
    """Whether v never hurts on w's device; ``others`` and ``joint`` are ``(T, 2)`` in ms."""
    time = g.time[:, :, v]
    grows = time + others - joint
    shrinks = others - time - joint
    if g.mode == 1:
        if (time[g.ok[:, v]] > 0).any():
            return False
    elif not g.gpipe:
        grows, shrinks = grows.sum(axis=1, keepdims=True), shrinks.sum(axis=1, keepdims=True)
    at_w, at_v = g.ok[:, w], g.ok[:, v]
    fine = at_v & (roomy | (g.memory[v] == 0)) & (grows <= 0).all(axis=1)
    return bool((fine | ~at_w).all() and ((shrinks <= 0).all(axis=1) | ~at_v).all())
