"""Labels along a diagram of item sets: the most valuable set that keeps several limits at once.

A label is a set of the items walked so far: its state, its value and what it takes of each resource.  It is
dropped where no completion can be worth more than a known value, or where another one at its state is worth
as much and takes no more of anything.
"""

from __future__ import annotations

import cython
import numpy as np
import numpy.typing as npt

from placer.arrays import FloatArray, IntArray
from placer.kernels import fixed, view

__all__ = ["Labels", "Prices", "Sets", "best_label", "completions"]

Values = npt.NDArray[np.int32]

LOWEST = -(2**30)
"""Value of what is impossible; sums of a few values stay within 32 bits."""


def completions(offset: IntArray, target: IntArray, weight: IntArray, value: Values, table: Values) -> None:
    """Fill the table: best value of what follows each state within each capacity, ``(states + 1, R)``.

    The arguments are those of `knapsack.best_values`.
    """
    with cython.nogil:
        _complete(offset, target, weight, value, table)


def _complete(offset: IntArray, target: IntArray, weight: IntArray, value: Values, table: Values) -> None:
    size = table.shape[1]
    for r in range(size):
        table[target.shape[0], r] = 0
    for step in range(value.shape[0] - 1, -1, -1):
        gain = value[step]
        for s in range(offset[step], offset[step + 1]):
            w0, w1 = min(weight[s, 0], size), min(weight[s, 1], size)
            skip, take = target[s, 0], target[s, 1]
            for r in range(w0):
                table[s, r] = LOWEST
            for r in range(w0, size):
                table[s, r] = table[skip, r - w0]
            for r in range(w1, size):
                table[s, r] = max(table[s, r], table[take, r - w1] + gain)


class Sets:
    """The sets of a diagram, and what they take.

    Parameters
    ----------
    offset, target
        The diagram.
    need
        What each transition takes of each resource, ``(states, 2, D)``.
    """

    def __init__(self, offset: IntArray, target: IntArray, need: FloatArray) -> None:
        self.offset, self.target, self.need = fixed(offset), fixed(target), fixed(need)


class Prices:
    """What sets are worth.

    Parameters
    ----------
    weight
        Of each transition in whole units, ``(states, 2)``.
    value
        Of the item of each step, ``(N,)`` int32.
    table
        What `completions` filled.
    """

    def __init__(self, weight: IntArray, value: Values, table: Values) -> None:
        self.weight, self.value, self.table = fixed(weight), fixed(value), view(table)


class Labels:
    """Room for L labels.

    Parameters
    ----------
    place
        Receives previous row, choice, state, units used, and next row at the state, ``(L, 5)``.
    worth, used
        Likewise the value, ``(L,)`` int32, and what is taken of each resource, ``(L, D)``.
    head
        Scratch: first row of each state, at least ``(states + 1,)``.
    counts
        Steps allowed; receives those taken, ``(2,)``.
    """

    def __init__(
        self, place: IntArray, worth: Values, used: FloatArray, head: IntArray, counts: IntArray
    ) -> None:
        self.place, self.worth, self.used = view(place), view(worth), view(used)
        self.head, self.counts = view(head), view(counts)


def best_label(sets: Sets, prices: Prices, labels: Labels, limit: FloatArray, least: int) -> int:
    """Return the row of the best set within the limits ``(D,)`` that is worth more than ``least``.

    It is -1 where there is none, -2 where the room for labels or the steps allowed do not suffice.  The last
    column of the table is the most units that any set within the limits has.
    """
    with cython.nogil:
        return _search(sets, prices, labels, limit, least)


def _dominates(labels: Labels, a: int, b: int) -> bool:
    """Whether label ``a`` is worth as much as ``b`` and takes no more."""
    if labels.worth[a] < labels.worth[b]:
        return False
    for d in range(labels.used.shape[1]):
        if labels.used[a, d] > labels.used[b, d]:
            return False
    return True


def _insert(labels: Labels, new: int) -> bool:
    """Add a label to those of its state unless one of them dominates it; drop those that it dominates."""
    state = labels.place[new, 2]
    before, row = -1, labels.head[state]
    while row >= 0:
        labels.counts[1] += 1
        if _dominates(labels, row, new):
            return False
        after = labels.place[row, 4]
        if _dominates(labels, new, row):
            labels.worth[row] = LOWEST
            if before < 0:
                labels.head[state] = after
            else:
                labels.place[before, 4] = after
        else:
            before = row
        row = after
    labels.place[new, 4] = labels.head[state]
    labels.head[state] = new
    return True


def _extend(
    sets: Sets, prices: Prices, labels: Labels, limit: FloatArray, row: int, choice: int, new: int
) -> bool:
    """Write the label that follows ``row`` to ``new`` unless it breaks a limit."""
    s = labels.place[row, 2]
    for d in range(limit.shape[0]):
        labels.used[new, d] = labels.used[row, d] + sets.need[s, choice, d]
        if labels.used[new, d] > limit[d]:
            return False
    labels.place[new, 0], labels.place[new, 1], labels.place[new, 2] = row, choice, sets.target[s, choice]
    labels.place[new, 3] = labels.place[row, 3] + prices.weight[s, choice]
    return True


def _may_be_worth(
    sets: Sets, prices: Prices, labels: Labels, row: int, choice: int, worth: int, least: int
) -> bool:
    """Whether what follows a label and a choice can be worth more than ``least``, by units alone."""
    s = labels.place[row, 2]
    left = prices.table.shape[1] - 1 - labels.place[row, 3] - prices.weight[s, choice]
    return left >= 0 and worth + prices.table[sets.target[s, choice], left] > least


def _search(sets: Sets, prices: Prices, labels: Labels, limit: FloatArray, least: int) -> int:
    """Walk layer by layer, see `best_label`."""
    for s in range(sets.target.shape[0] + 1):
        labels.head[s] = -1
    labels.place[0, 0], labels.place[0, 2], labels.place[0, 3] = -1, 0, 0
    labels.worth[0] = 0
    for d in range(limit.shape[0]):
        labels.used[0, d] = 0.0
    first, last, rows = 0, 1, 1
    for step in range(prices.value.shape[0]):
        for row in range(first, last):
            for choice in range(2):
                if labels.worth[row] == LOWEST:
                    continue
                labels.counts[1] += 1
                worth = labels.worth[row] + choice * prices.value[step]
                if not _may_be_worth(sets, prices, labels, row, choice, worth, least):
                    continue
                if not _extend(sets, prices, labels, limit, row, choice, rows):
                    continue
                labels.worth[rows] = worth
                rows += _insert(labels, rows)
                if rows >= labels.worth.shape[0] or labels.counts[1] > labels.counts[0]:
                    return -2
        first, last = last, rows
    best = -1
    for row in range(first, last):
        if labels.worth[row] > least:
            best, least = row, labels.worth[row]
    return best
