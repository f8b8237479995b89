"""Rules argued, by the name in brackets, in ``downsets.search``: what a piece reaches, what it must take."""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.downsets.kernels.pieces import (
        direction_load,
        left_of,
        load,
        received,
        size,
        within,
    )
    from placer.methods.downsets.kernels.views import (
        BEFORE,
        BLOCKS,
        FIXED,
        INFINITY,
        MEMORY,
        OPEN,
        TAKEN,
        UNDECIDED,
        Control,
        GraphView,
        MeasuresView,
        SpaceView,
    )

__all__ = [
    "costs_nothing",
    "finishes",
    "fits",
    "harmless",
    "has_device",
    "holdable",
    "in_order",
    "mark_zone",
    "optional_cost",
]


def has_device(g: GraphView, space: SpaceView, s: int, t: int) -> bool:
    """Whether there are devices left for a piece on type t after those of state s (*Pools*)."""
    return g.devices[t] - space.used[s, t] >= g.width[t]


def in_order(g: GraphView, space: SpaceView, s: int, t: int) -> bool:
    """Whether a piece on type t may follow those of state s (*Wanted order of devices*)."""
    if g.rank[t] >= 0:
        for i in range(g.types):
            if space.used[s, i] > 0 and g.rank[i] > g.rank[t]:
                return False
    return True


def mark_zone(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, t: int, target: float) -> None:
    """Stamp the items that some piece from the loaded downset can reach, by their longest path (*Room*)."""
    K = m.kinds
    ctl.stamp += 1
    stamp = ctl.stamp
    filled = 0
    for i in range(ctl.available):
        v = space.available[i]
        if g.ok[t, v] and size(g, space, t, v) <= g.limit[t] and g.time[t, 0, v] + g.time[t, 1, v] <= target:
            space.zone[v] = stamp
            space.distance[v] = g.time[t, 0, v] + g.time[t, 1, v]
            space.stack[filled] = v
            filled += 1
            space.listed[ctl.listed] = v
            ctl.listed += 1
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
    ctl.count += filled


def optional_cost(g: GraphView, space: SpaceView, t: int, x: int) -> float:
    """Cost of the optional item x for the device that takes all the rest: with it, or by its nets alone."""
    taken, left = g.time[t, 0, x] + g.time[t, 1, x], 0.0
    for i in range(g.item_start[x], g.item_start[x + 1]):
        e = g.item_nets[i]
        if space.before[e] > 0:
            taken += g.net_cost[t, e]
        if space.before[e] < g.net_size[e] - 1:
            left += g.net_cost[t, e]
    return min(taken, left) if g.ok[t, x] else left


def finishes(g: GraphView, m: MeasuresView, space: SpaceView, s: int, t: int, target: float) -> bool:
    """Whether one device of type t can take all that is left."""
    K = m.kinds
    for k in range(K):
        room = m.scale[k, t] * g.width[t]
        if m.kind[k] == 0:
            room *= target - space.peak[s, 1]
        elif m.kind[k] == 1:
            room *= target - space.peak[s, 0]
        elif m.kind[k] == 2:
            room *= min(target, space.reach[2])
        if space.left[s, k] > room + m.slack[k]:
            return False
    for i in range(space.last.shape[0]):
        space.last[i] = 0.0
    for v in range(64 * space.low[s], space.where.shape[0]):
        if space.where[v] == UNDECIDED and not g.optional[v]:
            if not g.ok[t, v]:
                return False
            space.last[0] += g.time[t, 0, v]
            space.last[1] += g.time[t, 1, v]
            space.last[MEMORY] += size(g, space, t, v)
    if space.last[MEMORY] > g.limit[t]:
        return False
    if g.paying[t]:
        for e in range(g.net_size.shape[0]):
            x = g.net_optional[e]
            if x >= 0 and space.where[x] == UNDECIDED:
                continue
            if 0 < space.before[e] < g.net_size[e]:
                lane = 1 if g.mode == 2 and space.where[g.net_producer[e]] == BEFORE else 0
                space.last[FIXED + 2 * g.net_direction[e] + lane] += g.net_cost[t, e]
        for x in range(space.where.shape[0]):
            if g.optional[x] and space.where[x] == UNDECIDED:
                space.last[0] += optional_cost(g, space, t, x)
    forward = direction_load(g, space.last[0], space.last[FIXED], space.last[FIXED + 1])
    backward = direction_load(g, space.last[1], space.last[FIXED + 2], space.last[FIXED + 3])
    return within(g, space, s, forward, backward, target)


