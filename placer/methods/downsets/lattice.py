"""The contracted problem as the arrays that the threshold kernel works on."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.cluster import Device
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.methods.downsets.kernels.arrays import Graph
from placer.options import Communication, Options, Recompute, Schedule
from placer.plans.in_flight import in_flight
from placer.plans.plan import Plan
from placer.reductions.problem import Problem, contract
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["DeviceType", "Lattice", "device_types", "in_groups"]

MODES = {Communication.SEQUENTIAL: 0, Communication.OVERLAP: 1, Communication.DUPLEX: 2}


@dataclass(frozen=True)
class DeviceType:
    """Devices that are interchangeable for every item: equal times, transfers, memory, pins and forbids."""

    devices: tuple[int, ...]
    class_index: int


def device_types(problem: Problem) -> tuple[DeviceType, ...]:
    """Group the devices; a pin or forbid of a single device makes that device a type of its own."""
    instance = problem.instance

    def costs(device: Device) -> Hashable:
        """Classes do not matter, only what they come to."""
        time, cost = problem.time_ms[:, :, device.class_index], problem.net_cost_ms[:, device.class_index]
        return device.is_host, *device.likeness[1:], time.tobytes(), cost.tobytes()

    groups = interchangeable(instance.devices, problem.allowed, costs)
    return tuple(DeviceType(tuple(d), instance.devices[d[0]].class_index) for d in groups)


@dataclass(frozen=True, eq=False)
class Lattice:
    """Items, their precedence and costs by device type, numbered along one topological order.

    Parameters
    ----------
    problem
        The contracted problem.
    types
        The device types, length T.
    position
        Position of each item of the problem, ``(items,)``; positions are what the kernel calls items.
        Items that are merged share one.
    edges
        Precedence between positions, ``(m, 2)``, each pointing upwards.
    graph
        The arrays.
    backwards
        Whether pieces come in the reverse of pipeline order.
    """

    problem: Problem
    types: tuple[DeviceType, ...]
    position: IntArray
    edges: IntArray
    graph: Graph
    backwards: bool = False

    @classmethod
    def of(cls, instance: Instance, options: Options) -> Lattice:
        """Contract an instance and number its items in the order of the problem."""
        duplex = options.communication is Communication.DUPLEX
        problem = contract(instance, contiguous=True, keep_producers=duplex)
        types = device_types(problem)
        graph = _recomputing(_graph(problem, types, problem.edges, options), problem, types, options)
        return cls(problem, types, np.arange(problem.size), problem.edges, graph)

    @property
    def one_way(self) -> bool:
        """Whether only pieces that come from the end tell what memory they need."""
        return bool(self.graph.by_stage or self.graph.again.any())

    @property
    def size(self) -> int:
        """Number of positions N."""
        return int(self.graph.ok.shape[1])

    @property
    def enough(self) -> float:
        """An objective in ms that no plan exceeds."""
        g = self.graph
        return 1.0 + 4.0 * float(
            g.time.max(axis=0, initial=0).sum() + g.net_cost.max(axis=0, initial=0).sum()
        )

    def reversed(self) -> Lattice:
        """Return the lattice of complements: loads do not change when all edges turn round."""
        n = self.size
        backwards = n - 1 - np.arange(n)
        turned = self._renumbered(backwards, n - 1 - self.edges[:, ::-1], not self.backwards)
        rank = np.where(self.graph.rank >= 0, self.graph.rank.max(initial=0) - self.graph.rank, -1)
        return replace(turned, graph=turned.graph._replace(rank=rank))

    def chained(self, positions: IntArray) -> Lattice:
        """Return the chain along a topological order: only its prefixes are downsets."""
        steps = np.arange(self.size - 1)
        return self._renumbered(positions, np.stack([steps, steps + 1], axis=1), self.backwards)

    def _renumbered(self, positions: IntArray, edges: IntArray, backwards: bool) -> Lattice:
        graph = _renumber(self.graph, positions, edges)
        rank = np.empty_like(positions)
        rank[positions] = np.arange(self.size)
        return Lattice(self.problem, self.types, rank[self.position], edges, graph, backwards)

    def plan(self, pieces: list[tuple[int, IntArray]]) -> Plan:
        """Plan of the instance from (type, positions) of each piece."""
        out, named = np.full(self.size, -1, dtype=np.int64), self._named(pieces)
        for d, positions in named:
            out[positions] = d
        stages = tuple(d for d, positions in named if len(positions))
        return replace(self.problem.plan(out[self.position]), stages=stages)

    def _named(self, pieces: list[tuple[int, IntArray]]) -> list[tuple[int, IntArray]]:
        """Give each piece a device of its type, in pipeline order: interchangeable ones by rising index."""
        used = [0] * len(self.types)
        out = []
        for t, positions in reversed(pieces) if self.backwards else pieces:
            own = int(self.graph.pool[t])
            out.append((self.types[own].devices[used[own]], positions))
            used[own] += 1
        return out


def in_groups(keys: IntArray, values: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Group values by key 0..count-1: ``(start (count + 1,), values)``."""
    order = np.argsort(keys, kind="stable")
    start = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=count), out=start[1:])
    return start, np.ascontiguousarray(values[order])


