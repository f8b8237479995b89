"""The loaded downset and the piece that grows from it: loads, and one item taken or left."""

from __future__ import annotations

import cython

if not cython.compiled:
    from math import floor

    from placer.methods.downsets.kernels.views import (
        BEFORE,
        BLOCKS,
        EXCLUDED,
        FIXED,
        FULL_WORD,
        MEMORY,
        ONE,
        OPEN,
        TAKEN,
        UNDECIDED,
        Control,
        GraphView,
        MeasuresView,
        SpaceView,
    )

__all__ = [
    "book",
    "capacity",
    "direction_load",
    "exclude",
    "left_of",
    "load",
    "load_state",
    "net_slot",
    "received",
    "set_available",
    "set_flights",
    "size",
    "take",
    "unexclude",
    "untake",
    "whole",
    "within",
]


def set_available(space: SpaceView, ctl: Control, v: int, wanted: bool) -> None:
    """Keep the list of items whose predecessors are all in the loaded downset."""
    p = space.position[v]
    if wanted and p < 0:
        space.position[v] = ctl.available
        space.available[ctl.available] = v
        ctl.available += 1
    elif not wanted and p >= 0:
        ctl.available -= 1
        last = space.available[ctl.available]
        space.available[p] = last
        space.position[last] = p
        space.position[v] = -1


def load_state(g: GraphView, space: SpaceView, ctl: Control, s: int) -> None:
    """Turn the loaded downset into that of state s by toggling what differs."""
    n = space.where.shape[0]
    for w in range(space.words.shape[0]):
        k = w - space.low[s]
        new = FULL_WORD if k < 0 else (space.pool[space.offset[s] + k] if k < space.length[s] else 0)
        if w == n >> 6:
            new &= (ONE << (n & 63)) - ONE
        diff = new ^ space.words[w]
        if diff == 0:
            continue
        space.words[w] = new
        for b in range(64):
            if not (diff >> b) & ONE:
                continue
            v = 64 * w + b
            inside = (new >> b) & ONE != 0
            step = 1 if inside else -1
            space.where[v] = BEFORE if inside else UNDECIDED
            for i in range(g.item_start[v], g.item_start[v + 1]):
                space.before[g.item_nets[i]] += step
            for i in range(g.succ_start[v], g.succ_start[v + 1]):
                space.missing[g.succ[i]] -= step
            space.trail[ctl.trail] = v
            ctl.trail += 1
    for k in range(ctl.trail):
        v = space.trail[k]
        if g.optional[v]:
            continue
        set_available(space, ctl, v, space.where[v] == UNDECIDED and space.missing[v] == 0)
        for i in range(g.succ_start[v], g.succ_start[v + 1]):
            x = g.succ[i]
            set_available(space, ctl, x, space.where[x] == UNDECIDED and space.missing[x] == 0)
    ctl.trail = 0


def set_flights(g: GraphView, space: SpaceView, s: int) -> None:
    """Say how many microbatches the piece after state s keeps beside the first (*Microbatches in flight*)."""
    stage = space.used[s, g.types] + 1
    space.reach[1] = (min(stage, g.flights) if g.by_stage else g.flights) - 1


def size(g: GraphView, space: SpaceView, t: int, v: int) -> float:
    """Memory of item v in the piece under way on type t."""
    if g.again[t]:
        return g.memory[t, v]
    return g.memory[t, v] + space.reach[1] * g.activation[t, v]


def received(g: GraphView, space: SpaceView, ctl: Control, extra: int) -> float:
    """Memory of what the piece on a recomputing device reads, with one item more (-1: none)."""
    ctl.read += 1
    total = 0.0
    for d in range(ctl.depth + 1):
        v = space.listed[d] if d < ctl.depth else extra
        if v < 0 or (v != extra and space.where[v] != TAKEN):
            continue
        for i in range(g.read_start[v], g.read_start[v + 1]):
            o = g.read[i]
            p = g.output_producer[o]
            if space.seen[o] != ctl.read and p != extra and space.where[p] != TAKEN:
                total += g.output_bytes[o]
            space.seen[o] = ctl.read
    return total * (space.reach[1] + 1.0)


