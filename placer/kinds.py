"""Kinds of devices: members of a class that no pin tells apart, so that they are interchangeable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.instance import BoolArray, FloatArray, IntArray
from placer.problem import Problem

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
        Memory limit, ``(K,)``; inf for hosts.
    allowed
        Whether an item may go to a kind, ``(N, K)``.
    time_ms
        ``(2, N, K)``; inf where an item may not go.
    """

    devices: tuple[IntArray, ...]
    class_index: IntArray
    is_host: BoolArray
    limit_bytes: FloatArray
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
    found: dict[tuple[bool, int, bytes, bool], list[int]] = {}
    for device in instance.devices:
        column = problem.allowed[:, device.index].tobytes()
        key = (device.is_host, device.class_index, column, device.name in needed)
        found.setdefault(key, []).append(device.index)
    keys = sorted(found, key=lambda key: (key[0], found[key][0]))
    devices = tuple(np.array(found[key], dtype=np.int64) for key in keys)
    class_index = np.array([key[1] for key in keys], dtype=np.int64)
    is_host = np.array([key[0] for key in keys], dtype=np.bool_)
    allowed = problem.allowed[:, [d[0] for d in devices]]
    limits = np.array([c.memory_limit_bytes for c in instance.classes])[class_index]
    return Kinds(
        devices=devices,
        class_index=class_index,
        is_host=is_host,
        limit_bytes=np.where(is_host, np.inf, limits),
        allowed=allowed,
        time_ms=np.where(allowed, problem.time_ms[:, :, class_index], np.inf),
    )
