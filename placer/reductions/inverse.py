"""The way back from a reduction: what a smaller instance says about the one that it was made from.

A reduction is ``apply(instance) -> (smaller, inverse)``, or a list of such pairs that together allow all
plans.  Items are undone likewise by `Problem.plan` and `Problem.start`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.plans.plan import Plan

__all__ = ["Inverse", "Reduction"]


@dataclass(frozen=True, eq=False)
class Inverse:
    """Turns plans and bounds of a smaller instance into those of the original, and starts the other way.

    Parameters
    ----------
    smaller
        The smaller instance, with n' nodes and D' devices.
    node, kept
        Node of the smaller instance that stands for each original one, ``(n,)``, and the original node that
        each of its own is, ``(n',)``; None where the nodes are the same.
    device, stand_in
        Device that each device of the smaller instance is, ``(D',)``, and the one that does the work of each
        original device, ``(D,)``, -1 for none; None where the devices are the same.
    replicas
        Devices that one device of the smaller instance stands for together; it is named by the first.
    narrower
        Whether there may be better plans than those of the smaller instance, whose bounds are none then.
    """

    smaller: Instance
    node: IntArray | None = None
    kept: IntArray | None = None
    device: IntArray | None = None
    stand_in: IntArray | None = None
    replicas: tuple[tuple[int, ...], ...] = ()
    narrower: bool = False

    def plan(self, plan: Plan) -> Plan:
        """Return the plan of the original for one of the smaller instance; it is at least as good."""
        lifted = _moved(plan, self.node, self.device)
        used = set(lifted.device.tolist())
        return replace(lifted, replicas=(*plan.replicas, *(g for g in self.replicas if g[0] in used)))

    def start(self, plan: Plan) -> Plan | None:
        """Return the plan of the smaller instance for one of the original; None where it has none."""
        used = plan.device
        if self.stand_in is not None and (plan.replicas or (self.stand_in[used] < 0).any()):
            return None
        moved = _moved(plan, self.kept, self.stand_in)
        return moved if self.smaller.allowed[np.arange(self.smaller.n), moved.device].all() else None

    def bound(self, bound_ms: float | None) -> float | None:
        """Return what a bound of the smaller instance proves about the original."""
        return None if self.narrower else bound_ms


Reduction = tuple[Instance, Inverse]
"""A smaller instance, and the way back."""


def _moved(plan: Plan, node: IntArray | None, device: IntArray | None) -> Plan:
    """Return the plan with node i where ``node[i]`` was, and d called ``device[d]``."""
    piece = plan.piece
    if node is not None:
        chunk = None if plan.chunk is None else plan.chunk[node]
        piece = None if piece is None else piece[node]
        plan = replace(plan, device=plan.device[node], piece=piece, chunk=chunk)
    if device is None:
        return plan
    return replace(
        plan,
        device=device[plan.device],
        stages=None if plan.stages is None else tuple(device[list(plan.stages)].tolist()),
        recompute=tuple(device[list(plan.recompute)].tolist()),
    )
