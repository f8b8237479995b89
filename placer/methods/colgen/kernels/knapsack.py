"""The knapsack over a diagram of item sets: best value for every capacity, or pair of them (a box)."""

from __future__ import annotations

import cython
import numpy as np
import numpy.typing as npt

from placer.arrays import BoolArray, IntArray

__all__ = ["best_box_values", "best_values", "follow", "follow_box"]

Values = npt.NDArray[np.int32]
Marks = npt.NDArray[np.uint8]

LOWEST = -(2**30)
"""Value of what is impossible; sums of a few values stay within 32 bits."""


def _best(
    offset: IntArray,
    target: IntArray,
    weight: IntArray,
    price: Values,
    value: Values,
    taken: Marks,
    layers: Values,
) -> None:
    """Fill the layers and marks, see `best_values`."""
    size = taken.shape[1]
    for r in range(size):
        layers[value.shape[0] % 2, 0, r] = 0
    for step in range(value.shape[0] - 1, -1, -1):
        here, after = step % 2, (step + 1) % 2
        for s in range(offset[step], offset[step + 1]):
            w0, w1 = min(weight[s, 0], size), min(weight[s, 1], size)
            at, loss, gain = s - offset[step], price[s, 0], value[step] - price[s, 1]
            skip, take = target[s, 0] - offset[step + 1], target[s, 1] - offset[step + 1]
            for r in range(w0):
                layers[here, at, r] = LOWEST
            for r in range(w0, w1):
                layers[here, at, r] = max(layers[after, skip, r - w0] - loss, LOWEST)
            for r in range(w1):
                taken[s, r] = 0
            for r in range(w1, w0):
                new = layers[after, take, r - w1] + gain
                taken[s, r] = new > LOWEST
                layers[here, at, r] = max(new, LOWEST)
            for r in range(max(w0, w1), size):  # nearly all, and so in one pass
                old, new = layers[after, skip, r - w0] - loss, layers[after, take, r - w1] + gain
                taken[s, r] = new > old
                layers[here, at, r] = max(max(new, old), LOWEST)


def best_values(
    offset: IntArray,
    target: IntArray,
    weight: IntArray,
    price: Values,
    value: Values,
    taken: Marks,
    layers: Values,
) -> Values:
    """Compute the best value of a set for every capacity 0..R - 1, from the last step backwards.

    Parameters
    ----------
    offset, target
        The diagram.
    weight
        Weight of each transition in whole units, ``(states, 2)``; R or more forbids it.
    price
        What each transition costs, not negative and at most 2^29, ``(states, 2)`` int32.
    value
        Value of the item of each step, ``(N,)`` int32.
    taken
        Receives whether taking is best, ``(states, R)`` uint8.
    layers
        Scratch of two layers, ``(2, largest step, R)`` int32.

    Returns
    -------
    ndarray
        Best value for each capacity, ``(R,)`` int32.
    """
    with cython.nogil:
        _best(offset, target, weight, price, value, taken, layers)
    return np.array(layers[0, 0], dtype=np.int32)


def follow(offset: IntArray, target: IntArray, weight: IntArray, taken: Marks, capacity: int) -> BoolArray:
    """Trace the best set for one capacity: whether each step takes its item, ``(N,)``."""
    out = np.zeros(offset.shape[0] - 2, dtype=np.bool_)
    s, r = 0, capacity
    for step in range(offset.shape[0] - 2):
        choice = taken[s, r]
        out[step] = choice == 1
        r -= weight[s, choice]
        s = target[s, choice]
    return out


def _best_box(
    offset: IntArray,
    target: IntArray,
    forward: IntArray,
    backward: IntArray,
    value: Values,
    taken: Marks,
    layers: Values,
) -> None:
    """Fill the layers and marks, see `best_box_values`."""
    size = taken.shape[1]
    for i in range(size):
        for j in range(size):
            layers[value.shape[0] % 2, 0, i, j] = 0
    for step in range(value.shape[0] - 1, -1, -1):
        here, after, gain = step % 2, (step + 1) % 2, value[step]
        for s in range(offset[step], offset[step + 1]):
            at = s - offset[step]
            skip, take = target[s, 0] - offset[step + 1], target[s, 1] - offset[step + 1]
            f0, f1 = min(forward[s, 0], size), min(forward[s, 1], size)
            b0, b1 = min(backward[s, 0], size), min(backward[s, 1], size)
            for i in range(size):
                first = b0 if i >= f0 else size
                for j in range(first):
                    layers[here, at, i, j] = LOWEST
                for j in range(first, size):
                    layers[here, at, i, j] = layers[after, skip, i - f0, j - b0]
                first = b1 if i >= f1 else size
                for j in range(first):
                    taken[s, i, j] = 0
                for j in range(first, size):
                    old, new = layers[here, at, i, j], layers[after, take, i - f1, j - b1] + gain
                    taken[s, i, j] = new > old
                    layers[here, at, i, j] = max(new, old)


def best_box_values(
    offset: IntArray,
    target: IntArray,
    forward: IntArray,
    backward: IntArray,
    value: Values,
    taken: Marks,
    layers: Values,
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
    layers
        Scratch of two layers, ``(2, largest step, U, U)`` int32.

    Returns
    -------
    ndarray
        ``(U, U)`` int32.
    """
    with cython.nogil:
        _best_box(offset, target, forward, backward, value, taken, layers)
    return np.array(layers[0, 0], dtype=np.int32)


def follow_box(
    offset: IntArray, target: IntArray, forward: IntArray, backward: IntArray, taken: Marks, i: int, j: int
) -> BoolArray:
    """Trace the best set for one pair of capacities: whether each step takes its item, ``(N,)``."""
    out = np.zeros(offset.shape[0] - 2, dtype=np.bool_)
    s = 0
    for step in range(offset.shape[0] - 2):
        choice = taken[s, i, j]
        out[step] = choice == 1
        i -= forward[s, choice]
        j -= backward[s, choice]
        s = target[s, choice]
    return out
