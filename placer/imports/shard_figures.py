"""From instances as each device has them to the figures of shards in the instance of the whole model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.imports.granularity import Granularity, partition
from placer.imports.model import Model
from placer.instance.instance import Instance
from placer.instance.shards import Shards

__all__ = ["shards_of_degree", "sums_per_node"]


def sums_per_node(made: Model, by: str) -> dict[str, float]:
    """Add up what the devices sum (all-reduce) in each node of a model that they split, by its id."""
    sums: dict[str, float] = {}
    for part in partition(made, Granularity(by)):
        operators = [made.operators[i] for i in part.operators]
        sums[part.id] = sum(o.collective_bytes for o in operators)
        sums[f"{part.id}/backward"] = sum(o.backward_collective_bytes for o in operators)
    return sums


def shards_of_degree(whole: Instance, each: Instance, degree: int, sums: Mapping[str, float]) -> Shards:
    """Collect the figures of all nodes on each of several devices that split them.

    Parameters
    ----------
    whole, each
        The model, and what one of the devices has of it.
    degree
        How many devices there are.
    sums
        Bytes that they sum whenever a node runs, by its id.
    """
    row = {node: v for v, node in enumerate(each.ids)}
    known: BoolArray = np.array([node in row for node in whole.ids])
    rows = np.array([row.get(node, 0) for node in whole.ids])

    def figures(key: str) -> FloatArray:
        own, others = getattr(each, key)[rows], getattr(whole, key)
        found: FloatArray = np.where(known if own.ndim == 1 else known[:, None], own, others)
        return found

    return Shards(
        degree=degree,
        known=known,
        time_ms=figures("time_ms"),
        memory_bytes=figures("memory_bytes"),
        weight_bytes=figures("weight_bytes"),
        activation_bytes=figures("activation_bytes"),
        collective_bytes=np.array([sums.get(node, 0.0) for node in whole.ids]),
    )