def left_of(g: GraphView, space: SpaceView, s: int, i: int, t: int) -> int:
    """Devices of the pool of type i that are left after those used and a piece on type t."""
    count: int = g.devices[i] - space.used[s, i] - (g.width[t] if g.pool[i] == g.pool[t] else 0)
    return count


def net_slot(g: GraphView, space: SpaceView, e: int, taken: int, outside: int) -> int:
    """Where the cost of net e is booked, given how many of its items are taken / surely elsewhere; or -1."""
    if taken == 0 or taken == g.net_size[e]:
        return -1
    lane = 0
    known = outside > 0
    if g.mode == 2:
        producer = space.where[g.net_producer[e]]
        lane = 0 if producer == TAKEN else 1
        known = known and producer != UNDECIDED
    slot: int = (FIXED if known else OPEN) + 2 * g.net_direction[e] + lane
    return slot


def book(g: GraphView, space: SpaceView, t: int, v: int, sign: float) -> None:
    """Add (or take back) what the nets of item v cost the piece as things stand."""
    if not g.paying[t]:
        return
    for i in range(g.item_start[v], g.item_start[v + 1]):
        e = g.item_nets[i]
        slot = net_slot(g, space, e, space.taken[e], space.before[e] + space.excluded[e])
        if slot >= 0:
            space.row[slot] += sign * g.net_cost[t, e]


def direction_load(g: GraphView, compute: float, first: float, second: float) -> float:
    """Combine compute time and transfers (for duplex: sent, received) of one direction."""
    if g.mode == 0:
        return compute + first
    if g.mode == 1:
        return max(compute, first)
    return max(compute, first, second)


def load(g: GraphView, space: SpaceView, d: int, with_open: bool) -> float:
    """Load of direction d: of the piece as it is, or (without open nets) of all that it can become."""
    first, second = space.row[FIXED + 2 * d], space.row[FIXED + 2 * d + 1]
    if with_open:
        first += space.row[OPEN + 2 * d]
        second += space.row[OPEN + 2 * d + 1]
    return direction_load(g, space.row[d], first, second)


def within(g: GraphView, space: SpaceView, s: int, forward: float, backward: float, target: float) -> bool:
    """Whether loads keep the target: each piece's sum, or for gpipe the sum of both maxima."""
    if g.gpipe:
        if forward + backward > space.reach[2]:
            return False
        forward, backward = max(forward, space.peak[s, 0]), max(backward, space.peak[s, 1])
    return forward + backward <= target


def capacity(
    g: GraphView,
    m: MeasuresView,
    space: SpaceView,
    k: int,
    s: int,
    t: int,
    forward: float,
    backward: float,
    target: float,
) -> float:
    """Work that the devices left after a piece on type t can hold in measure k."""
    limit = 1.0
    if m.kind[k] == 0:
        limit = target - backward
    elif m.kind[k] == 1:
        limit = target - forward
    elif m.kind[k] == 2:
        limit = min(target, space.reach[2])
    total = 0.0
    for i in range(g.types):
        left = left_of(g, space, s, i, t)
        if left > 0 and g.pool[i] == i:
            total += left * m.scale[k, i] * whole(limit, m.unit[k, i])
    return total


def whole(limit: float, unit: float) -> float:
    """Return the largest multiple of a unit within a limit, up to rounding; the limit itself if it is 0."""
    if unit <= 0.0:
        return limit
    return unit * floor(limit / unit * (1.0 + 1e-11))


