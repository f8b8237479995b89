"""Evaluation of plans from the instance alone: loads, memory, objective, order of the stages.

Imports neither a formulation nor a solver, so that it can contradict them.
Source: the problem statement of Tarnawski et al., NeurIPS 2020, Sections 3 and 4.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placer.arrays import FloatArray, IntArray, distinct
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.options import Communication, Schedule
from placer.plans.in_flight import InFlight
from placer.plans.interleaved import states_in_flight
from placer.plans.plan import Plan, Team
from placer.tolerances import MEMORY_TOLERANCE

__all__ = [
    "DeviceLoads",
    "DeviceMemory",
    "device_loads",
    "device_memory",
    "plan_loads",
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
    teams: Sequence[Team] = (),
    again: Sequence[int] = (),
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
    teams
        Devices that share what ``device`` gives to the first of them.
    again
        Single nodes that run once more in the backward pass.

    Returns
    -------
    DeviceLoads
    """
    devices = len(instance.devices)
    classes = instance.device_class
    direction = instance.backward.astype(np.int64)

    compute = np.zeros((2, devices))
    times = instance.class_time_ms[np.arange(instance.n), classes[device]]
    for team in teams:
        here = device == team.devices[0]
        times[here] = instance.compute_ms(_class(instance, team), team.mode)[here]
    np.add.at(compute, (direction, device), times)
    compute[1, list(recompute)] += compute[0, list(recompute)]
    repeated = [v for v in again if not instance.backward[v]]
    np.add.at(compute[1], device[repeated], times[repeated])
    receive, send = _transfers(instance, device, teams)
    sync = np.zeros(devices)
    for team in teams:
        first, members = team.devices[0], list(team.devices)
        for part in (compute, receive, send):
            part[:, members] = part[:, [first]]
        sync[members] = _sync_ms(instance, np.flatnonzero(device == first), team)
    compute[1] += sync
    np.add.at(sync, device, instance.class_sync_ms[np.arange(instance.n), classes[device]])
    return DeviceLoads(compute, receive, send, sync)


def _transfers(instance: Instance, device: IntArray, teams: Sequence[Team]) -> tuple[FloatArray, FloatArray]:
    """Return what devices receive and send, ``(2, D)`` in ms each."""
    classes, direction = instance.device_class, instance.backward.astype(np.int64)
    shape = (2, len(instance.devices))
    receive, send = np.zeros(shape), np.zeros(shape)
    u, w = instance.edges[:, 0], instance.edges[:, 1]
    crosses = device[u] != device[w]
    # One receive per (producer, receiving device), one send per producer, however many consumers.
    pairs = distinct(np.stack([u[crosses], device[w[crosses]]], axis=1))
    producer, receiver = pairs[:, 0], pairs[:, 1]
    # Within a server the device's own link counts, across servers the uplink if that is slower.
    away = instance.server_of[device[producer]] != instance.server_of[receiver]
    cost = instance.class_transfer_ms[producer, classes[receiver]]
    received = np.where(away, instance.across_ms[producer, receiver], cost)
    for team in teams:
        here = receiver == team.devices[0]
        own, far = _moving_ms(instance, team)
        received[here] = np.where(away, far[producer], own[producer])[here]
    np.add.at(receive, (direction[producer], receiver), received)
    senders = distinct(producer)
    np.add.at(send, (direction[senders], device[senders]), sending_ms(instance, device, teams)[senders])
    return receive, send


def plan_loads(instance: Instance, plan: Plan) -> DeviceLoads:
    """Compute the loads of all devices under a plan, with its teams and what it computes again."""
    return device_loads(instance, plan.device, plan.recompute, plan.teams, plan.again)


def _class(instance: Instance, team: Team) -> DeviceClass:
    return instance.classes[int(instance.device_class[team.devices[0]])]


def _moving_ms(instance: Instance, team: Team) -> tuple[FloatArray, FloatArray]:
    """Transfer time of each node's output for each device of a team: within its server, and to others."""
    own = instance.moving_ms(_class(instance, team).link, team.mode)
    server = instance.devices[team.devices[0]].server
    if server is None:
        return own, own
    return own, np.maximum(own, instance.moving_ms(instance.servers[server].uplink, team.mode))


def sending_ms(instance: Instance, device: IntArray, teams: Sequence[Team] = ()) -> FloatArray:
    """Time that each node's output takes from its device to host memory, or would take, ``(n,)`` in ms.

    The uplink counts where some reader is in another server.
    """
    every = np.arange(instance.n)
    u, w = instance.edges[:, 0], instance.edges[:, 1]
    away = u[instance.server_of[device[u]] != instance.server_of[device[w]]]
    own = instance.class_transfer_ms[every, instance.device_class[device]]
    far = instance.across_ms[every, device]
    for team in teams:
        here = device == team.devices[0]
        own[here], far[here] = (cost[here] for cost in _moving_ms(instance, team))
    return np.where(np.isin(every, away), far, own)


