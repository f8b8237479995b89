"""The knapsack over a diagram of item sets with two capacities: forward and backward load."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from placer.arrays import BoolArray, IntArray
from placer.jit import compiled
from placer.methods.colgen.kernels.knapsack import LOWEST

__all__ = ["best_box_values", "follow_box"]

Values = npt.NDArray[np.int32]
Marks = npt.NDArray[np.uint8]


@compiled
def best_box_values(
    offset: IntArray,
    target: IntArray,
    forward: IntArray,
    backward: IntArray,
    value: Values,
    taken: Marks,
    here: Values,
    after: Values,
) -> Values:
    """Compute the best value of a set for all pairs of capacities, from the last step backwards.

    Parameters
    ----------
    offset, target
        The diagram.
    forward, backward
        Weights of each transition in whole units, ``(states, 2)``; larger than a capacity forbids it.
    value
        Value of the item of each step, ``(N,)`` int32.
    taken
        Receives whether taking is best, ``(states, U, U)`` uint8, for capacities 0..U - 1.
    here, after
        Scratch of two layers, ``(largest step, U, U)`` int32.

    Returns
    -------
    ndarray
        ``(U, U)`` int32.
    """
    size = taken.shape[1]
    after[0] = 0
    for step in range(len(value) - 1, -1, -1):
        base = offset[step + 1]
        gain = value[step]
        for s in range(offset[step], offset[step + 1]):
            skip, take = after[target[s, 0] - base], after[target[s, 1] - base]
            f0, f1 = min(forward[s, 0], size), min(forward[s, 1], size)
            b0, b1 = min(backward[s, 0], size), min(backward[s, 1], size)
            for i in range(size):
                row, mark = here[s - offset[step], i], taken[s, i]
                mark[:] = 0
                row[: b0 if i >= f0 else size] = LOWEST
                if i >= f0:
                    row[b0:] = skip[i - f0, : size - b0]
                if i < f1:
                    continue
                upper, flag, other = row[b1:], mark[b1:], take[i - f1, : size - b1]
                for j in range(size - b1):
                    new = np.int32(other[j] + gain)
                    flag[j] = np.uint8(new > upper[j])
                    upper[j] = max(new, upper[j])
        here, after = after, here
    return after[0].copy()


@compiled
def follow_box(
    offset: IntArray, target: IntArray, forward: IntArray, backward: IntArray, taken: Marks, i: int, j: int
) -> BoolArray:
    """Trace the best set for one pair of capacities: whether each step takes its item, ``(N,)``."""
    steps = len(offset) - 2
    out = np.zeros(steps, dtype=np.bool_)
    s = 0
    for step in range(steps):
        choice = taken[s, i, j]
        out[step] = choice == 1
        i -= forward[s, choice]
        j -= backward[s, choice]
        s = target[s, choice]
    return out
