"""The arrays of the latency kernels, grouped as named tuples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BEST",
    "COUNT",
    "DROPPED",
    "ROUNDING",
    "STOP",
    "UPPER",
    "Atoms",
    "Bounded",
    "Control",
    "Labels",
    "Lattice",
    "Levels",
    "Slots",
    "Walk",
    "new_control",
    "new_walk",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Control = Ints

STOP, COUNT, LIMIT = 0, 1, 2
"""Positions in a control array: the stop flag, which kernels look at again and again, and counted steps."""
PARTS_SLACK = 1e-8
"""Relative: what fills an accelerator, up to rounding, takes less than all parts of its memory."""
NO_LIMIT = 2**62
FREE, USED, BEST, COMPARED = 0, 1, 2, 3
"""Positions in ``Labels.counters``: head of the list of free rows, rows used so far, best final
label, comparisons of labels since they were counted as work."""
UPPER, DROPPED = 0, 1
"""Positions in ``Labels.values``: makespan to beat, least bound of all labels given up without expansion."""
TIE = 1e-11
"""Relative: labels that cannot improve on the makespan by more than rounding are dropped."""
ROUNDING = 3 * TIE
"""Relative margin that makes a bound safe from that rule and from the rounding of sums."""


def new_control(limit: int = NO_LIMIT) -> Control:
    """Return a control array with the flag down; it goes up after ``limit`` counted steps."""
    return np.array([0, 0, limit], dtype=np.int64)


class Atoms(NamedTuple):
    """The graph as the program sees it: N atoms of m nodes, K kinds of accelerators, H host pools, G groups.

    Nodes are numbered topologically; times in ms, sizes in bytes.  CSR pairs are (start, values).
    """

    node_start: Ints  # (N + 1,) members of each atom, in topological order
    node: Ints
    atom_of: Ints  # (m,)
    inner_start: Ints  # (m + 1,) predecessors of a node in its own atom
    inner: Ints
    outer_start: Ints  # (m + 1,) predecessors of a node in other atoms
    outer: Ints
    source_start: Ints  # (N + 1,) distinct outer predecessors of an atom's members
    source: Ints
    consumer_start: Ints  # (m + 1,) distinct other atoms that read a node
    consumer: Ints
    next_start: Ints  # (N + 1,) atoms that must come later: readers, and others where an order is imposed
    next: Ints
    needs: Ints  # (N,) number of atoms that must come earlier
    time: Floats  # (N, K) inf = may not run there
    transfer: Floats  # (m, K)
    memory: Floats  # (N,) 0 for members of a group of several atoms, see group_memory
    limit: Floats  # (K,) what a piece may hold
    group: Ints  # (N,) -1 = none
    group_memory: Floats  # (G,)
    group_size: Ints  # (G,) atoms
    pool_start: Ints  # (N + 1,) host pools worth trying
    pool: Ints
    host_time: Floats  # (m, H) inf = may not run there
    host_limit: Floats  # (H,) what a host may hold
    alike: Ints  # (H,) an earlier host that is alike in everything, or -1


class Lattice(NamedTuple):
    """All downsets, L of them, numbered by size (the empty one first)."""

    words: Words  # (L, W) bit v of word v // 64: atom v is in
    child_start: Ints  # (L + 1,) atoms that can be added, ascending
    child_atom: Ints
    child: Ints  # the downset with that atom
    live_start: Ints  # (L + 1,) nodes inside with a consumer outside, ascending
    live: Ints
    open_start: Ints  # (L + 1,) groups with some but not all atoms inside, ascending
    open: Ints
    started: Bools  # (L,) whether all atoms that read nothing are in


class Slots(NamedTuple):
    """Where pieces can go.

    Either accelerators one by one (``serial``), or *pools*: first one slot per kind with what all its
    accelerators offer together, then *open slots*, which count the pieces and the memory of some accelerator
    of their kind while a group is open there.  Last, for each host with a memory limit, a slot that takes no
    pieces and keeps the memory that is left.
    """

    kind: Ints  # (S,) ascending within each part; -1 - host for the memory of a host
    pieces: Ints  # (S,) how many pieces it takes; 0 for an open slot, which is not in use at first
    memory: Floats  # (S,) for all of them together
    host: Ints  # (H,) slot of each host, -1 without a limit
    pools: int  # number of pools; 0 if serial
    each: int  # pieces that one accelerator takes
    serial: bool  # whether a piece waits for the previous one of its slot
    whole_groups: bool  # whether a group must lie in one piece (one piece per accelerator)


class Levels(NamedTuple):
    """What the bounds know of how many pieces are left: R levels, the last of which is the start.

    Kinds of accelerators are told apart by *parts*, one for each or one for all.
    """

    part: Ints  # (K,) part of each kind
    down: Ints  # (parts, R) level after a piece on a part; -1 if none is left there


class Bounded(NamedTuple):
    """A lattice with what is at least still to come after each downset, at each level (see `Levels`).

    It holds for all plans that end before ``upper_ms``.
    """

    lattice: Lattice
    levels: Levels
    h: Floats  # (live, R) after the finish of each node of ``lattice.live``
    h0: Floats  # (L, R) after the start of the first step
    ready: Floats  # (m,) earliest finish of each node
    after: Floats  # (N, B + 1) longest path after each atom, by the memory in use (see `paths`)
    grown: Floats  # (L, K, R) what follows in a piece that made all that is live, without memory limits
    grown_memory: Floats  # (L, K, R) memory that the piece takes meanwhile
    upper_ms: float


class Labels(NamedTuple):
    """Rows of labels, linked per downset."""

    makespan: Floats  # (rows,)
    bound: Floats  # (rows,)
    finish: Floats  # (rows, most live nodes)
    left: Ints  # (rows, S)
    free: Floats  # (rows, S)
    busy: Floats  # (rows, S)
    name: Ints  # (rows, S) which accelerator the slot is
    where: Ints  # (rows, most open groups) name of the slot, or -1 - pool
    state: Ints  # (rows,) the downset
    level: Ints  # (rows,) see `Levels`
    parent: Ints  # (rows,)
    device: Ints  # (rows,) name of the slot of the last step, or -1 - pool
    follow: Ints  # (rows,) next row at the same downset, or next free row; -1 = none
    head: Ints  # (L,)
    length: Ints  # (L,)
    counters: Ints  # (4,)
    values: Floats  # (2,)


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
    start: Floats  # (depths,) earliest time at which all that the piece reads is there
    ready: Floats  # (m,) earliest finish of each node
    limit: Floats  # (1,) pieces that cannot end before this time are left out
    after: Floats  # (N, B + 1) what follows an atom at least when its piece holds b of B parts of memory
    per_byte: Floats  # (1,) parts
    held: Floats  # memory of the piece, whole groups counted
    fresh: Floats  # the same without groups that are open before the piece
    inside: Bools  # (N,) atoms in the downset or the piece
    piece: Bools  # (N,) atoms in the piece
    missing: Ints  # (N,) predecessors outside
    readers: Ints  # (m,) consumers in the piece, of nodes before it
    left: Ints  # (m,) consumer atoms outside the downset and the piece
    kept: Ints  # (depths,) nodes before the piece that are still live after it
    open: Bools  # (G,) groups that are open before the piece
    members: Ints  # (G,) atoms of the group in the piece
    partial: Ints  # (1,) groups that the piece holds some but not all atoms of


def per_byte(limit: Floats, after: Floats) -> float:
    """Return how many of the parts that ``after`` counts a byte takes, of the largest accelerator."""
    return (after.shape[1] - 1) / float(limit.max(initial=1.0)) * (1 - PARTS_SLACK)


def new_walk(atoms: Atoms, after: Floats | None = None) -> Walk:
    """Allocate a walk; without ``after`` nothing is known of what follows."""
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
        start=np.zeros(N + 2),
        ready=np.zeros(m),
        limit=np.full(1, np.inf),
        after=np.zeros((N, 1)) if after is None else after,
        per_byte=np.full(1, 0.0 if after is None else per_byte(atoms.limit, after)),
        held=np.zeros(N + 2),
        fresh=np.zeros(N + 2),
        inside=np.zeros(N, dtype=np.bool_),
        piece=np.zeros(N, dtype=np.bool_),
        missing=np.zeros(N, dtype=np.int64),
        readers=np.zeros(m, dtype=np.int64),
        left=np.zeros(m, dtype=np.int64),
        kept=np.zeros(N + 2, dtype=np.int64),
        open=np.zeros(G, dtype=np.bool_),
        members=np.zeros(G, dtype=np.int64),
        partial=np.zeros(1, dtype=np.int64),
    )
