"""Kinds of devices: members of a class that nothing tells apart, so that they are interchangeable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.interchangeable import interchangeable
from placer.reductions.problem import Problem

__all__ = ["Kinds", "kinds_of"]


@dataclass(frozen=True, eq=False)
class Kinds:
    """K kinds of devices, accelerators first.

    Parameters
    ----------
    devices
        Devices of each kind.
    class_index
        Class of each kind, ``(K,)``.
    is_host
        ``(K,)``.
    limit_bytes
        Memory limit, ``(K,)``; inf for none.
    rank
        Place in the wanted order of the devices, ``(K,)``; -1 for kinds that may come anywhere.
    allowed
        Whether an item may go to a kind, ``(N, K)``.
    time_ms
        ``(2, N, K)``; inf where an item may not go.
    """

    devices: tuple[IntArray, ...]
    class_index: IntArray
    is_host: BoolArray
    limit_bytes: FloatArray
    rank: IntArray
    allowed: BoolArray
    time_ms: FloatArray

    @property
    def accelerators(self) -> list[int]:
        """Kinds that are accelerators."""
        return np.flatnonzero(~self.is_host).tolist()

    @property
    def hosts(self) -> list[int]:
        """Kinds that are hosts."""
        return np.flatnonzero(self.is_host).tolist()

    def count(self, kind: int) -> int:
        """Return the number of devices of a kind."""
        return len(self.devices[kind])


def kinds_of(problem: Problem) -> Kinds:
    """Group the devices of a problem into kinds: equal class, and equal items allowed, equally needed."""
    instance = problem.instance
    needed = set(instance.constraints.use_devices)
    found = interchangeable(
        instance.devices,
        problem.allowed,
        lambda d: (d.likeness, d.name in needed, d.index if problem.distinct else -1),
    )
    members = sorted(found, key=lambda some: (instance.devices[some[0]].is_host, some[0]))
    devices = tuple(np.array(some, dtype=np.int64) for some in members)
    first = [instance.devices[some[0]] for some in members]
    class_index = np.array([d.class_index for d in first], dtype=np.int64)
    is_host = np.array([d.is_host for d in first], dtype=np.bool_)
    allowed = problem.allowed[:, [d.index for d in first]]
    return Kinds(
        devices=devices,
        class_index=class_index,
        is_host=is_host,
        limit_bytes=np.array([d.memory_limit_bytes for d in first]),
        rank=np.array([-1 if d.rank is None else d.rank for d in first], dtype=np.int64),
        allowed=allowed,
        time_ms=np.where(allowed, problem.time_ms[:, :, class_index], np.inf),
    )
