"""Evaluation of plans from the instance alone: loads, memory, objective, schedule of one sample.

Imports neither a formulation nor a solver, so that it can contradict them.
Source: the problem statement of Tarnawski et al., NeurIPS 2020, Sections 3 and 4.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.options import Communication, Schedule
from placer.plans.in_flight import InFlight
from placer.plans.plan import Plan, pieces_in_order
from placer.tolerances import MEMORY_TOLERANCE

__all__ = [
    "Deadlock",
    "DeviceLoads",
    "DeviceMemory",
    "LatencySchedule",
    "PieceTimes",
    "device_loads",
    "device_memory",
    "latency_schedule",
    "sending_ms",
    "stage_order",
]


@dataclass(frozen=True, eq=False)
class DeviceLoads:
    """What each device does per sample; row 0 is the forward pass, row 1 the backward pass.

    Parameters
    ----------
    compute_ms, receive_ms, send_ms
        ``(2, D)``; a transfer counts with its producer's direction.
    sync_ms
        The part of the backward ``compute_ms`` that synchronises the weights of replicas, ``(D,)``.
    """

    compute_ms: FloatArray
    receive_ms: FloatArray
    send_ms: FloatArray
    sync_ms: FloatArray

    def by_direction(self, communication: Communication) -> FloatArray:
        """Forward and backward load of each device, ``(2, D)`` in ms."""
        if communication is Communication.OVERLAP:
            return np.maximum(self.compute_ms, self.receive_ms + self.send_ms)
        if communication is Communication.DUPLEX:
            return np.maximum(self.compute_ms, np.maximum(self.receive_ms, self.send_ms))
        return self.compute_ms + self.receive_ms + self.send_ms

    def load_ms(self, communication: Communication) -> FloatArray:
        """Load of each device, both directions together, ``(D,)`` in ms."""
        return np.asarray(self.by_direction(communication).sum(axis=0))

    def objective_ms(self, communication: Communication, schedule: Schedule) -> float:
        """Time per sample: the largest load, or for ``gpipe`` the sum of both directions' largest."""
        load = self.by_direction(communication)
        if schedule is Schedule.GPIPE:
            return float(load[0].max() + load[1].max())
        return float(load.sum(axis=0).max())


def device_loads(
    instance: Instance,
    device: IntArray,
    recompute: Sequence[int] = (),
    replicas: Sequence[Sequence[int]] = (),
) -> DeviceLoads:
    """Compute the loads of all devices under an assignment.

    Parameters
    ----------
    instance
        The instance.
    device
        Device index of each node, ``(n,)``; each node must be able to run on its device.
    recompute
        Devices that run their forward nodes once more in the backward pass.
    replicas
        Groups of devices that share what ``device`` gives to the first of them.

    Returns
    -------
    DeviceLoads
    """
    devices = len(instance.devices)
    classes = instance.device_class
    direction = instance.backward.astype(np.int64)

    compute = np.zeros((2, devices))
    times = instance.class_time_ms[np.arange(instance.n), classes[device]]
    np.add.at(compute, (direction, device), times)
    again = np.array(recompute, dtype=np.int64)
    compute[1, again] += compute[0, again]

    receive, send = np.zeros((2, devices)), np.zeros((2, devices))
    u, w = instance.edges[:, 0], instance.edges[:, 1]
    crosses = device[u] != device[w]
    # One receive per (producer, receiving device), one send per producer, however many consumers.
    pairs = np.unique(np.stack([u[crosses], device[w[crosses]]], axis=1), axis=0)
    producer, receiver = pairs[:, 0], pairs[:, 1]
    # Within a server the device's own link counts, across servers the uplink if that is slower.
    away = instance.server_of[device[producer]] != instance.server_of[receiver]
    cost = instance.class_transfer_ms[producer, classes[receiver]]
    received = np.where(away, instance.across_ms[producer, receiver], cost)
    np.add.at(receive, (direction[producer], receiver), received)
    senders = np.unique(producer)
    np.add.at(send, (direction[senders], device[senders]), sending_ms(instance, device)[senders])
    sync = np.zeros(devices)
    for group in replicas:
        first, members = group[0], list(group)
        for part in (compute, receive, send):
            part[:, members] = part[:, [first]] / len(group)
        sync[members] = _sync_ms(instance, np.flatnonzero(device == first), first, len(group))
    compute[1] += sync
    return DeviceLoads(compute, receive, send, sync)


def sending_ms(instance: Instance, device: IntArray) -> FloatArray:
    """Time that each node's output takes from its device to host memory, or would take, ``(n,)`` in ms.

    The uplink counts where some reader is in another server.
    """
    every = np.arange(instance.n)
    u, w = instance.edges[:, 0], instance.edges[:, 1]
    away = u[instance.server_of[device[u]] != instance.server_of[device[w]]]
    own = instance.class_transfer_ms[every, instance.device_class[device]]
    return np.where(np.isin(every, away), instance.across_ms[every, device], own)


