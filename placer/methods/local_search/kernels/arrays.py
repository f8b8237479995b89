"""The arrays of the local search: what does not change, what a move changes, scratch."""

from __future__ import annotations

from typing import NamedTuple

from placer.arrays import BoolArray as Bools
from placer.arrays import FloatArray as Floats
from placer.arrays import IntArray as Ints

__all__ = ["DUPLEX", "EPSILON", "OVERLAP", "SEQUENTIAL", "State", "Static"]

SEQUENTIAL, OVERLAP, DUPLEX = 0, 1, 2
EPSILON = 1e-9
"""Relative change that counts as an improvement; less would be rounding of the running sums."""


class Static(NamedTuple):
    """What does not change: N items, D devices, C classes, E nets; rows 0 and 1 are the directions.

    ``x_start`` and ``x_items`` are lists in compressed form: those of i are
    ``x_items[x_start[i] : x_start[i + 1]]``.
    """

    time: Floats  # (2, N, C)
    memory: Floats  # (N,)
    allowed: Bools  # (N, D)
    class_of: Ints  # (D,)
    limit: Floats  # (D,), inf on hosts
    net_start: Ints
    net_items: Ints  # the producer first
    net_cost: Floats  # (E, C)
    net_way: Ints  # (E,), 1 = backward
    item_start: Ints
    item_nets: Ints
    before_start: Ints
    before: Ints
    after_start: Ints
    after: Ints
    communication: int
    gpipe: bool


class State(NamedTuple):
    """What a move changes."""

    device: Ints  # (N,)
    position: Ints  # (D,), of each device in the pipeline
    held: Ints  # (E, D), items of a net on a device
    compute: Floats  # (2, D)
    receive: Floats  # (2, D)
    send: Floats  # (2, D)
    used: Floats  # (D,), bytes
    load: Floats  # (3, D): forward, backward, both
    top: Ints  # (3, 3): the three devices of largest load in each row of ``load``
    parts: Floats  # (2, 3, 2) loads of a device without an item, or of another with it: what, by direction
    verdict: Floats  # (3,) of a move: change of memory excess, objective, change of the sum of squares
    best: Floats  # (3,) the best verdict so far
    hot: Bools  # (D,) devices that an improving move has to touch
