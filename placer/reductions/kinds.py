"""Kinds of devices: members of a class that nothing tells apart, so that they are interchangeable."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.instance import Instance
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
    held_bytes, more_bytes
        What an item keeps there with one microbatch in flight, and for each further one, ``(N, K)``.
    base
        Kind whose devices these are, ``(K,)``: itself, but for those that recompute beside plain ones.
    again
        Whether stages there recompute, ``(K,)``.
    pool
        First of the kinds that draw on the same devices, ``(K,)``.
    width
        How many of them a stage takes, ``(K,)``.
    room
        How many there are in the pool, ``(K,)``.
    """

    devices: tuple[IntArray, ...]
    class_index: IntArray
    is_host: BoolArray
    limit_bytes: FloatArray
    rank: IntArray
    allowed: BoolArray
    time_ms: FloatArray
    net_cost_ms: FloatArray
    held_bytes: FloatArray
    more_bytes: FloatArray
    base: IntArray
    again: BoolArray
    pool: IntArray
    width: IntArray
    room: IntArray

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

    @property
    def pools(self) -> list[int]:
        """The first kind of each pool."""
        return np.flatnonzero(self.pool == np.arange(len(self.pool))).tolist()

    @property
    def shared(self) -> bool:
        """Whether stages may take several devices, or one in several ways beside recomputing."""
        return bool((self.pool != self.base).any() or (self.width > 1).any())

    @property
    def slots(self) -> int:
        """Stages that there may be on accelerators."""
        return sum(
            int(self.room[k] // self.width[self.pool == k].min()) for k in self.pools if not self.is_host[k]
        )


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
        held_bytes=problem.class_bytes[0][:, class_index],
        more_bytes=problem.class_bytes[1][:, class_index],
        base=np.arange(len(first)),
        again=np.zeros(len(first), dtype=np.bool_),
        **_pools(problem.instance, groups),
    )


def _pools(instance: Instance, groups: list[list[int]]) -> dict[str, IntArray]:
    """Return pool, width and room of each kind; a kind whose class names no pool is one by itself."""
    classes = [instance.classes[instance.devices[some[0]].class_index] for some in groups]
    names = [-1 - k if cls.pool is None else cls.pool for k, cls in enumerate(classes)]
    room = [len(some) if name < 0 else instance.pools[name] for some, name in zip(groups, names, strict=True)]
    return {
        "pool": np.array([names.index(name) for name in names], dtype=np.int64),
        "width": np.array([1 if cls.pool is None else cls.mode.width for cls in classes], dtype=np.int64),
        "room": np.array(room, dtype=np.int64),
    }


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
        held_bytes=kinds.held_bytes[:, every],
        more_bytes=kinds.more_bytes[:, every],
        base=every,
        again=again,
        pool=kinds.pool[every],
        width=kinds.width[every],
        room=kinds.room[every],
    )
