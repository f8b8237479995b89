"""Label setting over downsets for the latency of one sample."""

from __future__ import annotations

import cython

from placer.methods.latency.kernels.arrays import Control

if not cython.compiled:
    from placer.methods.latency.kernels.labels import insert, take_comparisons
    from placer.methods.latency.kernels.matching import match_lists
    from placer.methods.latency.kernels.open_pieces import (
        begin_pieces,
        end_pieces,
        give_up_pieces,
        grows_too_late,
    )
    from placer.methods.latency.kernels.slots import awaited, same_as_previous, tidy
    from placer.methods.latency.kernels.views import (
        CANDIDATE,
        DROPPED,
        INFINITY,
        MEMORY_SLACK,
        STOP,
        TIE,
        UPPER,
        LabelsView,
        Search,
        spend,
    )
    from placer.methods.latency.kernels.walk import begin, fits, following, skip_larger

__all__ = ["expand_all"]


def _carry(search: Search, row: int, new: int, level: int, device: int, where: int) -> None:
    """Copy to the candidate what a step leaves alone.

    ``where`` is the place of the groups that the step opens.
    """
    c = CANDIDATE
    for i in range(search.step.keeps):
        time = search.labels.finish[row, search.step.kept_old[i]]
        search.labels.finish[c, search.step.kept_new[i]] = time
    for s in range(search.labels.left.shape[1]):
        search.labels.left[c, s] = search.labels.left[row, s]
        search.labels.free[c, s] = search.labels.free[row, s]
        search.labels.busy[c, s] = search.labels.busy[row, s]
        search.labels.name[c, s] = search.labels.name[row, s]
    for g in range(search.lattice.open_start[new + 1] - search.lattice.open_start[new]):
        old = search.step.group_old[g]
        search.labels.where[c, g] = search.labels.where[row, old] if old >= 0 else where
    search.labels.level[c] = level
    search.labels.parent[c] = row
    search.labels.device[c] = device


def _bound_of_kept(search: Search, row: int, new: int, level: int, last: float) -> float:
    """Lower bound after a step from label ``row`` by what stays live; ``last`` is when the step ends."""
    first, bound, cutoff = search.lattice.live_start[new], last, search.labels.values[UPPER] * (1.0 - TIE)
    earliest = last if search.step.makes > 0 or search.step.keeps == 0 else INFINITY
    for i in range(search.step.keeps):
        kept = search.labels.finish[row, search.step.kept_old[i]]
        earliest = min(earliest, kept)
        bound = max(bound, kept + search.h[first + search.step.kept_new[i], level])
        if bound >= cutoff:
            return bound
    if not search.lattice.started[new]:
        earliest = 0.0
    return max(bound, earliest + search.h0[new, level])


def _begun(search: Search, group: int) -> int:
    """Position of a group among the open ones of the downset at hand, or -1."""
    first = search.lattice.open_start[search.state]
    for p in range(first, search.lattice.open_start[search.state + 1]):
        if search.lattice.open[p] == group:
            return p - first
    return -1


def _host_steps(search: Search) -> None:
    """Append each atom that may come next to all labels of the downset at hand, on each host."""
    for c in range(search.lattice.child_start[search.state], search.lattice.child_start[search.state + 1]):
        a, new = search.lattice.child_atom[c], search.lattice.child[c]
        match_lists(search.step, search.lattice, search.state, new)
        begun = _begun(search, search.atoms.group[a])
        fresh = search.atoms.memory[
            a
        ]  # what the step adds to the host: its own, or that of the group it opens
        if search.atoms.group[a] >= 0 and begun < 0:
            fresh += search.atoms.group_memory[search.atoms.group[a]]
        for o in range(search.atoms.pool_start[a], search.atoms.pool_start[a + 1]):
            host = search.atoms.pool[o]
            row = search.labels.head[search.state]
            while row >= 0:
                here = begun < 0 or search.labels.where[row, begun] == -1 - host
                here = here and _has_room(search, row, host, fresh, begun >= 0)
                if here and _run_on_host(search, row, new, a, host, fresh):
                    insert(search.labels, search.lattice, search.slots, new, search.beam)
                row = search.labels.follow[row]