def take(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, t: int, v: int) -> None:
    """Put the available item v into the piece."""
    K = m.kinds
    book(g, space, t, v, -1.0)
    space.where[v] = TAKEN
    for i in range(g.item_start[v], g.item_start[v + 1]):
        e = g.item_nets[i]
        inside = space.before[e] + space.taken[e]
        if inside == 0:
            for k in range(K):
                space.row[BLOCKS + 2 * K + k] += m.boundary[k, e]
        elif inside == g.net_size[e] - 1:
            for k in range(K):
                space.row[BLOCKS + 2 * K + k] -= m.boundary[k, e]
        space.taken[e] += 1
    book(g, space, t, v, 1.0)
    space.row[0] += g.time[t, 0, v]
    space.row[1] += g.time[t, 1, v]
    space.row[MEMORY] += size(g, space, t, v)
    for k in range(K):
        space.row[BLOCKS + k] += m.weight[k, v]
    for i in range(g.succ_start[v], g.succ_start[v + 1]):
        x = g.succ[i]
        space.missing[x] -= 1
        if space.missing[x] == 0 and space.where[x] == UNDECIDED and space.zone[x] == ctl.stamp:
            space.listed[ctl.listed] = x
            ctl.listed += 1
    if g.paying[t]:
        for i in range(g.near_start[v], g.near_start[v + 1]):
            x = g.near[i]
            space.zone_missing[x] += 1
            if space.zone_missing[x] == 1 and space.where[x] == UNDECIDED:
                space.listed[ctl.listed] = x
                ctl.listed += 1
    ctl.count += 1 + g.item_start[v + 1] - g.item_start[v]


def untake(g: GraphView, space: SpaceView, t: int, v: int) -> None:
    """Undo ``take``, except for the accumulators and the list."""
    space.where[v] = UNDECIDED
    for i in range(g.item_start[v], g.item_start[v + 1]):
        space.taken[g.item_nets[i]] -= 1
    for i in range(g.succ_start[v], g.succ_start[v + 1]):
        space.missing[g.succ[i]] += 1
    if g.paying[t]:
        for i in range(g.near_start[v], g.near_start[v + 1]):
            space.zone_missing[g.near[i]] -= 1


def exclude(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, t: int, v: int) -> bool:
    """Leave item v, and with it all that comes after it, to later devices.

    Returns False, with the marks taken back, as soon as the devices left could not hold the rest.
    """
    K = m.kinds
    begin = ctl.trail
    space.where[v] = EXCLUDED
    space.trail[ctl.trail] = v
    ctl.trail += 1
    if g.chain:
        for k in range(K):
            space.row[BLOCKS + K + k] = space.row[BLOCKS + k]
    at = begin
    short = False
    while at < ctl.trail and not short:
        x = space.trail[at]
        at += 1
        for k in range(K):
            if not g.chain:
                space.row[BLOCKS + K + k] -= m.weight[k, x]
            short = short or space.row[BLOCKS + K + k] < space.need[k]
        for i in range(g.succ_start[x], g.succ_start[x + 1]):
            y = g.succ[i]
            if space.where[y] == UNDECIDED and space.zone[y] == ctl.stamp and not g.chain:
                space.where[y] = EXCLUDED
                space.trail[ctl.trail] = y
                ctl.trail += 1
    ctl.count += at - begin
    if short:
        while ctl.trail > begin:
            ctl.trail -= 1
            space.where[space.trail[ctl.trail]] = UNDECIDED
        return False
    # A net is booked by where its producer is, so the marks may only change one by one with the books.
    for at in range(begin, ctl.trail):
        space.where[space.trail[at]] = UNDECIDED
    for at in range(begin, ctl.trail):
        x = space.trail[at]
        book(g, space, t, x, -1.0)
        space.where[x] = EXCLUDED
        for i in range(g.item_start[x], g.item_start[x + 1]):
            space.excluded[g.item_nets[i]] += 1
        book(g, space, t, x, 1.0)
        ctl.count += g.item_start[x + 1] - g.item_start[x]
    return True


def unexclude(g: GraphView, space: SpaceView, ctl: Control, begin: int) -> None:
    """Undo exclusions back to a length of the trail."""
    while ctl.trail > begin:
        ctl.trail -= 1
        x = space.trail[ctl.trail]
        space.where[x] = UNDECIDED
        for i in range(g.item_start[x], g.item_start[x + 1]):
            space.excluded[g.item_nets[i]] -= 1