def _sync_ms(instance: Instance, nodes: IntArray, device: int, replicas: int) -> float:
    """Time per sample of the ring all-reduce over the gradients of a stage's weights, in ms.

    Each replica sends and receives ``2 (r - 1) / r`` of their bytes per optimizer step.  Weights that no
    backward node is colocated with have no gradients.
    """
    bandwidth = instance.classes[int(instance.device_class[device])].link.bandwidth_bytes_per_s
    if bandwidth is None or replicas == 1:
        return 0.0
    trained = {instance.colocate[v] for v in np.flatnonzero(instance.backward)} - {None}
    size = sum(
        float(instance.weight_bytes[v])
        for v in nodes.tolist()
        if instance.backward[v] or instance.colocate[v] in trained
    )
    return 2e3 * (replicas - 1) / replicas * size / bandwidth / instance.training.microbatches


@dataclass(frozen=True, eq=False)
class DeviceMemory:
    """What devices hold at their peak.

    Parameters
    ----------
    resident_bytes
        Whatever is in flight, ``(D,)``.
    activation_bytes
        The rest of the peak: what microbatches in flight keep, ``(D,)``.
    in_flight
        Microbatches in flight at the peak, ``(D,)``; 0 where there are no nodes.
    """

    resident_bytes: FloatArray
    activation_bytes: FloatArray
    in_flight: IntArray

    @property
    def total_bytes(self) -> FloatArray:
        """Peak, ``(D,)``."""
        return self.resident_bytes + self.activation_bytes


def device_memory(
    instance: Instance, plan: Plan, flights: InFlight, stages: Sequence[int] | None
) -> DeviceMemory:
    """Compute the peak memory of all devices.

    A stage keeps the activations of its microbatches in flight; one that recomputes keeps those of one
    microbatch, and for each in flight the outputs that it received in the forward pass (as far as their
    size is known: producers with ``output_bytes``).

    Parameters
    ----------
    instance, plan
        A plan with supported devices.
    flights
        How many microbatches are in flight.
    stages
        The devices that hold nodes, in pipeline order; None counts the fewest in flight everywhere.
    """
    held, forward = _sums(instance, plan)
    count = np.where(np.bincount(plan.device, minlength=len(held)) > 0, flights.at(1), 0)
    for s, d in enumerate(reversed(stages or ()), start=1):
        count[d] = flights.at(s)
    activation = count * held
    for d in plan.recompute:
        activation[d] = min(1, count[d]) * held[d] + count[d] * forward[d]
    resident = np.zeros(len(held))
    np.add.at(resident, plan.device, instance.resident_bytes)
    for group in plan.replicas:
        for part in (resident, activation, count):
            part[list(group)] = part[group[0]]
    return DeviceMemory(resident, activation, count)


def _sums(instance: Instance, plan: Plan) -> tuple[FloatArray, FloatArray]:
    """Activations per microbatch of each device, and what it receives in the forward pass, ``(D,)`` bytes."""
    held, received = np.zeros(len(instance.devices)), np.zeros(len(instance.devices))
    np.add.at(held, plan.device, instance.activation_bytes)
    u, w = plan.device[instance.forward_edges].T
    crossing = np.stack([instance.forward_edges[:, 0], w], axis=1)[u != w]
    for producer, d in _distinct(crossing):
        received[d] += np.nan_to_num(instance.output_bytes[producer])
    return held, received


def _distinct(pairs: IntArray) -> list[tuple[int, int]]:
    """Return each pair of numbers once, in lexicographic order."""
    base = int(pairs.max(initial=0)) + 1
    return [divmod(code, base) for code in np.unique(pairs[:, 0] * base + pairs[:, 1]).tolist()]


def stage_order(instance: Instance, plan: Plan, flights: InFlight) -> tuple[int, ...] | None:
    """Order the devices that hold nodes as a pipeline whose memory limits hold, if there is such an order.

    The order keeps ``order_edges`` and ``rank_edges``.  Filled from the front: of the devices whose
    predecessors are placed, the one that can do with the most microbatches in flight comes next.  (Lawler,
    1973, on one machine with deadlines and precedence, read backwards: if any order holds, this one does.)

    Returns
    -------
    tuple of int or None
        Devices in pipeline order, also where no order meets the limits; None where data go in a circle.
    """
    used = set(plan.device.tolist())
    edges = np.concatenate([plan.device[instance.order_edges], instance.rank_edges])
    after: dict[int, list[int]] = {d: [] for d in used}
    missing = dict.fromkeys(used, 0)
    for a, b in _distinct(edges):
        if a != b and a in used and b in used:
            after[a].append(b)
            missing[b] += 1
    room = _most_in_flight(instance, plan, flights)
    ready = [(-room[d], d) for d in used if not missing[d]]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, d = heapq.heappop(ready)
        order.append(d)
        for b in after[d]:
            missing[b] -= 1
            if not missing[b]:
                heapq.heappush(ready, (-room[b], b))
    return tuple(order) if len(order) == len(used) else None


