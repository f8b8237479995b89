"""Labels of the latency program: storage, dominance, insertion with a beam.

A label at downset I is a partial plan that has done exactly I.  It holds

    makespan    T, the time at which all of I is available
    finish      finish time of each live node of I
    per slot    pieces left, memory free, time at which the slot is free; for limited hosts the memory alone
    where       slot or host pool of each open group of I
    bound       a lower bound on the makespan of every completion
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.latency.kernels.views import (
        BEST,
        CANDIDATE,
        COMPARED,
        DROPPED,
        FREE,
        TIE,
        UPPER,
        USED,
        LabelsView,
        LatticeView,
        SlotsView,
    )

__all__ = ["insert", "take_comparisons"]


def _position(labels: LabelsView, row: int, name: int) -> int:
    """Position of a slot by name; host pools keep their negative number."""
    if name < 0:
        return name
    for s in range(labels.name.shape[1]):
        if labels.name[row, s] == name:
            return s
    return -1


def dominates(labels: LabelsView, lattice: LatticeView, slots: SlotsView, state: int, a: int, b: int) -> bool:
    """Whether label ``a`` makes label ``b`` at the same downset superfluous.

    Claim: every completion of b, done after a (slot s of b replaced by slot s of a), is valid and ends no
    later than the greater of T_a and the completion of b.  Each step starts when the nodes it reads are
    there and, on a slot, when it is free: both no later after a.  Each slot of a has at least the pieces and
    the memory of that of b; open groups lie at the same place.  What a did before ends at T_a, which is at
    most a lower bound on every completion of b.  The rule is sufficient, not necessary: slots are compared
    in their sorted order only.
    """
    if labels.bound[a] > labels.bound[b] or labels.makespan[a] > labels.bound[b]:
        return False
    for p in range(lattice.live_start[state + 1] - lattice.live_start[state]):
        if labels.finish[a, p] > labels.finish[b, p]:
            return False
    for s in range(slots.kind.shape[0]):
        if labels.left[b, s] == 0:
            continue
        if labels.left[a, s] < labels.left[b, s] or labels.free[a, s] < labels.free[b, s]:
            return False
        if labels.busy[a, s] > labels.busy[b, s]:
            return False
    for g in range(lattice.open_start[state + 1] - lattice.open_start[state]):
        if _position(labels, a, labels.where[a, g]) != _position(labels, b, labels.where[b, g]):
            return False
    return True


def _release(labels: LabelsView, row: int) -> None:
    labels.follow[row] = labels.counters[FREE]
    labels.counters[FREE] = row


def _take(labels: LabelsView) -> int:
    """Return a row of one's own, or -1 when all are in use."""
    row = labels.counters[FREE]
    if row >= 0:
        labels.counters[FREE] = labels.follow[row]
        return row
    row = labels.counters[USED]
    if row >= labels.makespan.shape[0]:
        return -1
    labels.counters[USED] = row + 1
    return row


def _copy(labels: LabelsView, lattice: LatticeView, state: int, row: int) -> None:
    """Copy the candidate into ``row``."""
    labels.makespan[row] = labels.makespan[CANDIDATE]
    labels.bound[row] = labels.bound[CANDIDATE]
    for p in range(lattice.live_start[state + 1] - lattice.live_start[state]):
        labels.finish[row, p] = labels.finish[CANDIDATE, p]
    for s in range(labels.left.shape[1]):
        labels.left[row, s] = labels.left[CANDIDATE, s]
        labels.free[row, s] = labels.free[CANDIDATE, s]
        labels.busy[row, s] = labels.busy[CANDIDATE, s]
        labels.name[row, s] = labels.name[CANDIDATE, s]
    for g in range(lattice.open_start[state + 1] - lattice.open_start[state]):
        labels.where[row, g] = labels.where[CANDIDATE, g]
    labels.state[row] = state
    labels.level[row] = labels.level[CANDIDATE]
    labels.parent[row] = labels.parent[CANDIDATE]
    labels.device[row] = labels.device[CANDIDATE]


def _give_up(labels: LabelsView, bound: float) -> None:
    """Record that completions with this bound will not be looked at."""
    labels.values[DROPPED] = min(labels.values[DROPPED], bound)


def _rank(labels: LabelsView, row: int) -> int:
    """Pieces that are left: labels compete for room only with those that have as many.

    The bound does not know how many accelerators are left, so it prefers labels that have used them up.
    """
    total = 0
    for s in range(labels.left.shape[1]):
        total += labels.left[row, s]
    return total


def _thin_out(labels: LabelsView, state: int, beam: int) -> None:
    """Give up the worst label of the newest one's rank if that rank has more than ``beam``.

    The worst has the greatest bound, and among those the greatest makespan.
    """
    rank = _rank(labels, labels.head[state])
    worst, before_worst, before, count = -1, -1, -1, 0
    row = labels.head[state]
    while row >= 0:
        if _rank(labels, row) == rank:
            count += 1
            if (
                worst < 0
                or labels.bound[row] > labels.bound[worst]
                or (
                    labels.bound[row] == labels.bound[worst] and labels.makespan[row] > labels.makespan[worst]
                )
            ):
                worst, before_worst = row, before
        before, row = row, labels.follow[row]
    if count > beam:
        _give_up(labels, labels.bound[worst])
        _unlink(labels, state, before_worst, worst)


def _unlink(labels: LabelsView, state: int, before: int, row: int) -> None:
    if before < 0:
        labels.head[state] = labels.follow[row]
    else:
        labels.follow[before] = labels.follow[row]
    labels.length[state] -= 1
    _release(labels, row)


def insert(labels: LabelsView, lattice: LatticeView, slots: SlotsView, state: int, beam: int) -> None:
    """Insert the candidate at ``state``, keeping at most ``beam`` labels of each rank there.

    A label whose bound reaches the makespan to beat is dropped for good; one that is dropped for lack of
    room is recorded in ``values[DROPPED]``.  A dropped label covers what it dominated before: their
    completions are no better than its bound.
    """
    bound = labels.bound[CANDIDATE]
    if bound >= labels.values[UPPER] * (1.0 - TIE):
        return
    if state == labels.head.shape[0] - 1:
        labels.values[UPPER] = labels.makespan[CANDIDATE]
        if labels.counters[BEST] < 0:
            labels.counters[BEST] = 1  # a row kept for the best final label
        _copy(labels, lattice, state, labels.counters[BEST])
        return
    before, row = -1, labels.head[state]
    while row >= 0:
        after = labels.follow[row]
        labels.counters[COMPARED] += 1
        if dominates(labels, lattice, slots, state, row, CANDIDATE):
            return
        if dominates(labels, lattice, slots, state, CANDIDATE, row):
            _unlink(labels, state, before, row)
        else:
            before = row
        row = after
    row = _take(labels)
    if row < 0:
        _give_up(labels, bound)
        return
    _copy(labels, lattice, state, row)
    labels.follow[row] = labels.head[state]
    labels.head[state] = row
    labels.length[state] += 1
    if labels.length[state] > beam:
        _thin_out(labels, state, beam)


def take_comparisons(labels: LabelsView) -> int:
    """Return the steps that comparing labels took since this was last asked."""
    compared = labels.counters[COMPARED]
    labels.counters[COMPARED] = 0
    return compared // 2  # about half a step each
