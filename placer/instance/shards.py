"""What nodes cost on each device of a stage that splits them: tensor parallelism.

Source: Mesh-TensorFlow (Shazeer et al., 2018), Megatron-LM (Shoeybi et al., 2019).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray, freeze

__all__ = ["Shards"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Shards:
    """Figures of all nodes on each of ``degree`` devices that split them.

    A node without figures of its own runs whole on each of the devices.

    Parameters
    ----------
    degree
        Into how many shards nodes are split, at least 2.
    known
        Whether a node has figures of its own, ``(n,)``; the others have those of the whole node here.
    time_ms
        ``(n, T)`` by device type, without what the devices exchange; ``inf`` where a node cannot run.
    memory_bytes, weight_bytes, activation_bytes
        As those of the instance, per device, ``(n,)``.
    collective_bytes
        What the devices sum among themselves (all-reduce) whenever the node runs, ``(n,)``.
    """

    degree: int
    known: BoolArray
    time_ms: FloatArray
    memory_bytes: FloatArray
    weight_bytes: FloatArray
    activation_bytes: FloatArray
    collective_bytes: FloatArray

    def __post_init__(self) -> None:
        freeze(self)

    def replace(self, **changes: object) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def of(self, nodes: IntArray | Iterable[int]) -> Self:
        """Return the figures of some nodes, in their order."""
        some = np.array(list(nodes), dtype=np.int64)
        names = [f.name for f in dataclasses.fields(self) if f.name != "degree"]
        return self.replace(**{name: getattr(self, name)[some] for name in names})
