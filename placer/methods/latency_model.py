"""The latency problem as the dynamic program sees it: nodes gathered into atoms, devices into kinds.

An *atom* is a set of nodes that some optimal plan keeps in one unit: in one piece, or all on one host pool
(there each member still runs as soon as it can).  Atoms come from

1. *Colocation groups*, for one piece per accelerator, if every member with a predecessor outside reaches (or
   is) every member with a successor outside.  On an accelerator the group is in one piece anyway.  On a
   host it becomes one step timed per member, which changes no times; and no order is lost: a cycle
   through groups enters each at a member with a predecessor outside and leaves at one with a successor
   outside, the former reaches the latter, so it would be a closed walk of the original plan.
   With several pieces per accelerator a group may be split over them, so its nodes stay apart.
2. *Idle leaves*: nodes that take no time and no memory (or share it: same group) on any device that
   their only neighbour atom may use, and that are sinks read from, or sources read by, that atom alone.
   Moving such a leaf into its neighbour's unit drops transfers and adds neither time nor memory.
3. *Free sources* are put on a host for good: nothing before them, no time there, no transfer paid by readers.

With ``relaxed``, leaves lose their memory (rule 2 then always applies): the optimum becomes a lower bound,
and it is exact when the plan found keeps the true limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import networkx as nx
import numpy as np

from placer.instance import BoolArray, FloatArray, Instance, IntArray
from placer.kernels.latency_types import Atoms, Slots

__all__ = ["Infeasible", "LatencyModel", "build_model", "impose_order", "restrict", "slots_by_device", "slots_by_kind"]

_DROPPED = 1 << 30
"""Stands for a device in `_Draft.parked`: the node is left out."""


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
        Device of each host pool.
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
    draft: _Draft

    @property
    def size(self) -> int:
        """Number of atoms."""
        return len(self.atoms.needs)


def slots_by_device(model: LatencyModel, pieces: int) -> Slots:
    """Return one slot per accelerator, which runs its pieces one after another."""
    kind = [k for k, members in enumerate(model.kinds) for _ in members[: model.size]]
    return Slots(
        kind=np.array(kind, dtype=np.int64),
        pieces=np.full(len(kind), pieces, dtype=np.int64),
        memory=model.atoms.limit[kind].astype(np.float64),
        pools=0,
        each=pieces,
        serial=True,
        whole_groups=False,
    )


def slots_by_kind(model: LatencyModel, pieces: int, tethers: int) -> Slots:
    """Return one slot per kind with the pieces and the memory of all its accelerators, without waiting.

    Exact for one piece per accelerator; with more it is a relaxation.  ``tethers`` is the greatest number of
    groups that are open at once.
    """
    counts = np.array([len(members) for members in model.kinds], dtype=np.int64)
    K, T = len(counts), 0 if pieces == 1 else tethers
    memory = np.full(K, np.inf) if pieces == 1 else model.atoms.limit * counts
    return Slots(
        kind=np.concatenate([np.arange(K), np.repeat(np.arange(K), T)]).astype(np.int64),
        pieces=np.concatenate([counts * pieces, np.zeros(K * T)]).astype(np.int64),
        memory=np.concatenate([memory, np.full(K * T, -1.0)]),
        pools=K,
        each=pieces,
        serial=False,
        whole_groups=pieces == 1,
    )


@dataclass(eq=False)
class _Draft:
    """The state of the reductions: a label per node, costs by kind and pool."""

    instance: Instance
    label: IntArray  # (n,) smallest node of the atom
    group: list[int]  # (n,) -1 = alone
    time: FloatArray  # (n, K)
    host_time: FloatArray  # (n, H)
    transfer: FloatArray  # (n, K)
    memory: FloatArray  # (n,)
    limit: FloatArray  # (K,)
    parked: IntArray  # (n,)
    kinds: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    leaves: list[int] = field(default_factory=list)


def build_model(instance: Instance, pieces: int, *, relaxed: bool) -> LatencyModel:
    """Reduce an instance to atoms.

    Parameters
    ----------
    instance
        The instance, with one pool per host class.
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
    """Let the first atom of each pair come before the second: fewer downsets, fewer plans, each still valid."""
    atoms = model.atoms
    after = [set(atoms.next[atoms.next_start[a] : atoms.next_start[a + 1]].tolist()) for a in range(model.size)]
    for a, b in pairs:
        after[a].add(b)
    start, following = _csr([sorted(part) for part in after])
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