def _most_in_flight(instance: Instance, plan: Plan, flights: InFlight) -> list[float]:
    """How many microbatches each device can keep, at most what is ever asked for, ``(D,)``."""
    held, received = _sums(instance, plan)
    free = np.array([d.memory_limit_bytes for d in instance.devices]) * (1 + MEMORY_TOLERANCE)
    np.subtract.at(free, plan.device, instance.resident_bytes)
    again = list(plan.recompute)
    free[again] -= held[again]
    held[again] = received[again]
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.floor(free / held)
    most: list[float] = np.where(held * flights.most <= free, flights.most, count).tolist()
    return most


@dataclass(frozen=True, eq=False)
class PieceTimes:
    """One piece of a latency plan: what it does, in ms."""

    device: int
    order: int
    nodes: IntArray
    receive_ms: float
    compute_ms: float
    send_ms: float
    start_ms: float
    finish_ms: float


@dataclass(frozen=True, eq=False)
class LatencySchedule:
    """The execution of one sample.

    Parameters
    ----------
    available_ms
        When the output of each node exists in host memory, ``(n,)``.
    pieces
        The accelerator pieces in execution order per device.
    makespan_ms
        When the last node is available.
    """

    available_ms: FloatArray
    pieces: tuple[PieceTimes, ...]
    makespan_ms: float


class Deadlock(Exception):  # noqa: N818  (a property of the plan, not a failure)
    """Pieces or host nodes that wait for each other, so that none can start."""

    def __init__(self, nodes: list[str]) -> None:
        self.nodes = nodes
        super().__init__(", ".join(nodes))


def latency_schedule(instance: Instance, plan: Plan) -> LatencySchedule:
    """Run one sample through a latency plan.

    A piece starts when all its inputs exist in host memory and the previous piece of its accelerator
    has finished; then it receives, computes and sends, strictly in sequence.  A host node starts when
    its inputs exist.

    Raises
    ------
    Deadlock
        When pieces wait for each other.
    """
    if plan.piece is None:
        raise ValueError("a latency plan needs pieces")
    return _scheduled(instance, plan)


@lru_cache(maxsize=4)  # verification, objective and reports ask for the same plan in turn
def _scheduled(instance: Instance, plan: Plan) -> LatencySchedule:
    pieces = pieces_in_order(plan)
    unit = np.full(instance.n, -1, dtype=np.int64)
    for k, (_, _, nodes) in enumerate(pieces):
        unit[nodes] = k
    on_host = np.flatnonzero(unit < 0)
    unit[on_host] = len(pieces) + np.arange(len(on_host))
    units = len(pieces) + len(on_host)

    # Units (pieces and host nodes) wait for producers and for the previous piece of their accelerator.
    reads = unit[instance.edges]
    follows = [(k, k + 1) for k, (a, b) in enumerate(pairwise(pieces)) if a[0] == b[0]]
    waits = np.concatenate(
        [reads[reads[:, 0] != reads[:, 1]], np.array(follows, dtype=np.int64).reshape(-1, 2)]
    )
    after: list[list[int]] = [[] for _ in range(units)]
    before: list[list[int]] = [[] for _ in range(units)]
    for a, b in (divmod(key, units) for key in np.unique(waits[:, 0] * units + waits[:, 1]).tolist()):
        after[a].append(b)
        before[b].append(a)

    parts = [_piece_parts(instance, plan, nodes) for _, _, nodes in pieces]
    host_times = instance.class_time_ms[on_host, instance.device_class[plan.device[on_host]]]
    duration = [sum(p) for p in parts] + host_times.tolist()

    start, finish = [0.0] * units, [0.0] * units
    missing = [len(b) for b in before]
    ready = [k for k in range(units) if not missing[k]]
    done = 0
    while ready:
        k = ready.pop()
        done += 1
        start[k] = max((finish[b] for b in before[k]), default=0.0)
        finish[k] = start[k] + duration[k]
        for a in after[k]:
            missing[a] -= 1
            if not missing[a]:
                ready.append(a)
    if done < units:
        stuck = np.array(missing)[unit] > 0
        raise Deadlock([instance.ids[v] for v in np.flatnonzero(stuck)])

    times = tuple(
        PieceTimes(d, q, nodes, *parts[k], start_ms=start[k], finish_ms=finish[k])
        for k, (d, q, nodes) in enumerate(pieces)
    )
    available = np.array(finish)[unit]
    return LatencySchedule(available, times, float(available.max()))


def _piece_parts(instance: Instance, plan: Plan, nodes: IntArray) -> tuple[float, float, float]:
    """Receive, compute and send time of one piece."""
    c = instance.device_class[plan.device[nodes[0]]]
    inside = np.zeros(instance.n, dtype=bool)
    inside[nodes] = True
    u, w = instance.edges[:, 0], instance.edges[:, 1]
    received = np.unique(u[~inside[u] & inside[w]])
    sent = np.unique(u[inside[u] & ~inside[w]])
    cost = instance.class_transfer_ms[:, c]
    return (
        float(cost[received].sum()),
        float(instance.class_time_ms[nodes, c].sum()),
        float(cost[sent].sum()),
    )
