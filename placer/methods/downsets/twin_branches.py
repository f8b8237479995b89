"""Twin branches: sets of items that may swap their places in every plan, as the heads of an attention may.

Between two necks (see ``comparable``) items fall into branches without precedence between them. Two branches
are twins if swapping their items, each in order, maps items, precedence and nets onto themselves. Downsets
that differ only in which of several twins hold what then have the same completions, up to names: the search
keeps one of them (see ``search``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable

import numpy as np

from placer.arrays import IntArray
from placer.instance.graphs import components
from placer.methods.downsets.comparable import necks
from placer.methods.downsets.kernels.arrays import Graph

__all__ = ["LONGEST", "renumbered", "twin_branches", "with_twins"]

LONGEST = 62
"""Items of a branch at most: which of them a downset holds is written in a word."""


def twin_branches(g: Graph, edges: IntArray) -> list[IntArray]:
    """Return groups of twins, each ``(branches, items of one)``.

    Parameters
    ----------
    g
        The items.
    edges
        Precedence, ``(m, 2)``, each pointing upwards.
    """
    if g.optional.any() or g.again.any() or not len(edges):
        return []
    alike: dict[Hashable, list[list[int]]] = defaultdict(list)
    for region, branch in _branches(g.ok.shape[1], edges):
        if len(branch) <= LONGEST:
            held = [x[:, branch].tobytes() for x in (g.ok, g.memory, g.activation)]
            alike[region, len(branch), g.time[:, :, branch].tobytes(), *held].append(branch)
    swaps = _Swaps(g, edges) if any(len(some) > 1 for some in alike.values()) else None
    groups = []
    for candidates in alike.values():
        while swaps is not None and len(candidates) > 1:
            first = candidates[0]
            twins = [first, *(x for x in candidates[1:] if swaps.change_nothing(first, x))]
            candidates = [x for x in candidates if x not in twins]
            if len(twins) > 1:
                groups.append(np.array(twins, dtype=np.int64))
    return groups


def with_twins(g: Graph, groups: list[IntArray]) -> Graph:
    """Return the items with groups of twins, numbered so that items that come first are decided first."""
    laid = []
    for group in groups:
        by_slot = group[:, np.argsort(group[0])]
        laid.append(by_slot[np.argsort(by_slot.min(axis=1))])
    sizes = np.array([group.shape[1] for group in laid for _ in group], dtype=np.int64)
    counts = np.array([len(group) for group in laid], dtype=np.int64)
    branch = np.concatenate([np.zeros(0, dtype=np.int64), *(group.ravel() for group in laid)])
    branch_of = np.full(g.ok.shape[1], -1, dtype=np.int64)
    branch_of[branch] = np.repeat(np.arange(len(sizes)), sizes)
    group_start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    has_twin_before = np.ones(len(sizes), dtype=bool)
    has_twin_before[group_start[:-1]] = False
    return g._replace(
        branch=branch,
        branch_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        branch_of=branch_of,
        has_twin_before=has_twin_before,
        group_start=group_start,
        group_first=np.array([group.min() for group in laid], dtype=np.int64),
        group_last=np.array([group.max() for group in laid], dtype=np.int64),
    )


def renumbered(g: Graph, rank: IntArray) -> list[IntArray]:
    """Return the groups of twins of items that have other numbers now, ``rank (N,)``."""
    start = g.branch_start[g.group_start]
    return [
        rank[g.branch[first:end]].reshape(count, -1)
        for first, end, count in zip(start[:-1], start[1:], np.diff(g.group_start), strict=True)
    ]


def _branches(size: int, edges: IntArray) -> list[tuple[int, list[int]]]:
    """Return what precedence joins between two necks, each with the number of necks before it."""
    ordered = np.zeros(size, dtype=bool)
    ordered[edges.ravel()] = True
    kept = np.flatnonzero(ordered)
    rank = np.full(size, -1)
    rank[kept] = np.arange(len(kept))
    neck = np.zeros(size, dtype=bool)
    neck[kept] = necks(len(kept), rank[edges])
    branch_of = components(size, edges[~neck[edges].any(axis=1)])
    found: dict[int, list[int]] = defaultdict(list)
    for v in np.flatnonzero(ordered & ~neck).tolist():
        found[int(branch_of[v])].append(v)
    before = np.cumsum(neck)
    return [(int(before[branch[0]]), branch) for branch in found.values()]


class _Swaps:
    """Says whether swapping two branches of equal items changes precedence or nets."""

    def __init__(self, g: Graph, edges: IntArray) -> None:
        self.graph = g
        size = g.ok.shape[1]
        self.edges_of: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        for u, w in edges.tolist():
            self.edges_of[u].append((u, w))
            self.edges_of[w].append((u, w))
        self.members: list[list[int]] = [[] for _ in range(len(g.net_size))]
        for v in range(size):
            for e in g.item_nets[g.item_start[v] : g.item_start[v + 1]].tolist():
                self.members[e].append(v)

    def change_nothing(self, a: list[int], b: list[int]) -> bool:
        """Whether the instance stays what it is."""
        image = dict(zip([*a, *b], [*b, *a], strict=True))
        edges = {edge for v in image for edge in self.edges_of[v]}
        if any((image.get(u, u), image.get(w, w)) not in edges for u, w in edges):
            return False
        g = self.graph
        nets = {e for v in image for e in g.item_nets[g.item_start[v] : g.item_start[v + 1]].tolist()}
        plain, swapped = (Counter(self._described(e, by) for e in nets) for by in ({}, image))
        return plain == swapped

    def _described(self, e: int, image: dict[int, int]) -> Hashable:
        g, producer = self.graph, int(self.graph.net_producer[e])
        items = tuple(sorted(image.get(v, v) for v in self.members[e]))
        return items, image.get(producer, producer), int(g.net_direction[e]), g.net_cost[:, e].tobytes()
