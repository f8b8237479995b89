"""Twins: items that may swap their places in every plan.

Exchanging twins maps the instance to itself, so among plans that differ only in where twins lie there is one
in which they come in a given order: it loses nothing to look for that one alone.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray, distinct
from placer.reductions.problem import Problem

__all__ = ["are_twins"]


def are_twins(problem: Problem, a: int, b: int) -> bool:
    """Whether exchanging items a and b leaves times, memory, devices, precedence and nets as they are."""
    same = (
        np.array_equal(problem.time_ms[:, a], problem.time_ms[:, b])
        and all(np.array_equal(kept[a], kept[b]) for kept in problem.class_bytes)
        and np.array_equal(problem.allowed[a], problem.allowed[b])
    )
    if not same:
        return False
    edges = problem.edges[np.isin(problem.edges, (a, b)).any(axis=1)]
    if set(map(tuple, edges.tolist())) != set(map(tuple, _exchanged(edges, a, b).tolist())):
        return False
    owner = np.repeat(np.arange(problem.nets), np.diff(problem.net_start))
    touched = distinct(owner[np.isin(problem.net_items, (a, b))]).tolist()
    plain = sorted(_described(problem, e, problem.net(e)) for e in touched)
    return plain == sorted(_described(problem, e, _exchanged(problem.net(e), a, b)) for e in touched)


def _exchanged(items: IntArray, a: int, b: int) -> IntArray:
    return np.where(items == a, b, np.where(items == b, a, items))


def _described(problem: Problem, e: int, net: IntArray) -> tuple[object, ...]:
    """Return what matters of a net: its producer, readers, direction and costs."""
    across = b"" if problem.net_across_ms is None else problem.net_across_ms[e].tobytes()
    producer, *readers = net.tolist()
    return (
        producer,
        tuple(sorted(readers)),
        bool(problem.net_backward[e]),
        problem.net_cost_ms[e].tobytes(),
        across,
    )
