"""Kinds of devices: members of a class that nothing tells apart, so that they are interchangeable."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.interchangeable import interchangeable
from placer.options import Recompute
from placer.reductions.problem import Problem

__all__ = ["Kinds", "kinds_in", "kinds_of", "with_recomputing"]


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
    net_cost_ms
        ``(E, K)``.
    pool
        Kind whose devices these are, ``(K,)``: itself, but for those that recompute beside plain ones.
    again
        Whether stages there recompute, ``(K,)``.
    """

    devices: tuple[IntArray, ...]
    class_index: IntArray
    is_host: BoolArray
    limit_bytes: FloatArray
    rank: IntArray
    allowed: BoolArray
    time_ms: FloatArray
    net_cost_ms: FloatArray
    pool: IntArray
    again: BoolArray

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
    return kinds_in(problem, sorted(found, key=lambda some: (instance.devices[some[0]].is_host, some[0])))


def kinds_in(problem: Problem, groups: list[list[int]]) -> Kinds:
    """Return the kinds that groups of interchangeable devices are, in their order."""
    first = [problem.instance.devices[some[0]] for some in groups]
    class_index = np.array([d.class_index for d in first], dtype=np.int64)
    is_host = np.array([d.is_host for d in first], dtype=np.bool_)
    allowed = problem.allowed[:, [d.index for d in first]]
    return Kinds(
        devices=tuple(np.array(some, dtype=np.int64) for some in groups),
        class_index=class_index,
        is_host=is_host,
        limit_bytes=np.array([d.memory_limit_bytes for d in first]),
        rank=np.array([-1 if d.rank is None else d.rank for d in first], dtype=np.int64),
        allowed=allowed,
        time_ms=np.where(allowed, problem.time_ms[:, :, class_index], np.inf),
        net_cost_ms=np.where(is_host, 0.0, problem.net_cost_ms[:, class_index]),
        pool=np.arange(len(first)),
        again=np.zeros(len(first), dtype=np.bool_),
    )


def with_recomputing(kinds: Kinds, problem: Problem, recompute: Recompute) -> Kinds:
    """Add a kind that recomputes beside each of accelerators, or make all accelerators recompute."""
    if recompute is Recompute.NONE:
        return kinds
    longer = kinds.time_ms.copy()
    longer[1] += np.where(kinds.allowed, problem.forward_ms[:, kinds.class_index], 0.0)
    if recompute is Recompute.ALL:
        time = np.where(kinds.is_host, kinds.time_ms, longer)
        return replace(kinds, time_ms=time, again=~kinds.is_host)
    every = np.concatenate([np.arange(len(kinds.devices)), np.flatnonzero(~kinds.is_host)])
    again = np.arange(len(every)) >= len(kinds.devices)
    return Kinds(
        devices=tuple(kinds.devices[k] for k in every),
        class_index=kinds.class_index[every],
        is_host=kinds.is_host[every],
        limit_bytes=kinds.limit_bytes[every],
        rank=kinds.rank[every],
        allowed=kinds.allowed[:, every],
        time_ms=np.where(again, longer[:, :, every], kinds.time_ms[:, :, every]),
        net_cost_ms=kinds.net_cost_ms[:, every],
        pool=every,
        again=again,
    )
