"""Tables of the latency program: the lattice of downsets, the backward bound, the room for labels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from placer.methods.latency.atoms import LatencyModel
from placer.methods.latency.kernels.arrays import (
    COUNT,
    STOP,
    Atoms,
    Bounded,
    Ints,
    Labels,
    Lattice,
    Levels,
    Slots,
    Words,
    new_control,
)
from placer.methods.latency.kernels.backward_bound import backward_bound
from placer.methods.latency.kernels.downset_table import expand, list_live, list_open
from placer.methods.latency.kernels.views import AtomsView, Bound, Enumeration
from placer.methods.latency.paths import paths
from placer.search.run import Run
from placer.search.work import LABEL_STEP_S

__all__ = ["bound_tables", "build_lattice", "call", "count_levels", "empty_labels", "label_bytes"]

POLL_S = 0.05
"""How often a running kernel's clock is looked at."""
MOST_LEVELS = 40
"""Levels of the bounds: more tell better what few pieces are left for, and take as many times longer."""
ROOT = 2
"""Row of the label that has done nothing; the rows before it have a fixed use."""


def call(run: Run, kernel: Callable[..., Any], *args: Any) -> Any:
    """Run a kernel beside a clock: its last argument is a control array, raised when ``run`` stops.

    It counts its steps, which are the run's work.

    The kernel runs in a thread of its own, without the interpreter lock.
    """
    left = run.work_left
    control = new_control() if left is None else new_control(int(left / LABEL_STEP_S) + 1)
    result: list[Any] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(kernel(*args, control))
        except BaseException as error:  # handed on below
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            if run.stopped():
                control[STOP] = 1
            thread.join(POLL_S)
    finally:
        control[STOP] = 1
        thread.join()
    run.spend(LABEL_STEP_S * int(control[COUNT]))
    if failure:
        raise failure[0]
    return result[0]


