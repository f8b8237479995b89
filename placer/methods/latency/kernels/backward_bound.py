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

import cython

from placer.methods.latency.kernels.arrays import Control

if not cython.compiled:
    from placer.methods.latency.kernels.views import INFINITY, STOP, Bound, spend
    from placer.methods.latency.kernels.walk import begin, fits, following

__all__ = ["backward_bound"]


def _lower(b: Bound, after: int, total: float) -> None:
    """Take one step to downset ``after`` into account, which takes ``total`` from time 0."""
    at, end = b.lattice.live_start[after], b.lattice.live_start[after + 1]
    for p in range(b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]):
        u = b.lattice.live[p]
        while at < end and b.lattice.live[at] < u:
            at += 1
        value = b.through[u]
        if at < end and b.lattice.live[at] == u:
            value = max(value, b.h[at])
        if value < b.h[p]:
            b.h[p] = value
    b.h0[b.state] = min(b.h0[b.state], max(total, b.h0[after]))


def _run_on_host(b: Bound, a: int, pool: int) -> float:
    """Set ``through`` for what atom ``a`` reads, from the ``tail`` of its members; return what it takes."""
    first, last = b.atoms.node_start[a], b.atoms.node_start[a + 1]
    total = 0.0
    for e in range(last - 1, first - 1, -1):
        v = b.atoms.node[e]
        b.tail[v] += b.atoms.host_time[v, pool]
        total = max(total, b.tail[v])
        for i in range(b.atoms.inner_start[v], b.atoms.inner_start[v + 1]):
            b.tail[b.atoms.inner[i]] = max(b.tail[b.atoms.inner[i]], b.tail[v])
        for i in range(b.atoms.outer_start[v], b.atoms.outer_start[v + 1]):
            b.through[b.atoms.outer[i]] = max(b.through[b.atoms.outer[i]], b.tail[v])
    return total


def _host_steps(b: Bound) -> None:
    for c in range(b.lattice.child_start[b.state], b.lattice.child_start[b.state + 1]):
        a, after = b.lattice.child_atom[c], b.lattice.child[c]
        for o in range(b.atoms.pool_start[a], b.atoms.pool_start[a + 1]):
            for e in range(b.atoms.node_start[a], b.atoms.node_start[a + 1]):
                b.tail[b.atoms.node[e]] = 0.0
            for p in range(b.lattice.live_start[after], b.lattice.live_start[after + 1]):
                if b.atoms.atom_of[b.lattice.live[p]] == a:
                    b.tail[b.lattice.live[p]] = b.h[p]
            for e in range(b.atoms.source_start[a], b.atoms.source_start[a + 1]):
                b.through[b.atoms.source[e]] = 0.0
            total = _run_on_host(b, a, b.atoms.pool[o])
            _lower(b, after, total)
            for e in range(b.atoms.source_start[a], b.atoms.source_start[a + 1]):
                b.through[b.atoms.source[e]] = -1.0


def _piece_step(b: Bound, d: int) -> None:
    """Take the piece at depth ``d`` of the walk into account."""
    after = b.walk.state[d]
    total = INFINITY
    for k in range(b.atoms.time.shape[1]):
        if fits(b.walk, b.atoms, d, k):
            total = min(total, b.walk.receive[d, k] + b.walk.compute[d, k] + b.walk.send[d, k])
    rest = 0.0
    for p in range(b.lattice.live_start[after], b.lattice.live_start[after + 1]):
        if b.walk.piece[b.atoms.atom_of[b.lattice.live[p]]]:
            rest = max(rest, b.h[p])
    total += rest
    first, last = b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]
    for p in range(first, last):
        if b.walk.readers[b.lattice.live[p]] > 0:
            b.through[b.lattice.live[p]] = total
    _lower(b, after, total)
    for p in range(first, last):
        b.through[b.lattice.live[p]] = -1.0


def _set(b: Bound, value: float) -> None:
    """Set the bounds of the downset at hand."""
    for p in range(b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]):
        b.h[p] = value
    b.h0[b.state] = value


def _all_steps(b: Bound, control: Control) -> int:
    """Take all steps from the downset at hand into account; return the number of pieces seen."""
    seen = 0
    _set(b, INFINITY)
    _host_steps(b)
    begin(b.walk, b.atoms, b.lattice, b.state)
    while control[STOP] == 0:
        d = following(b.walk, b.atoms, b.lattice, b.slots)
        if d == 0:
            break
        seen += 1
        spend(control, 1)
        if not b.slots.whole_groups or b.walk.partial[0] == 0:
            _piece_step(b, d)
    return seen


def _all_states(b: Bound, control: Control) -> int:
    seen = 0
    while b.state >= 0:
        if b.state < b.h0.shape[0] - 1:
            seen += _all_steps(b, control)
            if control[STOP] != 0:
                _set(b, 0.0)
                return -1
        b.state -= 1
    return seen


def backward_bound(b: Bound, control: Control) -> int:
    """Fill the bounds, from the last downset backwards.

    Returns the number of pieces seen; -1 when the flag stopped it (the downset at hand is set to 0 again).
    """
    with cython.nogil:
        seen = _all_states(b, control)
    return seen
