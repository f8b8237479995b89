"""The ordered latency program with its columns by name, and how to read a plan from a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.latency.latency_problem import LatencyProblem
from formulations.latency.network import Network
from formulations.program import Program
from placer.arrays import FloatArray, IntArray
from placer.plans.plan import Plan

__all__ = ["OrderedModel"]


@dataclass(frozen=True, eq=False)
class OrderedModel:
    """The program and the columns of its variables (``formulations.latency.ordered`` says what they mean).

    Parameters
    ----------
    program
        Minimises C / U.
    upper_ms
        The bound U.
    L, U
        ``(n, K)`` and ``(n, K + 1)``.
    x, y
        ``(n, K, X)`` and ``(n, H)``; colocated nodes may share columns.
    b, beta, m
        ``(K, X)``; ``(K, D)`` over the devices of all kinds, empty for q = 1.
    z
        ``(groups of several nodes, D)``, empty for q = 1.
    r, o
        ``(n, K, X)``.
    S, F, a, T
        ``(K,)``, ``(K,)``, ``(n,)``, ``(n,)``.
    f
        ``(A,)``.
    C
        A single column.
    need
        Memory of each node in thousandths of each kind's limit, ``(n, X)``; 0 where there is no limit.
    large_groups
        Colocation groups of several nodes, in the order of z.
    """

    problem: LatencyProblem
    network: Network
    program: Program
    upper_ms: float
    L: IntArray
    U: IntArray
    x: IntArray
    y: IntArray
    b: IntArray
    beta: IntArray
    m: IntArray
    z: IntArray
    r: IntArray
    o: IntArray
    S: IntArray
    F: IntArray
    a: IntArray
    T: IntArray
    f: IntArray
    C: int
    need: FloatArray
    large_groups: tuple[IntArray, ...]

    def decode(self, values: FloatArray) -> Plan:
        """Read the plan from a point with whole binaries."""
        problem = self.problem
        device = np.full(problem.n, -1, dtype=np.int64)
        position = np.full(problem.n, -1, dtype=np.int64)
        taken = [0] * len(problem.kinds)
        devices = [d for members in problem.kinds for d in members]
        for j in range(problem.slots):
            inside = values[self.x[:, j]] > 0.5
            nodes = np.flatnonzero(inside.any(axis=1))
            if not len(nodes):
                continue
            kind = int(np.argmax(inside[nodes[0]]))
            if self.beta.size:
                device[nodes] = devices[int(np.argmax(values[self.beta[j]]))]
            else:
                device[nodes] = problem.kinds[kind][taken[kind] % len(problem.kinds[kind])]
                taken[kind] += 1
            position[nodes] = j
        for v in np.flatnonzero(device < 0):
            device[v] = problem.hosts[int(np.argmax(values[self.y[v]]))] if problem.hosts else 0
        return Plan(device, position)
