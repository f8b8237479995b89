"""From labels to plans, and small repairs of plans."""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.latency.atoms import LatencyModel
from placer.methods.latency.kernels.arrays import BEST, Labels, Lattice, Slots
from placer.plans.plan import Plan
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["decode", "unload_leaves"]


def decode(model: LatencyModel, lattice: Lattice, slots: Slots, labels: Labels) -> Plan:
    """Read the plan of the best final label.

    With slots by kind each piece gets an accelerator of its own while there are any, then they are reused
    in turn; that is exact for one piece per accelerator and a guess otherwise.
    """
    device = model.parked.copy()
    piece = np.full(model.instance.n, -1, dtype=np.int64)
    names = _slot_devices(model, slots)
    taken = [0] * len(names)
    row = int(labels.counters[BEST])
    steps = []
    while labels.parent[row] >= 0:
        parent = int(labels.parent[row])
        steps.append(
            (lattice.words[labels.state[row]] & ~lattice.words[labels.state[parent]], labels.device[row])
        )
        row = parent
    for words, where in reversed(steps):
        nodes = _members(model, words)
        if where < 0:
            device[nodes] = model.pools[-1 - where]
            continue
        members = names[where]
        device[nodes] = members[taken[where] % len(members)]
        piece[nodes] = taken[where] // len(members)
        taken[where] += 1
    return Plan(device, piece)


def _slot_devices(model: LatencyModel, slots: Slots) -> list[tuple[int, ...]]:
    """Accelerators that each slot stands for."""
    if not slots.serial:
        return list(model.kinds)
    names: list[tuple[int, ...]] = []
    kinds = slots.kind[slots.kind >= 0]
    for s, k in enumerate(kinds):
        nth = s - int(np.searchsorted(kinds, k))
        names.append((model.kinds[k][nth],))
    return names


def _members(model: LatencyModel, words: IntArray) -> IntArray:
    """Original nodes of the atoms in a bit set."""
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")[: model.size]
    return model.nodes[np.isin(model.atoms.atom_of, np.flatnonzero(bits))]


def unload_leaves(model: LatencyModel, plan: Plan) -> Plan:
    """Move leaves whose memory was left out to a host that has room, where a device holds too much.

    First those that cost no time there: what they read is sent anyway, or costs nothing to send.
    """
    instance = model.instance
    device, piece, size = plan.device.copy(), np.asarray(plan.piece).copy(), instance.resident_bytes
    room = np.array([d.memory_limit_bytes for d in instance.devices]) * (1 + MEMORY_TOLERANCE)
    np.subtract.at(room, device, size)
    for d in np.flatnonzero(room < 0).tolist():
        there = [int(v) for v in model.leaves if device[v] == d]
        for v in sorted(there, key=lambda v: (_extra_ms(instance, device, piece, v), -size[v])):
            idle = [
                p
                for p in model.pools
                if instance.allowed[v, p] and _host_ms(instance, v, p) == 0 and size[v] <= room[p]
            ]
            if room[d] < 0 and idle:
                device[v], piece[v] = idle[0], -1
                room[d] += size[v]
                room[idle[0]] -= size[v]
    return Plan(device, piece)


def _host_ms(instance: Instance, v: int, pool: int) -> float:
    return float(instance.class_time_ms[v, instance.device_class[pool]])


def _extra_ms(instance: Instance, device: IntArray, piece: IntArray, v: int) -> float:
    """Transfer time that moving a leaf to a host adds."""
    cost = instance.class_transfer_ms[:, instance.device_class[device[v]]]
    extra = float(cost[v]) if len(instance.successors[v]) else 0.0
    for u in instance.predecessors[v]:
        if all(device[w] == device[u] and piece[w] == piece[u] for w in instance.successors[u]):
            extra += float(cost[u])
    return extra