def build_lattice(atoms: Atoms, run: Run, limit_bytes: float) -> Lattice | None:
    """Enumerate all downsets; None when they need more than ``limit_bytes`` or the run stops."""
    enumerated = _enumerate(atoms, run, limit_bytes)
    if enumerated is None:
        return None
    words, child_start, child_atom, child = enumerated
    live = _lists(list_live, atoms, words, len(atoms.atom_of), run, limit_bytes)
    inside = np.zeros(len(atoms.group_size), dtype=np.int64)
    opened = _lists(list_open, atoms, words, len(inside), run, limit_bytes, inside)
    if live is None or opened is None:
        return None
    reads_nothing = np.unique(
        atoms.atom_of[(np.diff(atoms.inner_start) == 0) & (np.diff(atoms.outer_start) == 0)]
    )
    mask = np.zeros(words.shape[1], dtype=np.uint64)
    np.bitwise_or.at(mask, reads_nothing // 64, np.uint64(1) << (reads_nothing % 64).astype(np.uint64))
    started = ((words & mask) == mask).all(axis=1)
    return Lattice(words, child_start, child_atom, child, *live, *opened, started)


def _enumerate(atoms: Atoms, run: Run, limit_bytes: float) -> tuple[Words, Ints, Ints, Ints] | None:
    N = len(atoms.needs)
    W = max(1, (N + 63) // 64)
    room, links = 4096 + N, 16384 + N
    words = np.zeros((room, W), dtype=np.uint64)
    child_start = np.zeros(room + 1, dtype=np.int64)
    child_atom, child = (np.zeros(links, dtype=np.int64) for _ in range(2))
    head, count = 0, 1
    while head < count:
        table = np.full(4 * _power_of_two(room), -1, dtype=np.int64)
        downsets = Enumeration(atoms, words, child_start, child_atom, child, table, head, count)
        call(run, expand, downsets)
        if run.stopped():
            return None
        head, count = downsets.head, downsets.count
        # Atoms that may come next in any order alone make so many downsets.
        widest = int(np.diff(child_start[: head + 1]).max(initial=0))
        if 2.0**widest * words[0].nbytes > limit_bytes:
            return None
        if count + N > room:
            room *= 2
            words = _grown(words, room)
            child_start = _grown(child_start, room + 1)
        if child_start[head] + N > links:
            links *= 2
            child_atom, child = _grown(child_atom, links), _grown(child, links)
        if words.nbytes + table.nbytes + 2 * child.nbytes > limit_bytes:
            return None
    last = child_start[count]
    return (
        words[:count].copy(),
        child_start[: count + 1].copy(),
        child_atom[:last].copy(),
        child[:last].copy(),
    )


def _lists(
    kernel: Callable[..., Any],
    atoms: Atoms,
    words: Words,
    most: int,
    run: Run,
    limit_bytes: float,
    *scratch: Ints,
) -> tuple[Ints, Ints] | None:
    start = np.zeros(len(words) + 1, dtype=np.int64)
    values = np.zeros(16384 + most, dtype=np.int64)
    view, head = AtomsView(atoms), 0
    while head < len(words):
        head = call(run, kernel, view, words, start, values, head, *scratch)
        if run.stopped() or values.nbytes > limit_bytes:
            return None
        if head < len(words):
            values = _grown(values, 2 * len(values))
    return start, values[: start[-1]].copy()


def _grown(array: Any, length: int) -> Any:
    out = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    out[: len(array)] = array
    return out


def _power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()


def count_levels(slots: Slots, kinds: int, most: int) -> Levels:
    """Give each number of pieces that may be left a level, ``most`` at most (see `Levels`).

    Kinds are told apart if that gives few enough; else all count as one.  Of a part that has more than fit
    the last level stands for that or more.
    """
    pieces = np.zeros(kinds, dtype=np.int64)
    np.add.at(pieces, slots.kind[slots.kind >= 0], slots.pieces[slots.kind >= 0])
    apart = np.prod(pieces + 1.0) <= most
    left = pieces if apart else np.array([pieces.sum()])
    sizes = np.minimum(left + 1, most)
    step = np.cumprod([1, *sizes[:-1]])
    level = np.arange(np.prod(sizes))
    digit = level // step[:, None] % sizes[:, None]
    endless = (digit == sizes[:, None] - 1) & (left + 1 > sizes)[:, None]
    down = np.where(endless, level, np.where(digit > 0, level - step[:, None], -1))
    return Levels(np.arange(kinds) if apart else np.zeros(kinds, dtype=np.int64), down)


def bound_tables(
    model: LatencyModel, lattice: Lattice, slots: Slots, run: Run, upper_ms: float, limit_bytes: float
) -> Bounded | None:
    """Compute the bounds of all downsets for plans that end before ``upper_ms``; None if the run stops."""
    atoms = model.atoms
    kinds = len(atoms.limit)
    room = limit_bytes / 8 / (len(lattice.live) + (1 + 2 * kinds) * len(lattice.words))
    known = paths(model)
    levels = count_levels(slots, kinds, max(1, int(min(MOST_LEVELS, room))))
    count = levels.down.shape[1]
    bounded = Bounded(
        lattice,
        levels,
        np.zeros((len(lattice.live), count)),
        np.zeros((len(lattice.words), count)),
        known.ready,
        known.after,
        np.zeros((len(lattice.words), kinds, count)),
        np.zeros((len(lattice.words), kinds, count)),
        upper_ms,
    )
    done = call(run, backward_bound, Bound(atoms, bounded, slots))
    return bounded if done >= 0 else None


def label_bytes(lattice: Lattice, slots: Slots) -> int:
    """Bytes of one label."""
    live, opened = _widest(lattice)
    return 8 * (6 + live + opened + 4 * len(slots.kind))


def _widest(lattice: Lattice) -> tuple[int, int]:
    return int(np.diff(lattice.live_start).max()), int(np.diff(lattice.open_start).max())


def empty_labels(bounded: Bounded, slots: Slots, rows: int, upper_ms: float) -> Labels:
    """Make room for ``rows`` labels, with the one that has done nothing in place."""
    lattice = bounded.lattice
    S, L = len(slots.kind), len(lattice.words)
    live, opened = _widest(lattice)
    labels = Labels(
        makespan=np.empty(rows),
        bound=np.empty(rows),
        finish=np.empty((rows, live)),
        left=np.empty((rows, S), dtype=np.int64),
        free=np.empty((rows, S)),
        busy=np.empty((rows, S)),
        name=np.empty((rows, S), dtype=np.int64),
        where=np.empty((rows, opened), dtype=np.int64),
        state=np.empty(rows, dtype=np.int64),
        level=np.empty(rows, dtype=np.int64),
        parent=np.empty(rows, dtype=np.int64),
        device=np.empty(rows, dtype=np.int64),
        follow=np.empty(rows, dtype=np.int64),
        head=np.full(L, -1, dtype=np.int64),
        length=np.zeros(L, dtype=np.int64),
        counters=np.array([-1, ROOT + 1, -1, 0], dtype=np.int64),
        values=np.array([upper_ms, np.inf]),
    )
    labels.makespan[ROOT] = labels.bound[ROOT] = 0.0
    labels.left[ROOT], labels.free[ROOT], labels.busy[ROOT] = slots.pieces, slots.memory, 0.0
    labels.name[ROOT] = np.arange(S)
    labels.state[ROOT] = 0
    labels.level[ROOT] = bounded.levels.down.shape[1] - 1
    labels.parent[ROOT] = labels.follow[ROOT] = -1
    labels.head[0], labels.length[0] = ROOT, 1
    return labels
