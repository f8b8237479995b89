"""An exact reduction for latency: nodes that cost nothing join a neighbour.

A node v joins a neighbour t when it has no time on any class that t may use and no memory, may go wherever
t may go, and has no colocation group or t's.  Then v can follow t in every plan, and in these cases nobody
loses:

1. v has no producer, and t is its only consumer: nobody else sees v, and its transfer disappears.
2. v has no consumer, and t is its only producer: v is available with t, and no piece receives t for it.
3. v's only producer t feeds nothing else, and c_v ≤ c_t on every link: t's step sends v instead of t, v's
old step
   received t and now receives at most v, and all others see the same transfer of v.
   The joint node keeps c_v.
4. v has one producer u and one consumer t, and c_u ≤ c_v on every link: t's step receives u instead of v,
u's step
   sends at most u instead of v.
   An edge u → t replaces the path through v.

No new order between steps arises: steps that now follow each other did so through v's old step before.
"""

from __future__ import annotations

import numpy as np

from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.reductions.inverse import Inverse, Reduction

__all__ = ["apply"]


def apply(instance: Instance) -> Reduction:
    """Let all nodes that cost nothing join a neighbour, as often as possible.

    Parameters
    ----------
    instance
        The instance.

    Returns
    -------
    (Instance, Inverse)
        Optimal plans become optimal plans, for any number of pieces.
    """
    graph = _Graph(instance)
    waiting = list(range(instance.n))
    while waiting:
        again: list[int] = []
        for v in waiting:
            if v in graph.before:
                again += graph.join(v)
        waiting = sorted(set(again) & graph.before.keys())
    return graph.reduction()


class _Graph:
    """Mutable neighbours of the nodes that are left."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.before = {v: set(instance.predecessors[v].tolist()) for v in range(instance.n)}
        self.after = {v: set(instance.successors[v].tolist()) for v in range(instance.n)}
        self.sender = np.arange(instance.n)
        self.target = np.arange(instance.n)
        self.free = instance.resident_bytes == 0

    def join(self, v: int) -> list[int]:
        """Let v join a neighbour if it may; return the nodes whose chances have changed."""
        before, after = self.before[v], self.after[v]
        if not self.free[v]:
            return []
        if len(before) == 1 and not after:
            return self._merge(v, *before)
        if len(after) == 1 and not before:
            return self._merge(v, *after)
        if len(before) == 1:
            u = next(iter(before))
            if self.after[u] == {v} and self._cheaper(v, u) and self._may_join(v, u):
                self.sender[u] = self.sender[v]
                return self._merge(v, u)
            if len(after) == 1 and self._cheaper(u, v):
                return self._merge(v, *after)
        return []

    def _cheaper(self, a: int, b: int) -> bool:
        cost = self.instance.class_transfer_ms
        return bool((cost[self.sender[a]] <= cost[self.sender[b]]).all())

    def _may_join(self, v: int, t: int) -> bool:
        instance = self.instance
        group = instance.colocate[v]
        if group is not None and group != instance.colocate[t] and len(instance.groups[group]) > 1:
            return False
        if (instance.allowed[t] & ~instance.allowed[v]).any():
            return False
        classes = np.unique(instance.device_class[instance.allowed[t]])
        return bool((instance.class_time_ms[v, classes] == 0).all())

    def _merge(self, v: int, t: int) -> list[int]:
        if not self._may_join(v, t):
            return []
        before, after = self.before.pop(v), self.after.pop(v)
        for u in before:
            self.after[u].discard(v)
            self.after[u] |= after - {u} if u == t else {t}
        for w in after:
            self.before[w].discard(v)
            self.before[w] |= before - {w} if w == t else {t}
        self.target[v] = t
        return [t, *before, *after, *self.before[t], *self.after[t]]

    def reduction(self) -> Reduction:
        """Build the smaller instance."""
        instance = self.instance
        kept = np.array(sorted(self.before), dtype=np.int64)
        target = self.target
        while (target[target] != target).any():
            target = target[target]
        number = np.full(instance.n, -1, dtype=np.int64)
        number[kept] = np.arange(len(kept))
        edges = [(int(number[u]), int(number[w])) for u in kept.tolist() for w in sorted(self.after[u])]
        sender = self.sender[kept]
        smaller = instance.replace(
            ids=tuple(instance.ids[v] for v in kept),
            names=tuple(instance.names[v] for v in kept),
            time_ms=instance.time_ms[kept],
            memory_bytes=instance.resident_bytes[kept],
            weight_bytes=np.zeros(len(kept)),
            activation_bytes=np.zeros(len(kept)),  # of no meaning where one sample runs alone
            transfer_ms=instance.transfer_ms[sender],
            output_bytes=instance.output_bytes[sender],
            edges=np.array(edges, dtype=np.int64).reshape(-1, 2),
            # Latency ignores directions, and joined nodes could make them inconsistent.
            backward=np.zeros(len(kept), dtype=np.bool_),
            colocate=tuple(instance.colocate[v] for v in kept),
            layer=tuple(instance.layer[v] for v in kept),
            pin=tuple(instance.pin[v] for v in kept),
            forbid=tuple(instance.forbid[v] for v in kept),
            origin=tuple(instance.origin[v] for v in kept),
            shards=(),  # pieces are not split
            constraints=Constraints(),  # refused, or turned into forbids (see `placer.instance.overrides`)
        )
        return smaller, Inverse(smaller, node=number[target], kept=kept)
