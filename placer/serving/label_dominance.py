"""Labels that no other dominates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from placer.arrays import FloatArray, IntArray

__all__ = ["undominated"]

NEAR = 8
"""Rows before each that are looked at for all groups at once."""
BLOCK = 256
"""Rows of a large group that are compared at a time."""
EQUAL = 1e-13
"""Difference, as a share of the larger cost, that adding up in another order makes."""


def undominated(key: IntArray, cost: FloatArray, check: Callable[[], None] = lambda: None) -> IntArray:
    """Choose rows such that each row is at least as costly in every column as a chosen one of its key.

    Parameters
    ----------
    key
        What rows have to agree in to be compared, ``(m, c)``.
    cost
        Nonnegative, ``(m, d)``.
    check
        Called now and then; may raise.
    """
    order = np.lexsort((*cost.T[::-1], *key.T))
    slack = cost * (1 + EQUAL)
    for shift in range(1, NEAR + 1):
        if len(order) <= shift:
            return order
        earlier, later = order[:-shift], order[shift:]
        worse = (key[earlier] == key[later]).all(axis=1) & (cost[earlier] <= slack[later]).all(axis=1)
        order = np.concatenate([order[:shift], later[~worse]])
    starts = np.flatnonzero(np.append(True, (key[order[1:]] != key[order[:-1]]).any(axis=1)))
    ends = np.append(starts[1:], len(order))
    kept = []
    for start, end in zip(starts, ends, strict=True):
        kept.append(order[start:end] if end - start <= NEAR else _group(order[start:end], cost, slack, check))
    return np.concatenate(kept)


def _group(rows: IntArray, cost: FloatArray, slack: FloatArray, check: Callable[[], None]) -> IntArray:
    """Choose among rows of one key, sorted by their costs."""
    kept = rows[:0]
    for start in range(0, len(rows), BLOCK):
        check()
        block = rows[start : start + BLOCK]
        for other in range(0, len(kept), 8 * BLOCK):
            some = kept[other : other + 8 * BLOCK]
            worse = (cost[some][:, None] <= slack[block][None]).all(axis=2).any(axis=0)
            block = block[~worse]
        inside = np.triu((cost[block][:, None] <= slack[block][None]).all(axis=2), 1).any(axis=0)
        kept = np.concatenate([kept, block[~inside]])
    return kept
