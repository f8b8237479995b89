"""A plan: which device each node goes to and, for latency, in which piece."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placer.instance import Instance, IntArray

__all__ = ["Plan", "pieces_in_order", "with_host_pools"]


@dataclass(frozen=True, eq=False)
class Plan:
    """An assignment of all nodes.

    Parameters
    ----------
    device
        Device index of each node, ``(n,)``.
    piece
        Latency plans only: position of the node's piece in the execution order of its accelerator,
        counted from 0, ``(n,)``; hosts run nodes one by one and have -1.
    stages
        Contiguous throughput plans only: the devices that hold nodes, in pipeline order; None where any
        order that the plan and its memory allow will do.
    recompute
        Devices that drop their activations after the forward pass and compute them again.
    replicas
        Groups of identical devices that run one stage together, the one that ``device`` names first.
    """

    device: IntArray
    piece: IntArray | None = None
    stages: tuple[int, ...] | None = None
    recompute: tuple[int, ...] = ()
    replicas: tuple[tuple[int, ...], ...] = ()


def with_host_pools(instance: Instance) -> Instance:
    """Return the instance as the latency problem sees it: one pool per host class.

    Hosts run any number of nodes at once (problem statement, "Latency"), so the count of a host class
    means nothing; pins and forbids of a single host become those of its class.
    """
    pooled = {cls.member(i): cls.name for cls in instance.classes if cls.is_host for i in range(cls.count)}
    classes = tuple(replace(cls, count=1) if cls.is_host else cls for cls in instance.classes)
    if classes == instance.classes:
        return instance
    return instance.replace(
        classes=classes,
        order=(),
        pin=tuple(tuple(dict.fromkeys(pooled.get(name, name) for name in names)) for names in instance.pin),
        forbid=tuple(tuple(name for name in names if name not in pooled) for names in instance.forbid),
    )


def pieces_in_order(plan: Plan) -> list[tuple[int, int, IntArray]]:
    """Return ``(device, order, nodes)`` of each accelerator piece of a latency plan."""
    if plan.piece is None:
        raise ValueError("the plan has no pieces")
    on_accelerator = np.flatnonzero(plan.piece >= 0)
    keys = sorted({(int(plan.device[v]), int(plan.piece[v])) for v in on_accelerator})
    return [(d, q, np.flatnonzero((plan.device == d) & (plan.piece == q))) for d, q in keys]
