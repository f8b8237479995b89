"""Capacity programs: what all devices of a kind can do and hold together, whatever lies on which of them.

Groups g of n_g items that are alike, kinds k of c_k devices with memory M_k. An item takes p_gk (forward and
backward by themselves under ``gpipe``) and m_g of memory, the share s_gk = m_g / M_k of a device.
Variables: y_gk ∈ {0..n_g}, how many items of group g lie on devices of kind k. In both programs:

    Σ_k y_gk = n_g                     for every group g
    Σ_g f(s_gk) y_gk <= c_k            for every kind k with a limit, and several f

A device holds at least one microbatch of its items. For f(s) = s the rows are sums of memory limits. Dual
feasible functions, Σ_i f(s_i) <= 1 wherever Σ_i s_i <= 1, are valid as well: f_j(s) = floor((j + 1) s) / j,
but s where (j + 1) s is whole (any smaller value will do), says that j items larger than M_k / (j + 1) fill
a device. Rules on nodes, devices and order only leave fewer plans.

Throughput, with T the largest load (F and B in each direction under ``gpipe``, T = F + B):

    minimise    T
    subject to  Σ_g p_gk y_gk <= c_k T      for every kind k
                Σ_k p_gk y_gk <= n_g T      for every group g

A load is at least the processing time of what lies there (every communication model; transfers,
recomputation, synchronisation and uplinks add to it), and a device takes no less than an item alone.

Latency, every item by itself (n_c = 1). e_v is at most the time at which node v can be done, Z the makespan;
r_uw and s_uw are what crossing an edge costs at least:

    minimise    Z
    subject to  e_w >= e_u + Σ_k p_wk y_ck + r_uw + s_uw    for every edge (u, w), c the item of w
                r_uw >= t_uk (y_ck - y_bk)                  for every edge and kind of accelerators,
                s_uw >= t_uk (y_bk - y_ck)                  b the item of u, t_uk the transfer of its output
                Z    >= e_v,  e_v >= Σ_k p_vk y_ck          for every node v of item c
                Σ_v p_vk y_ck <= c_k Z                      for every kind k of accelerators

Along a path, nodes that share a piece are processed one after another, and a piece starts when what it
receives is there and finishes when it has sent; so the times of its nodes on the path, of one receive where
the path comes in and of one send where it leaves follow each other. An edge inside a kind may lie inside a
piece. A device runs its pieces one after another.

Source: Fekete and Schepers, "New classes of fast lower bounds for bin packing problems", 2001 (f_j).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from formulations.bulk import Linear, ProgramBuilder
from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Capacity", "CapacityProgram", "Course", "latency", "packings", "throughput"]

PACKINGS = 8
"""Functions f_j per kind at most, those that look at the largest items."""
SMALLEST = 1 / 32
"""Share of items that are looked at: of smaller ones, whole items say little more than parts."""
BELOW = 1 - 1e-12
"""Keeps what is rounded up to a whole number from counting as one more."""


@dataclass(frozen=True, eq=False)
class Capacity:
    """N items (or groups of items that are alike) and K kinds of devices.

    Parameters
    ----------
    time_ms
        Forward and backward, ``(2, N, K)``; inf where an item may not go.
    share
        Memory of an item as a share of the limit of a device, ``(N, K)``; 0 without a limit.
    items
        Items in each group, ``(N,)``.
    devices
        Devices of each kind, ``(K,)``.
    """

    time_ms: FloatArray
    share: FloatArray
    items: IntArray
    devices: IntArray

    @property
    def may(self) -> BoolArray:
        """Whether an item may go to a kind, ``(N, K)``."""
        return np.asarray(np.isfinite(self.time_ms).all(axis=0))

    @cached_property
    def groups(self) -> IntArray:
        """Group 0..G-1 of each item: equal for items that are alike, ``(N,)``."""
        rows = np.concatenate([*self.time_ms, self.share], axis=1)
        return np.unique(rows, axis=0, return_inverse=True)[1].ravel()

    def grouped(self) -> Capacity:
        """Put items that are alike into one group."""
        first = np.unique(self.groups, return_index=True)[1]
        items = np.bincount(self.groups, weights=self.items).astype(np.int64)
        return Capacity(self.time_ms[:, first], self.share[first], items, self.devices)


@dataclass(frozen=True, eq=False)
class Course:
    """How one sample runs through the graph; n nodes.

    Parameters
    ----------
    item
        Item of each node, ``(n,)``.
    time_ms
        Of each node on each kind, ``(n, K)``; anything where its item may not go.
    edges
        ``(m, 2)``.
    transfer_ms
        Of the output of each node between a kind and host memory, ``(n, K)``.
    accelerators
        Which kinds are, ``(K,)``.
    """

    item: IntArray
    time_ms: FloatArray
    edges: IntArray
    transfer_ms: FloatArray
    accelerators: BoolArray


@dataclass(frozen=True, eq=False)
class CapacityProgram:
    """A program, and which of its rows limit memory."""

    program: Program
    memory: slice


def throughput(capacity: Capacity, unit_ms: float, *, gpipe: bool) -> CapacityProgram:
    """Build the program of throughput; its objective is the time per sample in units of ``unit_ms``."""
    builder = ProgramBuilder()
    y, memory = _lying(builder, capacity)
    time = np.where(capacity.may, capacity.time_ms, 0.0) / unit_ms
    # More than any plan takes: every item where it is slowest, one after the other.
    longest = 1.0 + float((time.sum(axis=0).max(axis=1, initial=0.0) * capacity.items).sum())
    objective = builder.columns((1,), 0.0, longest)
    if gpipe:
        ways = builder.columns((2, 1), 0.0, longest)
        builder.add(objective >= ways.sum(0))
    for way in (0, 1) if gpipe else (2,):
        load, spent = (ways[way], time[way]) if gpipe else (objective, time.sum(axis=0))
        builder.add((y * spent).sum(0) <= load * capacity.devices)
        builder.add((y * spent).sum(1) <= load * capacity.items)
    return CapacityProgram(builder.build(objective), memory)


def latency(capacity: Capacity, course: Course, unit_ms: float) -> CapacityProgram:
    """Build the program of latency; its objective is the makespan in units of ``unit_ms``."""
    builder = ProgramBuilder()
    y, memory = _lying(builder, capacity)
    on = y[course.item]
    time = np.where(capacity.may[course.item], course.time_ms, 0.0) / unit_ms
    transfer = course.transfer_ms / unit_ms
    longest = 1.0 + float(time.max(axis=1, initial=0.0).sum() + 2.0 * transfer.max(axis=1, initial=0.0).sum())
    objective = builder.columns((1,), 0.0, longest)
    done = builder.columns((len(time),), 0.0, longest)
    source, target = course.edges.T
    later = done[target] - done[source] - (on[target] * time[target]).sum(1)
    for way in _crossings(builder, on, transfer, course):
        later = later - way
    builder.add(later >= 0)
    builder.add(done >= (on * time).sum(1))
    builder.add(objective >= done)
    busy = np.flatnonzero(course.accelerators)
    if len(busy):
        builder.add((on[:, busy] * time[:, busy]).sum(0) <= objective * capacity.devices[busy])
    return CapacityProgram(builder.build(objective), memory)


def _crossings(
    builder: ProgramBuilder, on: Linear, transfer: FloatArray, course: Course
) -> tuple[Linear, Linear]:
    """Columns of what each edge costs to receive and to send, ``(m,)`` each."""
    source, target = course.edges.T
    busy = np.flatnonzero(course.accelerators)
    cost = transfer[source][:, busy]
    apart = course.item[source] != course.item[target]
    most = np.where(apart, cost.max(axis=1, initial=0.0), 0.0)
    receive, send = (builder.columns((len(source),), 0.0, most) for _ in range(2))
    rows = np.flatnonzero(most > 0)
    for k, at in enumerate(busy.tolist()):
        into = on[target[rows], at] - on[source[rows], at]
        builder.add(receive[rows] >= into * cost[rows, k])
        builder.add(send[rows] >= into * -cost[rows, k])
    return receive, send


def _lying(builder: ProgramBuilder, capacity: Capacity) -> tuple[Linear, slice]:
    """Columns of what lies where, ``(N, K)``, and the rows of both programs; which of them limit memory."""
    most = np.where(capacity.may, capacity.items[:, None], 0)
    y = builder.columns(most.shape, 0.0, most, integer=True)
    builder.add(y.sum(1) == capacity.items)
    alike, group = capacity.grouped(), capacity.groups
    count, share = y, capacity.share
    if len(alike.items) < len(group):  # how many of a group is what matters: branch on that
        share = alike.share
        count = builder.columns(share.shape, 0.0, alike.items[:, None], integer=True)
        for g in range(len(alike.items)):
            builder.add(y[group == g].sum(0) == count[g])
    before = builder.height
    for k in np.flatnonzero(share.any(axis=0)).tolist():
        for packing in packings(share[:, k]):
            builder.add((count[:, k] * packing).sum(0) <= float(capacity.devices[k]))
    return y, slice(before, builder.height)


def packings(share: FloatArray) -> list[FloatArray]:
    """Return the shares, ``(N,)``, and what the functions f_j make of them."""
    large = share[(share >= SMALLEST) & (share <= 1)]
    filled = np.unique(np.maximum(np.floor(BELOW / large), 1)).astype(np.int64)[:PACKINGS]
    return [share, *(np.floor((j + 1) * share * BELOW) / j for j in filled.tolist())]
