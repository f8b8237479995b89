"""The loaded downset and the piece that grows from it: loads, and one item taken or left."""

from __future__ import annotations

import numpy as np

from placer.jit import jit
from placer.methods.downsets.kernels.arrays import (
    AVAILABLE,
    BEFORE,
    BLOCKS,
    COUNT,
    DEPTH,
    EXCLUDED,
    FIXED,
    LISTED,
    MEMORY,
    OPEN,
    READ,
    STAMP,
    TAKEN,
    TRAIL,
    UNDECIDED,
    Counts,
    Floats,
    Graph,
    Ints,
    Measures,
    Space,
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
    "within",
]


@jit
def set_available(space: Space, ctl: Ints, v: int, wanted: bool) -> None:
    """Keep the list of items whose predecessors are all in the loaded downset."""
    p = space.position[v]
    if wanted and p < 0:
        space.position[v] = ctl[AVAILABLE]
        space.available[ctl[AVAILABLE]] = v
        ctl[AVAILABLE] += 1
    elif not wanted and p >= 0:
        ctl[AVAILABLE] -= 1
        last = space.available[ctl[AVAILABLE]]
        space.available[p] = last
        space.position[last] = p
        space.position[v] = -1


@jit
def load_state(g: Graph, space: Space, ctl: Ints, s: int) -> None:
    """Turn the loaded downset into that of state s by toggling what differs."""
    one, full = np.uint64(1), ~np.uint64(0)
    n = len(space.where)
    for w in range(len(space.words)):
        k = w - space.low[s]
        new = full if k < 0 else (space.pool[space.offset[s] + k] if k < space.length[s] else np.uint64(0))
        if w == n >> 6:
            new &= (one << np.uint64(n & 63)) - one
        diff = new ^ space.words[w]
        if diff == 0:
            continue
        space.words[w] = new
        for b in range(64):
            if not (diff >> np.uint64(b)) & one:
                continue
            v = 64 * w + b
            inside = (new >> np.uint64(b)) & one != 0
            step = 1 if inside else -1
            space.where[v] = BEFORE if inside else UNDECIDED
            for i in range(g.item_start[v], g.item_start[v + 1]):
                space.before[g.item_nets[i]] += step
            for i in range(g.succ_start[v], g.succ_start[v + 1]):
                space.missing[g.succ[i]] -= step
            space.trail[ctl[TRAIL]] = v
            ctl[TRAIL] += 1
    for k in range(ctl[TRAIL]):
        v = space.trail[k]
        if g.optional[v]:
            continue
        set_available(space, ctl, v, space.where[v] == UNDECIDED and space.missing[v] == 0)
        for i in range(g.succ_start[v], g.succ_start[v + 1]):
            x = g.succ[i]
            set_available(space, ctl, x, space.where[x] == UNDECIDED and space.missing[x] == 0)
    ctl[TRAIL] = 0


@jit
def set_flights(g: Graph, space: Space, s: int) -> None:
    """Say how many microbatches the piece after state s keeps beside the first (*Microbatches in flight*)."""
    stage = 1
    for i in range(len(g.devices)):
        if g.pool[i] == i:
            stage += space.used[s, i]
    space.reach[1] = (min(stage, g.flights) if g.by_stage else g.flights) - 1


@jit
def size(g: Graph, space: Space, t: int, v: int) -> float:
    """Memory of item v in the piece under way on type t."""
    if g.again[t]:
        return g.memory[v]
    return g.memory[v] + space.reach[1] * g.activation[v]


@jit
def received(g: Graph, space: Space, ctl: Ints, extra: int) -> float:
    """Memory of what the piece on a recomputing device reads, with one item more (-1: none)."""
    ctl[READ] += 1
    total = 0.0
    for d in range(ctl[DEPTH] + 1):
        v = space.listed[d] if d < ctl[DEPTH] else extra
        if v < 0 or (v != extra and space.where[v] != TAKEN):
            continue
        for i in range(g.read_start[v], g.read_start[v + 1]):
            o = g.read[i]
            p = g.output_producer[o]
            if space.seen[o] != ctl[READ] and p != extra and space.where[p] != TAKEN:
                total += g.output_bytes[o]
            space.seen[o] = ctl[READ]
    return total * (space.reach[1] + 1.0)


@jit
def left_of(g: Graph, used: Counts, i: int, t: int) -> int:
    """Devices of type i that are left after those used and one more of type t."""
    count: int = g.devices[i] - used[i] - (1 if g.pool[i] == g.pool[t] else 0)
    return count


@jit
def net_slot(g: Graph, space: Space, e: int, taken: int, outside: int) -> int:
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


@jit
def book(g: Graph, space: Space, t: int, v: int, row: Floats, sign: float) -> None:
    """Add (or take back) what the nets of item v cost the piece as things stand."""
    if not g.paying[t]:
        return
    for i in range(g.item_start[v], g.item_start[v + 1]):
        e = g.item_nets[i]
        slot = net_slot(g, space, e, space.taken[e], space.before[e] + space.excluded[e])
        if slot >= 0:
            row[slot] += sign * g.net_cost[t, e]


@jit
def direction_load(g: Graph, compute: float, first: float, second: float) -> float:
    """Combine compute time and transfers (for duplex: sent, received) of one direction."""
    if g.mode == 0:
        return compute + first
    if g.mode == 1:
        return max(compute, first)
    return max(compute, first, second)


@jit
def load(g: Graph, row: Floats, d: int, with_open: bool) -> float:
    """Load of direction d: of the piece as it is, or (without open nets) of all that it can become."""
    first, second = row[FIXED + 2 * d], row[FIXED + 2 * d + 1]
    if with_open:
        first += row[OPEN + 2 * d]
        second += row[OPEN + 2 * d + 1]
    return direction_load(g, row[d], first, second)


