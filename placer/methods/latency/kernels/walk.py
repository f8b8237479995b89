"""The walk over all pieces that can follow a downset, each visited once, with costs kept up to date."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from placer.jit import jit, jit_inline
from placer.methods.latency.kernels.types import Atoms, Bools, Floats, Ints, Lattice, Slots

__all__ = ["MEMORY_SLACK", "Walk", "begin", "fits", "following", "new_walk"]

MEMORY_SLACK = 1e-9
"""Relative excess over a limit that counts as rounding, as in verification."""


class Walk(NamedTuple):
    """The state of a depth-first walk from one downset; row d of a table belongs to depth d.

    ``offered[lo[d]:hi[d]]`` are the atoms that depth d may add, ``at[d]`` the next of them.
    """

    base: Ints  # (2,) the downset, the depth
    offered: Ints
    at: Ints
    hi: Ints
    added: Ints  # atom added at each depth
    state: Ints  # downset reached at each depth
    compute: Floats  # (depths, K) inf = not supported
    receive: Floats  # (depths, K)
    send: Floats  # (depths, K)
    held: Floats  # memory of the piece, whole groups counted
    fresh: Floats  # the same without groups that are open before the piece
    inside: Bools  # (N,) atoms in the downset or the piece
    piece: Bools  # (N,) atoms in the piece
    missing: Ints  # (N,) predecessors outside
    readers: Ints  # (m,) consumers in the piece, of nodes before it
    left: Ints  # (m,) consumer atoms outside the downset and the piece
    open: Bools  # (G,) groups that are open before the piece
    members: Ints  # (G,) atoms of the group in the piece
    partial: Ints  # (1,) groups that the piece holds some but not all atoms of


def new_walk(atoms: Atoms) -> Walk:
    """Allocate a walk (outside the kernels, which allocate nothing)."""
    N, K = atoms.time.shape
    m = len(atoms.atom_of)
    G = len(atoms.group_size)
    return Walk(
        base=np.zeros(2, dtype=np.int64),
        offered=np.zeros(N + 1, dtype=np.int64),
        at=np.zeros(N + 2, dtype=np.int64),
        hi=np.zeros(N + 2, dtype=np.int64),
        added=np.zeros(N + 2, dtype=np.int64),
        state=np.zeros(N + 2, dtype=np.int64),
        compute=np.zeros((N + 2, K)),
        receive=np.zeros((N + 2, K)),
        send=np.zeros((N + 2, K)),
        held=np.zeros(N + 2),
        fresh=np.zeros(N + 2),
        inside=np.zeros(N, dtype=np.bool_),
        piece=np.zeros(N, dtype=np.bool_),
        missing=np.zeros(N, dtype=np.int64),
        readers=np.zeros(m, dtype=np.int64),
        left=np.zeros(m, dtype=np.int64),
        open=np.zeros(G, dtype=np.bool_),
        members=np.zeros(G, dtype=np.int64),
        partial=np.zeros(1, dtype=np.int64),
    )


@jit
def begin(walk: Walk, atoms: Atoms, lattice: Lattice, state: int) -> None:
    """Start the walk over the pieces that can follow downset ``state``."""
    N = len(atoms.needs)
    walk.base[0], walk.base[1] = state, 0
    for a in range(N):
        walk.piece[a] = False
        walk.missing[a] = atoms.needs[a]
    for a in range(N):
        inside = (lattice.words[state, a >> 6] >> np.uint64(a & 63)) & np.uint64(1) != np.uint64(0)
        walk.inside[a] = inside
        if inside:
            for e in range(atoms.next_start[a], atoms.next_start[a + 1]):
                walk.missing[atoms.next[e]] -= 1
    for u in range(len(atoms.atom_of)):
        walk.readers[u] = 0
        walk.left[u] = atoms.consumer_start[u + 1] - atoms.consumer_start[u]
        if walk.inside[atoms.atom_of[u]]:
            for e in range(atoms.consumer_start[u], atoms.consumer_start[u + 1]):
                if walk.inside[atoms.consumer[e]]:
                    walk.left[u] -= 1
    for g in range(len(atoms.group_size)):
        walk.open[g] = False
        walk.members[g] = 0
    for e in range(lattice.open_start[state], lattice.open_start[state + 1]):
        walk.open[lattice.open[e]] = True
    walk.partial[0] = 0
    for k in range(atoms.time.shape[1]):
        walk.compute[0, k] = 0.0
        walk.receive[0, k] = 0.0
        walk.send[0, k] = 0.0
    walk.held[0] = 0.0
    walk.fresh[0] = 0.0
    walk.state[0] = state
    walk.at[0] = 0
    count = 0
    for e in range(lattice.child_start[state], lattice.child_start[state + 1]):
        walk.offered[count] = lattice.child_atom[e]
        count += 1
    walk.hi[0] = count


@jit_inline
def fits(walk: Walk, atoms: Atoms, depth: int, k: int) -> bool:
    """Whether the piece at ``depth`` can be on an empty accelerator of kind ``k``."""
    return walk.compute[depth, k] < np.inf and walk.held[depth] <= atoms.limit[k] * (1.0 + MEMORY_SLACK)


@jit_inline
def _can_add(walk: Walk, atoms: Atoms, a: int, depth: int) -> bool:
    """Whether some kind of accelerator can hold the piece at ``depth`` and atom ``a``."""
    held = walk.held[depth] + atoms.memory[a]
    g = atoms.group[a]
    if g >= 0 and walk.members[g] == 0:
        held += atoms.group_memory[g]
    for k in range(atoms.time.shape[1]):
        fast_enough = walk.compute[depth, k] + atoms.time[a, k] < np.inf
        if fast_enough and held <= atoms.limit[k] * (1.0 + MEMORY_SLACK):
            return True
    return False


@jit_inline
def _remove(walk: Walk, atoms: Atoms, depth: int) -> None:
    """Undo the counters of the atom added at ``depth`` (the tables need no undoing)."""
    a = walk.added[depth]
    walk.inside[a] = False
    walk.piece[a] = False
    for e in range(atoms.next_start[a], atoms.next_start[a + 1]):
        walk.missing[atoms.next[e]] += 1
    for e in range(atoms.source_start[a], atoms.source_start[a + 1]):
        u = atoms.source[e]
        walk.left[u] += 1
        if not walk.piece[atoms.atom_of[u]]:
            walk.readers[u] -= 1
    g = atoms.group[a]
    if g >= 0:
        if walk.members[g] == 1:
            walk.partial[0] -= 1
        elif walk.members[g] == atoms.group_size[g]:
            walk.partial[0] += 1
        walk.members[g] -= 1


@jit_inline
def _memory(walk: Walk, atoms: Atoms, a: int, d: int) -> None:
    """Memory at depth ``d`` after adding ``a``; a group counts whole as soon as it is touched.

    All atoms of a group go to one accelerator, so the one that takes the first has to hold them all.
    """
    held, fresh = walk.held[d - 1] + atoms.memory[a], walk.fresh[d - 1] + atoms.memory[a]
    g = atoms.group[a]
    if g >= 0:
        if walk.members[g] == 0:
            held += atoms.group_memory[g]
            if not walk.open[g]:
                fresh += atoms.group_memory[g]
            walk.partial[0] += 1
        walk.members[g] += 1
        if walk.members[g] == atoms.group_size[g]:
            walk.partial[0] -= 1
    walk.held[d] = held
    walk.fresh[d] = fresh


@jit_inline
def _add(walk: Walk, atoms: Atoms, a: int, d: int) -> None:
    """Add atom ``a``, which makes the piece of depth ``d``."""
    walk.added[d] = a
    walk.inside[a] = True
    walk.piece[a] = True
    K = atoms.time.shape[1]
    for k in range(K):
        walk.compute[d, k] = walk.compute[d - 1, k] + atoms.time[a, k]
        walk.receive[d, k] = walk.receive[d - 1, k]
        walk.send[d, k] = walk.send[d - 1, k]
    for e in range(atoms.source_start[a], atoms.source_start[a + 1]):
        u = atoms.source[e]
        walk.left[u] -= 1
        if walk.piece[atoms.atom_of[u]]:
            if walk.left[u] == 0:
                for k in range(K):
                    walk.send[d, k] -= atoms.transfer[u, k]
        else:
            walk.readers[u] += 1
            if walk.readers[u] == 1:
                for k in range(K):
                    walk.receive[d, k] += atoms.transfer[u, k]
    for e in range(atoms.node_start[a], atoms.node_start[a + 1]):
        u = atoms.node[e]
        if walk.left[u] > 0:
            for k in range(K):
                walk.send[d, k] += atoms.transfer[u, k]
    _memory(walk, atoms, a, d)


@jit_inline
def _offer(walk: Walk, atoms: Atoms, a: int, d: int) -> None:
    """Offer depth ``d`` what its parent had not yet tried, and what atom ``a`` makes available."""
    walk.at[d] = walk.at[d - 1]
    hi = walk.hi[d - 1]
    for e in range(atoms.next_start[a], atoms.next_start[a + 1]):
        b = atoms.next[e]
        walk.missing[b] -= 1
        if walk.missing[b] == 0:
            walk.offered[hi] = b
            hi += 1
    walk.hi[d] = hi


@jit_inline
def following(walk: Walk, atoms: Atoms, lattice: Lattice, slots: Slots) -> int:
    """Walk to the next piece and return its depth, or 0 when there is none left.

    Every piece is visited once: it is built by always adding the first of its atoms that is on offer, and
    an atom passed over is never offered again below.  A branch is cut when no kind of accelerator can
    hold the piece, because time, support and memory only get worse as a piece grows.
    """
    d = walk.base[1]
    while True:
        if walk.at[d] == walk.hi[d]:
            if d == 0:
                return 0
            _remove(walk, atoms, d)
            d -= 1
            walk.base[1] = d
            continue
        a = walk.offered[walk.at[d]]
        walk.at[d] += 1
        g = atoms.group[a]
        if slots.whole_groups and g >= 0 and walk.open[g]:
            continue  # the group has begun on a host
        if not _can_add(walk, atoms, a, d):
            continue
        now = walk.state[d]
        lo, hi = lattice.child_start[now], lattice.child_start[now + 1]
        while hi - lo > 1:
            mid = (lo + hi) // 2
            if lattice.child_atom[mid] <= a:
                lo = mid
            else:
                hi = mid
        d += 1
        walk.base[1] = d
        walk.state[d] = lattice.child[lo]
        _add(walk, atoms, a, d)
        _offer(walk, atoms, a, d)
        return d
