"""The contracted problem as the arrays that the threshold kernel works on."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import IntArray
from placer.instance.cluster import Device
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.methods.downsets.kernels.arrays import Graph
from placer.methods.downsets.twin_branches import renumbered, twin_branches, with_twins
from placer.options import Communication, Options, Recompute, Schedule
from placer.plans.in_flight import in_flight
from placer.plans.plan import Plan
from placer.reductions.kinds import Kinds, kinds_in, with_recomputing
from placer.reductions.problem import Problem, contract
from placer.reductions.throughput_merges import merge_below
from placer.search.work import DOWNSET_STATE_S, DOWNSET_STEP_S, MERGE_ENTRY_S
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["MODES", "Lattice", "close_types", "in_groups", "net_members"]

CACHED, SLOWEST = 8192, 4.0
"""Items for which a step takes twice as long, and how many times as long it takes at most."""
MODES = {Communication.SEQUENTIAL: 0, Communication.OVERLAP: 1, Communication.DUPLEX: 2}


def alike(problem: Problem) -> list[list[int]]:
    """Group devices that are interchangeable for every item: equal costs, memory, pins and forbids."""

    def costs(device: Device) -> Hashable:
        """Classes do not matter, only what they come to."""
        c = device.class_index
        cls, held = problem.instance.classes[c], [bytes_[:, c].tobytes() for bytes_ in problem.class_bytes]
        time, cost = problem.time_ms[:, :, c].tobytes(), problem.net_cost_ms[:, c].tobytes()
        return device.is_host, *device.likeness[1:], time, cost, *held, cls.pool, cls.mode.width

    return interchangeable(problem.instance.devices, problem.allowed, costs)


@dataclass(frozen=True, eq=False)
class Lattice:
    """Items, their precedence and costs by device type, numbered along one topological order.

    Parameters
    ----------
    problem
        The contracted problem.
    options
        The model.
    kinds
        The device types, T of them.
    position
        Position of each item of the problem, ``(N,)``; positions are what the kernel calls items.
    edges
        Precedence between positions, ``(m, 2)``, each pointing upwards.
    graph
        The arrays.
    backwards
        Whether pieces come in the reverse of pipeline order.
    limited
        Whether memory has limits.
    """

    problem: Problem
    options: Options
    kinds: Kinds
    position: IntArray
    edges: IntArray
    graph: Graph
    backwards: bool = False
    limited: bool = True

    @classmethod
    def of(cls, instance: Instance, options: Options) -> Lattice:
        """Contract an instance and number its items in the order of the problem."""
        duplex = options.communication is Communication.DUPLEX
        problem = contract(instance, contiguous=True, keep_producers=duplex)
        return _built(problem, options, alike(problem))

    def merged(self, target: float) -> Lattice:
        """Merge items for plans within a target; the lattice is as it was built."""

        def kinds(problem: Problem) -> Kinds:
            return _kinds(problem, self.groups, self.options, limited=self.limited)

        smaller = merge_below(self.problem, target, self.options, kinds)
        return close_types(self.rebuilt(smaller, limited=self.limited), target)

    def rebuilt(self, problem: Problem, *, limited: bool = True) -> Lattice:
        """Return the lattice of a smaller or easier problem of the same devices."""
        return _built(problem, self.options, self.groups, limited=limited)

    @property
    def groups(self) -> list[list[int]]:
        """Devices of the types, but for those that recompute beside plain ones."""
        own = self.kinds.base == np.arange(len(self.kinds.base))
        return [self.kinds.devices[k].tolist() for k in np.flatnonzero(own)]

    @property
    def one_way(self) -> bool:
        """Whether only pieces that come from the end tell what memory they need."""
        return bool(self.graph.by_stage or self.graph.again.any())

    @property
    def size(self) -> int:
        """Number of positions N."""
        return int(self.graph.ok.shape[1])

    @property
    def entries(self) -> int:
        """Items, edges, and members of nets."""
        return self.size + len(self.edges) + len(self.graph.item_nets)

    @property
    def merging_s(self) -> float:
        """Work of merging its items, in nominal seconds."""
        return MERGE_ENTRY_S * self.entries

    @property
    def step_s(self) -> float:
        """Work of a step of the search, in nominal seconds."""
        return DOWNSET_STEP_S * self._slower

    @property
    def state_s(self) -> float:
        """Work of a state that the search keeps, in nominal seconds."""
        return DOWNSET_STATE_S * self._slower

    @property
    def _slower(self) -> float:
        return min(SLOWEST, 1.0 + self.size / CACHED)

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

    @property
    def has_one_order(self) -> bool:
        """Whether each item needs the one before it: then there is no other order of all."""
        return int((np.diff(np.unique(self.edges, axis=0), axis=1) == 1).sum()) == self.size - 1

    def chained(self, positions: IntArray) -> Lattice:
        """Return the chain along a topological order: only its prefixes are downsets."""
        steps = np.arange(self.size - 1)
        alone = replace(self, graph=with_twins(self.graph, []))
        return alone._renumbered(positions, np.stack([steps, steps + 1], axis=1), self.backwards)

    def _renumbered(self, positions: IntArray, edges: IntArray, backwards: bool) -> Lattice:
        graph = _renumber(self.graph, positions, edges)
        rank = np.empty_like(positions)
        rank[positions] = np.arange(self.size)
        at = rank[self.position]
        return replace(self, position=at, edges=edges, graph=graph, backwards=backwards)

    def plan(self, pieces: list[tuple[int, IntArray]]) -> Plan:
        """Plan of the instance from (type, positions) of each piece."""
        out, named = np.full(self.size, -1, dtype=np.int64), self._named(pieces)
        for d, positions in named:
            out[positions] = d
        stages = tuple(d for d, positions in named if len(positions))
        return replace(self.problem.plan(out[self.position]), stages=stages)

    def _named(self, pieces: list[tuple[int, IntArray]]) -> list[tuple[int, IntArray]]:
        """Give each piece a device of its type, in pipeline order: interchangeable ones by rising index."""
        used = [0] * len(self.kinds.devices)
        out = []
        for t, positions in reversed(pieces) if self.backwards else pieces:
            own = int(self.kinds.base[t])
            out.append((int(self.kinds.devices[own][used[own]]), positions))
            used[own] += 1
        return out


def close_types(lattice: Lattice, target: float) -> Lattice:
    """Close each type to the items that exceed the target on it by themselves."""
    g = lattice.graph
    ok = g.ok & (g.time.sum(axis=1) <= target)
    return replace(lattice, graph=g._replace(ok=ok, time=np.where(ok[:, None, :], g.time, 0.0)))


def net_members(g: Graph) -> tuple[IntArray, IntArray]:
    """Items of each net: ``(start (E + 1,), items)``."""
    owner = np.repeat(np.arange(g.ok.shape[1]), np.diff(g.item_start))
    return in_groups(g.item_nets, owner, len(g.net_size))


def in_groups(keys: IntArray, values: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Group values by key 0..count-1: ``(start (count + 1,), values)``."""
    order = np.argsort(keys, kind="stable")
    start = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=count), out=start[1:])
    return start, np.ascontiguousarray(values[order])


