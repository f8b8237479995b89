"""Starting points for heuristics: items spread along a pipeline of devices.

Given an order of the devices, every item has an earliest and a latest position that its predecessors,
successors, pins and types leave.  Any choice between them in topological order can be completed, so that
a target that breaks the order is repaired instead of thrown away.
"""

from __future__ import annotations

import heapq

import numpy as np

from placer.arrays import FloatArray, IntArray, distinct
from placer.instance.instance import Instance
from placer.reductions.problem import Problem

__all__ = [
    "adjacency",
    "balanced",
    "in_wanted_order",
    "item_place",
    "positions",
    "resample_order",
    "shares",
    "stage",
    "topological_rank",
    "work_ms",
]


def adjacency(size: int, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray]:
    """Return ``(start, items)``: the targets of source i are ``items[start[i] : start[i + 1]]``."""
    order = np.argsort(source, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=size))]).astype(np.int64)
    return start, target[order].astype(np.int64)


def topological_rank(instance: Instance, rng: np.random.Generator | None = None) -> IntArray:
    """Place of each node in a topological order, ``(n,)``; random among ties with ``rng``."""
    key = np.arange(instance.n) if rng is None else rng.permutation(instance.n)
    missing = np.array([len(p) for p in instance.predecessors])
    ready = [(int(key[v]), v) for v in np.flatnonzero(missing == 0).tolist()]
    heapq.heapify(ready)
    rank = np.zeros(instance.n, dtype=np.int64)
    for place in range(instance.n):
        _, v = heapq.heappop(ready)
        rank[v] = place
        for w in instance.successors[v].tolist():
            missing[w] -= 1
            if not missing[w]:
                heapq.heappush(ready, (int(key[w]), w))
    return rank


def stage(problem: Problem, order: IntArray, target: IntArray) -> IntArray | None:
    """Put every item as close to its target as the order of the devices allows.

    Parameters
    ----------
    problem
        The items; their numbers are a topological order of ``problem.edges`` where there are any.
    order
        All devices in pipeline order, ``(D,)``.
    target
        Position in the pipeline wanted for each item, ``(N,)``.

    Returns
    -------
    device : (N,) array or None
        None when pins and types leave no assignment along this order.  Memory limits are not looked at.
    """
    size, last = problem.size, len(order) - 1
    open_to = [np.flatnonzero(row) for row in problem.allowed[:, order]]
    after_start, after = adjacency(size, problem.edges[:, 0], problem.edges[:, 1])
    before_start, before = adjacency(size, problem.edges[:, 1], problem.edges[:, 0])
    latest = np.zeros(size, dtype=np.int64)
    for i in range(size - 1, -1, -1):
        high = min((latest[w] for w in after[after_start[i] : after_start[i + 1]]), default=last)
        at = int(np.searchsorted(open_to[i], high, side="right")) - 1
        if at < 0:
            return None
        latest[i] = open_to[i][at]
    # The largest target before an item and the smallest one after it both rise along the graph, and so
    # does their mean: it gives way on both sides where targets contradict the edges.
    pushed, pulled = target.copy(), target.copy()
    for i in range(size):
        pushed[i] = max((pushed[u] for u in before[before_start[i] : before_start[i + 1]]), default=0)
        pushed[i] = max(pushed[i], target[i])
    for i in range(size - 1, -1, -1):
        pulled[i] = min((pulled[w] for w in after[after_start[i] : after_start[i + 1]]), default=last)
        pulled[i] = min(pulled[i], target[i])
    wanted = (pushed + pulled) // 2
    position = np.zeros(size, dtype=np.int64)
    for i in range(size):
        low = max((position[u] for u in before[before_start[i] : before_start[i + 1]]), default=0)
        choices = open_to[i][(open_to[i] >= low) & (open_to[i] <= latest[i])]
        if not len(choices):
            return None
        position[i] = choices[np.argmin(np.abs(choices - wanted[i]))]
    return order[position]


