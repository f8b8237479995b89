"""All plans with virtual stages, where they are few."""

from __future__ import annotations

from itertools import islice, permutations

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.reductions.problem import Problem

__all__ = ["all_assignments", "all_rings"]


def all_assignments(problem: Problem, stages: int, most: int) -> IntArray | None:
    """Return all ways to put items into stages so that data go from each to later ones only, ``(C, N)``.

    None if they are more than ``most``.  Items are numbered in a topological order.
    """
    before: list[list[int]] = [[] for _ in range(problem.size)]
    for u, w in problem.edges.tolist():
        before[w].append(u)
    at = np.zeros((1, problem.size), dtype=np.int64)
    for item in range(problem.size):
        first = at[:, before[item]].max(axis=1, initial=0)
        count = stages - first
        if count.sum() > most:
            return None
        row = np.repeat(np.arange(len(at)), count)
        at = at[row]
        at[:, item] = np.arange(len(row)) - np.repeat(np.cumsum(count) - count - first, count)
    return at


def all_rings(
    instance: Instance, usable: list[int], ranks: int, alike: IntArray, most: int
) -> list[tuple[int, ...]] | None:
    """Return all orders of devices that differ and that the user allows; None if too many are looked at."""
    tried = list(islice(permutations(usable, ranks), most + 1))
    if len(tried) > most:
        return None
    kinds: dict[tuple[int, ...], tuple[int, ...]] = {}
    for ring in tried:
        place = {d: r for r, d in enumerate(ring)}
        if all(place[a] < place[b] for a, b in instance.rank_edges.tolist() if a in place and b in place):
            kinds.setdefault(tuple(alike[list(ring)].tolist()), ring)
    return list(kinds.values())
