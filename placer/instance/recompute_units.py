"""What recomputes together where nodes choose by themselves: colocation groups and single nodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray, distinct
from placer.instance.graphs import depth_first
from placer.instance.instance import Instance

__all__ = ["Units", "units_of"]


@dataclass(frozen=True, eq=False)
class Units:
    """U units, their outputs mostly before those that read them.

    Parameters
    ----------
    of
        Unit of each node, ``(n,)``.
    members
        Nodes of each unit.
    outputs
        Forward outputs of known size that other units read: bytes, unit of the producer, units that read it.
    forward
        Whether a node is in the forward pass, ``(n,)``.
    """

    of: IntArray
    members: tuple[IntArray, ...]
    outputs: tuple[tuple[float, int, tuple[int, ...]], ...]
    forward: BoolArray

    def __len__(self) -> int:
        return len(self.members)

    def summed(self, figures: FloatArray) -> FloatArray:
        """Sum figures of nodes, ``(n, ...)``, by unit, ``(U, ...)``."""
        out = np.zeros((len(self), *figures.shape[1:]))
        np.add.at(out, self.of, figures)
        return out

    def again_ms(self, times: FloatArray) -> FloatArray:
        """Time of computing each unit again, ``(U, ...)``, from the times of nodes, ``(n, ...)``."""
        forward = self.forward.reshape(-1, *[1] * (times.ndim - 1))
        return self.summed(np.where(forward, times, 0.0))


@lru_cache(maxsize=4)  # every plan of a solve asks for those of the same instance
def units_of(instance: Instance) -> Units:
    """Return the units of an instance."""
    label = np.arange(instance.n)
    for nodes in instance.groups.values():
        label[nodes] = nodes.min()
    forward = instance.forward_edges
    order = depth_first(instance.n, label[forward], distinct(label).tolist())[::-1]
    known = [v for v in order if label[v] == v]
    number = np.full(instance.n, -1, dtype=np.int64)
    number[known] = np.arange(len(known))
    of = number[label]
    readers: dict[int, set[int]] = {}
    for u, w in forward.tolist():
        if instance.output_bytes[u] > 0 and of[u] != of[w]:
            readers.setdefault(u, set()).add(int(of[w]))
    return Units(
        of=of,
        members=tuple(np.flatnonzero(of == g) for g in range(len(known))),
        outputs=tuple(
            (float(instance.output_bytes[u]), int(of[u]), tuple(sorted(units)))
            for u, units in sorted(readers.items())
        ),
        forward=~instance.backward,
    )
