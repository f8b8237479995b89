"""Rules argued, by the name in brackets, in ``downsets.search``: what a piece reaches, what it must take."""

from __future__ import annotations

import numpy as np

from placer.jit import jit
from placer.methods.downsets.kernels.arrays import (
    AVAILABLE,
    BEFORE,
    BLOCKS,
    COUNT,
    FIXED,
    LISTED,
    MEMORY,
    OPEN,
    STAMP,
    TAKEN,
    UNDECIDED,
    Counts,
    Floats,
    Graph,
    Ints,
    Measures,
    Space,
)
from placer.methods.downsets.kernels.pieces import direction_load, left_of, load, received, size, within

__all__ = [
    "costs_nothing",
    "finishes",
    "fits",
    "harmless",
    "holdable",
    "in_order",
    "mark_zone",
    "optional_cost",
]


@jit
def in_order(g: Graph, space: Space, s: int, t: int) -> bool:
    """Whether a piece on type t may follow those of state s (*Wanted order of devices*)."""
    if g.rank[t] >= 0:
        for i in range(len(g.devices)):
            if space.used[s, i] > 0 and g.rank[i] > g.rank[t]:
                return False
    return True


@jit
def mark_zone(g: Graph, m: Measures, space: Space, ctl: Ints, t: int, target: float) -> None:
    """Stamp the items that some piece from the loaded downset can reach, by their longest path (*Room*)."""
    K = len(m.kind)
    ctl[STAMP] += 1
    stamp = ctl[STAMP]
    filled = 0
    for i in range(ctl[AVAILABLE]):
        v = space.available[i]
        if g.ok[t, v] and size(g, space, t, v) <= g.limit[t] and g.time[t, 0, v] + g.time[t, 1, v] <= target:
            space.zone[v] = stamp
            space.distance[v] = g.time[t, 0, v] + g.time[t, 1, v]
            space.stack[filled] = v
            filled += 1
            space.listed[ctl[LISTED]] = v
            ctl[LISTED] += 1
    at = 0
    space.reach[0] = 0.0
    while at < filled:
        v = space.stack[at]
        at += 1
        space.reach[0] += size(g, space, t, v)
        for k in range(K):
            space.row[BLOCKS + K + k] += m.weight[k, v]
        for i in range(g.succ_start[v], g.succ_start[v + 1]):
            x = g.succ[i]
            if space.zone[x] != -stamp:
                space.zone[x] = -stamp
                space.zone_missing[x] = space.missing[x]
                space.distance[x] = 0.0
            space.zone_missing[x] -= 1
            space.distance[x] = max(space.distance[x], space.distance[v])
            if space.zone_missing[x] == 0:
                far = space.distance[x] + g.time[t, 0, x] + g.time[t, 1, x]
                if g.ok[t, x] and size(g, space, t, x) <= g.limit[t] and far <= target:
                    space.zone[x] = stamp
                    space.distance[x] = far
                    space.stack[filled] = x
                    filled += 1
    ctl[COUNT] += filled


@jit
def optional_cost(g: Graph, space: Space, t: int, x: int) -> float:
    """Cost of the optional item x for the device that takes all the rest: with it, or by its nets alone."""
    taken, left = g.time[t, 0, x] + g.time[t, 1, x], 0.0
    for i in range(g.item_start[x], g.item_start[x + 1]):
        e = g.item_nets[i]
        if space.before[e] > 0:
            taken += g.net_cost[t, e]
        if space.before[e] < g.net_size[e] - 1:
            left += g.net_cost[t, e]
    return min(taken, left) if g.ok[t, x] else left


@jit
def finishes(g: Graph, m: Measures, space: Space, s: int, t: int, target: float) -> bool:
    """Whether one device of type t can take all that is left."""
    K = len(m.kind)
    peak = space.peak[s]
    for k in range(K):
        room = m.scale[k, t]
        if m.kind[k] == 0:
            room *= target - peak[1]
        elif m.kind[k] == 1:
            room *= target - peak[0]
        elif m.kind[k] == 2:
            room *= target
        if space.left[s, k] > room + m.slack[k]:
            return False
    row = space.last
    row[:] = 0.0
    for v in range(64 * space.low[s], len(space.where)):
        if space.where[v] == UNDECIDED and not g.optional[v]:
            if not g.ok[t, v]:
                return False
            row[0] += g.time[t, 0, v]
            row[1] += g.time[t, 1, v]
            row[MEMORY] += size(g, space, t, v)
    if row[MEMORY] > g.limit[t]:
        return False
    if g.paying[t]:
        for e in range(len(g.net_size)):
            x = g.net_optional[e]
            if x >= 0 and space.where[x] == UNDECIDED:
                continue
            if 0 < space.before[e] < g.net_size[e]:
                lane = 1 if g.mode == 2 and space.where[g.net_producer[e]] == BEFORE else 0
                row[FIXED + 2 * g.net_direction[e] + lane] += g.net_cost[t, e]
        for x in range(len(space.where)):
            if g.optional[x] and space.where[x] == UNDECIDED:
                row[0] += optional_cost(g, space, t, x)
    forward = direction_load(g, row[0], row[FIXED], row[FIXED + 1])
    backward = direction_load(g, row[1], row[FIXED + 2], row[FIXED + 3])
    return within(g, peak, forward, backward, target)