@jit
def within(g: Graph, peak: Floats, forward: float, backward: float, target: float) -> bool:
    """Whether loads keep the target: each piece's sum, or for gpipe the sum of both maxima."""
    if g.gpipe:
        forward, backward = max(forward, peak[0]), max(backward, peak[1])
    return forward + backward <= target


@jit
def capacity(
    g: Graph, m: Measures, k: int, used: Counts, t: int, forward: float, backward: float, target: float
) -> float:
    """Work that the devices left after one more of type t can hold in measure k."""
    total = 0.0
    for i in range(len(g.devices)):
        left = left_of(g, used, i, t)
        if left > 0 and g.pool[i] == i:
            total += left * m.scale[k, i]
    if m.kind[k] == 0:
        return total * (target - backward)
    if m.kind[k] == 1:
        return total * (target - forward)
    return total * target if m.kind[k] == 2 else total


@jit
def take(g: Graph, m: Measures, space: Space, ctl: Ints, t: int, v: int, row: Floats) -> None:
    """Put the available item v into the piece."""
    K = len(m.kind)
    book(g, space, t, v, row, -1.0)
    space.where[v] = TAKEN
    for i in range(g.item_start[v], g.item_start[v + 1]):
        e = g.item_nets[i]
        inside = space.before[e] + space.taken[e]
        if inside == 0:
            for k in range(K):
                row[BLOCKS + 2 * K + k] += m.boundary[k, e]
        elif inside == g.net_size[e] - 1:
            for k in range(K):
                row[BLOCKS + 2 * K + k] -= m.boundary[k, e]
        space.taken[e] += 1
    book(g, space, t, v, row, 1.0)
    row[0] += g.time[t, 0, v]
    row[1] += g.time[t, 1, v]
    row[MEMORY] += size(g, space, t, v)
    for k in range(K):
        row[BLOCKS + k] += m.weight[k, v]
    for i in range(g.succ_start[v], g.succ_start[v + 1]):
        x = g.succ[i]
        space.missing[x] -= 1
        if space.missing[x] == 0 and space.where[x] == UNDECIDED and space.zone[x] == ctl[STAMP]:
            space.listed[ctl[LISTED]] = x
            ctl[LISTED] += 1
    if g.paying[t]:
        for i in range(g.near_start[v], g.near_start[v + 1]):
            x = g.near[i]
            space.zone_missing[x] += 1
            if space.zone_missing[x] == 1 and space.where[x] == UNDECIDED:
                space.listed[ctl[LISTED]] = x
                ctl[LISTED] += 1
    ctl[COUNT] += 1 + g.item_start[v + 1] - g.item_start[v]


@jit
def untake(g: Graph, space: Space, t: int, v: int) -> None:
    """Undo ``take``, except for the accumulators and the list."""
    space.where[v] = UNDECIDED
    for i in range(g.item_start[v], g.item_start[v + 1]):
        space.taken[g.item_nets[i]] -= 1
    for i in range(g.succ_start[v], g.succ_start[v + 1]):
        space.missing[g.succ[i]] += 1
    if g.paying[t]:
        for i in range(g.near_start[v], g.near_start[v + 1]):
            space.zone_missing[g.near[i]] -= 1


@jit
def exclude(g: Graph, m: Measures, space: Space, ctl: Ints, t: int, v: int, row: Floats) -> bool:
    """Leave item v, and with it all that comes after it, to later devices.

    Returns False, with the marks taken back, as soon as the devices left could not hold the rest.
    """
    K = len(m.kind)
    begin = ctl[TRAIL]
    space.where[v] = EXCLUDED
    space.trail[ctl[TRAIL]] = v
    ctl[TRAIL] += 1
    if g.chain:
        for k in range(K):
            row[BLOCKS + K + k] = row[BLOCKS + k]
    at = begin
    short = False
    while at < ctl[TRAIL] and not short:
        x = space.trail[at]
        at += 1
        for k in range(K):
            if not g.chain:
                row[BLOCKS + K + k] -= m.weight[k, x]
            short = short or row[BLOCKS + K + k] < space.need[k]
        for i in range(g.succ_start[x], g.succ_start[x + 1]):
            y = g.succ[i]
            if space.where[y] == UNDECIDED and space.zone[y] == ctl[STAMP] and not g.chain:
                space.where[y] = EXCLUDED
                space.trail[ctl[TRAIL]] = y
                ctl[TRAIL] += 1
    ctl[COUNT] += at - begin
    if short:
        while ctl[TRAIL] > begin:
            ctl[TRAIL] -= 1
            space.where[space.trail[ctl[TRAIL]]] = UNDECIDED
        return False
    # A net is booked by where its producer is, so the marks may only change one by one with the books.
    for at in range(begin, ctl[TRAIL]):
        space.where[space.trail[at]] = UNDECIDED
    for at in range(begin, ctl[TRAIL]):
        x = space.trail[at]
        book(g, space, t, x, row, -1.0)
        space.where[x] = EXCLUDED
        for i in range(g.item_start[x], g.item_start[x + 1]):
            space.excluded[g.item_nets[i]] += 1
        book(g, space, t, x, row, 1.0)
        ctl[COUNT] += g.item_start[x + 1] - g.item_start[x]
    return True


@jit
def unexclude(g: Graph, space: Space, ctl: Ints, begin: int) -> None:
    """Undo exclusions back to a length of the trail."""
    while ctl[TRAIL] > begin:
        ctl[TRAIL] -= 1
        x = space.trail[ctl[TRAIL]]
        space.where[x] = UNDECIDED
        for i in range(g.item_start[x], g.item_start[x + 1]):
            space.excluded[g.item_nets[i]] -= 1
