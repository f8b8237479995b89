"""Which pieces are possible for steps between downsets of a core, and what they cost at least."""

from __future__ import annotations

import numpy as np

from formulations.latency.latency_problem import LatencyProblem
from placer.arrays import BoolArray, FloatArray, IntArray
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["price"]


def price(
    problem: LatencyProblem, core: BoolArray, step: BoolArray, kind: IntArray
) -> tuple[BoolArray, BoolArray, BoolArray, FloatArray]:
    """Return which piece steps are possible ``(A,)``, closures and sends ``(A, n)``, and costs ``(A,)``."""
    closure = _closure(problem, step)
    outside = core & ~step
    resident = closure
    if problem.grouped:
        resident = closure.astype(np.float32) @ problem.mates > 0
    fits = resident @ problem.instance.memory_bytes <= problem.limit_bytes[kind] * (1 + MEMORY_TOLERANCE)
    fits &= ~(closure & outside).any(axis=1) & ~(closure & ~np.isfinite(problem.time_ms.T[kind])).any(axis=1)
    # The others are dropped: no need to know what they cost.
    some = np.flatnonzero(fits)
    inner, outer = closure[some].astype(np.float32), outside[some].astype(np.float32)
    sends = np.zeros_like(closure)
    sends[some] = closure[some] & (outer @ problem.adjacent.T > 0)
    moved = (outside[some] & (inner @ problem.adjacent.T > 0)) | sends[some]
    work = np.where(np.isfinite(problem.time_ms), problem.time_ms, 0.0).T[kind[some]]
    cost = np.full(len(step), np.inf)
    cost[some] = (closure[some] * work).sum(axis=1) + (moved * problem.transfer_ms.T[kind[some]]).sum(axis=1)
    return fits, closure, sends, cost


def _closure(problem: LatencyProblem, step: BoolArray) -> BoolArray:
    """Nodes that must lie in a piece with each step, ``(A, n)``."""
    closure = step.copy()
    open_rows = np.arange(len(step))
    while len(open_rows):
        nodes = closure[open_rows].astype(np.float32)
        hull = (nodes @ problem.reaches > 0) & (nodes @ problem.reaches.T > 0)
        if not (problem.grouped and problem.pieces == 1):
            return hull
        wider = hull.astype(np.float32) @ problem.mates > 0
        grew = (wider != hull).any(axis=1)
        closure[open_rows] = wider
        open_rows = open_rows[grew]
    return closure
