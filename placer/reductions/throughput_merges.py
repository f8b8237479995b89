"""Merges of items that are exact for plans within a bound: smaller problems with plans as good.

*Closing.* A kind of devices on which an item alone exceeds the bound is closed to it.

*Cutoff merge.* Items a, b that share nets of total weight c: if they lie on different devices, a's device
has at least load p_a + c and b's at least p_b + c (an accelerator that holds part of a net pays for it; a
host does not).  If one of the two exceeds the bound for every pair of kinds, a and b share a device in
every plan within the bound.  Under ``gpipe`` the objective is at least the sum over the directions of the
larger of both loads.  Under duplex the busier lane takes at least half of c, and no less than what one of the
two sends to the other.  What lies between merged items goes along in contiguous plans, which cannot split it
off.  (``_separated``)

*Dominance merge* (contiguous plans).  Let v have no precedence at all, or w as its only predecessor, or as
its only successor.  Moving v to w's device then keeps the order of devices.  If p_v + o ≤ c on that device,
where c is the weight of the nets {v, w} and o that of v's nets without w, then its load does not grow: the
nets {v, w} are cut no more.  v's old device loses p_v and the nets {v, w}, and may have to pay o: it does not
grow if o ≤ p_v + c.  No other device sees a difference, because a net is cut for it by what it holds
itself.  So some plan as good has both on one device.  On a host nothing is saved, so that p_v = 0 is asked
for where w may go to one.  v must be allowed wherever w is, and its memory must never bind.  Under overlap
only items without time are moved, under duplex none (who sends and who receives changes).  (``_dominated``)

A smaller problem knows the nodes of the instance behind its items, so that it is its own inverse: a placement
of its items is a plan with the same objective (`Problem.plan`), and a plan carries over (`Problem.start`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray, distinct
from placer.instance.graphs import components, strong_components, topological_order
from placer.options import Communication, Options, Recompute, Schedule
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem, merge_nets

__all__ = ["merge_below", "merge_directions", "merge_items"]


MAX_NET = 12
"""In larger nets only the producer is paired with each reader: pairs grow with the square of the size."""


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
    return _with_nets_merged(merged, communication)


def _with_nets_merged(problem: Problem, communication: Communication) -> Problem:
    """Merge nets of one direction with equal items, and drop those inside one item or without cost.

    Exact for the sequential and the overlap model; the duplex model must know which item sends, so there
    only nets with the same producer are merged, and with servers as well.
    """
    across, classes = problem.net_across_ms, problem.net_cost_ms.shape[1]
    costs = problem.net_cost_ms if across is None else np.concatenate([problem.net_cost_ms, across], axis=1)
    split = []
    for e in np.flatnonzero(costs.any(axis=1)).tolist():
        producer, *readers = problem.net(e).tolist()
        if others := sorted(set(readers) - {producer}):
            split.append((bool(problem.net_backward[e]), [producer, *others], costs[e]))
    duplex = communication is Communication.DUPLEX or across is not None
    nets = merge_nets(split, costs.shape[1], keep_producers=duplex)
    return replace(
        problem,
        net_items=nets.items,
        net_start=nets.start,
        net_cost_ms=nets.costs[:, :classes],
        net_across_ms=None if across is None else nets.costs[:, classes:],
        net_backward=nets.backward,
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
    first = np.full(problem.size, problem.size)
    np.minimum.at(first, label, np.arange(problem.size))
    first = first[label]  # numbers follow the first member, whichever leads
    labels = distinct(first)
    order = topological_order(labels, first[problem.edges]) if contiguous else labels
    if order is None:
        raise ValueError("the merged items would wait for each other")
    size = len(order)
    rank = np.zeros(problem.size, dtype=np.int64)
    rank[order] = np.arange(size)
    new = rank[first]
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
        lead=problem.lead[label[order]],
        time_ms=time,
        memory_bytes=memory,
        allowed=allowed,
        edges=distinct(edges[edges[:, 0] != edges[:, 1]]),
        net_items=new[problem.net_items],
    )
    return _with_nets_merged(merged, communication)


def merge_below(
    problem: Problem,
    bound_ms: float,
    options: Options,
    kinds: Callable[[Problem], Kinds] = kinds_of,
    *,
    dominance: bool = True,
) -> Problem:
    """Merge until nothing more merges.

    Parameters
    ----------
    problem
        With precedence iff the options ask for contiguous plans; its directions may be merged.
    bound_ms
        Plans up to this objective are kept, or others as good; inf for all.
    options
        The kind of plan and its costs.
    kinds
        The kinds of devices of a problem; where stages may recompute, dominance needs those that do.
    dominance
        Whether items may be put together that need not be, because that is no worse for throughput.

    Returns
    -------
    Problem
        Plans within the bound carry over (`Problem.start`) and get no worse.
    """
    while True:
        devices = kinds(problem)
        pairs, weight = _pairs(problem, devices)
        apart = _separated(devices, pairs, weight, bound_ms, options)
        label = components(problem.size, pairs[~apart])
        if dominance and apart.all() and options.contiguous and _knows_recomputation(devices, options):
            label = _dominated(problem, devices, pairs, weight, bound_ms, options)
        if options.contiguous:  # what lies between two merged items goes along
            label = strong_components(problem.size, label[problem.edges])[label]
        if (label == np.arange(problem.size)).all():
            return problem
        problem = merge_items(problem, label, options.communication, contiguous=options.contiguous)


def _knows_recomputation(kinds: Kinds, options: Options) -> bool:
    return options.recompute is Recompute.NONE or bool(kinds.again.any())


def _pairs(problem: Problem, kinds: Kinds) -> tuple[IntArray, FloatArray]:
    """Pairs of items in a common net: ``(P, 2)``, and weights ``(P, 4, 2, K)``.

    The first axis after P is for all common nets, those of exactly the pair, and those that the first and
    that the second sends; the second is the direction.
    """
    listed: list[tuple[int, int, int, int, bool]] = []
    for e in range(problem.nets):
        producer, *readers = problem.net(e).tolist()
        small = len(readers) < MAX_NET
        near = combinations((producer, *readers), 2) if small else ((producer, v) for v in readers)
        for a, b in (sorted(pair) for pair in near):
            listed.append((a, b, e, (producer == a) + 2 * (producer == b), len(readers) == 1))
    first, second, net, sender, alone = np.array(listed, dtype=np.int64).reshape(-1, 5).T
    key = distinct(first * problem.size + second)
    pair = np.searchsorted(key, first * problem.size + second)
    weight = np.zeros((len(key) * 8, len(kinds.devices)))
    at, cost = 8 * pair + problem.net_backward[net], kinds.net_cost_ms[net]
    for row, some in ((0, slice(None)), (1, alone > 0), (2, sender == 1), (3, sender == 2)):
        np.add.at(weight, at[some] + 2 * row, cost[some])
    pairs = np.stack([key // problem.size, key % problem.size], axis=1)
    return pairs, weight.reshape(len(key), 4, 2, weight.shape[1])


def _separated(
    kinds: Kinds, pairs: IntArray, weight: FloatArray, bound_ms: float, options: Options
) -> BoolArray:
    """Which pairs some plan within the bound may separate, ``(P,)``; the others the cutoff merge joins."""
    paid = weight[:, 0]
    if options.communication is Communication.DUPLEX:
        paid = np.maximum(paid / 2, np.maximum(weight[:, 2], weight[:, 3]))
    loads = []
    for item in pairs.T:
        time = np.moveaxis(kinds.time_ms[:, item], 1, 0)  # (P, 2, K)
        added = time + paid if options.communication is Communication.SEQUENTIAL else np.maximum(time, paid)
        loads.append(added)
    apart = np.zeros(len(pairs), dtype=np.bool_)
    for s in range(len(kinds.devices)):
        for t in range(len(kinds.devices)):
            if kinds.pool[s] == kinds.pool[t] and kinds.width[s] + kinds.width[t] > kinds.room[s]:
                continue
            a, b = loads[0][:, :, s], loads[1][:, :, t]
            gpipe = options.schedule is Schedule.GPIPE
            least = np.maximum(a, b).sum(axis=1) if gpipe else np.maximum(a.sum(axis=1), b.sum(axis=1))
            apart |= least <= bound_ms
    return apart


def _dominated(
    problem: Problem, kinds: Kinds, pairs: IntArray, weight: FloatArray, bound_ms: float, options: Options
) -> IntArray:
    """Label items by what the dominance merge joins them to, ``(N,)``; others by themselves.

    Merges of one pass do not disturb each other: v is unchanged as long as nothing is merged into it, and
    what is merged into w takes no device away from v that w could use.
    """
    if options.communication is Communication.DUPLEX:
        return np.arange(problem.size)
    total = np.zeros((problem.size, 2, len(kinds.devices)))
    owner = np.repeat(np.arange(problem.nets), np.diff(problem.net_start))
    direction = problem.net_backward[owner].astype(np.int64)
    np.add.at(total, (problem.net_items, direction), kinds.net_cost_ms[owner])
    both = np.concatenate([pairs, pairs[:, ::-1]])
    joint = np.concatenate([weight[:, 1], weight[:, 1]])
    others = total[both[:, 0]] - np.concatenate([weight[:, 0], weight[:, 0]])
    movable = _near_only(problem, both) & _harmless(problem, kinds, both, others, joint, bound_ms, options)
    label = np.arange(problem.size)
    grown: set[int] = set()
    for v, w in both[movable].tolist():
        while label[w] != w:
            w = int(label[w])
        if label[v] == v and v not in grown and v != w:
            label[v] = w
            grown.add(w)
    while (label != label[label]).any():
        label = label[label]
    return label


def _near_only(problem: Problem, pairs: IntArray) -> BoolArray:
    """Whether v has no precedence, or w as its only predecessor, or as its only successor, ``(P,)``."""
    n, edges = problem.size, problem.edges
    before, after = np.bincount(edges[:, 1], minlength=n), np.bincount(edges[:, 0], minlength=n)
    some_before, some_after = np.full(n, -1), np.full(n, -1)
    some_before[edges[:, 1]] = edges[:, 0]
    some_after[edges[:, 0]] = edges[:, 1]
    v, w = pairs.T
    alone = (before[v] == 0) & (after[v] == 0)
    first = (before[v] == 1) & (some_before[v] == w)
    last = (after[v] == 1) & (some_after[v] == w)
    return np.asarray(alone | first | last)


def _harmless(
    problem: Problem,
    kinds: Kinds,
    pairs: IntArray,
    others: FloatArray,
    joint: FloatArray,
    bound_ms: float,
    options: Options,
) -> BoolArray:
    """Whether v never hurts on w's device, ``(P,)``; ``others`` and ``joint`` are ``(P, 2, K)`` in ms."""
    v, w = pairs.T
    open_to = kinds.allowed & (kinds.time_ms.sum(axis=0) <= bound_ms)
    at_v, at_w = open_to[v], open_to[w]
    time = np.where(at_v[:, None], np.moveaxis(kinds.time_ms[:, v], 1, 0), 0.0)  # (P, 2, K)
    grows, shrinks = time + others - joint, others - time - joint
    idle: BoolArray = np.ones(len(pairs), dtype=np.bool_)
    if options.communication is Communication.OVERLAP:
        idle = np.asarray(~time.any(axis=(1, 2)))
    elif options.schedule is not Schedule.GPIPE:
        grows, shrinks = grows.sum(axis=1, keepdims=True), shrinks.sum(axis=1, keepdims=True)
    roomy = (_worst_bytes(problem, kinds) <= kinds.limit_bytes) | (
        (kinds.held_bytes[v] == 0) & ~kinds.again.any()
    )
    joined = at_v & roomy & (grows <= 0).all(axis=1)
    left = (shrinks <= 0).all(axis=1)
    return np.asarray(idle & (joined | ~at_w).all(axis=1) & (left | ~at_v).all(axis=1))


def _worst_bytes(problem: Problem, kinds: Kinds) -> FloatArray:
    """Memory of all items with all microbatches in flight, and of all that recomputing devices may keep.

    On each kind, ``(K,)``.
    """
    further = problem.instance.training.microbatches - 1
    worst: FloatArray = (kinds.held_bytes + further * kinds.more_bytes).sum(axis=0)
    if kinds.again.any():
        worst += problem.instance.training.microbatches * sum(size for size, _, _ in problem.stashes)
    return worst
