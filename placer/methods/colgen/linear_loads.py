"""Loads of a set of items as maxima of linear functions, the form in which sets are priced.

Under every communication model the load of a device is the largest of a few *facets*, each linear in
what the device holds and which nets it splits: compute + transfers (sequential); compute, or transfers
(overlap); compute, sends, or receives (duplex).  Forward and backward loads add up, so a facet of the
sum is a pair of facets.  For ``gpipe`` the sum of both loads of any one device is a lower bound on the
sum of the two maxima, so the same facets give valid bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.interchangeable import interchangeable
from placer.options import Communication, Schedule
from placer.reductions.problem import Problem, merge_nets

__all__ = ["DeviceType", "Hypernets", "Loads", "build_loads"]

PARTS: dict[Communication, tuple[tuple[int, int, int], ...]] = {
    Communication.SEQUENTIAL: ((1, 1, 1),),
    Communication.OVERLAP: ((1, 0, 0), (0, 1, 1)),
    Communication.DUPLEX: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
"""Facets of one direction as coefficients of (compute, receive, send)."""


@dataclass(frozen=True, eq=False)
class Hypernets:
    """Nets with equal item sets (and producers, where sends and receives differ) as one.

    Parameters
    ----------
    items, start
        Hypernet h holds ``items[start[h] : start[h + 1]]``, its producer first.
    cost_ms
        Forward and backward transfer time on each class, ``(2, H, C)``.
    """

    items: IntArray
    start: IntArray
    cost_ms: FloatArray

    @property
    def count(self) -> int:
        """Number of hypernets H."""
        return len(self.start) - 1

    def members(self, h: int) -> IntArray:
        """Items of hypernet h, the producer first."""
        return self.items[self.start[h] : self.start[h + 1]]


@dataclass(frozen=True, eq=False)
class DeviceType:
    """Devices that are interchangeable: one class, and the same items allowed.

    Parameters
    ----------
    devices
        Their indices.
    cls
        Index of their class.
    allowed
        Items that may go there, ``(N,)``.
    is_host
        Whether they are hosts.
    memory_limit_bytes
        Per device; inf for none.
    """

    devices: IntArray
    cls: int
    allowed: BoolArray
    is_host: bool
    memory_limit_bytes: float

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.devices)


@dataclass(frozen=True, eq=False)
class Loads:
    """What devices pay, by type of device.

    Parameters
    ----------
    problem
        The items and nets.
    communication, schedule
        The model.
    nets
        The hypernets.
    types
        The device types.
    facets
        Coefficients ``(F, 2, 3)`` of forward and backward (compute, receive, send).
    """

    problem: Problem
    communication: Communication
    schedule: Schedule
    nets: Hypernets
    types: tuple[DeviceType, ...]
    facets: FloatArray

    def item_weight(self, t: int, mix: FloatArray) -> FloatArray:
        """Return the weight of each item on type t under a mix of facets ``(F,)``, ``(N,)`` in ms."""
        compute = np.tensordot(mix, self.facets[:, :, 0], axes=1)
        time = np.where(self.types[t].allowed, self.problem.time_ms[:, :, self.types[t].cls], 0.0)
        return np.asarray(compute @ time)

    def net_weight(self, t: int, mix: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the weight of receiving and of sending each hypernet on type t, ``(H,)`` in ms."""
        cost = self.nets.cost_ms[:, :, self.types[t].cls]
        receive, send = (np.tensordot(mix, self.facets[:, :, p], axes=1) @ cost for p in (1, 2))
        return receive, send

    def by_direction(self, t: int, inside: BoolArray) -> FloatArray:
        """Forward and backward load of each set on type t: ``inside`` is ``(S, N)``, result ``(2, S)``."""
        cls = self.types[t].cls
        time = np.where(self.types[t].allowed, self.problem.time_ms[:, :, cls], np.inf)
        finite = np.where(np.isfinite(time), time, 0.0)
        compute = finite @ inside.T
        compute[:, (inside & ~self.types[t].allowed).any(axis=1)] = np.inf
        count = np.add.reduceat(inside[:, self.nets.items], self.nets.start[:-1], axis=1, dtype=np.int64)
        split = (count > 0) & (count < np.diff(self.nets.start))
        sends = inside[:, self.nets.items[self.nets.start[:-1]]]
        cost = self.nets.cost_ms[:, :, cls]
        receive, send = cost @ (split & ~sends).T, cost @ (split & sends).T
        if self.communication is Communication.OVERLAP:
            return np.asarray(np.maximum(compute, receive + send))
        if self.communication is Communication.DUPLEX:
            return np.asarray(np.maximum(compute, np.maximum(receive, send)))
        return np.asarray(compute + receive + send)

    def load_ms(self, t: int, inside: BoolArray) -> FloatArray:
        """Load of each set, both directions together, ``(S,)``."""
        return np.asarray(self.by_direction(t, inside).sum(axis=0))

    def memory_bytes(self, inside: BoolArray) -> FloatArray:
        """Memory of each set, ``(S,)``."""
        return np.asarray(inside @ self.problem.memory_bytes)

    def objective_ms(self, device: IntArray) -> float:
        """Objective of an assignment of items to devices, ``(N,)``; inf where it breaks a rule."""
        loads = np.zeros((2, 0))
        for t, kind in enumerate(self.types):
            inside = device[None, :] == kind.devices[:, None]
            if (self.memory_bytes(inside) > kind.memory_limit_bytes).any():
                return float("inf")
            loads = np.concatenate([loads, self.by_direction(t, inside)], axis=1)
        if self.schedule is Schedule.GPIPE:
            return float(loads[0].max() + loads[1].max())
        return float(loads.sum(axis=0).max())


def build_loads(problem: Problem, communication: Communication, schedule: Schedule) -> Loads:
    """Collect hypernets, device types and facets of a problem."""
    parts = np.array(PARTS[communication], dtype=np.float64)
    forward_only = not problem.time_ms[1][np.isfinite(problem.time_ms[1])].any() and not (
        problem.nets and problem.net_cost_ms[problem.net_backward].any()
    )
    if forward_only:
        facets = np.zeros((len(parts), 2, 3))
        facets[:, 0] = parts
    else:
        facets = np.array([np.stack(pair) for pair in product(parts, parts)])
    return Loads(
        problem=problem,
        communication=communication,
        schedule=schedule,
        nets=_hypernets(problem, keep_producers=communication is Communication.DUPLEX),
        types=_device_types(problem),
        facets=facets,
    )


def _hypernets(problem: Problem, *, keep_producers: bool) -> Hypernets:
    classes = problem.net_cost_ms.shape[1]
    costs = np.zeros((problem.nets, 2, classes))
    costs[np.arange(problem.nets), problem.net_backward.astype(np.int64)] = problem.net_cost_ms
    every = ((False, problem.net(e).tolist(), costs[e].ravel()) for e in range(problem.nets))
    nets = merge_nets(every, 2 * classes, keep_producers=keep_producers)
    cost_ms = nets.costs.reshape(-1, 2, classes).transpose(1, 0, 2).copy()
    return Hypernets(items=nets.items, start=nets.start, cost_ms=cost_ms)


def _device_types(problem: Problem) -> tuple[DeviceType, ...]:
    devices = problem.instance.devices
    return tuple(
        DeviceType(
            devices=np.array(members, dtype=np.int64),
            cls=devices[members[0]].class_index,
            allowed=problem.allowed[:, members[0]],
            is_host=devices[members[0]].is_host,
            memory_limit_bytes=devices[members[0]].memory_limit_bytes,
        )
        for members in interchangeable(devices, problem.allowed)
    )
