"""Memory in a diagram of item sets: a counter of whole units beside each state.

Priced by a multiplier alone, memory seems to hold parts of items: four of 0.26 of a device seem to fit, and
one of 0.9 beside others.  Rounded to units they do not.  With ``x_i`` the share of the limit that an item
takes, the integers ``u_i < (k + 1) x_i`` sum to less than k + 1, and so to at most k, in every set that fits
(a dual feasible function: Fekete and Schepers, New classes of fast lower bounds for bin packing problems,
2001).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.methods.colgen.frontier import Diagram

__all__ = ["in_room", "room_units"]

CAPACITIES = range(1, 7)
"""Units of a device that are tried."""
STRICT = 1 - 1e-9
"""Shares are lower by this factor, lest rounding errors give one unit too many."""
STATES = 200_000
"""States beyond which a diagram is left as it is."""


def room_units(share: FloatArray) -> tuple[IntArray, int] | None:
    """Choose units of memory.

    Parameters
    ----------
    share
        Memory of each item as a share of the limit, ``(N,)``; 0 for items that may not be there.

    Returns
    -------
    tuple or None
        Units of each item, ``(N,)``, and how many a device holds; None where all items fit in units.
    """
    best: tuple[float, IntArray, int] | None = None
    for capacity in CAPACITIES:
        units = np.maximum(0, np.ceil((capacity + 1) * share * STRICT) - 1).astype(np.int64)
        filled = float(units.sum()) / capacity
        if filled > 1.0 and (best is None or filled > best[0]):
            best = filled, units, capacity
    return None if best is None else best[1:]


def in_room(diagram: Diagram, units: IntArray, capacity: int) -> Diagram:
    """Return the diagram of the sets whose units are at most ``capacity``.

    Parameters
    ----------
    diagram
        All sets.
    units
        Of each item, ``(N,)``.
    """
    width = capacity + 1
    if diagram.states * width > STATES:
        return diagram
    left = units[diagram.order][::-1].cumsum()[::-1]
    left = np.append(left, 0)
    here = np.zeros(1, dtype=np.int64)  # state * width + units used
    targets, barred, parents, offset = [], [], [], [0, 1]
    for step, item in enumerate(diagram.order.tolist()):
        state, used = np.divmod(here, width)
        fits = used + units[item] <= capacity
        # With so little left it is all the same how much was used.
        least = capacity - min(capacity, int(left[step + 1]))
        skip = diagram.target[state, 0] * width + np.maximum(used, least)
        take = diagram.target[state, 1] * width + np.maximum(used + units[item], least)
        both = np.stack([skip, np.where(fits, take, skip)], axis=1)
        here, target = np.unique(both, return_inverse=True)
        targets.append(offset[-1] + target.reshape(-1, 2))
        barred.append(~fits)
        parents.append(state)
        offset.append(offset[-1] + len(here))
    if not targets:
        return diagram
    parent = np.concatenate(parents)
    place = np.stack([2 * parent, 2 * parent + 1], axis=1).ravel()
    count = np.diff(diagram.paid_start)[place]
    start = np.concatenate([[0], np.cumsum(count)])
    source = np.repeat(diagram.paid_start[place] - start[:-1], count) + np.arange(start[-1])
    return replace(
        diagram,
        offset=np.array(offset, dtype=np.int64),
        target=np.concatenate(targets),
        paid_start=start,
        paid_net=diagram.paid_net[source],
        paid_sends=diagram.paid_sends[source],
        barred=np.concatenate(barred),
    )