def _graph(problem: Problem, types: tuple[DeviceType, ...], edges: IntArray, options: Options) -> Graph:
    n, classes = problem.size, [t.class_index for t in types]
    hosts = np.array([problem.instance.classes[c].is_host for c in classes], dtype=bool)
    limit = np.array([problem.instance.devices[t.devices[0]].memory_limit_bytes for t in types])
    ok: BoolArray = np.stack([problem.allowed[:, t.devices[0]] for t in types])
    time: FloatArray = np.moveaxis(problem.time_ms[:, :, classes], 2, 0)
    sizes = np.diff(problem.net_start)
    item_start, item_nets = in_groups(problem.net_items, np.repeat(np.arange(len(sizes)), sizes), n)
    succ_start, succ = in_groups(edges[:, 0], edges[:, 1], n)
    flights = in_flight(problem.instance, options)
    ranks = [problem.instance.devices[t.devices[0]].rank for t in types]
    return Graph(
        ok=np.ascontiguousarray(ok),
        time=np.ascontiguousarray(np.where(ok[:, None, :], time, 0.0)),
        memory=problem.memory_bytes.copy(),
        activation=problem.activation_bytes.copy(),
        flights=flights.most,
        by_stage=flights.by_stage and bool(problem.activation_bytes.any()),
        rank=np.array([-1 if rank is None else rank for rank in ranks], dtype=np.int64),
        limit=limit * (1 + MEMORY_TOLERANCE),
        devices=np.array([min(len(t.devices), n) for t in types], dtype=np.int64),
        paying=~hosts & (problem.net_cost_ms[:, classes] > 0).any(axis=0),
        succ_start=succ_start,
        succ=succ,
        net_size=sizes.astype(np.int64),
        net_producer=problem.net_items[problem.net_start[:-1]].astype(np.int64),
        net_direction=problem.net_backward.astype(np.int64),
        net_cost=np.ascontiguousarray(np.where(hosts[:, None], 0.0, problem.net_cost_ms[:, classes].T)),
        item_start=item_start,
        item_nets=item_nets,
        mode=MODES[options.communication],
        chain=_is_chain(n, edges),
        gpipe=options.schedule is Schedule.GPIPE and problem.instance.is_training,
        pool=np.arange(len(types)),
        again=np.zeros(len(types), dtype=bool),
        read_start=np.zeros(n + 1, dtype=np.int64),
        read=np.zeros(0, dtype=np.int64),
        output_producer=np.zeros(0, dtype=np.int64),
        output_bytes=np.zeros(0),
        optional=np.zeros(n, dtype=bool),
        near_start=np.zeros(n + 1, dtype=np.int64),
        near=np.zeros(0, dtype=np.int64),
        net_optional=np.full(len(sizes), -1, dtype=np.int64),
    )


def _recomputing(g: Graph, problem: Problem, types: tuple[DeviceType, ...], options: Options) -> Graph:
    """Add a type that recomputes beside each of accelerators, or make all accelerators recompute."""
    if options.recompute is Recompute.NONE:
        return g
    hosts = np.array([problem.instance.devices[t.devices[0]].is_host for t in types])
    doubled = np.flatnonzero(~hosts)
    forward = np.where(g.ok, problem.forward_ms[:, [t.class_index for t in types]].T, 0.0)
    longer = g.time.copy()
    longer[:, 1] += forward
    outputs = problem.stashes
    pairs = [
        (item, o) for o, (_, producer, items) in enumerate(outputs) for item in items if item != producer
    ]
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    read_start, read = in_groups(table[:, 0], table[:, 1], problem.size)
    g = g._replace(
        read_start=read_start,
        read=read,
        output_producer=np.array([producer for _, producer, _ in outputs], dtype=np.int64),
        output_bytes=np.array([size for size, _, _ in outputs], dtype=np.float64),
    )
    if options.recompute is Recompute.ALL:
        time = np.where(hosts[:, None, None], g.time, longer)
        return g._replace(time=np.ascontiguousarray(time), again=~hosts)

    def both(own: Any, recomputing: Any) -> Any:
        return np.ascontiguousarray(np.concatenate([own, recomputing[doubled]]))

    return g._replace(
        ok=both(g.ok, g.ok),
        time=both(g.time, longer),
        limit=both(g.limit, g.limit),
        devices=both(g.devices, g.devices),
        paying=both(g.paying, g.paying),
        net_cost=both(g.net_cost, g.net_cost),
        rank=both(g.rank, g.rank),
        pool=both(g.pool, g.pool),
        again=np.concatenate([g.again, np.ones(len(doubled), dtype=bool)]),
    )


def _is_chain(n: int, edges: IntArray) -> bool:
    return len(edges) == n - 1 and bool((edges[:, 1] - edges[:, 0] == 1).all())


def _renumber(g: Graph, positions: IntArray, edges: IntArray) -> Graph:
    n = len(positions)
    rank = np.empty_like(positions)
    rank[positions] = np.arange(n)
    succ_start, succ = in_groups(edges[:, 0], edges[:, 1], n)
    owner = np.repeat(np.arange(n), np.diff(g.item_start))
    item_start, item_nets = in_groups(rank[owner], g.item_nets, n)
    reader = np.repeat(np.arange(n), np.diff(g.read_start))
    read_start, read = in_groups(rank[reader], g.read, n)
    neighbour = np.repeat(np.arange(n), np.diff(g.near_start))
    near_start, near = in_groups(rank[neighbour], rank[g.near], n)
    return g._replace(
        chain=_is_chain(n, edges),
        ok=np.ascontiguousarray(g.ok[:, positions]),
        time=np.ascontiguousarray(g.time[:, :, positions]),
        memory=np.ascontiguousarray(g.memory[positions]),
        activation=np.ascontiguousarray(g.activation[positions]),
        succ_start=succ_start,
        succ=succ,
        net_producer=rank[g.net_producer],
        read_start=read_start,
        read=read,
        output_producer=rank[g.output_producer],
        optional=g.optional[positions],
        near_start=near_start,
        near=near,
        net_optional=np.where(g.net_optional >= 0, rank[g.net_optional], -1),
        item_start=item_start,
        item_nets=item_nets,
    )
