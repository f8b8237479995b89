"""Plans made in an instant, to show that a rule costs something: no solver, nothing proven.

Each function yields plans that may break rules; who uses them verifies them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from placer.arrays import FloatArray, IntArray, distinct
from placer.instance.graphs import components, strong_components, topological_order
from placer.instance.instance import Instance
from placer.instance.order import topological_position
from placer.options import Options
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.tolerances import EQUAL

__all__ = ["chopped", "filled", "packed", "retied", "spread", "untied"]

TARGETS, STEP = 36, 1.04
"""Loads at which a chain is chopped: so many, each larger by this factor, from the ideal one."""


def untied(instance: Instance) -> Instance | None:
    """Return the instance with groups split where only a shared weight holds them together.

    What remains together are nodes joined by edges within the group, and backward nodes with the forward
    nodes that their ids begin with.  Every part keeps as much memory as the largest node of the group, so
    that a copy of the weight has its room.  None when nothing can be split.
    """
    colocate = list(instance.colocate)
    memory, weights = instance.memory_bytes.copy(), instance.weight_bytes.copy()
    owner = np.arange(instance.n)
    for nodes in instance.groups.values():
        owner[nodes] = nodes[0]
    u, w = owner[instance.forward_edges].T
    joined = components(instance.n, instance.forward_edges[u == w])
    split = False
    for group, nodes in instance.groups.items():
        forward = nodes[~instance.backward[nodes]]
        parts, part = np.unique(joined[forward], return_inverse=True)
        part_of = dict(zip(forward.tolist(), part.tolist(), strict=True))
        for v in nodes[instance.backward[nodes]].tolist():
            kin = [u for u in forward.tolist() if instance.ids[v].startswith(instance.ids[u])]
            if not kin:
                return None
            part_of[v] = part_of[max(kin, key=lambda u: len(instance.ids[u]))]
        if len(parts) < 2:
            continue
        split = True
        for v, k in part_of.items():
            colocate[v] = f"{group} ({k})"
        for k in range(len(parts)):
            heavy = max(forward[part == k].tolist(), key=lambda v: (instance.held_bytes[v], -v))
            memory[heavy], weights[heavy] = (
                instance.memory_bytes[nodes].max(),
                instance.weight_bytes[nodes].max(),
            )
    if not split:
        return None
    return instance.replace(colocate=tuple(colocate), memory_bytes=memory, weight_bytes=weights)


def chopped(instance: Instance) -> Iterator[Plan]:
    """Yield pipelines: the nodes in topological order, handed to one accelerator after the other.

    Colocated nodes go together, and backward nodes with the forward nodes of their group.
    """
    items = _items(instance)
    accelerators = [d for d in instance.devices if not d.is_host]
    if items is None or not accelerators:
        return
    time = np.array([_item_times(instance, item) for item in items])[:, [d.index for d in accelerators]]
    held = np.array([instance.held_bytes[item].sum() for item in items])
    fastest = time.min(axis=1)
    if not np.isfinite(fastest).all():
        return
    ideal = max(float(fastest.sum()) / len(accelerators), float(fastest.max()))
    seen: set[bytes] = set()
    for k in range(TARGETS):
        where = _chop(time, held, [d.memory_limit_bytes for d in accelerators], ideal * STEP**k)
        if where is None:
            continue
        device = np.empty(instance.n, dtype=np.int64)
        for item, a in zip(items, where, strict=True):
            device[item] = accelerators[a].index
        if device.tobytes() not in seen:
            seen.add(device.tobytes())
            yield Plan(device)


def _item_times(instance: Instance, item: IntArray) -> FloatArray:
    allowed = instance.allowed[item].all(axis=0)
    total = instance.class_time_ms[item].sum(axis=0)[instance.device_class]
    return np.where(allowed, total, np.inf)


def _chop(time: FloatArray, held: FloatArray, room: list[float], target: float) -> list[int] | None:
    """Give each item the first accelerator, from the current one on, on which it stays within the target."""
    out, a, load, memory = [], 0, 0.0, 0.0
    for row, size in zip(time, held, strict=True):
        while load + row[a] > target * (1 + EQUAL) or memory + size > room[a]:
            a, load, memory = a + 1, 0.0, 0.0
            if a == len(room):
                return None
        load, memory = load + row[a], memory + size
        out.append(a)
    return out


def _items(instance: Instance) -> list[IntArray] | None:
    """Return what moves as one, in topological order; None where backward nodes belong to no forward node."""
    label = np.arange(instance.n)
    for nodes in instance.groups.values():
        label[nodes] = nodes[0]
    known = distinct(label[~instance.backward])
    if len(distinct(label)) > len(known):
        return None
    whole = strong_components(instance.n, label[instance.forward_edges])
    first = np.full(instance.n, instance.n)
    np.minimum.at(first, whole[known], topological_position(instance)[known])
    place = first[whole[label]]
    order = topological_order(distinct(place), place[instance.forward_edges])
    assert order is not None
    members: dict[int, list[int]] = {p: [] for p in order.tolist()}
    for v, p in enumerate(place.tolist()):
        members[p].append(v)
    return [np.array(nodes) for nodes in members.values()]


def retied(instance: Instance, plan: Plan, options: Options) -> Plan:
    """Bring every group that a plan splits to the one of its devices where it does least harm."""
    device = plan.device.copy()
    for nodes in instance.groups.values():
        choices = sorted(set(device[nodes].tolist()))
        if len(choices) < 2:
            continue
        loads = []
        for d in choices:
            moved = device.copy()
            moved[nodes] = d
            loads.append((objective_of(instance, Plan(moved), options), d))
        device[nodes] = min(loads)[1]
    return Plan(device)


def packed(instance: Instance) -> Iterator[Plan]:
    """Yield a plan that need not be contiguous: the largest items first, each where the load stays least."""
    items = _items(instance)
    accelerators = [d for d in instance.devices if not d.is_host]
    if items is None or not accelerators:
        return
    room = np.array([d.memory_limit_bytes for d in accelerators])
    load = np.zeros(len(accelerators))
    times = [_item_times(instance, item)[[d.index for d in accelerators]] for item in items]
    device = np.empty(instance.n, dtype=np.int64)
    for k in sorted(range(len(items)), key=lambda k: -float(times[k].min())):
        size = float(instance.held_bytes[items[k]].sum())
        after = np.where(room >= size, load + times[k], np.inf)
        a = int(np.argmin(after))
        if not np.isfinite(after[a]):
            return
        load[a] += times[k][a]
        room[a] -= size
        device[items[k]] = accelerators[a].index
    yield Plan(device)


def spread(instance: Instance, plan: Plan, options: Options) -> Plan | None:
    """Cut stages in two until every accelerator holds nodes, at no cost; None where that does not work."""
    items = _items(instance)
    if items is None:
        return None
    device, limit = plan.device.copy(), objective_of(instance, plan, options) * (1 + EQUAL)
    for empty in [d.index for d in instance.devices if not d.is_host and not (device == d.index).any()]:
        cuts = _cuts(instance, items, device, empty)
        found = next((c for c in cuts if objective_of(instance, Plan(c), options) <= limit), None)
        if found is None:
            return None
        device = found
    return Plan(device)


def _cuts(instance: Instance, items: list[IntArray], device: IntArray, empty: int) -> Iterator[IntArray]:
    """Yield assignments in which an empty device takes the later part of a stage, the larger stages first."""
    held = [[item for item in items if device[item[0]] == d] for d in sorted(set(device.tolist()))]
    for stage in sorted(held, key=lambda some: -len(some)):
        middle = np.argsort(np.abs(np.arange(1, len(stage)) - len(stage) / 2), kind="stable") + 1
        for k in middle.tolist():
            moved = np.concatenate(stage[k:])
            if instance.allowed[moved, empty].all():
                cut = device.copy()
                cut[moved] = empty
                yield cut


def filled(instance: Instance) -> Iterator[Plan]:
    """Yield latency plans of many pieces: what gains most per byte goes to accelerators, the rest to hosts.

    Pieces are runs of nodes of one device in a topological order, so that none waits for a later one.
    """
    accelerators = [d for d in instance.devices if not d.is_host]
    hosts = [d for d in instance.devices if d.is_host]
    items = _items(instance.replace(backward=np.zeros(instance.n, dtype=np.bool_)))
    if items is None or not accelerators:
        return
    times = [_item_times(instance, item) for item in items]
    best_host = [min((float(t[h.index]), h.index) for h in hosts) if hosts else (np.inf, -1) for t in times]
    for by_size in (True, False):
        room = {d.index: d.memory_limit_bytes for d in accelerators}
        device = np.full(instance.n, -1, dtype=np.int64)

        def gain(k: int, by_size: bool = by_size) -> float:
            saved = best_host[k][0] - min(float(times[k][d.index]) for d in accelerators)
            return saved / max(float(instance.held_bytes[items[k]].sum()), 1.0) if by_size else saved

        for k in sorted(range(len(items)), key=lambda k: -gain(k)):
            size = float(instance.held_bytes[items[k]].sum())
            open_ = [
                d.index for d in accelerators if room[d.index] >= size and np.isfinite(times[k][d.index])
            ]
            d = min(open_, key=lambda d: float(times[k][d]), default=best_host[k][1])
            if d not in open_ or (gain(k) <= 0 and np.isfinite(best_host[k][0])):
                d = best_host[k][1]
            else:
                room[d] -= size
            device[items[k]] = d
        if (device >= 0).all():
            yield Plan(device, _runs(instance, device))


def _runs(instance: Instance, device: IntArray) -> IntArray:
    """Return the run of each node along a topological order that keeps to a run while it can; -1 on hosts."""
    after: list[list[int]] = [[] for _ in range(instance.n)]
    before: list[list[int]] = [[] for _ in range(instance.n)]
    for u, w in instance.edges.tolist():
        after[u].append(w)
        before[w].append(u)
    waiting = [len(some) for some in before]
    ready = {v for v in range(instance.n) if not waiting[v]}
    hosts = {d.index for d in instance.devices if d.is_host}
    piece = np.full(instance.n, -1, dtype=np.int64)
    done: set[int] = set()
    count: dict[int, int] = {}
    current, run, known = -1, set[int](), set[int]()  # device, nodes of its run, what was there when it began

    def joins(v: int) -> bool:
        return device[v] == current and all(u in run or u in known for u in before[v])

    while ready:
        v = min(ready, key=lambda v: (not joins(v), device[v] not in hosts, v))
        d = int(device[v])
        if d not in hosts:
            if not joins(v):
                current, run, known = d, set(), set(done)
                count[d] = count.get(d, -1) + 1
            run.add(v)
            piece[v] = count[d]
        ready.remove(v)
        done.add(v)
        for w in after[v]:
            waiting[w] -= 1
            if not waiting[w]:
                ready.add(w)
    return piece
