"""The way back from a reduction: what a smaller instance says about the one that it was made from.

A reduction is ``apply(instance) -> (smaller, inverse)``, or a list of such pairs that together allow all
plans.  Items are undone likewise by `Problem.plan` and `Problem.start`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.instance.modes import ALONE, Mode
from placer.plans.plan import Plan, Team

__all__ = ["Inverse", "Pools", "Reduction"]


@dataclass(frozen=True)
class Pools:
    """Devices that are teams in a smaller instance.

    Parameters
    ----------
    devices
        The original devices of each pool.
    members
        Pool and mode of each device of the smaller instance, length D'.
    """

    devices: tuple[tuple[int, ...], ...]
    members: tuple[tuple[int, Mode], ...]

    def plan(self, plan: Plan) -> Plan:
        """Give the teams of a plan original devices, which its pools suffice for."""
        left = [iter(devices) for devices in self.devices]
        taken: dict[int, Team] = {}
        for d in plan.stages or sorted(set(plan.device.tolist())):
            pool, mode = self.members[d]
            taken[d] = Team(tuple(next(left[pool]) for _ in range(mode.width)), mode.shards, mode.zero)
        first = np.zeros(len(self.members), dtype=np.int64)
        first[list(taken)] = [team.devices[0] for team in taken.values()]
        shared = tuple(team for team in taken.values() if team.mode.width > 1)
        return replace(_moved(plan, None, first), teams=shared)

    def start(self, plan: Plan) -> Plan | None:
        """Return the plan of teams for one of the original; None where it has others."""
        pool_of = {d: pool for pool, devices in enumerate(self.devices) for d in devices}
        modes = {team.devices[0]: team.mode for team in plan.teams}
        free: dict[tuple[int, int, int], list[int]] = {}
        for d in reversed(range(len(self.members))):
            pool, mode = self.members[d]
            free.setdefault((pool, mode.replicas, mode.shards), []).append(d)
        device = np.full(max(pool_of, default=-1) + 1, -1, dtype=np.int64)
        for d in plan.stages or sorted(set(plan.device.tolist())):
            mode = modes.get(d, ALONE)
            some = free.get((pool_of.get(d, -1), mode.replicas, mode.shards))
            if not some:
                return None
            device[d] = some.pop()
        return replace(_moved(plan, None, device), teams=())


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
    pools
        Where devices of the smaller instance are teams: which.
    narrower
        Whether there may be better plans than those of the smaller instance, whose bounds are none then.
    """

    smaller: Instance
    node: IntArray | None = None
    kept: IntArray | None = None
    device: IntArray | None = None
    stand_in: IntArray | None = None
    pools: Pools | None = None
    narrower: bool = False

    def plan(self, plan: Plan) -> Plan:
        """Return the plan of the original for one of the smaller instance; it is at least as good."""
        if self.pools is not None:
            return self.pools.plan(plan)
        return _moved(plan, self.node, self.device)

    def start(self, plan: Plan) -> Plan | None:
        """Return the plan of the smaller instance for one of the original; None where it has none."""
        if self.stand_in is not None and (plan.teams or (self.stand_in[plan.device] < 0).any()):
            return None
        moved = self.pools.start(plan) if self.pools is not None else _moved(plan, self.kept, self.stand_in)
        if moved is None or not self.smaller.allowed[np.arange(self.smaller.n), moved.device].all():
            return None
        return moved

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