def _has_room(search: Search, row: int, host: int, fresh: float, begun: bool) -> bool:
    """Whether a host has room after label ``row``, and no unused one that is alike comes before it.

    A host is unused when all its memory is free; exchanging the names of two such hosts maps completions
    onto each other.  (Open groups that need no memory may lie on either: they stay there.)
    """
    s = search.slots.host[host]
    if s < 0:
        return True
    if search.atoms.alike[host] >= 0 and not begun:
        twin = search.slots.host[search.atoms.alike[host]]
        if search.labels.free[row, twin] == search.slots.memory[twin]:
            return False
    return fresh <= search.labels.free[row, s] + MEMORY_SLACK * search.atoms.host_limit[host]


def _finish_on_host(search: Search, row: int, a: int, host: int) -> float:
    """Set the finish times of the members of atom ``a`` after label ``row``, each run when it can start.

    Returns the makespan.
    """
    last = search.labels.makespan[row]
    for e in range(search.atoms.node_start[a], search.atoms.node_start[a + 1]):
        v = search.atoms.node[e]
        start = 0.0
        for i in range(search.atoms.inner_start[v], search.atoms.inner_start[v + 1]):
            start = max(start, search.step.done[search.atoms.inner[i]])
        for i in range(search.atoms.outer_start[v], search.atoms.outer_start[v + 1]):
            start = max(start, search.labels.finish[row, search.step.place[search.atoms.outer[i]]])
        search.step.done[v] = start + search.atoms.host_time[v, host]
        last = max(last, search.step.done[v])
    return last


def _run_on_host(search: Search, row: int, new: int, a: int, host: int, fresh: float) -> bool:
    """Make the candidate: atom ``a`` on a host after label ``row``; return whether it may be of use."""
    last, level = _finish_on_host(search, row, a, host), search.labels.level[row]
    bound, earliest = last, last
    for i in range(search.step.makes):
        time = search.step.done[search.step.made_node[i]]
        search.labels.finish[CANDIDATE, search.step.made[i]] = time
        bound = max(bound, time + search.h[search.lattice.live_start[new] + search.step.made[i], level])
        earliest = min(earliest, time)
    bound = max(bound, _bound_of_kept(search, row, new, level, earliest))
    if bound >= search.labels.values[UPPER] * (1.0 - TIE):
        return False
    _carry(search, row, new, level, -1 - host, -1 - host)
    search.labels.makespan[CANDIDATE], search.labels.bound[CANDIDATE] = last, bound
    if search.slots.host[host] >= 0:
        search.labels.free[CANDIDATE, search.slots.host[host]] -= fresh
    if search.slots.serial:
        tidy(search.labels, search.lattice, search.slots, new)
    return True


def _match_piece(search: Search, new: int) -> None:
    """Match the downset at hand with ``new``; list what the piece between them reads and touches."""
    match_lists(search.step, search.lattice, search.state, new)
    search.step.reads = search.step.touches = 0
    first = search.lattice.live_start[search.state]
    for p in range(first, search.lattice.live_start[search.state + 1]):
        if search.walk.readers[search.lattice.live[p]] > 0:
            search.step.read[search.step.reads] = p - first
            search.step.reads += 1
    first = search.lattice.open_start[search.state]
    for p in range(first, search.lattice.open_start[search.state + 1]):
        if search.walk.members[search.lattice.open[p]] > 0:
            search.step.touched[search.step.touches] = p - first
            search.step.touches += 1


def _piece_steps(search: Search, d: int) -> None:
    """Append the piece at depth ``d`` of the walk to all labels of the downset at hand, on all slots."""
    new = search.walk.state[d]
    _match_piece(search, new)
    for k in range(search.atoms.limit.shape[0]):
        search.step.fits[k] = fits(search.walk, search.atoms, d, k)
    first = search.lattice.live_start[new]
    for r in range(search.h0.shape[1]):
        search.step.rest[r] = 0.0
        for i in range(search.step.makes):
            search.step.rest[r] = max(search.step.rest[r], search.h[first + search.step.made[i], r])
    if _too_late(search, new, d):
        return
    row = search.labels.head[search.state]
    while row >= 0:
        start = 0.0
        for i in range(search.step.reads):
            start = max(start, search.labels.finish[row, search.step.read[i]])
        _place(search, row, new, d, start)
        row = search.labels.follow[row]