def balanced(problem: Problem, order: IntArray, rank: IntArray) -> IntArray:
    """Cut the items in the order of ``rank`` into shares that suit the speed of the devices.

    Parameters
    ----------
    problem
        The items.
    order
        All devices in pipeline order, ``(D,)``.
    rank
        Place of each node in a topological order, ``(n,)``; the backward pass mirrors the forward pass.

    Returns
    -------
    (N,) array
        Target position of each item, to be repaired by `stage`.
    """
    share = shares(problem)[order]
    sequence = np.argsort(item_place(problem, rank), kind="stable")
    work = work_ms(problem)[sequence]
    work += 1e-9 * (work.sum() or 1.0) / problem.size  # so that items without work spread as well
    middle = (np.cumsum(work) - work / 2) / work.sum()
    target = np.zeros(problem.size, dtype=np.int64)
    cuts = np.cumsum(share)[:-1]
    target[sequence] = np.searchsorted(cuts, middle)
    return target


def shares(problem: Problem) -> FloatArray:
    """Share of the work that suits the speed of each device, ``(D,)``, summing to 1."""
    times = problem.time_ms.sum(axis=0)
    runs = np.isfinite(times)
    total = np.where(runs, times, 0.0).sum(axis=0)
    # By the mean time of what a class can run; one that runs nothing gets nothing, one without times much.
    least = 1e-12 * total.max(initial=0.0) or 1.0
    speed = np.where(runs.any(axis=0), runs.sum(axis=0) / np.maximum(total, least), 0.0)
    by_device = speed[problem.instance.device_class]
    if not by_device.any():  # forward cycles may leave items that no class runs
        return np.full(len(by_device), 1.0 / len(by_device))
    return np.asarray(by_device / by_device.sum())


def work_ms(problem: Problem) -> FloatArray:
    """Return the processing time of each item where it is fastest, ``(N,)``; 0 if no class runs it."""
    fastest = problem.time_ms.sum(axis=0).min(axis=1)
    return np.where(np.isfinite(fastest), fastest, 0.0)


def item_place(problem: Problem, rank: IntArray) -> FloatArray:
    """Where each item lies in the forward pass: 0 at the start, 1 at the end."""
    instance = problem.instance
    place = np.zeros(instance.n)
    for backward in (False, True):
        nodes = np.flatnonzero(instance.backward == backward)
        relative = np.argsort(np.argsort(rank[nodes])) / max(1, len(nodes) - 1)
        place[nodes] = 1.0 - relative if backward else relative
    forward = ~instance.backward
    total, count = np.zeros((2, problem.size)), np.zeros((2, problem.size))
    np.add.at(total, ((~forward).astype(np.int64), problem.item), place)
    np.add.at(count, ((~forward).astype(np.int64), problem.item), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
    return np.asarray(np.where(count[0] > 0, mean[0], mean[1]))


def positions(order: IntArray) -> IntArray:
    """Position of each device in an order, ``(D,)``."""
    out = np.zeros(len(order), dtype=np.int64)
    out[order] = np.arange(len(order))
    return out


def in_wanted_order(problem: Problem, order: IntArray) -> IntArray:
    """Return an order of devices in which those with a rank exchange places until their ranks rise."""
    ranks = np.array([-1 if d.rank is None else d.rank for d in problem.instance.devices])[order]
    out, ranked = order.copy(), np.flatnonzero(ranks >= 0)
    out[ranked] = order[ranked][np.argsort(ranks[ranked], kind="stable")]
    return out


def resample_order(problem: Problem, device: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw an order of the devices that a contiguous assignment of items agrees with, ``(D,)``."""
    count = problem.allowed.shape[1]
    edges = device[problem.edges]
    if len(edges):  # where moves have to respect an order
        edges = np.concatenate([edges, problem.instance.rank_edges])
    edges = distinct(edges[edges[:, 0] != edges[:, 1]])
    after_start, after = adjacency(count, edges[:, 0], edges[:, 1])
    missing = np.bincount(edges[:, 1], minlength=count)
    ready = np.flatnonzero(missing == 0).tolist()
    order: list[int] = []
    while ready:
        d = ready.pop(int(rng.integers(len(ready))))
        order.append(d)
        for w in after[after_start[d] : after_start[d + 1]].tolist():
            missing[w] -= 1
            if not missing[w]:
                ready.append(w)
    return np.array(order, dtype=np.int64)
