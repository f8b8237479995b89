"""The downsets of the items, and what comes right after and right before each."""

from __future__ import annotations

import numpy as np

from placer.arrays import BoolArray, IntArray
from placer.reductions.problem import Problem
from placer.search.run import Run

__all__ = ["all_downsets", "next_item", "prefixes", "previous_item"]


def all_downsets(problem: Problem, most: int, run: Run) -> BoolArray | None:
    """Return all downsets of the items, ``(M, N)``, each after its subsets; None if they are more.

    Raises
    ------
    Stopped
        When the run is over.
    """
    size = problem.size
    before = [0] * size
    after: list[list[int]] = [[] for _ in range(size)]
    for u, w in problem.edges.tolist():
        before[w] |= 1 << u
        after[u].append(w)
    level = {0: [v for v in range(size) if not before[v]]}
    found: list[int] = []
    while level:
        found += level
        if len(found) > most:
            return None
        run.check()
        bigger: dict[int, list[int]] = {}
        for downset, available in level.items():
            for v in available:
                joined = downset | 1 << v
                if joined not in bigger:
                    freed = [w for w in after[v] if before[w] & ~joined == 0]
                    bigger[joined] = [u for u in available if u != v] + freed
        level = bigger
    width = (size + 7) // 8
    packed = np.frombuffer(b"".join(d.to_bytes(width, "little") for d in found), dtype=np.uint8)
    bits = np.unpackbits(packed.reshape(-1, width), axis=1, bitorder="little")
    return bits[:, :size].astype(np.bool_)


def prefixes(orders: list[IntArray], most: int) -> BoolArray:
    """Return the prefixes of topological orders of N items, ``(M, N)``, each after its subsets.

    Parameters
    ----------
    orders
        Each ``(N,)``.
    most
        Prefixes of one order; where there are more, those of equal steps.
    """
    rows = []
    for order in orders:
        size = len(order)
        cuts = np.unique(np.linspace(0, size, min(size, most) + 1).astype(np.int64))
        position = np.empty(size, dtype=np.int64)
        position[order] = np.arange(size)
        rows.append(position < cuts[:, None])
    found = np.unique(np.concatenate(rows), axis=0)
    return np.asarray(found[np.argsort(found.sum(axis=1), kind="stable")])


def next_item(problem: Problem, downsets: BoolArray) -> IntArray:
    """Return the only item that can come after each downset, ``(M,)``; -1 where there is not one only."""
    inside = downsets.astype(np.int64) @ _edges(problem)
    return _only((inside == _edges(problem).sum(axis=0)) & ~downsets)


def previous_item(problem: Problem, downsets: BoolArray) -> IntArray:
    """Return the only item that each downset can end with, ``(M,)``; -1 where there is not one only."""
    return _only((downsets.astype(np.int64) @ _edges(problem).T == 0) & downsets)


def _edges(problem: Problem) -> IntArray:
    """Precedence as a matrix, ``(N, N)``."""
    out = np.zeros((problem.size, problem.size), dtype=np.int64)
    out[problem.edges[:, 0], problem.edges[:, 1]] = 1
    return out


def _only(members: BoolArray) -> IntArray:
    return np.where(members.sum(axis=1) == 1, members.argmax(axis=1), -1)
