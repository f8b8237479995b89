"""Orders and cycles of directed graphs on numbered nodes, given as pairs (tail, head) ``(m, 2)``."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from placer.arrays import IntArray

__all__ = ["components", "depth_first", "strong_components", "topological_order"]


def topological_order(nodes: IntArray, edges: IntArray) -> IntArray | None:
    """Sort nodes along edges, the least number first where there is a choice; None if there is a cycle.

    ``nodes`` are different ones, ascending.  Edges from a node to itself are none.
    """
    edges = edges[edges[:, 0] != edges[:, 1]]
    size = int(nodes.max(initial=-1)) + 1
    after = _heads(size, edges)
    missing = np.bincount(edges[:, 1], minlength=size).tolist()
    ready = [v for v in nodes.tolist() if not missing[v]]  # sorted, and so a heap
    out: list[int] = []
    while ready:
        v = heapq.heappop(ready)
        out.append(v)
        for w in after[v]:
            missing[w] -= 1
            if not missing[w]:
                heapq.heappush(ready, w)
    return np.array(out, dtype=np.int64) if len(out) == len(nodes) else None


def depth_first(n: int, edges: IntArray, roots: Iterable[int]) -> list[int]:
    """Nodes that are reached from roots, each after those first reached from it."""
    after = _heads(n, edges)
    seen = [False] * n
    out: list[int] = []
    for root in roots:
        path = [] if seen[root] else [(root, iter(after[root]))]
        seen[root] = True
        while path:
            v, left = path[-1]
            for w in left:
                if not seen[w]:
                    seen[w] = True
                    path.append((w, iter(after[w])))
                    break
            else:
                out.append(v)
                path.pop()
    return out


def strong_components(n: int, edges: IntArray) -> IntArray:
    """Least node that each node reaches and that reaches it, ``(n,)``: itself where it is on no cycle."""
    before = _heads(n, edges[:, ::-1])
    least = [-1] * n
    for root in reversed(depth_first(n, edges, range(n))):  # (Kosaraju, 1978, and Sharir, 1981)
        if least[root] >= 0:
            continue
        least[root], members = root, [root]
        for v in members:
            for u in before[v]:
                if least[u] < 0:
                    least[u] = root
                    members.append(u)
        smallest = min(members)
        for v in members:
            least[v] = smallest
    return np.array(least, dtype=np.int64)


def components(n: int, pairs: IntArray) -> IntArray:
    """Least node that each node is connected with, ``(n,)``."""
    return strong_components(n, np.concatenate([pairs, pairs[:, ::-1]]))


def _heads(n: int, edges: IntArray) -> list[list[int]]:
    """Heads of each node's edges, in the order of the edges."""
    out: list[list[int]] = [[] for _ in range(n)]
    for u, w in edges.tolist():
        out[u].append(w)
    return out
