"""Clusters drawn for a graph, with memory that is loose, tight or barely enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance

__all__ = ["Cluster", "draw_cluster", "with_memory"]

COUNTS = (2, 3, 4, 4, 6, 8, 8, 12, 16, 32, 64)
"""Accelerators."""
LEAST_WORK = 3
"""Nodes per accelerator, at least: a cluster that is larger than its graph is another question."""
SMALLER = 0.6
"""Memory of slow accelerators in terms of fast ones."""
TIGHT, BARELY = 1.25, 1.02
"""Memory in terms of the least that a pipeline along one topological order needs."""


@dataclass(frozen=True)
class Cluster:
    """What is drawn: counts of fast and slow accelerators, a host or none, memory, and transfers.

    ``transfers`` is the mean time of a transfer in terms of the mean processing time of a node.
    """

    fast: int
    slow: int
    hosts: int
    memory: str
    transfers: float

    def classes(self, bytes_per_s: float) -> tuple[DeviceClass, ...]:
        """Return the classes; slow devices have less memory and slower links as well."""
        kinds = [
            DeviceClass("fast", "fast", self.fast, Kind.ACCELERATOR, 1.0, Link(1.0, bytes_per_s)),
            DeviceClass("slow", "slow", self.slow, Kind.ACCELERATOR, SMALLER, Link(1.0, bytes_per_s / 2)),
            DeviceClass("cpu", "cpu", self.hosts, Kind.HOST),
        ]
        return tuple(cls for cls in kinds if cls.count)


def draw_cluster(rng: np.random.Generator, nodes: int) -> Cluster:
    """Draw a cluster for a graph of so many nodes."""
    fitting = [count for count in COUNTS if count <= max(2, nodes // LEAST_WORK)]
    count = int(rng.choice(fitting))
    slow = int(rng.integers(1, count)) if rng.random() < 0.35 else 0
    return Cluster(
        fast=count - slow,
        slow=slow,
        hosts=int(rng.choice([0, 1, 1, 2])),
        memory=str(rng.choice(["loose", "tight", "barely"])),
        transfers=float(rng.choice([0.03, 0.2, 0.2, 1.0])),
    )


def with_memory(instance: Instance, memory: str) -> Instance:
    """Set the limits of accelerators, in proportion to those that they have (equal where they have none).

    The least memory that counts is that of a pipeline along one order of the nodes, with all microbatches in
    flight, on accelerators alone; so there always is a plan, for every objective.
    """
    limits = [cls.memory_limit_bytes for cls in instance.classes]
    shares = [limit if limit < inf else 1.0 for limit in limits]
    if memory == "loose":
        scale = inf
    else:
        room = [
            s
            for s, cls in zip(shares, instance.classes, strict=True)
            for _ in range(cls.count)
            if not cls.is_host
        ]
        scale = _least_scale(_items(instance), np.array(room)) * (TIGHT if memory == "tight" else BARELY)
    return instance.replace(
        classes=tuple(
            cls if cls.is_host else _limited(cls, scale * share)
            for cls, share in zip(instance.classes, shares, strict=True)
        )
    )


def _limited(cls: DeviceClass, limit: float) -> DeviceClass:
    return replace(cls, memory_limit_bytes=limit, memory_reserve_bytes=0.0, memory_reserve_share=0.0)


def _items(instance: Instance) -> FloatArray:
    """Bytes of each colocation group (and of each other node), in a topological order of the forward pass."""
    order = _topological(instance)
    need = instance.resident_bytes + instance.training.microbatches * instance.activation_bytes
    sizes: dict[object, float] = {}
    for v in order:
        key = instance.colocate[v] or v
        sizes[key] = sizes.get(key, 0.0) + float(need[v])
    return np.array(list(sizes.values()))


def _topological(instance: Instance) -> IntArray:
    """Order nodes, forward ones first, by their depth; the first listed of those alike first."""
    depth = np.zeros(instance.n, dtype=np.int64)
    waiting = np.array([len(p) for p in instance.predecessors])
    ready = list(np.flatnonzero(waiting == 0))
    for u in ready:
        for w in instance.successors[u]:
            depth[w] = max(depth[w], depth[u] + 1)
            waiting[w] -= 1
            if not waiting[w]:
                ready.append(w)
    return np.lexsort((np.arange(instance.n), depth, instance.backward))


def _least_scale(items: FloatArray, room: FloatArray) -> float:
    """Return the least scale of the rooms at which the items fit, one device filled after the other."""
    low, high = items.sum() / room.sum(), items.sum() / room.min()
    for _ in range(40):
        middle = (low + high) / 2
        if _fit(items, middle * room):
            high = middle
        else:
            low = middle
    return float(high)


def _fit(items: FloatArray, room: FloatArray) -> bool:
    device, left = 0, room[0]
    for size in items:
        while size > left:
            device += 1
            if device == len(room):
                return False
            left = room[device]
        left -= size
    return True
