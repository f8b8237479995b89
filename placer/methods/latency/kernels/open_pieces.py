"""Pieces that read all that is live, carried from downset to downset before it is known where they end.

Whatever such a piece grows to makes all that is live afterwards.  So of where it began only its time so far
and its memory matter: an *open piece* at downset J is a label, a slot, and a piece from the label's downset
to J that reads all that was live.  It may end at J, which makes a label there, or take one atom more.
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.latency.kernels.labels import insert
    from placer.methods.latency.kernels.views import (
        CANDIDATE,
        DROPPED,
        INFINITY,
        MEMORY_SLACK,
        TIE,
        UPPER,
        Search,
    )

__all__ = ["begin_pieces", "end_pieces", "give_up_pieces", "grows_too_late"]


def grows_too_late(search: Search, d: int) -> bool:
    """Whether neither the piece at depth ``d``, which reads all that is live, nor a larger one is of use."""
    after, cutoff = search.walk.state[d], search.labels.values[UPPER] * (1.0 - TIE)
    for k in range(search.atoms.limit.shape[0]):
        so_far = search.walk.start[d] + search.walk.receive[d, k] + search.walk.compute[d, k]
        for r in range(search.h0.shape[1]):
            if search.present[r] and so_far + search.grown[after, k, r] < cutoff:
                return False
    return True


def begin_pieces(search: Search, d: int) -> None:
    """Open the piece at depth ``d`` of the walk after each label of the downset at hand, on each slot."""
    new = search.walk.state[d]
    live = search.lattice.live_start[search.state + 1] - search.lattice.live_start[search.state]
    row = search.labels.head[search.state]
    while row >= 0:
        start = 0.0
        for p in range(live):
            start = max(start, search.labels.finish[row, p])
        for s in range(search.slots.pools):
            if search.labels.left[row, s] != 0:
                k = search.slots.kind[s]
                search.opened.next_parent, search.opened.next_slot, search.opened.next_held = (
                    row,
                    s,
                    search.walk.held[d],
                )
                search.opened.next_time = start + search.walk.receive[d, k] + search.walk.compute[d, k]
                _offer_piece(search, new)
        row = search.labels.follow[row]


def _offer_piece(search: Search, state: int) -> None:
    """Keep the next open piece at a downset unless it is of no use or another one is as good."""
    row = search.opened.next_parent
    k = search.slots.kind[search.opened.next_slot]
    if search.opened.next_held > search.atoms.limit[k] * (1.0 + MEMORY_SLACK):
        return
    bound = search.opened.next_time + search.grown[state, k, search.labels.level[row]]
    if bound >= search.labels.values[UPPER] * (1.0 - TIE):
        return
    before, at = -1, search.opened.head[state]
    while at >= 0:
        after = search.opened.follow[at]
        if _as_good(search, at, bound):
            return
        if _is_worse(search, at):
            if before < 0:
                search.opened.head[state] = after
            else:
                search.opened.follow[before] = after
            search.opened.follow[at], search.opened.free = search.opened.free, at
        else:
            before = at
        at = after
    if search.opened.free < 0:
        search.labels.values[DROPPED] = min(search.labels.values[DROPPED], bound)
        return
    at = search.opened.free
    search.opened.free = search.opened.follow[at]
    search.opened.time[at], search.opened.held[at], search.opened.bound[at] = (
        search.opened.next_time,
        search.opened.next_held,
        bound,
    )
    search.opened.parent[at], search.opened.slot[at], search.opened.follow[at] = (
        row,
        search.opened.next_slot,
        search.opened.head[state],
    )
    search.opened.head[state] = at


def _as_good(search: Search, at: int, bound: float) -> bool:
    """Whether open piece ``at`` makes the next one, with this bound, superfluous.

    It is on the same slot, was begun after a label that has as much left, and takes no more time and memory
    so far: whatever the other grows to and whatever follows, it can as well.
    """
    if (
        search.opened.slot[at] != search.opened.next_slot
        or search.opened.time[at] > search.opened.next_time
        or search.opened.held[at] > search.opened.next_held
    ):
        return False
    return _has_as_much(search, search.opened.parent[at], search.opened.next_parent, bound)


def _is_worse(search: Search, at: int) -> bool:
    """Whether the next open piece makes that at ``at`` superfluous."""
    if (
        search.opened.slot[at] != search.opened.next_slot
        or search.opened.time[at] < search.opened.next_time
        or search.opened.held[at] < search.opened.next_held
    ):
        return False
    return _has_as_much(search, search.opened.next_parent, search.opened.parent[at], search.opened.bound[at])


def _has_as_much(search: Search, a: int, b: int, bound: float) -> bool:
    """Whether label ``a`` has as much left as ``b`` and ends by ``bound``."""
    if a == b:
        return True
    if search.labels.makespan[a] > bound:
        return False
    for s in range(search.slots.kind.shape[0]):
        if search.labels.left[a, s] < search.labels.left[b, s]:
            return False
        if search.labels.free[a, s] < search.labels.free[b, s]:
            return False
    return True


def end_pieces(search: Search) -> int:
    """End all open pieces of the downset at hand, or let them grow; return how often that was done."""
    seen = 0
    at = search.opened.head[search.state]
    while at >= 0:
        _end_piece(search, at)
        k = search.slots.kind[search.opened.slot[at]]
        for c in range(
            search.lattice.child_start[search.state], search.lattice.child_start[search.state + 1]
        ):
            a = search.lattice.child_atom[c]
            if search.atoms.time[a, k] < INFINITY:
                search.opened.next_parent, search.opened.next_slot = (
                    search.opened.parent[at],
                    search.opened.slot[at],
                )
                search.opened.next_time = search.opened.time[at] + search.atoms.time[a, k]
                search.opened.next_held = search.opened.held[at] + search.atoms.memory[a]
                _offer_piece(search, search.lattice.child[c])
                seen += 1
        after = search.opened.follow[at]
        search.opened.follow[at], search.opened.free = search.opened.free, at
        at = after
    search.opened.head[search.state] = -1
    return seen


def _end_piece(search: Search, at: int) -> None:
    """Make the label of the downset at hand that ends open piece ``at``."""
    c, state = CANDIDATE, search.state
    row, s = search.opened.parent[at], search.opened.slot[at]
    k = search.slots.kind[s]
    level = search.levels.down[search.levels.part[k], search.labels.level[row]]
    first = search.lattice.live_start[state]
    live = search.lattice.live_start[state + 1] - first
    finish, rest = search.opened.time[at], 0.0
    for p in range(live):
        finish += search.atoms.transfer[search.lattice.live[first + p], k]
        rest = max(rest, search.h[first + p, level])
    bound = max(search.labels.makespan[row], finish + rest)
    bound = max(bound, (finish if search.lattice.started[state] else 0.0) + search.h0[state, level])
    if bound >= search.labels.values[UPPER] * (1.0 - TIE):
        return
    for p in range(live):
        search.labels.finish[c, p] = finish
    for i in range(search.slots.kind.shape[0]):
        search.labels.left[c, i] = search.labels.left[row, i]
        search.labels.free[c, i] = search.labels.free[row, i]
        search.labels.busy[c, i] = search.labels.busy[row, i]
        search.labels.name[c, i] = search.labels.name[row, i]
    search.labels.left[c, s] -= 1
    search.labels.free[c, s] -= search.opened.held[at]
    search.labels.makespan[c] = max(search.labels.makespan[row], finish)
    search.labels.bound[c], search.labels.level[c] = bound, level
    search.labels.parent[c], search.labels.device[c] = row, search.labels.name[row, s]
    insert(search.labels, search.lattice, search.slots, state, search.beam)


def give_up_pieces(search: Search) -> None:
    """Record that what is open from the downset at hand on will not be looked at."""
    for state in range(search.state, search.opened.head.shape[0]):
        at = search.opened.head[state]
        while at >= 0:
            search.labels.values[DROPPED] = min(search.labels.values[DROPPED], search.opened.bound[at])
            at = search.opened.follow[at]
