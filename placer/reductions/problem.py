"""The throughput problem over items: nodes contracted by colocation, transfers as nets.

A producer u and its consumers form the *net* {u} ∪ succ(u) of weight c_u.  An accelerator pays c_u once
if it holds some but not all of the net: u inside and a consumer outside is a send, u outside and a
consumer inside a receive, never both.  Programs and dynamic programs work on this view; a placement of
items lifts to one of nodes with the same loads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray, distinct
from placer.instance.graphs import strong_components, topological_order
from placer.instance.instance import Instance
from placer.plans.plan import Plan

__all__ = ["Nets", "Problem", "contract", "merge_nets"]


@dataclass(frozen=True, eq=False)
class Problem:
    """Items to place on devices; N items, E nets, D devices, C classes.

    Parameters
    ----------
    instance
        Where the items come from.
    item
        Item of each node, ``(n,)``.
    lead
        Node whose device an item takes when a plan of the instance becomes one of items, ``(N,)``.
    time_ms
        Forward (row 0) and backward (row 1) processing time of each item on each class,
        ``(2, N, C)``; inf where some member cannot run.
    memory_bytes
        What each item keeps with one microbatch in flight, ``(N,)``; the least over the classes.
    allowed
        Whether an item may go to a device, ``(N, D)``.
    edges
        Precedence of a pipeline between different items (``Instance.order_edges``), ``(m, 2)``, without
        duplicates.  Under contiguity it is acyclic and items are numbered in a topological order.
    net_items, net_start
        Net e holds ``net_items[net_start[e] : net_start[e + 1]]``, its producer first; nets inside one
        item are left out.
    net_cost_ms
        ``(E, C)``; 0 on hosts.
    net_backward
        Direction of the producer, ``(E,)``.
    net_across_ms
        Cost of a net between a device and another server, ``(E, D)``; None without servers.
    distinct
        Whether no two devices are interchangeable, because a plan is compared with an earlier one.
    """

    instance: Instance
    item: IntArray
    lead: IntArray
    time_ms: FloatArray
    memory_bytes: FloatArray
    allowed: BoolArray
    edges: IntArray
    net_items: IntArray
    net_start: IntArray
    net_cost_ms: FloatArray
    net_backward: BoolArray
    net_across_ms: FloatArray | None = None
    distinct: bool = False

    @property
    def size(self) -> int:
        """Number of items N."""
        return len(self.memory_bytes)

    @property
    def nets(self) -> int:
        """Number of nets E."""
        return len(self.net_backward)

    @cached_property
    def class_bytes(self) -> tuple[FloatArray, FloatArray]:
        """What items keep on each class with one microbatch in flight, and for each further, ``(N, C)``."""
        resident, activation = self.instance.class_kept_bytes
        out = np.zeros((2, self.size, resident.shape[1]))
        np.add.at(out[0], self.item, resident + activation)
        np.add.at(out[1], self.item, activation)
        return out[0], out[1]

    @cached_property
    def activation_bytes(self) -> FloatArray:
        """What each item keeps for each further microbatch in flight, ``(N,)``; the least over classes."""
        return np.asarray(self.class_bytes[1].min(axis=1))

    @cached_property
    def worst_bytes(self) -> FloatArray:
        """What each item keeps when all microbatches are in flight, ``(N,)``."""
        return self.memory_bytes + (self.instance.training.microbatches - 1) * self.activation_bytes

    def memory_share(self, limit_bytes: FloatArray) -> FloatArray:
        """Memory of each item as a share of each limit ``(K,)``, at most 2, ``(N, K)``."""
        memory = np.broadcast_to(self.memory_bytes[:, None], (self.size, len(limit_bytes)))
        share = np.zeros(memory.shape)
        with np.errstate(divide="ignore"):
            np.divide(memory, limit_bytes, out=share, where=memory > 0)
        return np.minimum(share, 2.0)

    @cached_property
    def forward_ms(self) -> FloatArray:
        """Forward processing time of each item on each class, ``(N, C)``; inf where it cannot run."""
        forward = np.where(self.instance.backward[:, None], 0.0, self.instance.class_time_ms)
        out = np.zeros((self.size, forward.shape[1]))
        np.add.at(out, self.item, forward)
        return np.where(np.isinf(self.time_ms).any(axis=0), np.inf, out)

    @cached_property
    def sync_ms(self) -> FloatArray:
        """The part of the backward times that sums the gradients of replicas, ``(N, C)``."""
        out = np.zeros(self.time_ms.shape[1:])
        np.add.at(out, self.item, self.instance.class_sync_ms)
        return out

    @cached_property
    def load_ms(self) -> FloatArray:
        """Times without what sums the gradients of replicas, ``(2, N, C)``."""
        return self.time_ms - np.stack([0.0 * self.sync_ms, self.sync_ms])

    @cached_property
    def stashes(self) -> list[tuple[float, int, list[int]]]:
        """Forward outputs of known size that other items read: bytes, producer, readers (no repeats)."""
        readers: dict[int, set[int]] = {}
        for u, w in self.instance.forward_edges.tolist():
            if self.instance.output_bytes[u] > 0 and self.item[u] != self.item[w]:
                readers.setdefault(u, set()).add(int(self.item[w]))
        return [
            (float(self.instance.output_bytes[u]), int(self.item[u]), sorted(items))
            for u, items in sorted(readers.items())
        ]

    def net(self, e: int) -> IntArray:
        """Items of net e, the producer first."""
        return self.net_items[self.net_start[e] : self.net_start[e + 1]]

    def plan(self, item_device: IntArray) -> Plan:
        """Plan of the instance from the device of each item, ``(N,)``."""
        return Plan(item_device[self.item])

    def start(self, plan: Plan) -> IntArray:
        """Device of each item, ``(N,)``, that makes of a plan of the instance one that is no worse."""
        return plan.device[self.lead]

    @cached_property
    def members(self) -> tuple[IntArray, ...]:
        """Nodes of each item."""
        order = np.argsort(self.item, kind="stable")
        return tuple(np.split(order, np.searchsorted(self.item[order], np.arange(1, self.size))))


class Nets(NamedTuple):
    """Nets: net e holds ``items[start[e] : start[e + 1]]``, its producer first."""

    items: IntArray
    start: IntArray
    backward: BoolArray
    costs: FloatArray


def merge_nets(
    nets: Iterable[tuple[bool, list[int], FloatArray]], columns: int, *, keep_producers: bool
) -> Nets:
    """Merge nets of one direction with equal items, and with equal producers if those are kept.

    Parameters
    ----------
    nets
        Direction, items with the producer first, and costs ``(columns,)`` of each.
    """
    members: dict[tuple[object, ...], list[int]] = {}
    costs: dict[tuple[object, ...], FloatArray] = {}
    for backward, items, cost in nets:
        key = (backward, items[0] if keep_producers else -1, *sorted(items))
        costs[key] = costs[key] + cost if key in members else cost
        members.setdefault(key, items)
    sizes = [len(items) for items in members.values()]
    return Nets(
        items=np.array([v for items in members.values() for v in items], dtype=np.int64),
        start=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        backward=np.array([key[0] for key in members], dtype=np.bool_),
        costs=np.array(list(costs.values())).reshape(-1, columns),
    )


def contract(instance: Instance, *, contiguous: bool, keep_producers: bool = True) -> Problem:
    """Contract colocated nodes to items and transfers to nets.

    Parameters
    ----------
    instance
        The instance.
    contiguous
        Also contract forward cycles among the items: a contiguous plan cannot split them.
    keep_producers
        Whether nets of different producers stay apart.  Merging nets with equal item sets is exact for
        the sequential and the overlap model; the duplex model must know who sends.  With servers they
        always stay apart.

    Returns
    -------
    Problem
        Its optimum over items equals the instance's.
    """
    return _contracted(instance, contiguous, keep_producers or bool(instance.servers))


@lru_cache(maxsize=2)  # the phases of a solve contract the same instance again and again
def _contracted(instance: Instance, contiguous: bool, keep_producers: bool) -> Problem:
    item = _items(instance, contiguous=contiguous)
    count = int(item.max()) + 1
    lead = np.zeros(count, dtype=np.int64)
    lead[item[::-1]] = np.arange(instance.n)[::-1]  # the first node of each
    direction = instance.backward.astype(np.int64)
    times = np.zeros((2, count, len(instance.classes)))
    np.add.at(times, (direction, item), instance.class_time_ms)
    # A class that some member cannot run on is closed to the whole item.
    times[:, np.isinf(times).any(axis=0)] = np.inf
    memory = np.zeros(count)
    np.add.at(memory, item, instance.held_bytes)
    allowed = np.ones((count, len(instance.devices)), dtype=bool)
    np.logical_and.at(allowed, item, instance.allowed)

    edges = item[instance.order_edges]
    edges = distinct(edges[edges[:, 0] != edges[:, 1]])

    classes = len(instance.classes)
    columns = classes + (len(instance.devices) if instance.servers else 0)
    nets = merge_nets(_nets(instance, item), columns, keep_producers=keep_producers)
    return Problem(
        instance=instance,
        item=item,
        lead=lead,
        time_ms=times,
        memory_bytes=memory,
        allowed=allowed,
        edges=edges,
        net_items=nets.items,
        net_start=nets.start,
        net_cost_ms=nets.costs[:, :classes],
        net_backward=nets.backward,
        net_across_ms=nets.costs[:, classes:] if instance.servers else None,
    )


def _items(instance: Instance, *, contiguous: bool) -> IntArray:
    """Item of each node: colocation groups, and under contiguity forward cycles among them."""
    label = np.arange(instance.n)
    for nodes in instance.groups.values():
        label[nodes] = nodes.min()
    order = distinct(label)
    if contiguous:
        found = topological_order(order, label[instance.order_edges])
        if found is None:
            label = strong_components(instance.n, label[instance.order_edges])[label]
            found = topological_order(distinct(label), label[instance.order_edges])
        assert found is not None
        order = found
    rank = np.zeros(instance.n, dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[label]


def _nets(instance: Instance, item: IntArray) -> Iterator[tuple[bool, list[int], FloatArray]]:
    """Yield (backward, items with the producer's first, costs) of nets that can be split.

    The costs are those by class, and with servers those by device between servers behind them.
    """
    pairs = item[instance.edges]
    costs = instance.class_transfer_ms
    if instance.servers:
        costs = np.concatenate([costs, instance.across_ms], axis=1)
    costly: BoolArray = np.any(costs, axis=1)
    cut = np.flatnonzero((pairs[:, 0] != pairs[:, 1]) & costly[instance.edges[:, 0]])
    consumers: dict[int, set[int]] = {}
    for u, w in zip(instance.edges[cut, 0].tolist(), pairs[cut, 1].tolist(), strict=True):
        consumers.setdefault(u, set()).add(w)
    for u in sorted(consumers):
        yield bool(instance.backward[u]), [int(item[u]), *sorted(consumers[u])], costs[u]