def _draft(instance: Instance) -> _Draft:
    n = instance.n
    allowed, group = instance.allowed.copy(), [-1] * n
    for g, members in enumerate(nodes for nodes in instance.groups.values() if len(nodes) > 1):
        allowed[members] = allowed[members].all(axis=0)
        for v in members:
            group[v] = g
    for v in np.flatnonzero(~allowed.any(axis=1)):
        together = "" if group[v] < 0 else " together with the nodes colocated with it"
        raise Infeasible(f"node {instance.ids[v]!r} may go to no device{together} (types, pins, forbids)")
    by_kind: dict[tuple[int, bytes], list[int]] = {}
    for d in instance.devices:
        if not d.is_host:
            by_kind.setdefault((d.class_index, allowed[:, d.index].tobytes()), []).append(d.index)
    kinds = tuple(tuple(members) for members in by_kind.values())
    pools = tuple(d.index for d in instance.devices if d.is_host)
    return _Draft(
        instance=instance,
        label=np.arange(n),
        group=group,
        time=_times(instance, allowed, [members[0] for members in kinds]),
        host_time=_times(instance, allowed, list(pools)),
        transfer=instance.class_transfer_ms[:, [c for c, _ in by_kind]].reshape(n, len(kinds)),
        memory=instance.memory_bytes.copy(),
        limit=np.array([instance.devices[members[0]].memory_limit_bytes for members in kinds]),
        parked=np.full(n, -1, dtype=np.int64),
        kinds=kinds,
        pools=pools,
    )


def _times(instance: Instance, allowed: BoolArray, devices: list[int]) -> FloatArray:
    times = instance.class_time_ms[:, instance.device_class[devices]]
    return np.where(allowed[:, devices], times, np.inf).reshape(instance.n, len(devices))


def _merge_groups(draft: _Draft) -> None:
    """Rule 1."""
    instance = draft.instance
    reach = [0] * instance.n
    graph = nx.DiGraph(instance.edges.tolist())
    graph.add_nodes_from(range(instance.n))
    for v in reversed(list(nx.topological_sort(graph))):
        reach[v] = 1 << v
        for w in instance.successors[v]:
            reach[v] |= reach[w]
    for members in instance.groups.values():
        inside = set(members.tolist())
        enters = [v for v in inside if not inside.issuperset(instance.predecessors[v].tolist())]
        leaves = [v for v in inside if not inside.issuperset(instance.successors[v].tolist())]
        if all(reach[v] >> w & 1 for v in enters for w in leaves):
            draft.label[members] = min(inside)


def _atoms(draft: _Draft) -> tuple[dict[int, list[int]], dict[int, set[int]], dict[int, set[int]]]:
    """Members, predecessor atoms and successor atoms of each kept atom."""
    members: dict[int, list[int]] = {}
    for v in np.flatnonzero(draft.parked < 0).tolist():
        members.setdefault(int(draft.label[v]), []).append(v)
    before: dict[int, set[int]] = {a: set() for a in members}
    after: dict[int, set[int]] = {a: set() for a in members}
    for u, w in draft.instance.edges.tolist():
        a, b = int(draft.label[u]), int(draft.label[w])
        if a != b and draft.parked[u] < 0 and draft.parked[w] < 0:
            before[b].add(a)
            after[a].add(b)
    return members, before, after


def _alone(draft: _Draft, nodes: list[int]) -> bool:
    """Whether no node is colocated with one outside ``nodes``."""
    groups = {draft.group[v] for v in nodes} - {-1}
    return sum(g in groups for g in draft.group) == sum(draft.group[v] in groups for v in nodes)


def _park_free_sources(draft: _Draft) -> bool:
    """Rule 3; return whether anything was parked."""
    members, before, after = _atoms(draft)
    found = False
    for a, nodes in members.items():
        sent = after[a] and draft.transfer[nodes].any()
        if before[a] or sent or not _alone(draft, nodes):
            continue
        idle = np.flatnonzero((draft.host_time[nodes] == 0).all(axis=0))
        if len(idle):
            draft.parked[nodes] = draft.pools[idle[0]]
            found = True
    return found


def _merge_leaf(draft: _Draft, relaxed: bool) -> bool:
    """Rule 2 for all leaves that qualify at the moment; return whether there were any."""
    members, before, after = _atoms(draft)
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


def _idle_beside(draft: _Draft, nodes: list[int], neighbour: list[int]) -> bool:
    """Whether ``nodes`` take no time on every device that ``neighbour`` may use."""
    for times in (draft.time, draft.host_time):
        usable = np.isfinite(times[neighbour]).all(axis=0)
        if times[nodes][:, usable].any():
            return False
    return True