def harmless(g: GraphView, space: SpaceView, s: int, t: int, v: int) -> bool:
    """Whether no later device gets a larger load when it loses the available item v (*Dominance*)."""
    for i in range(g.types):
        if left_of(g, space, s, i, t) < g.width[i] or not g.ok[i, v] or not g.paying[i]:
            continue
        _clear(space)
        for j in range(g.item_start[v], g.item_start[v + 1]):
            e = g.item_nets[j]
            inside = space.before[e] + space.taken[e]
            mine = g.net_producer[e] == v
            if inside == 0:  # a device that held all of the net has to receive or send it from now on
                lane = 1 if g.mode == 2 and mine else 0
                space.scratch[2 * g.net_direction[e] + lane] += g.net_cost[i, e]
            elif inside == g.net_size[e] - 1:  # v was all that the device had to do with the net
                lane = 1 if g.mode == 2 and not mine else 0
                space.scratch[2 * g.net_direction[e] + lane] -= g.net_cost[i, e]
            elif g.mode == 2 and mine:  # instead of sending, a device that holds consumers receives
                space.scratch[2 * g.net_direction[e] + 1] += g.net_cost[i, e]
        if g.mode == 0:
            forward, backward = space.scratch[0] - g.time[i, 0, v], space.scratch[2] - g.time[i, 1, v]
            worse = max(forward, backward) > 0.0 if g.gpipe else forward + backward > 0.0
        else:
            worse = max(space.scratch[0], space.scratch[1], space.scratch[2], space.scratch[3]) > 0.0
        if worse:
            return False
    return True


def _add_transfers(g: GraphView, space: SpaceView, t: int, v: int) -> None:
    """Add to the scratch, by direction and lane, what the nets of v cost more or less with v in the piece."""
    if not g.paying[t]:
        return
    for i in range(g.item_start[v], g.item_start[v + 1]):
        e = g.item_nets[i]
        place = 2 * g.net_direction[e]
        taken = space.where[g.net_producer[e]] == TAKEN
        if space.taken[e] > 0:
            space.scratch[place + (1 if g.mode == 2 and not taken else 0)] -= g.net_cost[t, e]
        if space.taken[e] + 1 < g.net_size[e]:
            taken = taken or g.net_producer[e] == v
            space.scratch[place + (1 if g.mode == 2 and not taken else 0)] += g.net_cost[t, e]


def _clear(space: SpaceView) -> None:
    for i in range(4):
        space.scratch[i] = 0.0


def costs_nothing(g: GraphView, space: SpaceView, s: int, t: int, v: int) -> bool:
    """Whether taking the available item v makes no load larger, whatever else the piece takes (*Forced*)."""
    if not g.ok[t, v] or space.reach[0] > g.limit[t] or (g.again[t] and g.limit[t] < INFINITY):
        return False
    if g.mode != 0 and g.time[t, 0, v] + g.time[t, 1, v] > 0.0:
        return False
    _clear(space)
    _add_transfers(g, space, t, v)
    if g.mode == 0:
        forward, backward = space.scratch[0] + g.time[t, 0, v], space.scratch[2] + g.time[t, 1, v]
        grows = max(forward, backward) > 0.0 if g.gpipe else forward + backward > 0.0
    else:
        grows = max(space.scratch[0], space.scratch[1], space.scratch[2], space.scratch[3]) > 0.0
    return not grows and harmless(g, space, s, t, v)


def holdable(g: GraphView, space: SpaceView, s: int, t: int, v: int, target: float) -> bool:
    """Whether a device left can hold the excluded item v with what its nets then surely cost (*Holdable*)."""
    for i in range(g.types):
        if left_of(g, space, s, i, t) < g.width[i] or not g.ok[i, v]:
            continue
        if not g.paying[i]:
            if within(g, space, s, g.time[i, 0, v], g.time[i, 1, v], target):
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
        if within(g, space, s, forward, backward, target):
            return True
    return False


def fits(g: GraphView, space: SpaceView, ctl: Control, s: int, t: int, v: int, target: float) -> bool:
    """Whether the piece can take the available item v as well without a larger peak (*Dominance*)."""
    if not g.ok[t, v]:
        return False
    memory = space.row[MEMORY] + size(g, space, t, v)
    if memory + (received(g, space, ctl, v) if g.again[t] else 0.0) > g.limit[t]:
        return False
    for d in range(2):
        for lane in range(2):
            space.scratch[2 * d + lane] = space.row[FIXED + 2 * d + lane] + space.row[OPEN + 2 * d + lane]
    _add_transfers(g, space, t, v)
    forward = direction_load(g, space.row[0] + g.time[t, 0, v], space.scratch[0], space.scratch[1])
    backward = direction_load(g, space.row[1] + g.time[t, 1, v], space.scratch[2], space.scratch[3])
    if g.gpipe and (
        forward > max(space.peak[s, 0], load(g, space, 0, True))
        or backward > max(space.peak[s, 1], load(g, space, 1, True))
    ):
        return False
    return within(g, space, s, forward, backward, target)
