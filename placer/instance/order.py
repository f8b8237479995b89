"""A topological order of the nodes that people recognise."""

from __future__ import annotations

from functools import lru_cache

import networkx as nx
import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance

__all__ = ["topological_position"]


@lru_cache(maxsize=8)
def topological_position(instance: Instance) -> IntArray:
    """Position of each node in a topological order that keeps the order of the file, ``(n,)``."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(instance.n))
    graph.add_edges_from(instance.edges.tolist())
    position = np.empty(instance.n, dtype=np.int64)
    position[list(nx.lexicographical_topological_sort(graph))] = np.arange(instance.n)
    return position
