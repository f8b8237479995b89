"""Label setting over downsets for the latency of one sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from placer.jit import jit, jit_inline
from placer.methods.latency.kernels.labels import CANDIDATE, DROPPED, TIE, UPPER, Labels, insert
from placer.methods.latency.kernels.slots import awaited, same_as_previous, tidy
from placer.methods.latency.kernels.types import STOP, Atoms, Control, Floats, Ints, Lattice, Slots, spend
from placer.methods.latency.kernels.walk import MEMORY_SLACK, Walk, begin, fits, following

__all__ = ["Step", "new_step", "search"]


class Step(NamedTuple):
    """What all labels at a downset share about one step to another, rebuilt for each step."""

    read: Ints  # positions in the old live list of what the step reads
    kept_old: Ints  # positions in the old live list of what stays live,
    kept_new: Ints  # and in the new one
    made: Ints  # positions in the new live list of what the step makes
    made_node: Ints
    group_old: Ints  # position of each newly open group in the old open list, -1 = opened by the step
    touched: Ints  # positions in the old open list of the groups that the step adds to
    lengths: Ints  # (3,) lengths: kept, made, touched
    place: Ints  # (m,) position of a live node in the old list
    done: Floats  # (m,) finish times of the nodes of a host atom


def new_step(atoms: Atoms) -> Step:
    """Allocate a step (outside the kernels, which allocate nothing)."""
    m, G = len(atoms.atom_of), len(atoms.group_size)
    return Step(
        read=np.zeros(m, dtype=np.int64),
        kept_old=np.zeros(m, dtype=np.int64),
        kept_new=np.zeros(m, dtype=np.int64),
        made=np.zeros(m, dtype=np.int64),
        made_node=np.zeros(m, dtype=np.int64),
        group_old=np.zeros(G, dtype=np.int64),
        touched=np.zeros(G, dtype=np.int64),
        lengths=np.zeros(3, dtype=np.int64),
        place=np.zeros(m, dtype=np.int64),
        done=np.zeros(m),
    )


@jit_inline
def _match(step: Step, lattice: Lattice, old: int, new: int) -> None:
    """Match live nodes and open groups of two downsets (both lists ascend)."""
    kept = made = 0
    at, end = lattice.live_start[old], lattice.live_start[old + 1]
    first = at
    for p in range(lattice.live_start[new], lattice.live_start[new + 1]):
        u = lattice.live[p]
        while at < end and lattice.live[at] < u:
            at += 1
        if at < end and lattice.live[at] == u:
            step.kept_old[kept] = at - first
            step.kept_new[kept] = p - lattice.live_start[new]
            kept += 1
        else:
            step.made[made] = p - lattice.live_start[new]
            step.made_node[made] = u
            made += 1
    step.lengths[0], step.lengths[1] = kept, made
    at, end = lattice.open_start[old], lattice.open_start[old + 1]
    first = at
    for p in range(lattice.open_start[new], lattice.open_start[new + 1]):
        g = lattice.open[p]
        while at < end and lattice.open[at] < g:
            at += 1
        found = at < end and lattice.open[at] == g
        step.group_old[p - lattice.open_start[new]] = at - first if found else -1


@jit_inline
def _carry(
    step: Step, labels: Labels, lattice: Lattice, h: Floats, row: int, new: int, device: int, where: int
) -> float:
    """Copy to the candidate what a step leaves alone; return the bound that it gives.

    ``where`` is the place of the groups that the step opens.
    """
    bound = 0.0
    first = lattice.live_start[new]
    for i in range(step.lengths[0]):
        p = step.kept_new[i]
        time = labels.finish[row, step.kept_old[i]]
        labels.finish[CANDIDATE, p] = time
        bound = max(bound, time + h[first + p])
    for s in range(labels.left.shape[1]):
        labels.left[CANDIDATE, s] = labels.left[row, s]
        labels.free[CANDIDATE, s] = labels.free[row, s]
        labels.busy[CANDIDATE, s] = labels.busy[row, s]
        labels.name[CANDIDATE, s] = labels.name[row, s]
    for g in range(lattice.open_start[new + 1] - lattice.open_start[new]):
        old = step.group_old[g]
        labels.where[CANDIDATE, g] = labels.where[row, old] if old >= 0 else where
    labels.parent[CANDIDATE] = row
    labels.device[CANDIDATE] = device
    return bound


@jit
def _host_steps(
    step: Step,
    labels: Labels,
    atoms: Atoms,
    lattice: Lattice,
    slots: Slots,
    h: Floats,
    h0: Floats,
    state: int,
    beam: int,
) -> None:
    for c in range(lattice.child_start[state], lattice.child_start[state + 1]):
        a, new = lattice.child_atom[c], lattice.child[c]
        _match(step, lattice, state, new)
        begun = -1
        for g in range(lattice.open_start[state], lattice.open_start[state + 1]):
            if lattice.open[g] == atoms.group[a]:
                begun = g - lattice.open_start[state]
        fresh = atoms.memory[a]  # what the step adds to the host: its own, or that of the group it opens
        if atoms.group[a] >= 0 and begun < 0:
            fresh += atoms.group_memory[atoms.group[a]]
        for o in range(atoms.pool_start[a], atoms.pool_start[a + 1]):
            device = -1 - atoms.pool[o]
            row = labels.head[state]
            while row >= 0:
                here = labels.where[row, begun] == device if begun >= 0 else True
                if here and _has_room(labels, atoms, slots, row, atoms.pool[o], fresh, begun >= 0):
                    _run_on_host(step, labels, atoms, lattice, slots, h, h0, row, new, a, device, fresh)
                    insert(labels, lattice, slots, new, beam)
                row = labels.follow[row]


@jit_inline
def _has_room(
    labels: Labels, atoms: Atoms, slots: Slots, row: int, host: int, fresh: float, begun: bool
) -> bool:
    """Whether a host has room after label ``row``, and no unused one that is alike comes before it.

    A host is unused when all its memory is free; exchanging the names of two such hosts maps completions
    onto each other.  (Open groups that need no memory may lie on either: they stay there.)
    """
    s = slots.host[host]
    if s < 0:
        return True
    alike = atoms.alike[host]
    if alike >= 0 and not begun and labels.free[row, slots.host[alike]] == slots.memory[slots.host[alike]]:
        return False
    return fresh <= labels.free[row, s] + MEMORY_SLACK * atoms.host_limit[host]


@jit_inline
def _run_on_host(
    step: Step,
    labels: Labels,
    atoms: Atoms,
    lattice: Lattice,
    slots: Slots,
    h: Floats,
    h0: Floats,
    row: int,
    new: int,
    a: int,
    device: int,
    fresh: float,
) -> None:
    """Make the candidate: atom ``a`` on a host after label ``row``, each member when it can start."""
    T = labels.makespan[row]
    for e in range(atoms.node_start[a], atoms.node_start[a + 1]):
        v = atoms.node[e]
        start = 0.0
        for i in range(atoms.inner_start[v], atoms.inner_start[v + 1]):
            start = max(start, step.done[atoms.inner[i]])
        for i in range(atoms.outer_start[v], atoms.outer_start[v + 1]):
            start = max(start, labels.finish[row, step.place[atoms.outer[i]]])
        step.done[v] = start + atoms.host_time[v, -1 - device]
        T = max(T, step.done[v])
    bound = max(_carry(step, labels, lattice, h, row, new, device, device), max(T, h0[new]))
    for i in range(step.lengths[1]):
        time = step.done[step.made_node[i]]
        labels.finish[CANDIDATE, step.made[i]] = time
        bound = max(bound, time + h[lattice.live_start[new] + step.made[i]])
    labels.makespan[CANDIDATE], labels.bound[CANDIDATE] = T, bound
    if slots.host[-1 - device] >= 0:
        labels.free[CANDIDATE, slots.host[-1 - device]] -= fresh
    if slots.serial:
        tidy(labels, lattice, slots, new)


@jit_inline
def _piece_steps(
    step: Step,
    walk: Walk,
    labels: Labels,
    atoms: Atoms,
    lattice: Lattice,
    slots: Slots,
    h: Floats,
    h0: Floats,
    state: int,
    d: int,
    beam: int,
) -> None:
    """Append the piece at depth ``d`` of the walk to all labels of ``state``, on all slots."""
    new = walk.state[d]
    _match(step, lattice, state, new)
    read = 0
    for p in range(lattice.live_start[state], lattice.live_start[state + 1]):
        if walk.readers[lattice.live[p]] > 0:
            step.read[read] = p - lattice.live_start[state]
            read += 1
    touched = 0
    for p in range(lattice.open_start[state], lattice.open_start[state + 1]):
        if walk.members[lattice.open[p]] > 0:
            step.touched[touched] = p - lattice.open_start[state]
            touched += 1
    step.lengths[2] = touched
    rest = 0.0
    for i in range(step.lengths[1]):
        rest = max(rest, h[lattice.live_start[new] + step.made[i]])
    row = labels.head[state]
    while row >= 0:
        start, bound = 0.0, max(labels.makespan[row], h0[new])
        for i in range(read):
            start = max(start, labels.finish[row, step.read[i]])
        for i in range(step.lengths[0]):
            kept = labels.finish[row, step.kept_old[i]]
            bound = max(bound, kept + h[lattice.live_start[new] + step.kept_new[i]])
        if bound < labels.values[UPPER] * (1.0 - TIE):
            _place(step, walk, labels, atoms, lattice, slots, h, row, new, d, start, bound, rest, beam)
        row = labels.follow[row]


@jit_inline
def _place(
    step: Step,
    walk: Walk,
    labels: Labels,
    atoms: Atoms,
    lattice: Lattice,
    slots: Slots,
    h: Floats,
    row: int,
    new: int,
    d: int,
    start: float,
    bound: float,
    rest: float,
    beam: int,
) -> None:
    """Append a piece to one label, on every slot that can take it.

    Of accelerators in the same situation (same kind, pieces left, memory, time; no open group there) only
    the first is tried: exchanging their names maps completions onto each other.

    With pools, a piece that opens a group or adds to an open one is tied to a tether, which stands for some
    accelerator of the kind and counts its pieces and its memory while a group is open there.  A piece that
    opens groups without adding to any may share a tether in use or take another: whichever accelerator it is
    on in a plan, one of these choices is right, and no choice takes more than the plan does.
    """
    tied = -1  # the slot of the open groups that the piece adds to
    for i in range(step.lengths[2]):
        where = labels.where[row, step.touched[i]]
        if where < 0 or (tied >= 0 and tied != where):
            return
        tied = where
    opens = False
    for g in range(lattice.open_start[new + 1] - lattice.open_start[new]):
        opens = opens or step.group_old[g] < 0
    for s in range(len(slots.kind) if slots.serial else slots.pools):
        k, name = slots.kind[s], labels.name[row, s]
        if k < 0:
            continue  # the memory of a host
        room = labels.free[row, s] + MEMORY_SLACK * atoms.limit[k]
        if labels.left[row, s] == 0 or walk.fresh[d] > room or not fits(walk, atoms, d, k):
            continue
        begin_at = max(start, labels.busy[row, s]) if slots.serial else start
        finish = begin_at + walk.receive[d, k] + walk.compute[d, k] + walk.send[d, k]
        after = max(bound, finish + rest)
        if after >= labels.values[UPPER] * (1.0 - TIE):
            continue
        if slots.serial and tied >= 0 and name != tied:
            continue
        if slots.serial and tied < 0 and same_as_previous(labels, lattice, slots, walk.base[0], row, s):
            continue
        first, last, idle_tried = -1, 0, False  # no tether
        if not slots.serial and (tied >= 0 or opens):
            first, last = slots.pools, len(slots.kind)
        for t in range(first, last):
            if t >= 0:
                idle = labels.left[row, t] == 0
                if slots.kind[t] != k or (tied >= 0 and t != tied) or (idle and idle_tried):
                    continue
                idle_tried = idle_tried or idle
                room = atoms.limit[k] if idle else labels.free[row, t]
                if walk.fresh[d] > room + MEMORY_SLACK * atoms.limit[k]:
                    continue
            _append(
                step, walk, labels, lattice, slots, h, row, new, d, s, t, finish, after, atoms.limit[k], beam
            )


@jit_inline
def _append(
    step: Step,
    walk: Walk,
    labels: Labels,
    lattice: Lattice,
    slots: Slots,
    h: Floats,
    row: int,
    new: int,
    d: int,
    s: int,
    tether: int,
    finish: float,
    bound: float,
    limit: float,
    beam: int,
) -> None:
    """Make and insert the candidate: a piece after label ``row`` in slot ``s``, on a tether or none (-1)."""
    c, name = CANDIDATE, labels.name[row, s]
    _carry(step, labels, lattice, h, row, new, name, tether if tether >= 0 else name)
    for i in range(step.lengths[1]):
        labels.finish[c, step.made[i]] = finish
    labels.makespan[c], labels.bound[c] = max(labels.makespan[row], finish), bound
    labels.left[c, s] -= 1
    labels.free[c, s] -= walk.fresh[d]
    if slots.serial:
        labels.busy[c, s] = finish
        if labels.left[c, s] == 0 and awaited(labels, lattice, new, name):
            return
        tidy(labels, lattice, slots, new)
    elif tether >= 0:
        if labels.left[c, tether] == 0:
            labels.left[c, tether], labels.free[c, tether] = slots.each, limit
        labels.left[c, tether] -= 1
        labels.free[c, tether] -= walk.fresh[d]
        if not awaited(labels, lattice, new, tether):
            labels.left[c, tether], labels.free[c, tether] = 0, -1.0
        elif labels.left[c, tether] == 0:
            return
    insert(labels, lattice, slots, new, beam)


@jit
def _leave(labels: Labels, state: int) -> None:
    """Give up all labels from downset ``state`` on."""
    for i in range(state, len(labels.head)):
        row = labels.head[i]
        while row >= 0:
            labels.values[DROPPED] = min(labels.values[DROPPED], labels.bound[row])
            row = labels.follow[row]


@jit
def search(
    atoms: Atoms,
    lattice: Lattice,
    slots: Slots,
    h: Floats,
    h0: Floats,
    labels: Labels,
    beam: int,
    step: Step,
    walk: Walk,
    control: Control,
) -> int:
    """Expand all labels, downset by downset, keeping the ``beam`` best of each rank.

    Afterwards every plan that beats ``labels.values[UPPER]`` has a makespan of at least
    ``labels.values[DROPPED]``.  Returns the number of steps looked at.
    """
    seen = 0
    for state in range(len(labels.head) - 1):
        if control[STOP] != 0:
            _leave(labels, state)
            break
        if labels.head[state] < 0:
            continue
        first = lattice.live_start[state]
        for p in range(first, lattice.live_start[state + 1]):
            step.place[lattice.live[p]] = p - first
        _host_steps(step, labels, atoms, lattice, slots, h, h0, state, beam)
        begin(walk, atoms, lattice, state)
        while control[STOP] == 0:
            d = following(walk, atoms, lattice, slots)
            if d == 0:
                break
            seen += 1
            spend(control, 1 + labels.length[state])
            if not slots.whole_groups or walk.partial[0] == 0:
                _piece_steps(step, walk, labels, atoms, lattice, slots, h, h0, state, d, beam)
        if control[STOP] != 0:
            _leave(labels, state)
            break
    return seen