def _built(problem: Problem, options: Options, groups: list[list[int]], *, limited: bool = True) -> Lattice:
    kinds = _kinds(problem, groups, options, limited=limited)
    graph = _graph(problem, kinds, options)
    if not limited:
        graph = graph._replace(by_stage=False, again=np.zeros_like(graph.again))
    graph = with_twins(graph, twin_branches(graph, problem.edges))
    return Lattice(problem, options, kinds, np.arange(problem.size), problem.edges, graph, limited=limited)


def _kinds(problem: Problem, groups: list[list[int]], options: Options, *, limited: bool) -> Kinds:
    kinds = with_recomputing(kinds_in(problem, groups), problem, options.recompute)
    return kinds if limited else replace(kinds, limit_bytes=np.full_like(kinds.limit_bytes, np.inf))


def _graph(problem: Problem, kinds: Kinds, options: Options) -> Graph:
    n, edges = problem.size, problem.edges
    ok = np.ascontiguousarray(kinds.allowed.T)
    sizes = np.diff(problem.net_start)
    item_start, item_nets = in_groups(problem.net_items, np.repeat(np.arange(len(sizes)), sizes), n)
    succ_start, succ = in_groups(edges[:, 0], edges[:, 1], n)
    flights = in_flight(problem.instance, options)
    outputs = [] if options.recompute is Recompute.NONE else problem.stashes
    reads = [
        (item, o) for o, (_, producer, items) in enumerate(outputs) for item in items if item != producer
    ]
    table = np.array(reads, dtype=np.int64).reshape(-1, 2)
    read_start, read = in_groups(table[:, 0], table[:, 1], n)
    return Graph(
        ok=ok,
        time=np.ascontiguousarray(np.where(ok[:, None, :], np.moveaxis(kinds.time_ms, 2, 0), 0.0)),
        memory=np.ascontiguousarray(kinds.held_bytes.T),
        activation=np.ascontiguousarray(kinds.more_bytes.T),
        flights=flights.most,
        by_stage=flights.by_stage and bool(kinds.more_bytes.any()),
        rank=kinds.rank,
        limit=kinds.limit_bytes * (1 + MEMORY_TOLERANCE),
        devices=np.minimum(kinds.room, n * int(kinds.width.max(initial=1))),
        width=kinds.width,
        paying=~kinds.is_host & (kinds.net_cost_ms > 0).any(axis=0),
        succ_start=succ_start,
        succ=succ,
        net_size=sizes.astype(np.int64),
        net_producer=problem.net_items[problem.net_start[:-1]].astype(np.int64),
        net_direction=problem.net_backward.astype(np.int64),
        net_cost=np.ascontiguousarray(kinds.net_cost_ms.T),
        item_start=item_start,
        item_nets=item_nets,
        mode=MODES[options.communication],
        chain=_is_chain(n, edges),
        gpipe=options.schedule is Schedule.GPIPE and problem.instance.is_training,
        pool=kinds.pool,
        again=kinds.again,
        read_start=read_start,
        read=read,
        output_producer=np.array([producer for _, producer, _ in outputs], dtype=np.int64),
        output_bytes=np.array([size for size, _, _ in outputs], dtype=np.float64),
        optional=np.zeros(n, dtype=bool),
        near_start=np.zeros(n + 1, dtype=np.int64),
        near=np.zeros(0, dtype=np.int64),
        net_optional=np.full(len(sizes), -1, dtype=np.int64),
        branch=np.zeros(0, dtype=np.int64),
        branch_start=np.zeros(1, dtype=np.int64),
        branch_of=np.full(n, -1, dtype=np.int64),
        has_twin_before=np.zeros(0, dtype=bool),
        group_start=np.zeros(1, dtype=np.int64),
        group_first=np.zeros(0, dtype=np.int64),
        group_last=np.zeros(0, dtype=np.int64),
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
    numbered = g._replace(
        chain=_is_chain(n, edges),
        ok=np.ascontiguousarray(g.ok[:, positions]),
        time=np.ascontiguousarray(g.time[:, :, positions]),
        memory=np.ascontiguousarray(g.memory[:, positions]),
        activation=np.ascontiguousarray(g.activation[:, positions]),
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
    return with_twins(numbered, renumbered(g, rank))
