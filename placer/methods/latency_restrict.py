"""Smaller versions of a latency problem that is too wide: for plans, and for bounds.

*Plans*: with an order imposed on atoms that are far apart in some linear order there are few downsets, and
every chain of them is still a plan.  *Bounds*: without some of the atoms the problem gets easier.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from placer.instance import BoolArray, FloatArray
from placer.methods.latency_model import LatencyModel, impose_order, restrict

__all__ = ["by_branches", "by_time", "critical_first", "longest_path_ms", "thinned", "windowed"]


def _least_ms(model: LatencyModel) -> FloatArray:
    """Least time of each node wherever it goes, ``(m,)``."""
    draft = model.draft
    times = np.concatenate([draft.time[model.nodes], draft.host_time[model.nodes]], axis=1)
    return np.asarray(times.min(axis=1, initial=np.inf))


def _path_ends(model: LatencyModel) -> tuple[FloatArray, FloatArray]:
    """Earliest finish and longest remainder (without itself) of each node in least times, ``(m,)`` each."""
    atoms, least = model.atoms, _least_ms(model)
    finish, rest = least.copy(), np.zeros(len(least))
    before = [
        [
            *atoms.inner[atoms.inner_start[v] : atoms.inner_start[v + 1]],
            *atoms.outer[atoms.outer_start[v] : atoms.outer_start[v + 1]],
        ]
        for v in range(len(least))
    ]
    for v, us in enumerate(before):
        finish[v] += max((finish[u] for u in us), default=0.0)
    for v in range(len(least) - 1, -1, -1):
        for u in before[v]:
            rest[u] = max(rest[u], rest[v] + least[v])
    return finish, rest


def longest_path_ms(model: LatencyModel) -> float:
    """Longest path in least times: a lower bound on every plan."""
    finish, _ = _path_ends(model)
    return float(finish.max(initial=0.0))


def by_time(model: LatencyModel) -> list[int]:
    """Atoms in a topological order by earliest start: branches side by side."""
    finish, _ = _path_ends(model)
    latest = np.array([finish[model.atoms.atom_of == a].max() for a in range(model.size)])
    return _topological(model, latest, deep=False)


def by_branches(model: LatencyModel) -> list[int]:
    """Atoms in a topological order that follows a branch as far as it goes, longest remainder first."""
    _, rest = _path_ends(model)
    longest = np.array([rest[model.atoms.atom_of == a].max() for a in range(model.size)])
    return _topological(model, longest, deep=True)


def _topological(model: LatencyModel, key: FloatArray, *, deep: bool) -> list[int]:
    """Depth first, or always the least key."""
    atoms = model.atoms
    missing = atoms.needs.copy()
    ready = sorted(np.flatnonzero(missing == 0).tolist(), key=lambda a: key[a], reverse=not deep)
    order = []
    while ready:
        a = ready.pop()
        order.append(a)
        new = []
        for b in atoms.next[atoms.next_start[a] : atoms.next_start[a + 1]].tolist():
            missing[b] -= 1
            if missing[b] == 0:
                new.append(b)
        ready += sorted(new, key=lambda b: key[b])
        if not deep:
            ready.sort(key=lambda b: -key[b])
    return order


def windowed(model: LatencyModel, order: list[int], width: int) -> LatencyModel:
    """Let atoms ``width`` or more places apart in ``order`` keep it; 1 leaves a single chain.

    Pairs from ``width`` to twice that apart imply all others.
    """
    pairs = [
        (order[i], order[j]) for i in range(len(order)) for j in range(i + width, min(i + 2 * width, len(order)))
    ]
    return impose_order(model, pairs)


def critical_first(model: LatencyModel) -> list[int]:
    """Atoms by the longest path through them, longest first; ties branch by branch."""
    finish, rest = _path_ends(model)
    through = np.zeros(model.size)
    np.maximum.at(through, model.atoms.atom_of, finish + rest)
    place = {a: i for i, a in enumerate(by_branches(model))}
    return sorted(range(model.size), key=lambda a: (-round(float(through[a]), 9), place[a]))


def thinned(model: LatencyModel) -> Iterator[LatencyModel]:
    """Yield models of more and more atoms, the most critical ones; each of their optima is a lower bound."""
    ranking = critical_first(model)
    count = 8
    while count < 2 * model.size:
        keep: BoolArray = np.zeros(model.size, dtype=bool)
        keep[ranking[:count]] = True
        yield restrict(model, keep)
        count = count * 3 // 2
