"""Slots of labels: normal form, and what can be told apart."""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.latency.kernels.views import CANDIDATE, INFINITY, LabelsView, LatticeView, SlotsView

__all__ = ["awaited", "same_as_previous", "tidy"]


def _swap(labels: LabelsView, a: int, b: int) -> None:
    """Swap two slots of the candidate."""
    c = CANDIDATE
    labels.left[c, a], labels.left[c, b] = labels.left[c, b], labels.left[c, a]
    labels.free[c, a], labels.free[c, b] = labels.free[c, b], labels.free[c, a]
    labels.busy[c, a], labels.busy[c, b] = labels.busy[c, b], labels.busy[c, a]
    labels.name[c, a], labels.name[c, b] = labels.name[c, b], labels.name[c, a]


def _before(labels: LabelsView, a: int, b: int) -> bool:
    """Whether slot ``a`` of the candidate sorts strictly before slot ``b``."""
    c = CANDIDATE
    if labels.left[c, a] != labels.left[c, b]:
        return labels.left[c, a] > labels.left[c, b]
    if labels.busy[c, a] != labels.busy[c, b]:
        return labels.busy[c, a] < labels.busy[c, b]
    return labels.free[c, a] > labels.free[c, b]


def tidy(labels: LabelsView, lattice: LatticeView, slots: SlotsView, new: int) -> None:
    """Bring the candidate's slots into a normal form, so that equal situations look equal.

    No step from here starts before the earliest live node, unless an atom that reads nothing is left;
    so a slot that is free earlier is as good as one that is free then.  Slots of one kind are
    interchangeable: they are sorted by pieces left, time and memory.
    """
    earliest = INFINITY if lattice.started[new] else 0.0
    for p in range(lattice.live_start[new + 1] - lattice.live_start[new]):
        earliest = min(earliest, labels.finish[CANDIDATE, p])
    c = CANDIDATE
    for s in range(slots.kind.shape[0]):
        if labels.left[c, s] == 0:
            labels.free[c, s], labels.busy[c, s] = -1.0, INFINITY
        else:
            labels.busy[c, s] = max(labels.busy[c, s], earliest)
    for s in range(1, slots.kind.shape[0]):
        t = s
        while t > 0 and slots.kind[t - 1] == slots.kind[t] and _before(labels, t, t - 1):
            _swap(labels, t - 1, t)
            t -= 1


def awaited(labels: LabelsView, lattice: LatticeView, new: int, name: int) -> bool:
    """Whether an open group of the candidate still needs a piece of the slot called ``name``."""
    for g in range(lattice.open_start[new + 1] - lattice.open_start[new]):
        if labels.where[CANDIDATE, g] == name:
            return True
    return False


def same_as_previous(
    labels: LabelsView, lattice: LatticeView, slots: SlotsView, state: int, row: int, s: int
) -> bool:
    """Whether slot ``s`` is in the same situation as the one before it."""
    if s == 0 or slots.kind[s] != slots.kind[s - 1] or labels.left[row, s] != labels.left[row, s - 1]:
        return False
    if labels.free[row, s] != labels.free[row, s - 1] or labels.busy[row, s] != labels.busy[row, s - 1]:
        return False
    for g in range(lattice.open_start[state + 1] - lattice.open_start[state]):
        where = labels.where[row, g]
        if where == labels.name[row, s] or where == labels.name[row, s - 1]:
            return False
    return True
