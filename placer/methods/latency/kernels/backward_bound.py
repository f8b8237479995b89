"""The backward bound: what is at least still to come after a downset, with unlimited accelerators.

h(I, u), for a live node u of downset I, is at most (makespan − finish time of u) for every completion of
I; h0(I) is at most the makespan itself.  Backward over all steps I -> J (a host atom, or a piece S):

    h(I, u)  = min over steps of  max( through(u), h(J, u) if u is still live in J )
    through(u) = duration(S) + max over live outputs e of S of h(J, e)   if S reads u, else 0
    h0(I)    = min over steps of  max( duration(S) + max over e of h(J, e), h0(J) )

The next step of a completion is one of the steps, and each term holds for it: an output of S is there no
earlier than ``duration(S)`` after whatever S reads, and what stays live is bounded in J.  Left out are only
restrictions (how many accelerators there are and what they did before, where open groups went), which
can only delay a completion.
Transfers that memory forces are seen, because every piece keeps within the memory of one accelerator.
"""

from __future__ import annotations

import numpy as np

from placer.jit import jit, jit_inline
from placer.methods.latency.kernels.types import STOP, Atoms, Control, Floats, Ints, Lattice, Slots, spend
from placer.methods.latency.kernels.walk import Walk, begin, fits, following

__all__ = ["backward_bound"]


@jit_inline
def _lower(
    lattice: Lattice, h: Floats, h0: Floats, state: int, after: int, total: float, new: Floats
) -> None:
    """Take one step into account: ``total`` from time 0, ``new[u]`` for what it reads (-1: not read)."""
    lo, hi = lattice.live_start[after], lattice.live_start[after + 1]
    at = lo
    for p in range(lattice.live_start[state], lattice.live_start[state + 1]):
        u = lattice.live[p]
        while at < hi and lattice.live[at] < u:
            at += 1
        value = new[u]
        if at < hi and lattice.live[at] == u:
            value = max(value, h[at])
        if value < h[p]:
            h[p] = value
    h0[state] = min(h0[state], max(total, h0[after]))


@jit_inline
def _host_steps(
    atoms: Atoms, lattice: Lattice, h: Floats, h0: Floats, state: int, new: Floats, tail: Floats
) -> None:
    for c in range(lattice.child_start[state], lattice.child_start[state + 1]):
        a, after = lattice.child_atom[c], lattice.child[c]
        first, last = atoms.node_start[a], atoms.node_start[a + 1]
        for o in range(atoms.pool_start[a], atoms.pool_start[a + 1]):
            for e in range(first, last):
                tail[atoms.node[e]] = 0.0
            for p in range(lattice.live_start[after], lattice.live_start[after + 1]):
                if atoms.atom_of[lattice.live[p]] == a:
                    tail[lattice.live[p]] = h[p]
            for e in range(atoms.source_start[a], atoms.source_start[a + 1]):
                new[atoms.source[e]] = 0.0
            total = 0.0
            for e in range(last - 1, first - 1, -1):
                v = atoms.node[e]
                tail[v] += atoms.host_time[v, atoms.pool[o]]
                total = max(total, tail[v])
                for i in range(atoms.inner_start[v], atoms.inner_start[v + 1]):
                    tail[atoms.inner[i]] = max(tail[atoms.inner[i]], tail[v])
                for i in range(atoms.outer_start[v], atoms.outer_start[v + 1]):
                    new[atoms.outer[i]] = max(new[atoms.outer[i]], tail[v])
            _lower(lattice, h, h0, state, after, total, new)
            for e in range(atoms.source_start[a], atoms.source_start[a + 1]):
                new[atoms.source[e]] = -1.0


@jit_inline
def _piece_step(
    walk: Walk, atoms: Atoms, lattice: Lattice, h: Floats, h0: Floats, d: int, new: Floats
) -> None:
    state, after = walk.base[0], walk.state[d]
    total = np.inf
    for k in range(atoms.time.shape[1]):
        if fits(walk, atoms, d, k):
            total = min(total, walk.receive[d, k] + walk.compute[d, k] + walk.send[d, k])
    rest = 0.0
    for p in range(lattice.live_start[after], lattice.live_start[after + 1]):
        if walk.piece[atoms.atom_of[lattice.live[p]]]:
            rest = max(rest, h[p])
    total += rest
    lo, hi = lattice.live_start[state], lattice.live_start[state + 1]
    for p in range(lo, hi):
        if walk.readers[lattice.live[p]] > 0:
            new[lattice.live[p]] = total
    _lower(lattice, h, h0, state, after, total, new)
    for p in range(lo, hi):
        new[lattice.live[p]] = -1.0


@jit
def backward_bound(
    atoms: Atoms,
    lattice: Lattice,
    slots: Slots,
    h: Floats,
    h0: Floats,
    walk: Walk,
    new: Floats,
    tail: Floats,
    progress: Ints,
    control: Control,
) -> int:
    """Fill ``h`` (aligned with ``lattice.live``) and ``h0`` (L,); all of them start at 0.

    ``new`` and ``tail`` are scratch (m,), ``new`` filled with -1.

    Works backwards from downset ``progress[0]``; what is not yet reached keeps 0, which is a valid bound.
    Returns the number of pieces seen; -1 when the flag stopped it (the downset at hand is set to 0 again).
    """
    seen = 0
    for state in range(progress[0], -1, -1):
        lo, hi = lattice.live_start[state], lattice.live_start[state + 1]
        if state == len(h0) - 1:
            h0[state] = 0.0
            continue
        for p in range(lo, hi):
            h[p] = np.inf
        h0[state] = np.inf
        _host_steps(atoms, lattice, h, h0, state, new, tail)
        begin(walk, atoms, lattice, state)
        while control[STOP] == 0:
            d = following(walk, atoms, lattice, slots)
            if d == 0:
                break
            seen += 1
            spend(control, 1)
            if not slots.whole_groups or walk.partial[0] == 0:
                _piece_step(walk, atoms, lattice, h, h0, d, new)
        if control[STOP] != 0:
            for p in range(lo, hi):
                h[p] = 0.0
            h0[state] = 0.0
            return -1
        progress[0] = state - 1
    return seen
