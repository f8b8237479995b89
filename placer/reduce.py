"""Exact reductions of the throughput problem: each returns a smaller problem with the same optimum.

A smaller problem keeps the map from the nodes of the instance to its items (`Problem.item`), so a placement
of its items lifts to one of nodes (`Problem.lift`) with the same objective, and that inverts the reduction.
"""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np

from placer.instance import IntArray
from placer.options import Communication, Schedule
from placer.problem import Problem

__all__ = ["merge_directions", "merge_items", "merge_nets"]


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
    only nets with the same producer are merged.
    """
    duplex = communication is Communication.DUPLEX
    merged: dict[tuple[int, ...], tuple[IntArray, float]] = {}
    costs: dict[tuple[int, ...], np.ndarray] = {}
    for e in range(problem.nets):
        producer, *consumers = problem.net(e).tolist()
        others = sorted(set(consumers) - {producer})
        if not others or not problem.net_cost_ms[e].any():
            continue
        items = np.array([producer, *others], dtype=np.int64)
        key = (int(problem.net_backward[e]), producer if duplex else -1, *sorted(items.tolist()))
        if key in merged:
            costs[key] = costs[key] + problem.net_cost_ms[e]
        else:
            merged[key], costs[key] = (items, 0.0), problem.net_cost_ms[e]
    sizes = [len(items) for items, _ in merged.values()]
    return replace(
        problem,
        net_items=np.concatenate([i for i, _ in merged.values()] or [np.zeros(0, dtype=np.int64)]),
        net_start=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        net_cost_ms=np.array(list(costs.values())).reshape(-1, problem.net_cost_ms.shape[1]),
        net_backward=np.array([key[0] for key in merged], dtype=np.bool_),
    )


def merge_items(problem: Problem, label: IntArray, communication: Communication) -> Problem:
    """Merge items with equal labels, ``(N,)``, into one item each.

    The caller knows why that is exact.  Precedence must stay acyclic; the new items are numbered in a
    topological order.

    Raises
    ------
    ValueError
        When the merged precedence has a cycle.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(set(label.tolist())))
    edges = label[problem.edges]
    graph.add_edges_from(edges[edges[:, 0] != edges[:, 1]].tolist())
    if not nx.is_directed_acyclic_graph(graph):
        raise ValueError("the merged items would wait for each other")
    rank = {old: new for new, old in enumerate(nx.lexicographical_topological_sort(graph))}
    new = np.array([rank[old] for old in label.tolist()], dtype=np.int64)
    size = len(rank)
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
        time_ms=time,
        memory_bytes=memory,
        allowed=allowed,
        edges=np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0).reshape(-1, 2),
        net_items=new[problem.net_items],
    )
    return merge_nets(merged, communication)