def _too_late(search: Search, new: int, d: int) -> bool:
    """Whether the piece at depth ``d`` is of no use even if each node is there as soon as after any label."""
    first, cutoff = search.lattice.live_start[new], search.labels.values[UPPER] * (1.0 - TIE)
    most = search.h0.shape[1] - 1
    for i in range(search.step.keeps):
        p = first + search.step.kept_new[i]
        if search.walk.ready[search.lattice.live[p]] + search.h[p, most] >= cutoff:
            return True
    for k in range(search.atoms.limit.shape[0]):
        time = search.walk.receive[d, k] + search.walk.compute[d, k] + search.walk.send[d, k]
        if search.step.fits[k] and search.walk.start[d] + time + search.step.rest[most] < cutoff:
            return False
    return True


def _place(search: Search, row: int, new: int, d: int, start: float) -> None:
    """Append a piece to one label, on every slot that can take it and may be of use.

    Of accelerators in the same situation (same kind, pieces left, memory, time; no open group there) only
    the first is tried: exchanging their names maps completions onto each other.
    """
    tied = -1  # the slot of the open groups that the piece adds to
    for i in range(search.step.touches):
        where = search.labels.where[row, search.step.touched[i]]
        if where < 0 or (tied >= 0 and tied != where):
            return
        tied = where
    opens = False
    for g in range(search.lattice.open_start[new + 1] - search.lattice.open_start[new]):
        opens = opens or search.step.group_old[g] < 0
    slots = search.slots.kind.shape[0] if search.slots.serial else search.slots.pools
    for s in range(slots):
        k = search.slots.kind[s]
        if k < 0 or not _takes(search, row, d, s):
            continue  # the memory of a host, or no room
        begin_at = max(start, search.labels.busy[row, s]) if search.slots.serial else start
        finish = begin_at + search.walk.receive[d, k] + search.walk.compute[d, k] + search.walk.send[d, k]
        level, cutoff = _after(search, row, k), search.labels.values[UPPER] * (1.0 - TIE)
        after = max(search.labels.makespan[row], finish + search.step.rest[level])
        if after >= cutoff:
            continue
        after = max(after, _bound_of_kept(search, row, new, level, finish))
        if after >= cutoff:
            continue
        if not search.slots.serial:
            if tied >= 0 or opens:
                _place_open(search, row, new, d, s, tied, finish, after)
            else:
                _append(search, row, new, d, s, -1, finish, after)
        elif tied < 0:
            if not same_as_previous(search.labels, search.lattice, search.slots, search.state, row, s):
                _append(search, row, new, d, s, -1, finish, after)
        elif search.labels.name[row, s] == tied:
            _append(search, row, new, d, s, -1, finish, after)


def _after(search: Search, row: int, k: int) -> int:
    """Level after a piece of kind ``k`` and label ``row``."""
    return search.levels.down[search.levels.part[k], search.labels.level[row]]


def _takes(search: Search, row: int, d: int, s: int) -> bool:
    """Whether slot ``s`` after label ``row`` has room for the piece at depth ``d``."""
    k = search.slots.kind[s]
    room = search.labels.free[row, s] + MEMORY_SLACK * search.atoms.limit[k]
    return search.labels.left[row, s] != 0 and search.walk.fresh[d] <= room and search.step.fits[k] != 0


def _place_open(
    search: Search, row: int, new: int, d: int, s: int, tied: int, finish: float, bound: float
) -> None:
    """Append a piece that opens a group or adds to an open one, to pool ``s`` and an open slot (see `Slots`).

    A piece that opens groups without adding to any may go to an open slot in use or take another:
    whichever accelerator it is on in a plan, one of these choices is right, and no choice takes more than
    the plan does.
    """
    k, idle_tried = search.slots.kind[s], False
    for t in range(search.slots.pools, search.slots.kind.shape[0]):
        idle = search.labels.left[row, t] == 0
        if search.slots.kind[t] != k or (tied >= 0 and t != tied) or (idle and idle_tried):
            continue
        idle_tried = idle_tried or idle
        room = search.atoms.limit[k] if idle else search.labels.free[row, t]
        if search.walk.fresh[d] <= room + MEMORY_SLACK * search.atoms.limit[k]:
            _append(search, row, new, d, s, t, finish, bound)


