"""The backward bound: what is at least still to come after a downset.

h(I, u, r), for a live node u of downset I, is at most (makespan − finish time of u) for every completion of
I that has r pieces left; h0(I, r) is at most (makespan − t) where nothing more starts before t.
Backward over all steps I -> J (a host atom, or a piece S, which leaves s pieces of r):

    h(I, u, r)  = min over steps of  max( through(u), h(J, u, s) if u is still live in J )
    through(u)  = duration(S) + max over live outputs e of S of h(J, e, s)   if S reads u, else 0
    h0(I, r)    = min over steps of  max( duration(S) + max over e of h(J, e, s), h0(J, s) )

The next step of a completion is one of the steps, and each term holds for it: an output of S is there no
earlier than ``duration(S)`` after whatever S reads, and what stays live is bounded in J.  Left out are only
restrictions (what the accelerators did before, where open groups went, memory over several pieces), which
can only delay a completion, and what cannot end in time (`Bounded.upper_ms`).
Once a piece S reads all that is live in I, so do all pieces that contain it, and all that is live after one
of them was made in it.  So what is still to be added, sent and done after no longer depends on I:

    grown(J, r) = min( send of all live outputs of J + max of them of h(J, ., s),
                       min over atoms a that may come next of  time(a) + grown(J + a, r) )

Together they take receive(S) + compute(S) + grown(I + S, r) at least, and just that if memory suffices: they
need not be looked at one by one where that is so or where a piece is known that takes no longer.

Transfers that memory forces are seen, because every piece keeps within the memory of one accelerator; waiting
that the number of accelerators forces is seen, because pieces are counted.
"""

from __future__ import annotations

import cython

from placer.methods.latency.kernels.arrays import Control

if not cython.compiled:
    from placer.methods.latency.kernels.views import INFINITY, MEMORY_SLACK, STOP, Bound, spend
    from placer.methods.latency.kernels.walk import begin, fits, following, skip_larger

__all__ = ["backward_bound"]


def _lower_by_host(b: Bound, after: int, r: int, total: float) -> None:
    """Take a step of a host to downset ``after`` into account, which takes ``total`` from its start."""
    at, end = b.lattice.live_start[after], b.lattice.live_start[after + 1]
    for p in range(b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]):
        u = b.lattice.live[p]
        while at < end and b.lattice.live[at] < u:
            at += 1
        value = b.through[u]
        if at < end and b.lattice.live[at] == u:
            value = max(value, b.h[at, r])
        if value < b.h[p, r]:
            b.h[p, r] = value
    b.h0[b.state, r] = min(b.h0[b.state, r], max(total, b.h0[after, r]))


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


def _host_step(b: Bound, a: int, after: int, pool: int, r: int) -> None:
    """Take atom ``a`` on a host into account at level ``r``, where the plan can still end in time."""
    for e in range(b.atoms.node_start[a], b.atoms.node_start[a + 1]):
        b.tail[b.atoms.node[e]] = 0.0
    for p in range(b.lattice.live_start[after], b.lattice.live_start[after + 1]):
        if b.atoms.atom_of[b.lattice.live[p]] == a:
            b.tail[b.lattice.live[p]] = b.h[p, r]
    for e in range(b.atoms.source_start[a], b.atoms.source_start[a + 1]):
        b.through[b.atoms.source[e]] = 0.0
    total = _run_on_host(b, a, pool)
    last = total
    for e in range(b.atoms.source_start[a], b.atoms.source_start[a + 1]):
        u = b.atoms.source[e]
        last = max(last, b.walk.ready[u] + b.through[u])
    if last < b.walk.limit[0]:
        _lower_by_host(b, after, r, total)
    for e in range(b.atoms.source_start[a], b.atoms.source_start[a + 1]):
        b.through[b.atoms.source[e]] = -1.0


def _host_steps(b: Bound) -> None:
    for c in range(b.lattice.child_start[b.state], b.lattice.child_start[b.state + 1]):
        a, after = b.lattice.child_atom[c], b.lattice.child[c]
        for o in range(b.atoms.pool_start[a], b.atoms.pool_start[a + 1]):
            for r in range(b.h0.shape[1]):
                _host_step(b, a, after, b.atoms.pool[o], r)


def _find_rest(b: Bound, d: int) -> None:
    """Set ``rest``, what comes after the piece at depth ``d`` at least, and how long each part takes."""
    after = b.walk.state[d]
    for r in range(b.h0.shape[1]):
        b.rest[r] = 0.0
    for p in range(b.lattice.live_start[after], b.lattice.live_start[after + 1]):
        if b.walk.piece[b.atoms.atom_of[b.lattice.live[p]]]:
            for r in range(b.h0.shape[1]):
                b.rest[r] = max(b.rest[r], b.h[p, r])
    for c in range(b.levels.down.shape[0]):
        b.quickest[c] = INFINITY
    for k in range(b.atoms.time.shape[1]):
        if fits(b.walk, b.atoms, d, k):
            time = b.walk.receive[d, k] + b.walk.compute[d, k] + b.walk.send[d, k]
            b.quickest[b.levels.part[k]] = min(b.quickest[b.levels.part[k]], time)


def _piece_step(b: Bound, d: int) -> None:
    """Take the piece at depth ``d`` of the walk into account."""
    _find_rest(b, d)
    for c in range(b.levels.down.shape[0]):
        if b.quickest[c] < INFINITY:
            _lower_by_piece(b, b.walk.state[d], c, b.walk.limit[0] - b.walk.start[d])


