"""The knapsack over a diagram of item sets: best value of a set for every capacity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from placer.arrays import BoolArray, IntArray
from placer.jit import compiled

__all__ = ["LOWEST", "best_values", "follow"]

Values = npt.NDArray[np.int32]
Marks = npt.NDArray[np.uint8]

LOWEST = -(2**30)
"""Value of what is impossible; sums of a few values stay within 32 bits."""


@compiled
def _better(row: Values, mark: Marks, skip: Values, take: Values, w0: int, w1: int, gain: int) -> None:
    """One state: the better of leaving the item out (weight w0) and taking it (w1, worth gain)."""
    # Slices of equal length and plain indices let the compiler use vector instructions.
    size = len(row)
    row[:w0] = LOWEST
    row[w0:] = skip[: size - w0]
    mark[:w1] = 0
    here, flag, other = row[w1:], mark[w1:], take[: size - w1]
    for r in range(size - w1):
        old = here[r]
        new = np.int32(other[r] + gain)
        flag[r] = np.uint8(new > old)
        here[r] = max(new, old)


@compiled
def best_values(
    offset: IntArray,
    target: IntArray,
    weight: IntArray,
    value: Values,
    capacity: int,
    taken: Marks,
    here: Values,
    after: Values,
) -> Values:
    """Compute the best value of a set for every capacity 0..capacity, from the last step backwards.

    Parameters
    ----------
    offset, target
        The diagram.
    weight
        Weight of each transition in whole units, ``(states, 2)``; more than ``capacity`` forbids it.
    value
        Value of the item of each step, ``(N,)`` int32.
    capacity
        Largest capacity, in units.
    taken
        Receives whether taking is best, ``(states, capacity + 1)`` uint8.
    here, after
        Scratch of two layers, ``(largest step, capacity + 1)`` int32.

    Returns
    -------
    ndarray
        Best value for each capacity, ``(capacity + 1,)`` int32.
    """
    steps = len(value)
    after[0, : capacity + 1] = 0
    for step in range(steps - 1, -1, -1):
        next_base = offset[step + 1]
        gain = value[step]
        for s in range(offset[step], offset[step + 1]):
            w0 = min(weight[s, 0], capacity + 1)
            w1 = min(weight[s, 1], capacity + 1)
            row = here[s - offset[step], : capacity + 1]
            mark = taken[s, : capacity + 1]
            _better(row, mark, after[target[s, 0] - next_base], after[target[s, 1] - next_base], w0, w1, gain)
        here, after = after, here
    return after[0, : capacity + 1].copy()


@compiled
def follow(offset: IntArray, target: IntArray, weight: IntArray, taken: Marks, capacity: int) -> BoolArray:
    """Trace the best set for one capacity: whether each step takes its item, ``(N,)``."""
    steps = len(offset) - 2
    out = np.zeros(steps, dtype=np.bool_)
    s, r = 0, capacity
    for step in range(steps):
        choice = taken[s, r]
        out[step] = choice == 1
        r -= weight[s, choice]
        s = target[s, choice]
    return out