def _append(
    search: Search, row: int, new: int, d: int, s: int, opened: int, finish: float, bound: float
) -> None:
    """Make and insert the candidate: piece after label ``row`` in slot ``s``, an open slot or none (-1)."""
    c, name = CANDIDATE, search.labels.name[row, s]
    level = _after(search, row, search.slots.kind[s])
    _carry(search, row, new, level, name, opened if opened >= 0 else name)
    for i in range(search.step.makes):
        search.labels.finish[c, search.step.made[i]] = finish
    search.labels.makespan[c] = max(search.labels.makespan[row], finish)
    search.labels.bound[c] = bound
    search.labels.left[c, s] -= 1
    search.labels.free[c, s] -= search.walk.fresh[d]
    if search.slots.serial:
        search.labels.busy[c, s] = finish
        if search.labels.left[c, s] == 0 and awaited(search.labels, search.lattice, new, name):
            return
        tidy(search.labels, search.lattice, search.slots, new)
    elif opened >= 0 and not _use_open(search, new, d, opened):
        return
    insert(search.labels, search.lattice, search.slots, new, search.beam)


def _use_open(search: Search, new: int, d: int, t: int) -> bool:
    """Count the piece in open slot ``t`` of the candidate; return whether enough is left there."""
    c = CANDIDATE
    if search.labels.left[c, t] == 0:
        search.labels.left[c, t] = search.slots.each
        search.labels.free[c, t] = search.atoms.limit[search.slots.kind[t]]
    search.labels.left[c, t] -= 1
    search.labels.free[c, t] -= search.walk.fresh[d]
    if not awaited(search.labels, search.lattice, new, t):
        search.labels.left[c, t], search.labels.free[c, t] = 0, -1.0
        return True
    return search.labels.left[c, t] > 0


def _leave(labels: LabelsView, state: int) -> None:
    """Give up all labels from downset ``state`` on."""
    for i in range(state, labels.head.shape[0]):
        row = labels.head[i]
        while row >= 0:
            labels.values[DROPPED] = min(labels.values[DROPPED], labels.bound[row])
            row = labels.follow[row]


def _note_times(search: Search) -> None:
    """Let the walk know when nodes are there after any label of the downset at hand, and what is too late."""
    first, end = search.lattice.live_start[search.state], search.lattice.live_start[search.state + 1]
    for p in range(first, end):
        search.walk.ready[search.lattice.live[p]] = INFINITY
    for r in range(search.h0.shape[1]):
        search.present[r] = False
    row = search.labels.head[search.state]
    while row >= 0:
        search.present[search.labels.level[row]] = True
        for p in range(first, end):
            u = search.lattice.live[p]
            search.walk.ready[u] = min(search.walk.ready[u], search.labels.finish[row, p - first])
        row = search.labels.follow[row]
    search.walk.limit[0] = search.labels.values[UPPER]


def _expand(search: Search, control: Control) -> int:
    """Take all steps from the downset at hand; return the number of pieces looked at."""
    seen, first = 0, search.lattice.live_start[search.state]
    for p in range(first, search.lattice.live_start[search.state + 1]):
        search.step.place[search.lattice.live[p]] = p - first
    carried = 1 + (search.lattice.live_start[search.state + 1] - first + search.slots.kind.shape[0]) // 16
    _host_steps(search)
    _note_times(search)
    begin(search.walk, search.atoms, search.lattice, search.state)
    while control[STOP] == 0:
        d = following(search.walk, search.atoms, search.lattice, search.slots)
        if d == 0:
            break
        seen += 1
        spend(control, 1 + carried * search.labels.length[search.state])
        if search.walk.kept[d] == 0 and grows_too_late(search, d):
            skip_larger(search.walk, d)
        elif search.walk.kept[d] == 0 and search.opens:
            begin_pieces(search, d)
            skip_larger(search.walk, d)
        elif not search.slots.whole_groups or search.walk.partial[0] == 0:
            _piece_steps(search, d)
    return seen


def _expand_all(search: Search, control: Control) -> int:
    seen = 0
    while search.state < search.labels.head.shape[0] - 1:
        if control[STOP] == 0 and search.opens:
            spend(control, end_pieces(search))
        if control[STOP] == 0 and search.labels.head[search.state] >= 0:
            seen += _expand(search, control)
            spend(control, take_comparisons(search.labels))
        if control[STOP] != 0:
            _leave(search.labels, search.state)
            give_up_pieces(search)
            break
        search.state += 1
    if control[STOP] == 0 and search.opens:
        end_pieces(search)
    return seen


def expand_all(search: Search, control: Control) -> int:
    """Expand all labels, downset by downset, keeping the ``beam`` best of each rank.

    Afterwards every plan that beats ``labels.values[UPPER]`` has a makespan of at least
    ``labels.values[DROPPED]``.  Returns the number of pieces looked at.
    """
    with cython.nogil:
        seen = _expand_all(search, control)
    return seen
