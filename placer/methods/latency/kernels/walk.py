"""The walk over all pieces that can follow a downset, each visited once, with costs kept up to date."""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.latency.kernels.views import (
        INFINITY,
        MEMORY_SLACK,
        ONE,
        AtomsView,
        LatticeView,
        SlotsView,
        WalkView,
    )

__all__ = ["begin", "fits", "following", "skip_larger"]


def begin(walk: WalkView, atoms: AtomsView, lattice: LatticeView, state: int) -> None:
    """Start the walk over the pieces that can follow downset ``state``."""
    N = atoms.needs.shape[0]
    walk.base[0], walk.base[1] = state, 0
    for a in range(N):
        walk.piece[a] = False
        walk.missing[a] = atoms.needs[a]
    for a in range(N):
        inside = (lattice.words[state, a >> 6] >> (a & 63)) & ONE != 0
        walk.inside[a] = inside
        if inside:
            for e in range(atoms.next_start[a], atoms.next_start[a + 1]):
                walk.missing[atoms.next[e]] -= 1
    for u in range(atoms.atom_of.shape[0]):
        walk.readers[u] = 0
        walk.left[u] = atoms.consumer_start[u + 1] - atoms.consumer_start[u]
        if walk.inside[atoms.atom_of[u]]:
            for e in range(atoms.consumer_start[u], atoms.consumer_start[u + 1]):
                if walk.inside[atoms.consumer[e]]:
                    walk.left[u] -= 1
    for g in range(atoms.group_size.shape[0]):
        walk.open[g] = False
        walk.members[g] = 0
    for e in range(lattice.open_start[state], lattice.open_start[state + 1]):
        walk.open[lattice.open[e]] = True
    walk.partial[0] = 0
    walk.kept[0] = lattice.live_start[state + 1] - lattice.live_start[state]
    for k in range(atoms.time.shape[1]):
        walk.compute[0, k] = 0.0
        walk.receive[0, k] = 0.0
        walk.send[0, k] = 0.0
    walk.start[0] = 0.0
    walk.held[0] = 0.0
    walk.fresh[0] = 0.0
    walk.state[0] = state
    walk.at[0] = 0
    count = 0
    for e in range(lattice.child_start[state], lattice.child_start[state + 1]):
        walk.offered[count] = lattice.child_atom[e]
        count += 1
    walk.hi[0] = count


def fits(walk: WalkView, atoms: AtomsView, depth: int, k: int) -> bool:
    """Whether the piece at ``depth`` can be on an empty accelerator of kind ``k``."""
    return walk.compute[depth, k] < INFINITY and walk.held[depth] <= atoms.limit[k] * (1.0 + MEMORY_SLACK)


def _can_add(walk: WalkView, atoms: AtomsView, a: int, depth: int) -> bool:
    """Whether some kind of accelerator can hold the piece at ``depth`` and atom ``a``, and end in time.

    In time is what leaves time for the paths that follow ``a`` (see `latency.paths`).
    """
    held = walk.held[depth] + atoms.memory[a]
    g = atoms.group[a]
    if g >= 0 and walk.members[g] == 0:
        held += atoms.group_memory[g]
    part = walk.after.shape[1] - 1
    if held * walk.per_byte[0] < part:
        part = cython.cast(cython.longlong, held * walk.per_byte[0])
    rest = walk.after[a, part]
    for k in range(atoms.time.shape[1]):
        earliest = walk.start[depth] + walk.receive[depth, k] + walk.compute[depth, k] + atoms.time[a, k]
        if earliest + rest < walk.limit[0] and held <= atoms.limit[k] * (1.0 + MEMORY_SLACK):
            return True
    return False


def _remove(walk: WalkView, atoms: AtomsView, depth: int) -> None:
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


def _memory(walk: WalkView, atoms: AtomsView, a: int, d: int) -> None:
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


def _add(walk: WalkView, atoms: AtomsView, a: int, d: int) -> None:
    """Add atom ``a``, which makes the piece of depth ``d``."""
    walk.added[d] = a
    walk.inside[a] = True
    walk.piece[a] = True
    walk.start[d] = walk.start[d - 1]
    walk.kept[d] = walk.kept[d - 1]
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
            if walk.left[u] == 0:
                walk.kept[d] -= 1
            if walk.readers[u] == 1:
                walk.start[d] = max(walk.start[d], walk.ready[u])
                for k in range(K):
                    walk.receive[d, k] += atoms.transfer[u, k]
    for e in range(atoms.node_start[a], atoms.node_start[a + 1]):
        u = atoms.node[e]
        if walk.left[u] > 0:
            for k in range(K):
                walk.send[d, k] += atoms.transfer[u, k]
    _memory(walk, atoms, a, d)


def _offer(walk: WalkView, atoms: AtomsView, a: int, d: int) -> None:
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


def skip_larger(walk: WalkView, depth: int) -> None:
    """Leave out the pieces that the one at ``depth`` would grow to."""
    walk.at[depth] = walk.hi[depth]


def following(walk: WalkView, atoms: AtomsView, lattice: LatticeView, slots: SlotsView) -> int:
    """Walk to the next piece and return its depth, or 0 when there is none left.

    Every piece is visited once: it is built by always adding the first of its atoms that is on offer, and
    an atom passed over is never offered again below.  A branch is cut when no kind of accelerator can
    hold the piece and end in time, because time, support and memory only get worse as a piece grows.
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