def _sync_ms(instance: Instance, nodes: IntArray, team: Team) -> float:
    """Time per sample of the ring all-reduce over the gradients of a stage's weights, in ms.

    Each replica sends and receives ``2 (r - 1) / r`` of their bytes per optimizer step.  Weights that no
    backward node is colocated with have no gradients.
    """
    bandwidth, replicas = _class(instance, team).peers.bandwidth_bytes_per_s, team.mode.replicas
    if bandwidth is None or replicas == 1:
        return 0.0
    split = instance.split(team.shards)
    weights = instance.weight_bytes if split is None else split.weight_bytes
    trained = {instance.colocate[v] for v in np.flatnonzero(instance.backward)} - {None}
    size = sum(
        float(weights[v]) for v in nodes.tolist() if instance.backward[v] or instance.colocate[v] in trained
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

    A stage (a virtual one by itself) keeps the activations of its microbatches in flight.  Of nodes that are
    computed again it keeps those of one microbatch, and for each in flight the outputs that they read and
    that are not computed again there (as far as their size is known: producers with ``output_bytes``).

    Parameters
    ----------
    instance, plan
        A plan with supported devices.
    flights
        How many microbatches are in flight.
    stages
        The devices that hold nodes, in pipeline order; None counts the fewest in flight everywhere.
    """
    resident, each, once = _sums(instance, plan)
    if flights.virtual_stages > 1:
        return DeviceMemory(resident, *_virtual_stages_hold(instance, plan, flights, stages or ()))
    count = np.where(np.bincount(plan.device, minlength=len(each)) > 0, flights.at(1), 0)
    for s, d in enumerate(reversed(stages or ()), start=1):
        count[d] = flights.at(s)
    activation = count * each + np.minimum(1, count) * once
    for team in plan.teams:
        for part in (resident, activation, count):
            part[list(team.devices)] = part[team.devices[0]]
    return DeviceMemory(resident, activation, count)


def _virtual_stages_hold(
    instance: Instance, plan: Plan, flights: InFlight, stages: Sequence[int]
) -> tuple[FloatArray, IntArray]:
    """Peak of the activations of each device, ``(D,)`` bytes, and most of single virtual stages in flight."""
    assert plan.chunk is not None
    shape, chunks = (len(instance.devices), flights.virtual_stages), flights.virtual_stages
    held, received = np.zeros(shape), np.zeros(shape)
    np.add.at(held, (plan.device, plan.chunk), instance.activation_bytes)
    at = plan.device * chunks + plan.chunk
    u, w = instance.forward_edges.T
    for producer, place in distinct(np.stack([u, at[w]], axis=1)[at[u] != at[w]]).tolist():
        received[divmod(place, chunks)] += np.nan_to_num(instance.output_bytes[producer])
    peak, count = np.zeros(shape[0]), np.zeros(shape[0], dtype=np.int64)
    for rank, d in enumerate(stages):
        states = states_in_flight(rank, len(stages), chunks, flights.most)
        again = d in plan.recompute
        peak[d] = states.peak(received[d], held[d]) if again else states.peak(held[d])
        count[d] = states.most if (plan.device == d).any() else 0
    return peak, count


def _sums(instance: Instance, plan: Plan) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sum up what each device keeps, ``(D,)`` bytes: whatever is in flight, per microbatch, and for one only.

    The last are activations that are computed again.  What these nodes read is kept per microbatch, unless it
    is computed again as well, each output by every device of a team as a whole.
    """
    resident, each, once = (np.zeros(len(instance.devices)) for _ in range(3))
    nodes, classes = np.arange(instance.n), instance.device_class[plan.device]
    kept, activation = (bytes_[nodes, classes] for bytes_ in instance.class_kept_bytes)
    for team in plan.teams:
        here = plan.device == team.devices[0]
        kept[here], activation[here] = (some[here] for some in instance.kept_bytes(team.mode))
    again = plan.computed_again
    np.add.at(resident, plan.device, kept)
    np.add.at(each, plan.device, np.where(again, 0.0, activation))
    np.add.at(once, plan.device, np.where(again, activation, 0.0))
    u, w = instance.forward_edges.T
    read = again[w] & ~(again[u] & (plan.device[u] == plan.device[w]))
    for producer, d in distinct(np.stack([u, plan.device[w]], axis=1)[read]).tolist():
        each[d] += np.nan_to_num(instance.output_bytes[producer])
    return resident, each, once


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
    for a, b in distinct(edges).tolist():
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
    resident, each, once = _sums(instance, plan)
    free = np.array([d.memory_limit_bytes for d in instance.devices]) * (1 + MEMORY_TOLERANCE) - resident
    free -= once
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.floor(free / each)
    most: list[float] = np.where(each * flights.most <= free, flights.most, count).tolist()
    return most
