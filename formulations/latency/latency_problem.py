"""The latency problem as its programs see it: kinds of accelerators, hosts, costs and windows.

Devices of one class that the same nodes may use are interchangeable; such a set is a *kind*.  Programs
speak of kinds, so that no symmetry between members is left, and the members are told apart only when a
plan is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self

import networkx as nx
import numpy as np
import numpy.typing as npt

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.plans.plan import Plan
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["MEMORY_UNITS", "NEGLIGIBLE", "UPPER_SLACK", "LatencyProblem", "Scaled", "Step"]

MEMORY_UNITS = 1000.0
"""Programs count memory limits as so many, so that a tolerance of 1e-6 means 1e-9 of a limit."""

UPPER_SLACK = 1e-6
"""Relative slack that programs add to an upper bound on the makespan, so that plans that attain it stay
feasible."""

NEGLIGIBLE = 1e-8
"""Share of the upper bound below which a time counts as 0: less than the solver's tolerance."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """Times as shares of the upper bound, whatever their magnitude, for programs.

    What exceeds the bound is 0 and kept out: no node, and no transfer, may take longer than the whole. What
    is negligible is 0 too: a relaxation, so that bounds stay bounds.

    Parameters
    ----------
    unit_ms
        What 1 stands for.
    time, move, host
        ``(n, X)``, ``(n, X)``, ``(n, H)``.
    may_run, may_move, may_host
        Whether a node may run on a kind and fits there, be received and sent by one, and run on a host.
    exact
        Whether nothing counts as 0 that is more.
    """

    unit_ms: float
    time: FloatArray
    move: FloatArray
    host: FloatArray
    may_run: BoolArray
    may_move: BoolArray
    may_host: BoolArray
    exact: bool

    @classmethod
    def of(cls, problem: LatencyProblem, upper_ms: float) -> Self:
        """Scale the times of a problem for plans with a makespan of at most ``upper_ms``."""
        unit = upper_ms * (1 + UPPER_SLACK) if upper_ms > 0 else 1.0
        most = upper_ms * (1 + EQUAL)

        def kept(times: FloatArray) -> tuple[FloatArray, BoolArray, bool]:
            may = np.asarray(np.isfinite(times) & (times <= most))
            counts = may & (times >= NEGLIGIBLE * unit)
            return np.where(counts, times, 0.0) / unit, may, not (may & ~counts & (times > 0)).any()

        time, may_run, a = kept(problem.time_ms)
        may_run &= problem.instance.resident_bytes[:, None] <= problem.limit_bytes * (1 + MEMORY_TOLERANCE)
        move, may_move, b = kept(problem.transfer_ms)
        host, may_host, c = kept(problem.host_ms)
        return cls(unit, time, move, host, may_run, may_move, may_host, a and b and c)


@dataclass(frozen=True)
class Step:
    """One step of a plan in execution order: nodes that run together on a kind, or one node on a host.

    Parameters
    ----------
    kind
        Index of the kind, or -1 for a host.
    nodes
        Its nodes; a single one on a host.
    host
        Index of the host among the hosts, -1 on an accelerator.
    device
        Device index.
    """

    kind: int
    nodes: tuple[int, ...]
    host: int
    device: int


@dataclass(frozen=True, eq=False)
class LatencyProblem:
    """Costs of the latency problem by kind (X kinds) and host (H hosts).

    Parameters
    ----------
    instance
        The instance.
    pieces
        Pieces per accelerator q.
    kinds
        Devices of each kind, length X.
    hosts
        Devices that are hosts and that some node may go to, length H.
    time_ms
        Processing times by kind, ``(n, X)``; inf where a node may not go.
    transfer_ms
        Transfer times by kind, ``(n, X)``.
    limit_bytes
        Memory limit of a member of each kind, ``(X,)``.
    host_ms
        Processing times by host, ``(n, H)``; inf where a node may not go, or does not fit with its group.
    host_limit_bytes
        Memory limit of each host, ``(H,)``.
    group
        Label of each node's colocation group, a label of its own where it has none, ``(n,)``.
    """

    instance: Instance
    pieces: int
    kinds: tuple[tuple[int, ...], ...]
    hosts: tuple[int, ...]
    time_ms: FloatArray
    transfer_ms: FloatArray
    limit_bytes: FloatArray
    host_ms: FloatArray
    host_limit_bytes: FloatArray
    group: IntArray

    @classmethod
    def of(cls, instance: Instance, pieces: int) -> Self:
        """Look at an instance."""
        labels: dict[object, int] = {}
        group = np.array(
            [
                labels.setdefault((v,) if name is None else name, len(labels))
                for v, name in enumerate(instance.colocate)
            ],
            dtype=np.int64,
        )
        allowed = np.ones((len(labels), len(instance.devices)), dtype=np.bool_)
        np.logical_and.at(allowed, group, instance.allowed)
        held = np.bincount(group, weights=instance.resident_bytes)
        hosts = []
        for device in instance.devices:
            if device.is_host:
                allowed[:, device.index] &= held <= device.memory_limit_bytes * (1 + MEMORY_TOLERANCE)
                if allowed[:, device.index].any():
                    hosts.append(device.index)
        allowed = allowed[group]
        accelerators = [d for d in instance.devices if not d.is_host and allowed[:, d.index].any()]
        kinds = tuple(tuple(alike) for alike in interchangeable(accelerators, allowed))
        first = np.array([devices[0] for devices in kinds], dtype=np.int64)
        times = instance.class_time_ms[:, instance.device_class]
        times = np.where(allowed, times, np.inf)
        return cls(
            instance=instance,
            pieces=pieces,
            kinds=kinds,
            hosts=tuple(hosts),
            time_ms=times[:, first],
            transfer_ms=instance.class_transfer_ms[:, instance.device_class[first]],
            limit_bytes=np.array([instance.devices[d].memory_limit_bytes for d in first]),
            host_ms=times[:, hosts],
            host_limit_bytes=np.array([instance.devices[d].memory_limit_bytes for d in hosts]),
            group=group,
        )

    @property
    def n(self) -> int:
        """Number of nodes."""
        return self.instance.n

    @cached_property
    def slots(self) -> int:
        """Number of piece positions K that any plan can need."""
        devices = sum(len(devices) for devices in self.kinds)
        usable = np.isfinite(self.time_ms).any(axis=1)
        able = int(usable.sum()) if self.pieces > 1 else len(set(self.group[usable].tolist()))
        return min(devices * self.pieces, able)

    @cached_property
    def order(self) -> IntArray:
        """A topological order of the nodes, ``(n,)``."""
        graph = nx.DiGraph()
        graph.add_nodes_from(range(self.n))
        graph.add_edges_from(self.instance.edges.tolist())
        return np.array(list(nx.lexicographical_topological_sort(graph)), dtype=np.int64)

    @cached_property
    def reach(self) -> BoolArray:
        """Whether v reaches w or equals it, ``(n, n)``."""
        reach = np.eye(self.n, dtype=np.bool_)
        for v in self.order[::-1]:
            for w in self.instance.successors[v]:
                reach[v] |= reach[w]
        return reach

    @cached_property
    def reaches(self) -> npt.NDArray[np.float32]:
        """`reach` as numbers, for products."""
        return self.reach.astype(np.float32)

    @cached_property
    def adjacent(self) -> npt.NDArray[np.float32]:
        """Adjacency matrix, ``(n, n)``."""
        adjacent: npt.NDArray[np.float32] = np.zeros((self.n, self.n), dtype=np.float32)
        adjacent[self.instance.edges[:, 0], self.instance.edges[:, 1]] = 1.0
        return adjacent

    @cached_property
    def mates(self) -> npt.NDArray[np.float32]:
        """Whether two nodes are colocated or equal, ``(n, n)``."""
        return np.asarray(self.group[:, None] == self.group, dtype=np.float32)

    @property
    def grouped(self) -> bool:
        """Whether some nodes are colocated."""
        return int(self.group.max()) + 1 < self.n

    @cached_property
    def precedence(self) -> IntArray:
        """Edges of the transitive reduction, ``(m', 2)``."""
        edges = self.instance.edges
        strict = self.reach & ~np.eye(self.n, dtype=np.bool_)
        longer = self.adjacent @ strict.astype(np.float32) > 0
        return edges[~longer[edges[:, 0], edges[:, 1]]]

    @cached_property
    def least_ms(self) -> FloatArray:
        """Least processing time of each node anywhere, ``(n,)``; inf if it may go nowhere."""
        columns = np.concatenate([self.time_ms, self.host_ms], axis=1)
        return np.asarray(columns.min(axis=1, initial=np.inf))

    @cached_property
    def head_ms(self) -> FloatArray:
        """Longest path that ends with each node, in least times, ``(n,)``."""
        head = self.least_ms.copy()
        for v in self.order:
            head[v] += max((head[u] for u in self.instance.predecessors[v]), default=0.0)
        return head

    @cached_property
    def tail_ms(self) -> FloatArray:
        """Longest path after each node, in least times, ``(n,)``."""
        tail = np.zeros(self.n)
        for v in self.order[::-1]:
            tail[v] = max((tail[w] + self.least_ms[w] for w in self.instance.successors[v]), default=0.0)
        return tail

    @cached_property
    def safe_upper_ms(self) -> float:
        """A time within which every plan ends: all work and all transfers one after the other."""
        columns = np.concatenate([self.time_ms, self.host_ms], axis=1)
        work = np.where(np.isfinite(columns), columns, 0.0).max(axis=1, initial=0.0)
        consumers = np.array([len(s) for s in self.instance.successors], dtype=np.float64)
        transfers = self.transfer_ms.max(axis=1, initial=0.0) * (consumers + 1)
        return float(work.sum() + transfers.sum())

    def hosts_within(self, upper_ms: float) -> BoolArray:
        """Tell whether a node may run on each host in a plan that ends by a given time, ``(n, H)``."""
        least = np.where(np.isfinite(self.least_ms), self.least_ms, 0.0)
        total = (self.head_ms - least)[:, None] + self.host_ms + self.tail_ms[:, None]
        return np.asarray(np.isfinite(self.host_ms) & (total <= upper_ms * (1 + EQUAL)))

    def windows(self, hosted: BoolArray) -> tuple[BoolArray, BoolArray, BoolArray]:
        """Tell where the memory that must lie before or after a node keeps it, each ``(n, K + 1)``.

        Parameters
        ----------
        hosted
            Whether a node may run on some host, ``(n,)``; the memory of the others must lie in pieces.

        Returns
        -------
        late, early_at, early_end
            Column j: v lies after piece j; v lies in piece j or before; v lies before piece j + 1.
        """
        slots = np.arange(self.slots + 1)
        largest = float(self.limit_bytes.max(initial=0.0))
        room = slots * largest * (1 + 1e-6) if 0 < largest < np.inf else np.full(len(slots), np.inf)
        forced = np.where(hosted, 0.0, self.instance.memory_bytes)
        until = self.reach.T.astype(np.float64) @ forced
        since = self.reach.astype(np.float64) @ forced
        late = until[:, None] > room
        early_end = since[:, None] > room[::-1]
        early_at = ((since - forced)[:, None] > room[::-1]) | (early_end & (forced > 0)[:, None])
        return late, early_at, early_end

    @cached_property
    def need(self) -> FloatArray:
        """Memory of each node as a share of each kind's limit, ``(n, X)``; 0 where there is no limit."""
        limit = self.limit_bytes
        size = self.instance.memory_bytes[:, None]
        return np.where(np.isfinite(limit), size / np.where(limit > 0, limit, 1.0), 0.0)

    def steps(self, plan: Plan, start_ms: FloatArray) -> list[Step]:
        """List the steps of a plan by start time.

        Parameters
        ----------
        plan
            A valid plan.
        start_ms
            When each node's step starts, ``(n,)``; equal times are ordered topologically.
        """
        assert plan.piece is not None
        kind_of = {d: k for k, devices in enumerate(self.kinds) for d in devices}
        units: dict[tuple[int, int, int], list[int]] = {}
        for v in range(self.n):
            host = int(plan.piece[v]) < 0
            key = (int(plan.device[v]), int(plan.piece[v]), v if host else -1)
            units.setdefault(key, []).append(v)
        keys = list(units)
        unit = np.zeros(self.n, dtype=np.int64)
        for i, key in enumerate(keys):
            unit[units[key]] = i
        graph = nx.DiGraph()
        graph.add_nodes_from(range(len(keys)))
        edges = unit[self.instance.edges]
        graph.add_edges_from(edges[edges[:, 0] != edges[:, 1]].tolist())
        # The sequence of pieces on one accelerator counts as precedence too.
        by_piece = sorted((key, i) for i, key in enumerate(keys) if key[1] >= 0)
        for (a, i), (b, j) in pairwise(by_piece):
            if a[0] == b[0]:
                graph.add_edge(i, j)
        starts = [float(start_ms[units[key][0]]) for key in keys]
        order = nx.lexicographical_topological_sort(graph, key=lambda i: (starts[i], i))
        return [
            Step(
                kind=kind_of.get(keys[i][0], -1),
                nodes=tuple(units[keys[i]]),
                host=self.hosts.index(keys[i][0]) if keys[i][0] in self.hosts else -1,
                device=keys[i][0],
            )
            for i in order
        ]
