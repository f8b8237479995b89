"""Windows: between which accelerators, in pipeline order, an item must lie if no load exceeds a bound."""

from __future__ import annotations

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem
from placer.tolerances import EQUAL

__all__ = ["balance_bound_ms", "host_relief_ms", "reachability", "windows"]


def windows(problem: Problem, kinds: Kinds, upper_bound_ms: float | None) -> IntArray:
    """Find the first and last accelerator slot of each item in plans with objective at most a bound.

    The ancestors of an item lie at or before it.  Their work, less what all hosts together can take within
    the bound, needs a number of accelerators, and so does their memory; the same for descendants after it.

    Parameters
    ----------
    problem
        Contracted for contiguity; its schedule does not matter, because the total load of a device never
        exceeds the objective.
    kinds
        Its devices.
    upper_bound_ms
        Objective of a known plan; None leaves only what memory says.

    Returns
    -------
    IntArray
        ``(N, 2)``: item c has at least ``[c, 0]`` accelerator slots at or before it, and lies at or before
        slot ``[c, 1]``; in a gap g it has g slots before it, and lies before slot g + 1.
    """
    reach, k = reachability(problem), kinds.slots
    out = np.empty((problem.size, 2), dtype=np.int64)
    for c in range(problem.size):
        out[c, 0] = accelerators_needed(problem, kinds, reach[:, c], upper_bound_ms)
        out[c, 1] = k + 1 - accelerators_needed(problem, kinds, reach[c], upper_bound_ms)
    return out


def reachability(problem: Problem) -> BoolArray:
    """Whether there is a forward path from row to column, ``(N, N)``; every item reaches itself."""
    reach = np.eye(problem.size, dtype=np.bool_)
    for u, w in sorted(problem.edges.tolist(), reverse=True):  # items are numbered along the edges
        reach[u] |= reach[w]
    return reach


def balance_bound_ms(problem: Problem, kinds: Kinds) -> float:
    """Return a lower bound on every objective: the work balanced over the devices, and the longest item.

    The work that hosts cannot take must fit the accelerators; bisection on the load.
    """
    least = _least_time(kinds, list(range(len(kinds.devices))))
    low = float(least[np.isfinite(least)].max(initial=0.0))
    everything, k = np.ones(problem.size, dtype=np.bool_), kinds.slots
    high = max(low, float(least[np.isfinite(least)].sum()))
    if accelerators_needed(problem, kinds, everything, None) > k:
        return low  # memory alone rules out every plan
    if accelerators_needed(problem, kinds, everything, low) <= k:
        return low
    for _ in range(50):
        middle = (low + high) / 2
        if accelerators_needed(problem, kinds, everything, middle) > k:
            low = middle
        else:
            high = middle
    return low


def accelerators_needed(
    problem: Problem, kinds: Kinds, items: BoolArray, upper_bound_ms: float | None
) -> int:
    """Return how many accelerators a set of items needs at least, beside all hosts."""
    on_host = kinds.allowed[:, kinds.hosts].any(axis=1)
    limits = np.sort(np.repeat(kinds.limit_bytes, [len(d) for d in kinds.devices])[_on_accelerators(kinds)])
    need = float(problem.memory_bytes[items & ~on_host].sum())
    room = np.cumsum(limits[::-1]) * (1 + EQUAL)
    count = int(np.searchsorted(room, need)) if need > 0 else 0
    if upper_bound_ms is not None:
        bound = upper_bound_ms * (1 + EQUAL)
        fastest = _least_time(kinds, kinds.accelerators)
        # What exceeds the bound there is for hosts; it would drown the rest in rounding.
        quick = items & (fastest <= bound)
        work = float(fastest[quick].sum()) * (1 - EQUAL)
        relief = host_relief_ms(kinds, quick, bound) * (1 + EQUAL)
        if bound > 0:
            count = max(count, int(np.ceil((work - relief) / bound)))
    if (items & ~on_host).any():
        count = max(count, 1)
    return count


def host_relief_ms(kinds: Kinds, items: BoolArray, bound_ms: float) -> float:
    """Return the most accelerator work that all hosts together can take from ``items`` within a bound.

    A fractional knapsack over the items that a host can run within the bound.
    """
    hosts = sum(kinds.count(h) for h in kinds.hosts)
    if not hosts:
        return 0.0
    on_host = _least_time(kinds, kinds.hosts)
    saved = _least_time(kinds, kinds.accelerators)
    chosen = np.flatnonzero(items & (on_host <= bound_ms) & np.isfinite(saved) & (saved > 0))
    ratio = on_host[chosen] / saved[chosen]
    order = chosen[np.argsort(ratio, kind="stable")]
    used = np.cumsum(on_host[order])
    capacity = hosts * bound_ms
    full = used <= capacity
    relief = float(saved[order][full].sum())
    if not full.all():
        i = int(np.argmin(full))
        before = float(used[i - 1]) if i else 0.0
        relief += float(saved[order[i]]) * (capacity - before) / float(on_host[order[i]])
    return relief


def _least_time(kinds: Kinds, which: list[int]) -> FloatArray:
    """Shortest total time of each item on some kinds, ``(N,)``; inf where it may go to none."""
    times = kinds.time_ms.sum(axis=0)[:, which]
    return np.asarray(times.min(axis=1, initial=np.inf))


def _on_accelerators(kinds: Kinds) -> BoolArray:
    return np.repeat(~kinds.is_host, [len(d) for d in kinds.devices])
