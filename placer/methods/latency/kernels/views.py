"""The arrays as the kernels see them: typed views, and what the kernels share about the work under way."""

from __future__ import annotations

from typing import Any

import numpy as np

from placer.kernels import bind, fixed, view
from placer.methods.latency.kernels import arrays
from placer.methods.latency.kernels.arrays import (
    Atoms,
    Bounded,
    Ints,
    Labels,
    Lattice,
    Levels,
    Slots,
    Walk,
    Words,
    new_walk,
)

STOP, COUNT, LIMIT = arrays.STOP, arrays.COUNT, arrays.LIMIT
FREE, USED, BEST, COMPARED = arrays.FREE, arrays.USED, arrays.BEST, arrays.COMPARED
UPPER, DROPPED, TIE = arrays.UPPER, arrays.DROPPED, arrays.TIE

INFINITY = float("inf")

CANDIDATE = 0  # the row in which new labels are built
MEMORY_SLACK = 1e-9  # relative excess over a limit that counts as rounding, as in verification

OPEN_ROWS = 100_000
"""Open pieces that there is room for at the same time, beside one for each downset."""

ONE, FULL_WORD = 1, 0xFFFFFFFFFFFFFFFF


class AtomsView:
    """See `Atoms`."""

    def __init__(self, atoms: Atoms) -> None:
        bind(self, atoms, fixed)


class LatticeView:
    """See `Lattice`."""

    def __init__(self, lattice: Lattice) -> None:
        bind(self, lattice, fixed)


class SlotsView:
    """See `Slots`."""

    def __init__(self, slots: Slots) -> None:
        bind(self, slots, fixed)


class LevelsView:
    """See `Levels`."""

    def __init__(self, levels: Levels) -> None:
        bind(self, levels, fixed)


class LabelsView:
    """See `Labels`."""

    def __init__(self, labels: Labels) -> None:
        bind(self, labels, view)


class WalkView:
    """See `Walk`."""

    def __init__(self, walk: Walk) -> None:
        bind(self, walk, view)


class Step:
    """What all labels at a downset share about one step to another, rebuilt for each step.

    Positions in the old or new list of live nodes: ``read`` (old) of what the step reads, ``kept_old`` and
    ``kept_new`` of what stays live, ``made`` (new) of what it makes, nodes ``made_node``.  Positions in the
    old list of open groups: ``group_old`` of each group open after it, -1 if it opens it; ``touched`` of
    those that it adds to.
    """

    def __init__(self, atoms: Atoms, levels: Levels) -> None:
        m, groups = len(atoms.atom_of), len(atoms.group_size)
        self.read, self.kept_old, self.kept_new = _places(m), _places(m), _places(m)
        self.made, self.made_node = _places(m), _places(m)
        self.group_old, self.touched = _places(groups), _places(groups)
        self.reads = self.keeps = self.makes = self.touches = 0  # lengths of the lists
        self.place = _places(m)  # position of a live node in the old list
        self.done = view(np.zeros(m))  # finish times of the nodes of a host atom
        self.fits = view(np.zeros(atoms.time.shape[1], dtype=np.bool_))  # kinds that can hold the piece
        self.rest = view(np.zeros(levels.down.shape[1]))  # what comes after it at least, by level


def _places(length: int) -> Any:
    return view(np.zeros(length, dtype=np.int64))


class OpenPieces:
    """The open pieces of all downsets (see `open_pieces`), in linked rows, and the next one to be kept."""

    def __init__(self, downsets: int, rows: int) -> None:
        self.head = view(np.full(downsets, -1, dtype=np.int64))
        following = np.arange(1, rows + 1, dtype=np.int64)
        following[-1:] = -1
        self.follow = view(following)
        self.time, self.held, self.bound = (view(np.zeros(rows)) for _ in range(3))
        self.parent, self.slot = _places(rows), _places(rows)
        self.free = 0 if rows else -1
        self.next_parent = self.next_slot = 0
        self.next_time = self.next_held = 0.0


class Search:
    """The label setting under way: at downset ``state``, keeping the ``beam`` best of each rank at each."""

    def __init__(self, atoms: Atoms, bounded: Bounded, slots: Slots, labels: Labels, beam: int) -> None:
        self.atoms = AtomsView(atoms)
        self.lattice = LatticeView(bounded.lattice)
        self.slots = SlotsView(slots)
        self.levels = LevelsView(bounded.levels)
        self.h, self.h0, self.grown = fixed(bounded.h), fixed(bounded.h0), fixed(bounded.grown)
        self.labels = LabelsView(labels)
        self.beam = beam
        self.step = Step(atoms, bounded.levels)
        self.walk = WalkView(new_walk(atoms, bounded.after))
        downsets = len(bounded.h0)
        self.opens = slots.each == 1 and not slots.serial and not len(atoms.group_size)
        self.opened = OpenPieces(downsets, OPEN_ROWS + downsets if self.opens else 0)
        self.present = view(np.zeros(bounded.h0.shape[1], dtype=np.bool_))  # levels of the labels at hand
        self.state = 0


class Bound:
    """The backward bound under way, at downset ``state``; what is not yet reached keeps 0, a valid bound."""

    def __init__(self, atoms: Atoms, bounded: Bounded, slots: Slots) -> None:
        self.atoms = AtomsView(atoms)
        self.lattice = LatticeView(bounded.lattice)
        self.slots = SlotsView(slots)
        self.levels = LevelsView(bounded.levels)
        self.h, self.h0 = view(bounded.h), view(bounded.h0)
        self.grown, self.grown_memory = view(bounded.grown), view(bounded.grown_memory)
        walk = new_walk(atoms, bounded.after)
        walk.ready[:], walk.limit[0] = bounded.ready, bounded.upper_ms
        self.walk = WalkView(walk)
        m, levels = len(atoms.atom_of), bounded.levels.down.shape[1]
        self.quickest = view(np.zeros(len(bounded.levels.down)))  # of each part, for the piece at hand
        self.rest, self.total = view(np.zeros(levels)), view(np.zeros(levels))
        self.all_read = view(np.zeros(levels))  # least that a piece takes that reads all that is live
        self.through = view(np.full(m, -1.0))  # what a step adds after each node that it reads, -1 elsewhere
        self.tail = view(np.zeros(m))
        self.state = len(bounded.h0) - 1


class Enumeration:
    """The enumeration of downsets under way: ``count`` are known, those before ``head`` have been expanded.

    ``table`` (all -1, a power of two long) is to find downsets by their words.
    """

    def __init__(
        self,
        atoms: Atoms,
        words: Words,
        child_start: Ints,
        child_atom: Ints,
        child: Ints,
        table: Ints,
        head: int,
        count: int,
    ) -> None:
        self.atoms = AtomsView(atoms)
        self.words = view(words)
        self.child_start = view(child_start)
        self.child_atom = view(child_atom)
        self.child = view(child)
        self.table = view(table)
        self.key = view(np.zeros(words.shape[1], dtype=np.uint64))
        self.missing = view(np.zeros(len(atoms.needs), dtype=np.int64))
        self.head, self.count = head, count


def spend(control: Ints, steps: int) -> None:
    """Count steps, and raise the flag when they are enough."""
    control[COUNT] += steps
    if control[COUNT] >= control[LIMIT]:
        control[STOP] = 1
