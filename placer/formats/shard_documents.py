"""Figures of nodes per degree of sharding: from documents of nodes to `Shards`, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from placer.errors import InputError
from placer.formats.documents import NativeNode, NativeShard
from placer.instance.instance import Instance
from placer.instance.shards import Shards

__all__ = ["shard_documents", "shards_of"]

SIZES = ("memory_bytes", "weight_bytes", "activation_bytes")
"""What a node keeps; names of fields of documents, instances and shards."""


def shards_of(nodes: Sequence[NativeNode], types: Sequence[str]) -> list[Shards]:
    """Read the figures of all nodes by degree; those of the whole node where there are none.

    Raises
    ------
    InputError
        When a shard runs where the whole node cannot.
    """
    for i, node in enumerate(nodes):
        for degree, shard in (node.shards or {}).items():
            for t in sorted(shard.time_ms.keys() - node.time_ms.keys()):
                raise InputError(
                    f"there is a time for type {t!r}, on which node {node.id!r} as a whole cannot run",
                    place=f"nodes[{i}].shards.{degree}",
                )
    return [
        _at_degree(degree, nodes, types)
        for degree in sorted({int(degree) for node in nodes for degree in node.shards or ()})
    ]


def _at_degree(degree: int, nodes: Sequence[NativeNode], types: Sequence[str]) -> Shards:
    own = [(node.shards or {}).get(str(degree)) for node in nodes]
    each = [(node, shard or NativeShard()) for node, shard in zip(nodes, own, strict=True)]
    times = [node.time_ms | shard.time_ms for node, shard in each]

    def sizes(key: str) -> list[float]:
        return [getattr(node if getattr(shard, key) is None else shard, key) for node, shard in each]

    return Shards(
        degree=degree,
        known=np.array([shard is not None for shard in own]),
        time_ms=np.array([[some.get(t, math.inf) for t in types] for some in times]),
        memory_bytes=np.array(sizes("memory_bytes")),
        weight_bytes=np.array(sizes("weight_bytes")),
        activation_bytes=np.array(sizes("activation_bytes")),
        collective_bytes=np.array([shard.collective_bytes for _, shard in each]),
    )


def shard_documents(instance: Instance, v: int) -> dict[str, Any] | None:
    """Write down the figures of a node by degree, as far as they are not those of the whole node."""
    out: dict[str, Any] = {}
    for some in instance.shards:
        if not some.known[v]:
            continue
        times = zip(instance.types, some.time_ms[v].tolist(), instance.time_ms[v].tolist(), strict=True)
        shard: dict[str, Any] = {"time_ms": {t: own for t, own, whole in times if own != whole}}
        for key in SIZES:
            if getattr(some, key)[v] != getattr(instance, key)[v]:
                shard[key] = float(getattr(some, key)[v])
        if some.collective_bytes[v]:
            shard["collective_bytes"] = float(some.collective_bytes[v])
        out[str(some.degree)] = {key: value for key, value in shard.items() if value != {}}
    return out or None