def _lower_by_piece(b: Bound, after: int, c: int, limit: float) -> None:
    """Take the piece at hand on part ``c`` into account where it ends before ``limit`` with what follows."""
    useful = False
    for r in range(b.h0.shape[1]):
        down = b.levels.down[c, r]
        b.total[r] = INFINITY
        if down >= 0 and b.quickest[c] + b.rest[down] < limit:
            b.total[r] = b.quickest[c] + b.rest[down]
            useful = True
            b.h0[b.state, r] = min(b.h0[b.state, r], max(b.total[r], b.h0[after, down]))
    if not useful:
        return
    at, end = b.lattice.live_start[after], b.lattice.live_start[after + 1]
    for p in range(b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]):
        u = b.lattice.live[p]
        while at < end and b.lattice.live[at] < u:
            at += 1
        alive = at < end and b.lattice.live[at] == u
        read = b.walk.readers[u] > 0
        for r in range(b.h0.shape[1]):
            if b.total[r] < INFINITY:
                value = b.total[r] if read else 0.0
                if alive:
                    value = max(value, b.h[at, b.levels.down[c, r]])
                if value < b.h[p, r]:
                    b.h[p, r] = value


def _grow(b: Bound, d: int) -> bool:
    """Take all pieces into account that contain the one at depth ``d``, which reads all that is live.

    Returns whether that was possible; else they have to be looked at one by one.
    """
    after, limit, possible = b.walk.state[d], b.walk.limit[0] - b.walk.start[d], True
    for k in range(b.atoms.time.shape[1]):
        so_far = b.walk.receive[d, k] + b.walk.compute[d, k]
        room = b.atoms.limit[k] * (1.0 + MEMORY_SLACK) - b.walk.held[d]
        for r in range(b.h0.shape[1]):
            total = so_far + b.grown[after, k, r]
            if total >= b.all_read[r] or total >= limit:
                continue
            if b.atoms.group_size.shape[0] == 0 and b.grown_memory[after, k, r] <= room:
                b.all_read[r] = total
            else:
                possible = False
    return possible


def _note_grown(b: Bound) -> None:
    """Set what follows in a piece that made all that is live in the downset at hand."""
    first, end = b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]
    for r in range(b.h0.shape[1]):
        b.rest[r] = 0.0
        for p in range(first, end):
            b.rest[r] = max(b.rest[r], b.h[p, r])
    for k in range(b.atoms.time.shape[1]):
        send = 0.0
        for p in range(first, end):
            send += b.atoms.transfer[b.lattice.live[p], k]
        for r in range(b.h0.shape[1]):
            down = b.levels.down[b.levels.part[k], r]
            least, memory = INFINITY, 0.0
            if down >= 0:
                least = send + b.rest[down]
            for c in range(b.lattice.child_start[b.state], b.lattice.child_start[b.state + 1]):
                a, after = b.lattice.child_atom[c], b.lattice.child[c]
                total = b.atoms.time[a, k] + b.grown[after, k, r]
                if total < least:
                    least, memory = total, b.atoms.memory[a] + b.grown_memory[after, k, r]
            b.grown[b.state, k, r] = least
            b.grown_memory[b.state, k, r] = memory


def _take_all_read(b: Bound) -> None:
    """Take the pieces into account that read all that is live."""
    for r in range(b.h0.shape[1]):
        for p in range(b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]):
            b.h[p, r] = min(b.h[p, r], b.all_read[r])
        b.h0[b.state, r] = min(b.h0[b.state, r], b.all_read[r])


def _set(b: Bound, value: float) -> None:
    """Set the bounds of the downset at hand."""
    for r in range(b.h0.shape[1]):
        for p in range(b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]):
            b.h[p, r] = value
        b.h0[b.state, r] = value


def _close(b: Bound) -> None:
    """Rule out the levels at which no plan through the downset at hand ends in time."""
    first, end = b.lattice.live_start[b.state], b.lattice.live_start[b.state + 1]
    for r in range(b.h0.shape[1]):
        last = b.h0[b.state, r]
        for p in range(first, end):
            last = max(last, b.walk.ready[b.lattice.live[p]] + b.h[p, r])
        if last >= b.walk.limit[0]:
            b.h0[b.state, r] = INFINITY
            for p in range(first, end):
                b.h[p, r] = INFINITY


def _all_steps(b: Bound, control: Control) -> int:
    """Take all steps from the downset at hand into account; return the number of pieces seen."""
    seen = 0
    _set(b, INFINITY)
    for r in range(b.h0.shape[1]):
        b.all_read[r] = INFINITY
    _host_steps(b)
    begin(b.walk, b.atoms, b.lattice, b.state)
    while control[STOP] == 0:
        d = following(b.walk, b.atoms, b.lattice, b.slots)
        if d == 0:
            break
        seen += 1
        spend(control, 1)
        if b.walk.kept[d] == 0 and b.lattice.started[b.walk.state[d]] and _grow(b, d):
            skip_larger(b.walk, d)
        elif not b.slots.whole_groups or b.walk.partial[0] == 0:
            _piece_step(b, d)
    _take_all_read(b)
    _close(b)
    return seen


def _all_states(b: Bound, control: Control) -> int:
    seen = 0
    while b.state >= 0:
        if b.state < b.h0.shape[0] - 1:
            seen += _all_steps(b, control)
            if control[STOP] != 0:
                _set(b, 0.0)
                return -1
        _note_grown(b)
        b.state -= 1
    return seen


def backward_bound(b: Bound, control: Control) -> int:
    """Fill the bounds, from the last downset backwards.

    Returns the number of pieces seen; -1 when the flag stopped it (the downset at hand is set to 0 again).
    """
    with cython.nogil:
        seen = _all_states(b, control)
    return seen
