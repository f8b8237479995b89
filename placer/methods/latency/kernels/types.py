"""The arrays that the latency kernels share, grouped as named tuples (which compiled code can read)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from placer.jit import jit_inline

__all__ = ["COUNT", "STOP", "Atoms", "Control", "Lattice", "Slots", "new_control", "spend"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Control = Ints

STOP, COUNT, LIMIT = 0, 1, 2
"""Positions in a control array: the stop flag, which kernels look at again and again, and counted steps."""
NO_LIMIT = 2**62


def new_control(limit: int = NO_LIMIT) -> Control:
    """Return a control array with the flag down; it goes up after ``limit`` counted steps."""
    return np.array([0, 0, limit], dtype=np.int64)


@jit_inline
def spend(control: Control, steps: int) -> None:
    """Count steps, and raise the flag when they are enough."""
    control[COUNT] += steps
    if control[COUNT] >= control[LIMIT]:
        control[STOP] = 1


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
    accelerators offer together, then *tethers*, slots in use while a group is open on an accelerator.  Last,
    for each host with a memory limit, a slot that takes no pieces and keeps the memory that is left.
    """

    kind: Ints  # (S,) ascending within each part; -1 - host for the memory of a host
    pieces: Ints  # (S,) how many pieces it takes; 0 for a tether, which is not in use at first
    memory: Floats  # (S,) for all of them together
    host: Ints  # (H,) slot of each host, -1 without a limit
    pools: int  # number of pools; 0 if serial
    each: int  # pieces that one accelerator takes
    serial: bool  # whether a piece waits for the previous one of its slot
    whole_groups: bool  # whether a group must lie in one piece (one piece per accelerator)
