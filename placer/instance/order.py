"""A topological order of the nodes that people recognise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from placer.arrays import IntArray
from placer.instance.graphs import topological_order
from placer.instance.instance import Instance

__all__ = ["topological_position"]


@lru_cache(maxsize=8)
def topological_position(instance: Instance) -> IntArray:
    """Position of each node in a topological order that keeps the order of the file, ``(n,)``."""
    order = topological_order(np.arange(instance.n), instance.edges)
    assert order is not None
    position = np.empty(instance.n, dtype=np.int64)
    position[order] = np.arange(instance.n)
    return position
