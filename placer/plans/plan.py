"""A plan: which device each node goes to and, for latency, in which piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, IntArray
from placer.instance.modes import Mode

__all__ = ["Plan", "Team", "pieces_in_order"]


@dataclass(frozen=True)
class Team:
    """Identical devices that run one stage together, replica by replica.

    Parameters
    ----------
    devices
        Indices; a plan's ``device`` names the first.
    shards
        How many of them split the nodes of a replica.
    zero
        What replicas share out of the optimizer, see `Mode`.
    """

    devices: tuple[int, ...]
    shards: int = 1
    zero: int = 0

    @property
    def mode(self) -> Mode:
        """How the stage runs."""
        return Mode(len(self.devices) // self.shards, self.shards, self.zero)


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
    again
        Single nodes that do, where they choose by themselves; then ``recompute`` is empty.
    teams
        Devices that run one stage together.
    chunk
        Plans with virtual stages only: which of the virtual stages of its device each node is in, counted
        from 0, ``(n,)``; ``stages`` then lists all devices in the order in which the pipeline goes around.
    """

    device: IntArray
    piece: IntArray | None = None
    stages: tuple[int, ...] | None = None
    recompute: tuple[int, ...] = ()
    teams: tuple[Team, ...] = ()
    chunk: IntArray | None = None
    again: tuple[int, ...] = ()

    @property
    def computed_again(self) -> BoolArray:
        """Whether the activations of each node are dropped and computed again, ``(n,)``."""
        out = np.isin(self.device, self.recompute)
        out[list(self.again)] = True
        return np.asarray(out)

    @property
    def used(self) -> set[int]:
        """Devices that hold nodes."""
        return {*self.device.tolist(), *(d for team in self.teams for d in team.devices)}


def pieces_in_order(plan: Plan) -> list[tuple[int, int, IntArray]]:
    """Return ``(device, order, nodes)`` of each accelerator piece of a latency plan."""
    if plan.piece is None:
        raise ValueError("the plan has no pieces")
    on_accelerator = np.flatnonzero(plan.piece >= 0)
    keys = sorted({(int(plan.device[v]), int(plan.piece[v])) for v in on_accelerator})
    return [(d, q, np.flatnonzero((plan.device == d) & (plan.piece == q))) for d, q in keys]