def _finish(draft: _Draft, order_pairs: list[tuple[int, int]] | None = None) -> LatencyModel:
    members, before, after = _atoms(draft)
    for a, b in order_pairs or []:
        after[a].add(b)
        before[b].add(a)
    graph = nx.DiGraph((a, b) for a in after for b in after[a])
    graph.add_nodes_from(members)
    order = list(nx.lexicographical_topological_sort(graph))
    rank = {a: i for i, a in enumerate(order)}
    full = nx.DiGraph(draft.instance.edges.tolist())
    full.add_nodes_from(range(draft.instance.n))
    depth = {v: i for i, v in enumerate(nx.lexicographical_topological_sort(full))}
    inside = [sorted(members[a], key=depth.__getitem__) for a in order]
    nodes = np.array([v for part in inside for v in part], dtype=np.int64)
    return LatencyModel(
        instance=draft.instance,
        atoms=_arrays(draft, inside, nodes, [len(before[a]) for a in order], [after[a] for a in order], rank),
        nodes=nodes,
        parked=draft.parked,
        kinds=draft.kinds,
        pools=draft.pools,
        leaves=np.array(draft.leaves, dtype=np.int64),
        draft=draft,
    )


def _arrays(
    draft: _Draft,
    inside: list[list[int]],
    nodes: IntArray,
    needs: list[int],
    after: list[set[int]],
    rank: dict[int, int],
) -> Atoms:
    instance = draft.instance
    number = {int(v): i for i, v in enumerate(nodes)}
    atom = np.array([i for i, part in enumerate(inside) for _ in part], dtype=np.int64)
    before = [[number[u] for u in instance.predecessors[v].tolist() if u in number] for v in nodes]
    readers = [[number[w] for w in instance.successors[v].tolist() if w in number] for v in nodes]
    inner = [[u for u in us if atom[u] == atom[i]] for i, us in enumerate(before)]
    outer = [[u for u in us if atom[u] != atom[i]] for i, us in enumerate(before)]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in inside])]).astype(np.int64)
    sources = [sorted({u for i in range(starts[a], starts[a + 1]) for u in outer[i]}) for a in range(len(inside))]
    group, group_memory, group_size = _groups(draft, inside)
    memory = np.array([draft.memory[part].sum() for part in inside])
    memory[group >= 0] = 0.0
    time = np.array([draft.time[part].sum(axis=0) for part in inside]).reshape(len(inside), len(draft.kinds))
    return Atoms(
        starts,
        np.arange(len(nodes), dtype=np.int64),
        atom,
        *_csr(inner),
        *_csr(outer),
        *_csr(sources),
        *_csr([sorted({int(atom[w]) for w in ws if atom[w] != atom[i]}) for i, ws in enumerate(readers)]),
        *_csr([sorted(rank[b] for b in bs) for bs in after]),
        np.array(needs, dtype=np.int64),
        time,
        np.ascontiguousarray(draft.transfer[nodes]),
        memory,
        draft.limit,
        group,
        group_memory,
        group_size,
        *_csr(list(_pools(draft, inside, group))),
        np.ascontiguousarray(draft.host_time[nodes]),
    )


def _groups(draft: _Draft, inside: list[list[int]]) -> tuple[IntArray, FloatArray, IntArray]:
    """Group of each atom, memory and atoms of each group; groups of one atom are none."""
    spread: dict[int, list[int]] = {}
    for a, part in enumerate(inside):
        for g in {draft.group[v] for v in part} - {-1}:
            spread.setdefault(g, []).append(a)
    group = np.full(len(inside), -1, dtype=np.int64)
    chosen = [atoms for atoms in spread.values() if len(atoms) > 1]
    for g, atoms in enumerate(chosen):
        group[atoms] = g
    memory = [sum(draft.memory[inside[a]].sum() for a in atoms) for atoms in chosen]
    return group, np.array(memory, dtype=np.float64), np.array([len(x) for x in chosen], dtype=np.int64)


def _pools(draft: _Draft, inside: list[list[int]], group: IntArray) -> Iterator[list[int]]:
    """Host pools of each atom, without those that another beats for every node that must share the pool."""
    together: dict[int, list[int]] = {}
    for a, part in enumerate(inside):
        together.setdefault(int(group[a]) if group[a] >= 0 else -1 - a, []).extend(part)
    for a in range(len(inside)):
        times = draft.host_time[together[int(group[a]) if group[a] >= 0 else -1 - a]]
        open_pools = [o for o in range(times.shape[1]) if np.isfinite(times[:, o]).all()]
        yield [
            o
            for o in open_pools
            if not any(
                (times[:, p] <= times[:, o]).all() and (p < o or (times[:, p] < times[:, o]).any())
                for p in open_pools
                if p != o
            )
        ]


def _csr(lists: list[list[int]]) -> tuple[IntArray, IntArray]:
    start = np.concatenate([[0], np.cumsum([len(x) for x in lists], dtype=np.int64)]).astype(np.int64)
    return start, np.array([x for part in lists for x in part], dtype=np.int64)
