"""The schedule of one sample under a latency plan, from the instance alone.

Imports neither a formulation nor a solver, so that it can contradict them.
Source: the problem statement of Tarnawski et al., NeurIPS 2020, "Latency".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from placer.arrays import FloatArray, IntArray, distinct
from placer.instance.instance import Instance
from placer.plans.plan import Plan, pieces_in_order

__all__ = ["Deadlock", "LatencySchedule", "PieceTimes", "latency_schedule"]


@dataclass(frozen=True, eq=False)
class PieceTimes:
    """One piece of a latency plan: what it does, in ms."""

    device: int
    order: int
    nodes: IntArray
    receive_ms: float
    compute_ms: float
    send_ms: float
    start_ms: float
    finish_ms: float


@dataclass(frozen=True, eq=False)
class LatencySchedule:
    """The execution of one sample.

    Parameters
    ----------
    available_ms
        When the output of each node exists in host memory, ``(n,)``.
    pieces
        The accelerator pieces in execution order per device.
    makespan_ms
        When the last node is available.
    """

    available_ms: FloatArray
    pieces: tuple[PieceTimes, ...]
    makespan_ms: float


class Deadlock(Exception):  # noqa: N818  (a property of the plan, not a failure)
    """Pieces or host nodes that wait for each other, so that none can start."""

    def __init__(self, nodes: list[str]) -> None:
        self.nodes = nodes
        super().__init__(", ".join(nodes))


def latency_schedule(instance: Instance, plan: Plan) -> LatencySchedule:
    """Run one sample through a latency plan.

    A piece starts when all its inputs exist in host memory and the previous piece of its accelerator
    has finished; then it receives, computes and sends, strictly in sequence.  A host node starts when
    its inputs exist.

    Raises
    ------
    Deadlock
        When pieces wait for each other.
    """
    if plan.piece is None:
        raise ValueError("a latency plan needs pieces")
    return _scheduled(instance, plan)


@lru_cache(maxsize=4)  # verification, objective and reports ask for the same plan in turn
def _scheduled(instance: Instance, plan: Plan) -> LatencySchedule:
    pieces = pieces_in_order(plan)
    unit = np.full(instance.n, -1, dtype=np.int64)
    for k, (_, _, nodes) in enumerate(pieces):
        unit[nodes] = k
    on_host = np.flatnonzero(unit < 0)
    unit[on_host] = len(pieces) + np.arange(len(on_host))
    units = len(pieces) + len(on_host)

    # Units (pieces and host nodes) wait for producers and for the previous piece of their accelerator.
    reads = unit[instance.edges]
    follows = [(k, k + 1) for k, (a, b) in enumerate(pairwise(pieces)) if a[0] == b[0]]
    waits = np.concatenate(
        [reads[reads[:, 0] != reads[:, 1]], np.array(follows, dtype=np.int64).reshape(-1, 2)]
    )
    after: list[list[int]] = [[] for _ in range(units)]
    before: list[list[int]] = [[] for _ in range(units)]
    for a, b in (divmod(key, units) for key in distinct(waits[:, 0] * units + waits[:, 1]).tolist()):
        after[a].append(b)
        before[b].append(a)

    parts = [_piece_parts(instance, plan, nodes) for _, _, nodes in pieces]
    host_times = instance.class_time_ms[on_host, instance.device_class[plan.device[on_host]]]
    duration = [sum(p) for p in parts] + host_times.tolist()

    start, finish = [0.0] * units, [0.0] * units
    missing = [len(b) for b in before]
    ready = [k for k in range(units) if not missing[k]]
    done = 0
    while ready:
        k = ready.pop()
        done += 1
        start[k] = max((finish[b] for b in before[k]), default=0.0)
        finish[k] = start[k] + duration[k]
        for a in after[k]:
            missing[a] -= 1
            if not missing[a]:
                ready.append(a)
    if done < units:
        stuck = np.array(missing)[unit] > 0
        raise Deadlock([instance.ids[v] for v in np.flatnonzero(stuck)])

    times = tuple(
        PieceTimes(d, q, nodes, *parts[k], start_ms=start[k], finish_ms=finish[k])
        for k, (d, q, nodes) in enumerate(pieces)
    )
    available = np.array(finish)[unit]
    return LatencySchedule(available, times, float(available.max()))


def _piece_parts(instance: Instance, plan: Plan, nodes: IntArray) -> tuple[float, float, float]:
    """Receive, compute and send time of one piece."""
    c = instance.device_class[plan.device[nodes[0]]]
    inside = np.zeros(instance.n, dtype=bool)
    inside[nodes] = True
    u, w = instance.edges[:, 0], instance.edges[:, 1]
    received = distinct(u[~inside[u] & inside[w]])
    sent = distinct(u[inside[u] & ~inside[w]])
    cost = instance.class_transfer_ms[:, c]
    return (
        float(cost[received].sum()),
        float(instance.class_time_ms[nodes, c].sum()),
        float(cost[sent].sum()),
    )
