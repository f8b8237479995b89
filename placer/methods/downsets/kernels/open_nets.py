"""Knapsack along an item order whose state says, for each open net, whether its items are in, out or both."""

from __future__ import annotations

import cython

from placer.methods.downsets.kernels.arrays import Bytes, Floats, Ints

__all__ = ["fill", "trace"]

IMPOSSIBLE = float("-inf")


def fill(
    first: Ints,
    source: Ints,
    goal: Ints,
    takes: Ints,
    load: Ints,
    profit: Floats,
    states: Ints,
    table: Floats,
    choice: Bytes,
) -> None:
    """Fill the table: largest profit by state and load bucket.

    Parameters
    ----------
    first
        Transitions of step i are ``first[i]`` up to ``first[i + 1]``, ``(n + 1,)``.
    source, goal
        States before and after, ``(R,)``.
    takes
        Whether the item is taken, ``(R,)``.
    load
        Buckets that the transition adds, ``(R,)``.
    profit
        Of the item of each step, ``(n,)``.
    states
        Number of states after each step, ``(n,)``.
    table
        ``(2, S, B)`` scratch; the result is ``table[n % 2]``.
    choice
        ``(n, S, B)``: twice the state before, plus whether the item was taken.
    """
    with cython.nogil:
        _fill(first, source, goal, takes, load, profit, states, table, choice)


def _fill(
    first: Ints,
    source: Ints,
    goal: Ints,
    takes: Ints,
    load: Ints,
    profit: Floats,
    states: Ints,
    table: Floats,
    choice: Bytes,
) -> None:
    buckets = table.shape[2]
    for a in range(table.shape[1]):
        for b in range(buckets):
            table[0, a, b] = IMPOSSIBLE
    table[0, 0, 0] = 0.0
    for i in range(profit.shape[0]):
        old, new = i % 2, (i + 1) % 2
        for z in range(states[i]):
            for b in range(buckets):
                table[new, z, b] = IMPOSSIBLE
        for r in range(first[i], first[i + 1]):
            a, z, shift = source[r], goal[r], load[r]
            gain = profit[i] if takes[r] else 0.0
            code = 2 * a + takes[r]
            for b in range(buckets - shift):
                value = table[old, a, b] + gain
                if value > table[new, z, b + shift]:
                    table[new, z, b + shift] = value
                    choice[i, z, b + shift] = code


def trace(
    first: Ints, source: Ints, goal: Ints, takes: Ints, load: Ints, choice: Bytes, bucket: int, taken: Ints
) -> None:
    """Mark the items of the best set that ends in state 0 at a bucket."""
    state = 0
    for i in range(taken.shape[0] - 1, -1, -1):
        code = choice[i, state, bucket]
        a, take = code >> 1, code & 1
        taken[i] = take
        for r in range(first[i], first[i + 1]):
            if source[r] == a and goal[r] == state and takes[r] == take:
                bucket -= load[r]
                break
        state = a