@jit
def harmless(g: Graph, space: Space, used: Counts, t: int, v: int, delta: Floats) -> bool:
    """Whether no later device gets a larger load when it loses the available item v (*Dominance*)."""
    for i in range(len(g.devices)):
        if left_of(g, used, i, t) <= 0 or not g.ok[i, v] or not g.paying[i]:
            continue
        delta[:] = 0.0
        for j in range(g.item_start[v], g.item_start[v + 1]):
            e = g.item_nets[j]
            inside = space.before[e] + space.taken[e]
            mine = g.net_producer[e] == v
            if inside == 0:  # a device that held all of the net has to receive or send it from now on
                lane = 1 if g.mode == 2 and mine else 0
                delta[2 * g.net_direction[e] + lane] += g.net_cost[i, e]
            elif inside == g.net_size[e] - 1:  # v was all that the device had to do with the net
                lane = 1 if g.mode == 2 and not mine else 0
                delta[2 * g.net_direction[e] + lane] -= g.net_cost[i, e]
            elif g.mode == 2 and mine:  # instead of sending, a device that holds consumers receives
                delta[2 * g.net_direction[e] + 1] += g.net_cost[i, e]
        if g.mode == 0:
            gain = delta[0] - g.time[i, 0, v], delta[2] - g.time[i, 1, v]
            worse = max(gain[0], gain[1]) > 0.0 if g.gpipe else gain[0] + gain[1] > 0.0
        else:
            worse = max(delta[0], delta[1], delta[2], delta[3]) > 0.0
        if worse:
            return False
    return True


@jit
def _add_transfers(g: Graph, space: Space, t: int, v: int, cost: Floats) -> None:
    """Add to ``cost`` (by direction and lane) what the nets of v cost more, or less, with v in the piece."""
    if not g.paying[t]:
        return
    for i in range(g.item_start[v], g.item_start[v + 1]):
        e = g.item_nets[i]
        place = 2 * g.net_direction[e]
        taken = space.where[g.net_producer[e]] == TAKEN
        if space.taken[e] > 0:
            cost[place + (1 if g.mode == 2 and not taken else 0)] -= g.net_cost[t, e]
        if space.taken[e] + 1 < g.net_size[e]:
            taken = taken or g.net_producer[e] == v
            cost[place + (1 if g.mode == 2 and not taken else 0)] += g.net_cost[t, e]


@jit
def costs_nothing(g: Graph, space: Space, s: int, t: int, v: int, scratch: Floats) -> bool:
    """Whether taking the available item v makes no load larger, whatever else the piece takes (*Forced*)."""
    if not g.ok[t, v] or space.reach[0] > g.limit[t] or (g.again[t] and g.limit[t] < np.inf):
        return False
    if g.mode != 0 and g.time[t, 0, v] + g.time[t, 1, v] > 0.0:
        return False
    scratch[:] = 0.0
    _add_transfers(g, space, t, v, scratch)
    if g.mode == 0:
        forward, backward = scratch[0] + g.time[t, 0, v], scratch[2] + g.time[t, 1, v]
        grows = max(forward, backward) > 0.0 if g.gpipe else forward + backward > 0.0
    else:
        grows = max(scratch[0], scratch[1], scratch[2], scratch[3]) > 0.0
    return not grows and harmless(g, space, space.used[s], t, v, scratch)


@jit
def holdable(g: Graph, space: Space, s: int, t: int, v: int, target: float) -> bool:
    """Whether a device left can hold the excluded item v with what its nets then surely cost (*Holdable*)."""
    peak, used = space.peak[s], space.used[s]
    for i in range(len(g.devices)):
        if left_of(g, used, i, t) <= 0 or not g.ok[i, v]:
            continue
        if not g.paying[i]:
            if within(g, peak, g.time[i, 0, v], g.time[i, 1, v], target):
                return True
            continue
        forward, backward = 0.0, 0.0
        for j in range(g.item_start[v], g.item_start[v + 1]):
            e = g.item_nets[j]
            if space.before[e] + space.taken[e] > 0 and (g.mode != 2 or g.net_producer[e] != v):
                if g.net_direction[e] == 0:
                    forward += g.net_cost[i, e]
                else:
                    backward += g.net_cost[i, e]
        if g.mode == 2:
            # What v itself sends is another lane; nets that others of v's device send are not received.
            forward = backward = 0.0
        forward = direction_load(g, g.time[i, 0, v], forward, 0.0)
        backward = direction_load(g, g.time[i, 1, v], backward, 0.0)
        if within(g, peak, forward, backward, target):
            return True
    return False


@jit
def fits(
    g: Graph, space: Space, ctl: Ints, s: int, t: int, v: int, row: Floats, target: float, scratch: Floats
) -> bool:
    """Whether the piece can take the available item v as well without a larger peak (*Dominance*)."""
    if not g.ok[t, v]:
        return False
    memory = row[MEMORY] + size(g, space, t, v)
    if memory + (received(g, space, ctl, v) if g.again[t] else 0.0) > g.limit[t]:
        return False
    for d in range(2):
        for lane in range(2):
            scratch[2 * d + lane] = row[FIXED + 2 * d + lane] + row[OPEN + 2 * d + lane]
    _add_transfers(g, space, t, v, scratch)
    forward = direction_load(g, row[0] + g.time[t, 0, v], scratch[0], scratch[1])
    backward = direction_load(g, row[1] + g.time[t, 1, v], scratch[2], scratch[3])
    if g.gpipe:
        peak = space.peak[s]
        if forward > max(peak[0], load(g, row, 0, True)) or backward > max(peak[1], load(g, row, 1, True)):
            return False
    return within(g, space.peak[s], forward, backward, target)
