"""Necks: items that all others come before or after."""

from __future__ import annotations

import numpy as np

from placer.arrays import BoolArray, IntArray

__all__ = ["necks"]


def necks(size: int, edges: IntArray) -> BoolArray:
    """Which items are comparable to all others, ``(N,)``.

    Parameters
    ----------
    size
        Number of items N, which are numbered along a topological order.
    edges
        Precedence, ``(m, 2)``, each pointing upwards.

    Notes
    -----
    All items up to i lead to i if i alone of them has no successor among them; likewise from i on.
    """
    item = np.arange(size)
    first, last = np.full(size, size), np.full(size, -1)
    np.minimum.at(first, edges[:, 0], edges[:, 1])
    np.maximum.at(last, edges[:, 1], edges[:, 0])
    ends = item + 1 - np.cumsum(np.bincount(first, minlength=size + 1)[:size])
    begins = np.cumsum(np.bincount(last + 1, minlength=size)) - item
    return np.asarray((ends == 1) & (begins == 1))
