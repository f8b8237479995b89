"""Smaller versions of a latency problem that is too wide: for plans, and for bounds.

*Plans*: with an order imposed on atoms that are far apart in some linear order there are few downsets, and
every chain of them is still a plan.  *Bounds*: without some of the atoms the problem gets easier.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.methods.latency.atoms import LatencyModel, impose_order, restrict

__all__ = [
    "by_branches",
    "by_time",
    "critical_first",
    "thinned",
    "windowed",
    "work_bound_ms",
]


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


def work_bound_ms(model: LatencyModel) -> float:
    """Lower bound from the work that accelerators must do, because hosts would take too long.

    Take disjoint paths that cover all nodes.  In a plan with makespan T the nodes of a path run one after
    another within T, so the extra time of those on hosts is at most T minus the path's accelerator time; that
    limits the accelerator work a path can save (a fractional knapsack).  What remains, over all paths, is
    at most T times the number of accelerators.  Both sides are monotone in T: bisect.
    """
    draft, count = model.draft, sum(len(members) for members in model.kinds)
    device = draft.time[model.nodes].min(axis=1, initial=np.inf)
    host = draft.host_time[model.nodes].min(axis=1, initial=np.inf)
    paths = [np.array(path) for path in _disjoint_paths(model)]
    low, high = 0.0, float(np.minimum(device, host).sum())
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        work = sum(_least_work(device[path], host[path], middle) for path in paths)
        if work > middle * count * (1 + 1e-12):
            low = middle
        else:
            high = middle
    return low


def _disjoint_paths(model: LatencyModel) -> list[list[int]]:
    """Cover all nodes by paths, each greedily along the longest remainder."""
    atoms = model.atoms
    _, rest = _path_ends(model)
    after: list[list[int]] = [[] for _ in rest]
    for v in range(len(rest)):
        for start, values in ((atoms.inner_start, atoms.inner), (atoms.outer_start, atoms.outer)):
            for u in values[start[v] : start[v + 1]]:
                after[u].append(v)
    taken = np.zeros(len(rest), dtype=bool)
    paths = []
    for first in range(len(rest)):
        path, v = [], first
        while v >= 0 and not taken[v]:
            taken[v] = True
            path.append(v)
            v = max((w for w in after[v] if not taken[w]), key=lambda w: rest[w], default=-1)
        if path:
            paths.append(path)
    return paths


def _least_work(device: FloatArray, host: FloatArray, limit: float) -> float:
    """Least accelerator time of a path that runs within ``limit``; inf if it cannot."""
    forced = ~np.isfinite(device)
    both = np.isfinite(host) & ~forced & (host > device)
    on_device = both | ~np.isfinite(host)
    slack = limit - device[on_device].sum() - host[~on_device].sum()
    if slack < 0:
        return np.inf
    work = float(device[on_device].sum())
    extra, saved = (host - device)[both], device[both]
    for i in np.argsort(-saved / extra):
        share = min(1.0, slack / extra[i])
        work -= share * saved[i]
        slack -= share * extra[i]
        if slack <= 0:
            break
    return work


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
        (order[i], order[j])
        for i in range(len(order))
        for j in range(i + width, min(i + 2 * width, len(order)))
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
