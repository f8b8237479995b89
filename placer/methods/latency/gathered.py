"""The latency problem while it is being reduced, and the arrays made of the outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.methods.latency.kernels.types import Atoms

__all__ = ["Draft", "arrays", "csr", "gather"]


@dataclass(eq=False)
class Draft:
    """The graph while nodes are gathered into atoms: a label per node, costs by kind and host pool."""

    instance: Instance
    label: IntArray  # (n,) smallest node of the atom
    group: list[int]  # (n,) -1 = alone
    time: FloatArray  # (n, K)
    host_time: FloatArray  # (n, H)
    transfer: FloatArray  # (n, K)
    memory: FloatArray  # (n,)
    limit: FloatArray  # (K,)
    host_limit: FloatArray  # (H,) inf for none
    alike: IntArray  # (H,) an earlier pool that is alike in everything, or -1
    parked: IntArray  # (n,)
    kinds: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    leaves: list[int] = field(default_factory=list)


def gather(draft: Draft) -> tuple[dict[int, list[int]], dict[int, set[int]], dict[int, set[int]]]:
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


def arrays(
    draft: Draft,
    inside: list[list[int]],
    nodes: IntArray,
    needs: list[int],
    after: list[set[int]],
    rank: dict[int, int],
) -> Atoms:
    """Build the arrays of the kernels.

    Parameters
    ----------
    inside
        Members of each atom, in topological order.
    nodes
        All of them, one atom after another.
    needs, after
        Number of earlier atoms and set of later atoms, by label.
    rank
        Number of each label.
    """
    instance = draft.instance
    number = {int(v): i for i, v in enumerate(nodes)}
    atom = np.array([i for i, part in enumerate(inside) for _ in part], dtype=np.int64)
    before = [[number[u] for u in instance.predecessors[v].tolist() if u in number] for v in nodes]
    readers = [[number[w] for w in instance.successors[v].tolist() if w in number] for v in nodes]
    inner = [[u for u in us if atom[u] == atom[i]] for i, us in enumerate(before)]
    outer = [[u for u in us if atom[u] != atom[i]] for i, us in enumerate(before)]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in inside])]).astype(np.int64)
    sources = [
        sorted({u for i in range(starts[a], starts[a + 1]) for u in outer[i]}) for a in range(len(inside))
    ]
    group, group_memory, group_size = _groups(draft, inside)
    memory = np.array([draft.memory[part].sum() for part in inside])
    memory[group >= 0] = 0.0
    time = np.array([draft.time[part].sum(axis=0) for part in inside]).reshape(len(inside), len(draft.kinds))
    return Atoms(
        starts,
        np.arange(len(nodes), dtype=np.int64),
        atom,
        *csr(inner),
        *csr(outer),
        *csr(sources),
        *csr([sorted({int(atom[w]) for w in ws if atom[w] != atom[i]}) for i, ws in enumerate(readers)]),
        *csr([sorted(rank[b] for b in bs) for bs in after]),
        np.array(needs, dtype=np.int64),
        time,
        np.ascontiguousarray(draft.transfer[nodes]),
        memory,
        draft.limit,
        group,
        group_memory,
        group_size,
        *csr(list(_pools(draft, inside, group))),
        np.ascontiguousarray(draft.host_time[nodes]),
        draft.host_limit,
        draft.alike,
    )


def _groups(draft: Draft, inside: list[list[int]]) -> tuple[IntArray, FloatArray, IntArray]:
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


def _pools(draft: Draft, inside: list[list[int]], group: IntArray) -> Iterator[list[int]]:
    """Host pools of each atom, without those that another beats for every node that must share the pool.

    Only one without a memory limit can: another node may need the memory of others.
    """
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
                if p != o and draft.host_limit[p] == np.inf
            )
        ]


def csr(lists: list[list[int]]) -> tuple[IntArray, IntArray]:
    """Return the starts of the lists and their values, one after another."""
    start = np.concatenate([[0], np.cumsum([len(x) for x in lists], dtype=np.int64)]).astype(np.int64)
    return start, np.array([x for part in lists for x in part], dtype=np.int64)
