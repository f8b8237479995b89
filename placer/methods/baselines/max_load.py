"""The latency of a plan made for throughput: its device sets, cut into pieces that can run.

Source: Tarnawski et al., NeurIPS 2020, Section 6 (the baseline "max-load").
"""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.plans.figures import objective_ms
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.run import Outcome, Run

__all__ = ["cut_into_pieces", "solve"]

WORK_S = 60.0
"""For the throughput plan, at most, in nominal seconds."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Plan for throughput by the dynamic program, then run one sample through that plan."""
    throughput = options.model_copy(update={"objective": Objective.THROUGHPUT, "pieces": 1, "method": "dp"})
    # A latency plan is no start, and figures of the throughput problem are no progress of this one.
    part = run.part(work=WORK_S, quiet=True)
    unordered = instance.replace(order=())  # which is one of pipelines
    found = load_method("dp", Objective.THROUGHPUT)(unordered, throughput, part)
    if found.plan is None:
        stop = Stop.FINISHED if found.stop is Stop.INFEASIBLE else found.stop
        return Outcome(stop, message=f"no throughput plan to evaluate ({found.message or found.stop})")
    plan = cut_into_pieces(instance, found.plan.device)
    if plan.piece is None:
        raise AssertionError("a latency plan has pieces")
    worst = int(np.argmax(plan.piece))
    needed = int(plan.piece[worst]) + 1
    if needed > options.pieces:
        name = instance.devices[plan.device[worst]].name
        return Outcome(
            Stop.NOT_APPLICABLE,
            message=f"the throughput plan needs {needed} pieces on {name}, more than {options.pieces}",
        )
    run.report(objective_ms(instance, plan, options), phase="max-load")
    return Outcome(run.stopped() or Stop.FINISHED, plan, message="throughput plan, run for one sample")


def cut_into_pieces(instance: Instance, device: IntArray) -> Plan:
    """Cut device sets into pieces that never wait for each other, few per device.

    Pieces are made in an order in which they can run.  The next one is all that a device can do without
    the others: first of a device that this completes, which costs nothing, else of the one that it
    brings on furthest.

    Parameters
    ----------
    instance
        The instance.
    device
        Device of each node, ``(n,)``.

    Returns
    -------
    Plan
    """
    is_host = np.array([d.is_host for d in instance.devices])
    missing = np.array([len(p) for p in instance.predecessors])
    piece = np.full(instance.n, -1)
    left = np.bincount(device, minlength=len(is_host))
    made = np.zeros(len(is_host), dtype=np.int64)
    done = np.zeros(instance.n, dtype=bool)
    while left.any():
        best: list[int] = []
        for d in np.flatnonzero(left).tolist():
            nodes = _runnable(instance, device, missing, done, d)
            # Host nodes run as soon as they can: they form no pieces.
            if is_host[d] and nodes:
                best = nodes
                break
            if len(nodes) == left[d]:
                best = nodes
                break
            if len(nodes) > len(best):
                best = nodes
        d = int(device[best[0]])
        done[best] = True
        left[d] -= len(best)
        for v in best:
            missing[instance.successors[v]] -= 1
        if not is_host[d]:
            piece[best] = made[d]
            made[d] += 1
    return Plan(device, piece)


def _runnable(instance: Instance, device: IntArray, missing: IntArray, done: IntArray, d: int) -> list[int]:
    """Return all that device d can do now without waiting for another device."""
    wait = missing.copy()
    ready = np.flatnonzero((device == d) & ~done & (wait == 0)).tolist()
    out = []
    while ready:
        v = ready.pop()
        out.append(v)
        for w in instance.successors[v].tolist():
            wait[w] -= 1
            if device[w] == d and not wait[w]:
                ready.append(w)
    return out
