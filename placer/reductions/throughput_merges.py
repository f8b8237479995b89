"""Exact reductions of the throughput problem: each returns a smaller problem with the same optimum.

A smaller problem knows the nodes of the instance behind its items, so that it is its own inverse: a placement
of its items is a plan with the same objective (`Problem.plan`), and a plan carries over (`Problem.start`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray, distinct
from placer.instance.graphs import strong_components, topological_order
from placer.options import Communication, Schedule
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem
from placer.tolerances import EQUAL

__all__ = ["cutoff_merge", "dominance_merge", "merge_directions", "merge_items", "merge_nets", "reduced"]


def merge_directions(problem: Problem, schedule: Schedule, communication: Communication) -> Problem:
    """Treat the backward pass as part of the forward pass.

    Exact for ``1f1b`` with sequential communication: there the load of a device is the plain sum of both
    directions.  Otherwise the problem comes back as it is.
    """
    if schedule is not Schedule.ONE_F_ONE_B or communication is not Communication.SEQUENTIAL:
        return problem
    time = np.stack([problem.time_ms.sum(axis=0), np.zeros_like(problem.time_ms[1])])
    time[1][np.isinf(time[0])] = np.inf
    merged = replace(problem, time_ms=time, net_backward=np.zeros(problem.nets, dtype=np.bool_))
    return merge_nets(merged, communication)


def merge_nets(problem: Problem, communication: Communication) -> Problem:
    """Merge nets of one direction with equal items, and drop nets inside one item.

    Exact for the sequential and the overlap model; the duplex model must know which item sends, so there
    only nets with the same producer are merged, and with servers as well.
    """
    across = problem.net_across_ms
    duplex = communication is Communication.DUPLEX or across is not None
    all_costs = (
        problem.net_cost_ms if across is None else np.concatenate([problem.net_cost_ms, across], axis=1)
    )
    merged: dict[tuple[int, ...], tuple[IntArray, float]] = {}
    costs: dict[tuple[int, ...], np.ndarray] = {}
    for e in range(problem.nets):
        producer, *consumers = problem.net(e).tolist()
        others = sorted(set(consumers) - {producer})
        if not others or not all_costs[e].any():
            continue
        items = np.array([producer, *others], dtype=np.int64)
        key = (int(problem.net_backward[e]), producer if duplex else -1, *sorted(items.tolist()))
        if key in merged:
            costs[key] = costs[key] + all_costs[e]
        else:
            merged[key], costs[key] = (items, 0.0), all_costs[e]
    sizes = [len(items) for items, _ in merged.values()]
    classes = problem.net_cost_ms.shape[1]
    table = np.array(list(costs.values())).reshape(-1, all_costs.shape[1])
    return replace(
        problem,
        net_items=np.concatenate([i for i, _ in merged.values()] or [np.zeros(0, dtype=np.int64)]),
        net_start=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        net_cost_ms=table[:, :classes],
        net_across_ms=None if across is None else table[:, classes:],
        net_backward=np.array([key[0] for key in merged], dtype=np.bool_),
    )


def merge_items(
    problem: Problem, label: IntArray, communication: Communication, *, contiguous: bool
) -> Problem:
    """Merge items with equal labels, ``(N,)``, into one item each: the one that gives the label leads.

    The caller knows why that is exact.  For contiguous plans precedence must stay acyclic, and the new items
    are numbered in a topological order.

    Raises
    ------
    ValueError
        When the merged precedence has a cycle.
    """
    labels = distinct(label)
    order = topological_order(labels, label[problem.edges]) if contiguous else labels
    if order is None:
        raise ValueError("the merged items would wait for each other")
    size = len(order)
    rank = np.zeros(problem.size, dtype=np.int64)
    rank[order] = np.arange(size)
    new = rank[label]
    time = np.zeros((2, size, problem.time_ms.shape[2]))
    np.add.at(time.transpose(1, 0, 2), new, problem.time_ms.transpose(1, 0, 2))
    memory = np.zeros(size)
    np.add.at(memory, new, problem.memory_bytes)
    allowed = np.ones((size, problem.allowed.shape[1]), dtype=np.bool_)
    np.logical_and.at(allowed, new, problem.allowed)
    edges = new[problem.edges]
    merged = replace(
        problem,
        item=new[problem.item],
        lead=problem.lead[order],
        time_ms=time,
        memory_bytes=memory,
        allowed=allowed,
        edges=distinct(edges[edges[:, 0] != edges[:, 1]]),
        net_items=new[problem.net_items],
    )
    return merge_nets(merged, communication)


def cutoff_merge(
    problem: Problem, communication: Communication, upper_bound_ms: float, *, contiguous: bool
) -> Problem:
    """Merge items that no plan with objective at most the bound puts on different devices.

    Let items a, b share nets of total weight w.  On different devices, each of the two that is an accelerator
    pays w beside its item.  If for every pair of kinds that the two devices may have one of the loads exceeds
    the bound, a and b lie on one device.

    Parameters
    ----------
    problem
        With precedence iff ``contiguous``; its directions may be merged.
    communication
        Communication model.
    upper_bound_ms
        Objective of a known plan: plans up to it are kept.
    contiguous
        Also merge what lies between merged items, which a contiguous plan cannot split off.
    """
    bound = upper_bound_ms * (1 + EQUAL)
    while True:
        kinds = kinds_of(problem)
        label = np.arange(problem.size)
        for (a, b), weight in _shared_weights(problem, kinds, communication).items():
            alone = [_load_beside(kinds, c, weight, communication) <= bound for c in (a, b)]
            if not _separable(kinds, alone[0], alone[1]):
                label[label == label[b]] = label[a]
        if contiguous:
            label = _close(problem, label)
        if len(set(label.tolist())) == problem.size:
            return problem
        problem = merge_items(problem, label, communication, contiguous=contiguous)


def _shared_weights(
    problem: Problem, kinds: Kinds, communication: Communication
) -> dict[tuple[int, int], FloatArray]:
    """Weight of the nets that two items share, by direction and kind, ``(2, K)``.

    For duplex only what one of the two sends to the other counts, and of both ways the larger one.
    """
    out: dict[tuple[int, int], FloatArray] = {}
    back: dict[tuple[int, int], FloatArray] = {}
    duplex = communication is Communication.DUPLEX
    for e in range(problem.nets):
        items = problem.net(e).tolist()
        weight = np.zeros((2, len(kinds.devices)))
        weight[int(problem.net_backward[e])] = problem.net_cost_ms[e, kinds.class_index]
        pairs = [(items[0], b) for b in items[1:]]
        if not duplex:
            pairs += [(a, b) for i, a in enumerate(items[1:]) for b in items[i + 2 :]]
        for a, b in pairs:
            into = back if duplex and a > b else out
            key = (min(a, b), max(a, b))
            into[key] = into.get(key, 0.0) + weight
    for key, weight in back.items():
        out[key] = np.maximum(out.get(key, np.zeros_like(weight)), weight)
    return out


def _load_beside(kinds: Kinds, c: int, weight: FloatArray, communication: Communication) -> FloatArray:
    """Least load of a device with item c that pays ``weight``, ``(2, K)``; by kind, ``(K,)``."""
    paid = np.where(kinds.is_host, 0.0, weight)
    if communication is Communication.SEQUENTIAL:
        return np.asarray((kinds.time_ms[:, c] + paid).sum(axis=0))
    return np.asarray(np.maximum(kinds.time_ms[:, c], paid).sum(axis=0))


def _separable(kinds: Kinds, a: BoolArray, b: BoolArray) -> bool:
    """Whether two items may lie on different devices, given the kinds that each may lie on then."""
    for i in np.flatnonzero(a).tolist():
        for j in np.flatnonzero(b).tolist():
            if i != j or kinds.count(i) > 1:
                return True
    return False


def _close(problem: Problem, label: IntArray) -> IntArray:
    """Merge labels on a common forward cycle: what lies between two merged items goes along."""
    return strong_components(problem.size, label[problem.edges])[label]


def dominance_merge(problem: Problem, upper_bound_ms: float | None) -> Problem:
    """Merge items into their only neighbour in front or behind where that never hurts (contiguous plans).

    Let v have a single predecessor item w, joined by nets {v, w} of weight ω, and other nets of total weight
    o.  Moving v to the device of w keeps the plan contiguous.  The device of w gains p_v and at most o, and
    saves ω; the device of v gains at most o, and saves p_v and ω; others see no change.  So it never hurts if
    p_v + o ≤ ω on every kind of accelerator, v is free on every host that w may go to, v may go wherever w
    may, and v has no size (or memory never binds).  The same for a single successor.

    Exact for sequential communication with one direction (see `merge_directions`); other problems come back
    as they are.

    Parameters
    ----------
    problem
        Contracted for contiguity.
    upper_bound_ms
        Objective of a known plan, or None; where w alone exceeds it, w may not go.

    Returns
    -------
    Problem
        The smaller problem, in which w leads.
    """
    two = problem.net_backward.any() or problem.time_ms[1][np.isfinite(problem.time_ms[1])].any()
    while not two:
        label = _dominated(problem, np.inf if upper_bound_ms is None else upper_bound_ms * (1 + EQUAL))
        if (label == np.arange(problem.size)).all():
            break
        problem = merge_items(problem, label, Communication.SEQUENTIAL, contiguous=True)
    return problem


def _dominated(problem: Problem, bound_ms: float) -> IntArray:
    """Label items by what they are merged into, ``(N,)``; others by themselves.

    Merges of one pass do not disturb each other: v is unchanged as long as nothing is merged into it, and
    what is merged into w takes no device away from v that w could use.
    """
    kinds = kinds_of(problem)
    may = kinds.allowed & (kinds.time_ms.sum(axis=0) <= bound_ms)
    loose = bool(problem.worst_bytes.sum() <= kinds.limit_bytes.min(initial=np.inf))
    joint: dict[tuple[int, int], FloatArray] = {}
    total = np.zeros((problem.size, len(kinds.devices)))
    for e in range(problem.nets):
        items = problem.net(e)
        cost = problem.net_cost_ms[e, kinds.class_index]
        total[items] += cost
        if len(items) == 2:
            for pair in ((int(items[0]), int(items[1])), (int(items[1]), int(items[0]))):
                joint[pair] = joint.get(pair, np.zeros(len(cost))) + cost
    label = np.arange(problem.size)
    grown: set[int] = set()
    for v, w in _only_neighbours(problem):
        root = w
        while label[root] != root:
            root = int(label[root])
        if (v, w) not in joint or label[v] != v or v in grown or root == v:
            continue
        if problem.memory_bytes[v] > 0 and not loose:
            continue
        rest = total[v] - joint[v, w]
        if _harmless(kinds, may[w], may[v], kinds.time_ms[0, v], joint[v, w], rest):
            label[v] = root
            grown.add(root)
    while (label != label[label]).any():
        label = label[label]
    return label


def _only_neighbours(problem: Problem) -> list[tuple[int, int]]:
    """Pairs of an item and its only predecessor or its only successor."""
    before: list[set[int]] = [set() for _ in range(problem.size)]
    after: list[set[int]] = [set() for _ in range(problem.size)]
    for u, w in problem.edges.tolist():
        after[u].add(w)
        before[w].add(u)
    return [
        (v, next(iter(near))) for v in range(problem.size) for near in (before[v], after[v]) if len(near) == 1
    ]


def _harmless(
    kinds: Kinds, may_w: BoolArray, may_v: BoolArray, time: FloatArray, omega: FloatArray, rest: FloatArray
) -> bool:
    """Whether v may follow w to any device at no cost; all arguments by kind, ``(K,)``."""
    if (may_w & ~may_v).any() or (kinds.is_host & may_w & (time > 0)).any():
        return False
    joined = ~kinds.is_host & may_w
    left = ~kinds.is_host & may_v
    gain_w = np.where(joined, time + rest, 0.0)
    gain_v = np.where(left, rest, 0.0)
    return bool((gain_w <= omega * (1 - EQUAL))[joined].all() and (gain_v <= omega * (1 - EQUAL))[left].all())


def reduced(
    problem: Problem,
    communication: Communication,
    upper_bound_ms: float | None,
    *,
    contiguous: bool,
    dominance: bool = True,
) -> Problem:
    """Apply all reductions; plans with objective at most the bound carry over (`Problem.start`).

    Without ``dominance`` only those that say which items every plan puts together.
    """
    if contiguous and dominance and communication is Communication.SEQUENTIAL:
        problem = dominance_merge(problem, upper_bound_ms)
    if upper_bound_ms is not None:
        problem = cutoff_merge(problem, communication, upper_bound_ms, contiguous=contiguous)
    return problem
