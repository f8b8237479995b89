"""The latency problem as the dynamic program sees it: nodes gathered into atoms, devices into kinds.

An *atom* is a set of nodes that some optimal plan keeps in one unit: in one piece, or all on one host, the
*pool* (there each member still runs as soon as it can).  Atoms come from

1. *Colocation groups*, for one piece per accelerator, if every member with a predecessor outside reaches (or
   is) every member with a successor outside.  On an accelerator the group is in one piece anyway.  On a
   host it becomes one step timed per member, which changes no times; and no order is lost: a cycle
   through groups enters each at a member with a predecessor outside and leaves at one with a successor
   outside, the former reaches the latter, so it would be a closed walk of the original plan.
   With several pieces per accelerator a group may be split over them, so its nodes stay apart.
2. *Idle leaves*: nodes that take no time and no memory (or share it: same group) on any device that
   their only neighbour atom may use, and that are sinks read from, or sources read by, that atom alone.
   Moving such a leaf into its neighbour's unit drops transfers and adds neither time nor memory.
3. *Free sources* are put on a host for good: nothing before them, no time there, no transfer paid by readers,
   and no memory where the host has a limit.

With ``relaxed``, leaves lose their memory (rule 2 then always applies): the optimum becomes a lower bound,
and it is exact when the plan found keeps the true limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.graphs import topological_order
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.instance.order import topological_position
from placer.methods.latency.gathered import Draft, arrays, csr, gather
from placer.methods.latency.kernels.arrays import Atoms, Slots
from placer.tolerances import MEMORY_TOLERANCE

__all__ = [
    "Infeasible",
    "LatencyModel",
    "build_model",
    "impose_order",
    "restrict",
    "slots_by_device",
    "slots_by_kind",
]

_DROPPED = 1 << 30
"""Stands for a device in `Draft.parked`: the node is left out."""


class Infeasible(Exception):  # noqa: N818  (a result, turned into one by the caller)
    """No plan exists; the text says why."""


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """Atoms, and how they map back to nodes and devices.

    Parameters
    ----------
    instance
        Where they come from.
    atoms
        The arrays for the kernels.
    nodes
        Original node of each kept node, ``(m,)``.
    parked
        Device of each node that was put on a host beforehand, -1 elsewhere, ``(n,)``.
    kinds
        Accelerators of each kind: same class, same permissions.
    pools
        Device of each host.
    leaves
        Nodes whose memory was left out.
    draft
        What it was made from, for `restrict`.
    """

    instance: Instance
    atoms: Atoms
    nodes: IntArray
    parked: IntArray
    kinds: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    leaves: IntArray
    draft: Draft

    @property
    def size(self) -> int:
        """Number of atoms."""
        return len(self.atoms.needs)


def slots_by_device(model: LatencyModel, pieces: int) -> Slots:
    """Return one slot per accelerator, which runs its pieces one after another."""
    kind = np.array(
        [k for k, members in enumerate(model.kinds) for _ in members[: model.size]], dtype=np.int64
    )
    return Slots(
        *_with_hosts(model, kind, np.full(len(kind), pieces), model.atoms.limit[kind]),
        pools=0,
        each=pieces,
        serial=True,
        whole_groups=False,
    )


def _with_hosts(
    model: LatencyModel, kind: IntArray, pieces: IntArray, memory: FloatArray
) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
    """Append a slot for the memory of each limited host; return kinds, pieces, memory, slot of each host."""
    limited = np.flatnonzero(model.atoms.host_limit < np.inf)
    slot = np.full(len(model.pools), -1, dtype=np.int64)
    slot[limited] = len(kind) + np.arange(len(limited))
    return (
        np.concatenate([kind, -1 - limited]).astype(np.int64),
        np.concatenate([pieces, np.ones(len(limited))]).astype(np.int64),
        np.concatenate([memory, model.atoms.host_limit[limited]]).astype(np.float64),
        slot,
    )


def slots_by_kind(model: LatencyModel, pieces: int, most_open: int) -> Slots:
    """Return one slot per kind with the pieces and the memory of all its accelerators, without waiting.

    Exact for one piece per accelerator; with more it is a relaxation.  ``most_open`` is the greatest number
    of groups that are open at once.
    """
    counts = np.array([len(members) for members in model.kinds], dtype=np.int64)
    K, T = len(counts), 0 if pieces == 1 else most_open
    memory = np.full(K, np.inf) if pieces == 1 else model.atoms.limit * counts
    return Slots(
        *_with_hosts(
            model,
            np.concatenate([np.arange(K), np.repeat(np.arange(K), T)]),
            np.concatenate([counts * pieces, np.zeros(K * T)]),
            np.concatenate([memory, np.full(K * T, -1.0)]),
        ),
        pools=K,
        each=pieces,
        serial=False,
        whole_groups=pieces == 1,
    )


def build_model(instance: Instance, pieces: int, *, relaxed: bool) -> LatencyModel:
    """Reduce an instance to atoms.

    Parameters
    ----------
    instance
        The instance.
    pieces
        Pieces per accelerator.
    relaxed
        Whether idle leaves may lose their memory.

    Raises
    ------
    Infeasible
        When some node may go nowhere.
    """
    draft = _draft(instance)
    if pieces == 1:
        _merge_groups(draft)
    while _park_free_sources(draft) or _merge_leaf(draft, relaxed):
        pass
    return _finish(draft)


def restrict(model: LatencyModel, keep: BoolArray) -> LatencyModel:
    """Drop all atoms but those with ``keep`` (N,) set: the optimum of the rest is a lower bound.

    What is left of a plan when atoms are dropped is a plan of the rest: same order, no piece longer, no more
    memory, nobody waiting longer.  An order among the rest that came from dropped atoms still holds, but
    takes no time.
    """
    draft, atoms = model.draft, model.atoms
    parked = draft.parked.copy()
    parked[model.nodes[~keep[atoms.atom_of]]] = _DROPPED
    label = [int(draft.label[model.nodes[first]]) for first in atoms.node_start[:-1]]
    kept = sum(1 << a for a in np.flatnonzero(keep).tolist())
    reach = [0] * model.size
    order = []
    for a in range(model.size - 1, -1, -1):
        for b in atoms.next[atoms.next_start[a] : atoms.next_start[a + 1]]:
            reach[a] |= reach[b] | (1 << int(b))
        if not keep[a]:
            continue
        implied, later = 0, _bits(reach[a] & kept)
        for b in later:
            implied |= reach[b]
        order += [(label[a], label[b]) for b in later if not implied >> b & 1]
    return _finish(replace(draft, parked=parked), order)


def impose_order(model: LatencyModel, pairs: list[tuple[int, int]]) -> LatencyModel:
    """Let the first atom of each pair come before the second: fewer downsets, each plan still valid."""
    atoms = model.atoms
    after = [
        set(atoms.next[atoms.next_start[a] : atoms.next_start[a + 1]].tolist()) for a in range(model.size)
    ]
    for a, b in pairs:
        after[a].add(b)
    start, following = csr([sorted(part) for part in after])
    needs = np.bincount(following, minlength=model.size).astype(np.int64)
    return replace(model, atoms=atoms._replace(next_start=start, next=following, needs=needs))


def _bits(word: int) -> list[int]:
    """Positions of the bits set, ascending."""
    out = []
    while word:
        low = word & -word
        out.append(low.bit_length() - 1)
        word ^= low
    return out


def _draft(instance: Instance) -> Draft:
    n = instance.n
    allowed, group = instance.allowed.copy(), [-1] * n
    for g, members in enumerate(nodes for nodes in instance.groups.values() if len(nodes) > 1):
        allowed[members] = allowed[members].all(axis=0)
        for v in members:
            group[v] = g
    for v in np.flatnonzero(~allowed.any(axis=1)):
        together = "" if group[v] < 0 else " together with the nodes colocated with it"
        raise Infeasible(f"node {instance.ids[v]!r} may go to no device{together} (types, pins, forbids)")
    _close_small_hosts(instance, group, allowed)
    accelerators = [d for d in instance.devices if not d.is_host]
    kinds = tuple(tuple(members) for members in interchangeable(accelerators, allowed))
    pools = tuple(d.index for d in instance.devices if d.is_host)
    return Draft(
        instance=instance,
        label=np.arange(n),
        group=group,
        time=_times(instance, allowed, [members[0] for members in kinds]),
        host_time=_times(instance, allowed, list(pools)),
        transfer=instance.class_transfer_ms[
            :, [instance.device_class[members[0]] for members in kinds]
        ].reshape(n, len(kinds)),
        memory=instance.resident_bytes.copy(),
        limit=np.array([instance.devices[members[0]].memory_limit_bytes for members in kinds]),
        host_limit=np.array([instance.devices[d].memory_limit_bytes for d in pools], dtype=np.float64),
        alike=_alike(instance, allowed, pools),
        parked=np.full(n, -1, dtype=np.int64),
        kinds=kinds,
        pools=pools,
    )


def _close_small_hosts(instance: Instance, group: list[int], allowed: BoolArray) -> None:
    """Keep nodes away from hosts that are too small for what must go there together."""
    alone = np.array(group) < 0
    together = np.bincount(np.maximum(group, 0), weights=np.where(alone, 0.0, instance.resident_bytes))
    need = np.where(alone, instance.resident_bytes, together[np.maximum(group, 0)])
    for d in instance.devices:
        if d.is_host:
            allowed[:, d.index] &= need <= d.memory_limit_bytes * (1 + MEMORY_TOLERANCE)


def _alike(instance: Instance, allowed: BoolArray, pools: tuple[int, ...]) -> IntArray:
    """For each host the one before it that is alike in everything, or -1."""
    out = np.full(len(pools), -1, dtype=np.int64)
    for alike in interchangeable((instance.devices[d] for d in pools), allowed):
        for before, d in pairwise(alike):
            out[pools.index(d)] = pools.index(before)
    return out


def _times(instance: Instance, allowed: BoolArray, devices: list[int]) -> FloatArray:
    times = instance.class_time_ms[:, instance.device_class[devices]]
    return np.where(allowed[:, devices], times, np.inf).reshape(instance.n, len(devices))


def _merge_groups(draft: Draft) -> None:
    """Rule 1."""
    instance = draft.instance
    reach = [0] * instance.n
    for v in np.argsort(topological_position(instance))[::-1].tolist():
        reach[v] = 1 << v
        for w in instance.successors[v]:
            reach[v] |= reach[w]
    for members in instance.groups.values():
        inside = set(members.tolist())
        enters = [v for v in inside if not inside.issuperset(instance.predecessors[v].tolist())]
        leaves = [v for v in inside if not inside.issuperset(instance.successors[v].tolist())]
        if all(reach[v] >> w & 1 for v in enters for w in leaves):
            draft.label[members] = min(inside)


def _alone(draft: Draft, nodes: list[int]) -> bool:
    """Whether no node is colocated with one outside ``nodes``."""
    groups = {draft.group[v] for v in nodes} - {-1}
    return sum(g in groups for g in draft.group) == sum(draft.group[v] in groups for v in nodes)


def _park_free_sources(draft: Draft) -> bool:
    """Rule 3; return whether anything was parked."""
    members, before, after = gather(draft)
    found = False
    for a, nodes in members.items():
        sent = after[a] and draft.transfer[nodes].any()
        if before[a] or sent or not _alone(draft, nodes):
            continue
        roomy = (draft.host_limit == np.inf) | (not draft.memory[nodes].any())
        idle = np.flatnonzero((draft.host_time[nodes] == 0).all(axis=0) & roomy)
        if len(idle):
            draft.parked[nodes] = draft.pools[idle[0]]
            found = True
    return found


def _merge_leaf(draft: Draft, relaxed: bool) -> bool:
    """Rule 2 for all leaves that qualify at the moment; return whether there were any."""
    members, before, after = gather(draft)
    touched: set[int] = set()
    for a, nodes in members.items():
        around = (before[a] or after[a]) if not (before[a] and after[a]) else set()
        if len(around) != 1 or a in touched:
            continue
        (b,) = around
        if b in touched or not _idle_beside(draft, nodes, members[b]):
            continue
        groups = {draft.group[v] for v in nodes} - {-1}
        shared = bool(groups) and groups <= {draft.group[v] for v in members[b]}
        if not shared and not _alone(draft, nodes):
            continue
        if not shared and draft.memory[nodes].any():
            if not relaxed:
                continue
            draft.leaves += [v for v in nodes if draft.memory[v] > 0]
            draft.memory[nodes] = 0.0
        draft.label[[*nodes, *members[b]]] = min(a, b)
        touched |= {a, b}
    return bool(touched)


def _idle_beside(draft: Draft, nodes: list[int], neighbour: list[int]) -> bool:
    """Whether ``nodes`` take no time on every device that ``neighbour`` may use."""
    for times in (draft.time, draft.host_time):
        usable = np.isfinite(times[neighbour]).all(axis=0)
        if times[nodes][:, usable].any():
            return False
    return True


def _finish(draft: Draft, order_pairs: list[tuple[int, int]] | None = None) -> LatencyModel:
    members, before, after = gather(draft)
    for a, b in order_pairs or []:
        after[a].add(b)
        before[b].add(a)
    pairs = np.array([(a, b) for a in after for b in after[a]], dtype=np.int64).reshape(-1, 2)
    found = topological_order(np.array(sorted(members), dtype=np.int64), pairs)
    assert found is not None
    order = found.tolist()
    rank = {a: i for i, a in enumerate(order)}
    depth = topological_position(draft.instance)
    inside = [sorted(members[a], key=depth.__getitem__) for a in order]
    nodes = np.array([v for part in inside for v in part], dtype=np.int64)
    return LatencyModel(
        instance=draft.instance,
        atoms=arrays(draft, inside, nodes, [len(before[a]) for a in order], [after[a] for a in order], rank),
        nodes=nodes,
        parked=draft.parked,
        kinds=draft.kinds,
        pools=draft.pools,
        leaves=np.array(draft.leaves, dtype=np.int64),
        draft=draft,
    )
