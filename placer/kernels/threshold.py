"""Threshold search over downsets: can the items be cut into pieces whose loads stay within a target?

A contiguous plan is a chain of downsets ∅ = I_0 ⊂ I_1 ⊂ ... ⊂ I_m = all items; the piece I_i \\ I_{i-1} lies on
one device.  A *state* is a downset together with the devices used so far, per type, and for the schedule
``gpipe`` the largest forward and backward load so far.  States are expanded level by level (one more
device per level); from each state all pieces within the target grow one item at a time.

All arrays live in the three tuples below, so that a call can stop after a number of steps and be resumed.
The arguments for the validity of each rule stand in ``placer.downsets.search``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from placer.kernels import compiled

__all__ = ["FOUND", "FULL", "LEVEL", "STEPS", "Graph", "Measures", "Space", "expand", "rehash"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

# Why ``expand`` returned.
FOUND, LEVEL, STEPS, FULL = 0, 1, 2, 3

UNDECIDED, TAKEN, EXCLUDED, BEFORE = 0, 1, 2, 3

# Places in an accumulator row; then come three blocks of K: measured work of the piece, of what it may
# still reach, and charges for the boundary of the downset.
MEMORY, FIXED, OPEN, BLOCKS = 2, 3, 7, 11


# Places in the control array.
(
    PHASE, STATE, TYPE, DEPTH, LISTED, TRAIL, STATES, POOL, LEVEL_END, STAMP, TRUNCATED, COUNT,
    GOAL_STATE, GOAL_TYPE, PIECE_COUNT, AVAILABLE,
) = range(16)  # fmt: skip
CTL_SIZE = 16

# Phases of the search.
NEXT_STATE, NEXT_TYPE, FORWARD, BACKWARD, GIVE_UP = range(5)


class Graph(NamedTuple):
    """The items: N items, E nets, T device types; times of items that a type cannot run are 0."""

    ok: Bools  # (T, N)
    time: Floats  # (T, 2, N)
    memory: Floats  # (N,)
    limit: Floats  # (T,)
    count: Ints  # (T,)
    paying: Bools  # (T,)
    succ_start: Ints  # (N + 1,)
    succ: Ints
    net_size: Ints  # (E,)
    net_producer: Ints  # (E,)
    net_direction: Ints  # (E,)
    net_cost: Floats  # (T, E)
    item_start: Ints  # (N + 1,)
    item_nets: Ints
    mode: int  # 0 sequential, 1 overlap, 2 duplex
    chain: bool  # each item follows the one before it
    gpipe: bool


class Measures(NamedTuple):
    """Additive measures of work, K of them: Σ weight over what is left ≤ Σ over the devices left of
    ``scale`` times the target (kind 0 forward, 1 backward, 2 both), or times 1 (kind 3)."""  # noqa: D205, D209

    weight: Floats  # (K, N)
    boundary: Floats  # (K, E)
    scale: Floats  # (K, T)
    kind: Ints  # (K,)
    slack: Floats  # (K,) rounding allowance


class Space(NamedTuple):
    """States, and the scratch arrays of the search."""

    low: Ints  # (S,) first word that is not full
    length: Ints  # (S,)
    offset: Ints  # (S,)
    pool: Words
    used: npt.NDArray[np.int32]  # (S, T)
    peak: Floats  # (S, 2)
    left: Floats  # (S, K)
    crossing: Floats  # (S, K)
    rank: Floats  # (S,) the smaller the better
    parent: Ints
    kind: Ints  # type of the device of the last piece
    chain: Ints
    alive: Bools
    heads: Ints
    # the loaded downset and the piece under way
    words: Words  # (W,)
    where: npt.NDArray[np.int8]  # (N,)
    missing: Ints  # (N,)
    before: Ints  # (E,) items of the net in the downset
    taken: Ints  # (E,)
    excluded: Ints  # (E,)
    available: Ints
    position: Ints
    listed: Ints
    trail: Ints
    stack: Ints
    zone: Ints
    zone_missing: Ints
    distance: Floats
    order: Ints  # (N,) branching priority
    need: Floats  # (K,)
    row: Floats  # (A,)
    reach: Floats  # (1,) memory of all that the piece could reach
    rows: Floats  # (N + 1, A)
    frame: Ints  # (N + 1, 4): choice, listed, trail, swapped


@compiled
def _set_available(space, ctl, v, wanted):  # type: ignore[no-untyped-def]
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


@compiled
def _load_state(g, space, ctl, s):  # type: ignore[no-untyped-def]
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
        _set_available(space, ctl, v, space.where[v] == UNDECIDED and space.missing[v] == 0)
        for i in range(g.succ_start[v], g.succ_start[v + 1]):
            x = g.succ[i]
            _set_available(space, ctl, x, space.where[x] == UNDECIDED and space.missing[x] == 0)
    ctl[TRAIL] = 0


@compiled
def _slot(g, space, e, taken, outside):  # type: ignore[no-untyped-def]
    """Where the cost of net e is booked, given how many of its items are taken / surely elsewhere; or -1."""
    if taken == 0 or taken == g.net_size[e]:
        return -1
    lane = 0
    known = outside > 0
    if g.mode == 2:
        place = space.where[g.net_producer[e]]
        lane = 0 if place == TAKEN else 1
        known = known and place != UNDECIDED
    return (FIXED if known else OPEN) + 2 * g.net_direction[e] + lane


@compiled
def _book(g, space, t, v, row, sign):  # type: ignore[no-untyped-def]
    """Add (or take back) what the nets of item v cost the piece as things stand."""
    if not g.paying[t]:
        return
    for i in range(g.item_start[v], g.item_start[v + 1]):
        e = g.item_nets[i]
        slot = _slot(g, space, e, space.taken[e], space.before[e] + space.excluded[e])
        if slot >= 0:
            row[slot] += sign * g.net_cost[t, e]


@compiled
def _direction_load(g, compute, first, second):  # type: ignore[no-untyped-def]
    if g.mode == 0:
        return compute + first
    if g.mode == 1:
        return max(compute, first)
    return max(compute, first, second)


@compiled
def _load(g, row, d, with_open):  # type: ignore[no-untyped-def]
    """Load of direction d: of the piece as it is, or (without open nets) of every piece that it can become."""
    first, second = row[FIXED + 2 * d], row[FIXED + 2 * d + 1]
    if with_open:
        first += row[OPEN + 2 * d]
        second += row[OPEN + 2 * d + 1]
    return _direction_load(g, row[d], first, second)


@compiled
def _within(g, peak, forward, backward, target):  # type: ignore[no-untyped-def]
    """Whether loads keep the target: each piece's sum, or for gpipe the sum of both maxima."""
    if g.gpipe:
        forward, backward = max(forward, peak[0]), max(backward, peak[1])
    return forward + backward <= target


@compiled
def _capacity(g, m, k, used, t, forward, backward, target):  # type: ignore[no-untyped-def]
    """What the devices left after one more of type t (-1: none) can hold in measure k."""
    total = 0.0
    for i in range(len(g.count)):
        left = g.count[i] - used[i] - (1 if i == t else 0)
        if left > 0:
            total += left * m.scale[k, i]
    if m.kind[k] == 0:
        return total * (target - backward)
    if m.kind[k] == 1:
        return total * (target - forward)
    return total * target if m.kind[k] == 2 else total


@compiled
def _take(g, m, space, ctl, t, v, row):  # type: ignore[no-untyped-def]
    """Put the available item v into the piece."""
    K = len(m.kind)
    _book(g, space, t, v, row, -1.0)
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
    _book(g, space, t, v, row, 1.0)
    row[0] += g.time[t, 0, v]
    row[1] += g.time[t, 1, v]
    row[MEMORY] += g.memory[v]
    for k in range(K):
        row[BLOCKS + k] += m.weight[k, v]
    for i in range(g.succ_start[v], g.succ_start[v + 1]):
        x = g.succ[i]
        space.missing[x] -= 1
        if space.missing[x] == 0 and space.where[x] == UNDECIDED and space.zone[x] == ctl[STAMP]:
            space.listed[ctl[LISTED]] = x
            ctl[LISTED] += 1
    ctl[COUNT] += 1 + g.item_start[v + 1] - g.item_start[v]


@compiled
def _untake(g, space, v):  # type: ignore[no-untyped-def]
    space.where[v] = UNDECIDED
    for i in range(g.item_start[v], g.item_start[v + 1]):
        space.taken[g.item_nets[i]] -= 1
    for i in range(g.succ_start[v], g.succ_start[v + 1]):
        space.missing[g.succ[i]] += 1


@compiled
def _exclude(g, m, space, ctl, t, v, row):  # type: ignore[no-untyped-def]
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
        _book(g, space, t, x, row, -1.0)
        space.where[x] = EXCLUDED
        for i in range(g.item_start[x], g.item_start[x + 1]):
            space.excluded[g.item_nets[i]] += 1
        _book(g, space, t, x, row, 1.0)
        ctl[COUNT] += g.item_start[x + 1] - g.item_start[x]
    return True


@compiled
def _unexclude(g, space, ctl, begin):  # type: ignore[no-untyped-def]
    while ctl[TRAIL] > begin:
        ctl[TRAIL] -= 1
        x = space.trail[ctl[TRAIL]]
        space.where[x] = UNDECIDED
        for i in range(g.item_start[x], g.item_start[x + 1]):
            space.excluded[g.item_nets[i]] -= 1


@compiled
def _mark_zone(g, m, space, ctl, t, target):  # type: ignore[no-untyped-def]
    """Stamp the items that some piece from the loaded downset can reach, by their longest path in time."""
    K = len(m.kind)
    ctl[STAMP] += 1
    stamp = ctl[STAMP]
    filled = 0
    for i in range(ctl[AVAILABLE]):
        v = space.available[i]
        if g.ok[t, v] and g.memory[v] <= g.limit[t] and g.time[t, 0, v] + g.time[t, 1, v] <= target:
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
        space.reach[0] += g.memory[v]
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
                if g.ok[t, x] and g.memory[x] <= g.limit[t] and far <= target:
                    space.zone[x] = stamp
                    space.distance[x] = far
                    space.stack[filled] = x
                    filled += 1
    ctl[COUNT] += filled


@compiled
def _finishes(g, m, space, s, t, target):  # type: ignore[no-untyped-def]
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
    row = np.zeros(OPEN)
    for v in range(64 * space.low[s], len(space.where)):
        if space.where[v] == UNDECIDED:
            if not g.ok[t, v]:
                return False
            row[0] += g.time[t, 0, v]
            row[1] += g.time[t, 1, v]
            row[MEMORY] += g.memory[v]
    if row[MEMORY] > g.limit[t]:
        return False
    if g.paying[t]:
        for e in range(len(g.net_size)):
            if 0 < space.before[e] < g.net_size[e]:
                lane = 1 if g.mode == 2 and space.where[g.net_producer[e]] == BEFORE else 0
                row[FIXED + 2 * g.net_direction[e] + lane] += g.net_cost[t, e]
    forward = _direction_load(g, row[0], row[FIXED], row[FIXED + 1])
    backward = _direction_load(g, row[1], row[FIXED + 2], row[FIXED + 3])
    return _within(g, peak, forward, backward, target)


@compiled
def _harmless(g, space, used, t, v, delta):  # type: ignore[no-untyped-def]
    """Whether no later device gets a larger load when it loses the available item v."""
    for i in range(len(g.count)):
        if g.count[i] - used[i] - (1 if i == t else 0) <= 0 or not g.ok[i, v] or not g.paying[i]:
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


@compiled
def _costs_nothing(g, space, ctl, s, t, v, row, scratch):  # type: ignore[no-untyped-def]
    """Whether taking the available item v never makes any load larger, whatever else the piece takes."""
    if not g.ok[t, v] or space.reach[0] > g.limit[t]:
        return False
    if g.mode != 0 and g.time[t, 0, v] + g.time[t, 1, v] > 0.0:
        return False
    scratch[:] = 0.0
    if g.paying[t]:
        for i in range(g.item_start[v], g.item_start[v + 1]):
            e = g.item_nets[i]
            place = 2 * g.net_direction[e]
            taken = space.where[g.net_producer[e]] == TAKEN
            if space.taken[e] > 0:
                scratch[place + (1 if g.mode == 2 and not taken else 0)] -= g.net_cost[t, e]
            if space.taken[e] + 1 < g.net_size[e]:
                taken = taken or g.net_producer[e] == v
                scratch[place + (1 if g.mode == 2 and not taken else 0)] += g.net_cost[t, e]
    if g.mode == 0:
        forward, backward = scratch[0] + g.time[t, 0, v], scratch[2] + g.time[t, 1, v]
        grows = max(forward, backward) > 0.0 if g.gpipe else forward + backward > 0.0
    else:
        grows = max(scratch[0], scratch[1], scratch[2], scratch[3]) > 0.0
    return not grows and _harmless(g, space, space.used[s], t, v, scratch)


@compiled
def _holdable(g, space, s, t, v, target):  # type: ignore[no-untyped-def]
    """Whether a device left can hold the excluded item v with what its nets then surely cost."""
    peak = space.peak[s]
    for i in range(len(g.count)):
        if g.count[i] - space.used[s, i] - (1 if i == t else 0) <= 0 or not g.ok[i, v]:
            continue
        if not g.paying[i]:
            if _within(g, peak, g.time[i, 0, v], g.time[i, 1, v], target):
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
        forward = _direction_load(g, g.time[i, 0, v], forward, 0.0)
        backward = _direction_load(g, g.time[i, 1, v], backward, 0.0)
        if _within(g, peak, forward, backward, target):
            return True
    return False


@compiled
def _fits(g, space, s, t, v, row, target, scratch):  # type: ignore[no-untyped-def]
    """Whether the piece can take the available item v as well without a larger peak."""
    if not g.ok[t, v] or row[MEMORY] + g.memory[v] > g.limit[t]:
        return False
    for d in range(2):
        for lane in range(2):
            scratch[2 * d + lane] = row[FIXED + 2 * d + lane] + row[OPEN + 2 * d + lane]
    if g.paying[t]:
        for i in range(g.item_start[v], g.item_start[v + 1]):
            e = g.item_nets[i]
            place = 2 * g.net_direction[e]
            taken = space.where[g.net_producer[e]] == TAKEN
            if space.taken[e] > 0:
                scratch[place + (1 if g.mode == 2 and not taken else 0)] -= g.net_cost[t, e]
            if space.taken[e] + 1 < g.net_size[e]:
                taken = taken or g.net_producer[e] == v
                scratch[place + (1 if g.mode == 2 and not taken else 0)] += g.net_cost[t, e]
    forward = _direction_load(g, row[0] + g.time[t, 0, v], scratch[0], scratch[1])
    backward = _direction_load(g, row[1] + g.time[t, 1, v], scratch[2], scratch[3])
    if g.gpipe:
        peak = space.peak[s]
        if forward > max(peak[0], _load(g, row, 0, True)) or backward > max(peak[1], _load(g, row, 1, True)):
            return False
    return _within(g, space.peak[s], forward, backward, target)


@compiled
def _bucket(space, at, begin, length):  # type: ignore[no-untyped-def]
    """Hash bucket of the downset with words pool[at : at + length] after ``begin`` full ones."""
    code = np.uint64(begin) * np.uint64(0x9E3779B97F4A7C15)
    for i in range(length):
        code = (code ^ space.pool[at + i]) * np.uint64(0xBF58476D1CE4E5B9)
        code ^= code >> np.uint64(29)
    return np.int64(code & np.uint64(len(space.heads) - 1))


@compiled
def rehash(space, states):  # type: ignore[no-untyped-def]
    """Fill the empty table of a grown space."""
    for s in range(states):
        head = _bucket(space, space.offset[s], space.low[s], space.length[s])
        space.chain[s] = space.heads[head]
        space.heads[head] = s


@compiled
def _insert(g, m, space, ctl, s, t, forward, backward, rank):  # type: ignore[no-untyped-def]
    """Store the downset of the finished piece; False if there is no room left."""
    one, full = np.uint64(1), ~np.uint64(0)
    K, W, S = len(m.kind), len(space.words), len(space.low)
    at = ctl[POOL]
    if ctl[STATES] >= S or at + W >= len(space.pool):
        return False
    low = space.low[s]
    for w in range(low, W):
        space.pool[at + w - low] = space.words[w]
    for d in range(ctl[DEPTH]):
        v = space.listed[d]
        if space.where[v] == TAKEN:
            space.pool[at + (v >> 6) - low] |= one << np.uint64(v & 63)
    begin, end = low, W
    while begin < end and space.pool[at + begin - low] == full:
        begin += 1
    while end > begin and space.pool[at + end - 1 - low] == 0:
        end -= 1
    length = end - begin
    for i in range(length):
        space.pool[at + i] = space.pool[at + begin - low + i]
    head = _bucket(space, at, begin, length)
    offset = at
    x = space.heads[head]
    while x >= 0:
        same = space.low[x] == begin and space.length[x] == length
        i = 0
        while same and i < length:
            same = space.pool[space.offset[x] + i] == space.pool[at + i]
            i += 1
        if same:
            offset = space.offset[x]
            if space.alive[x]:
                fewer = space.peak[x, 0] <= forward and space.peak[x, 1] <= backward
                more = space.peak[x, 0] >= forward and space.peak[x, 1] >= backward
                for i in range(len(g.count)):
                    used = space.used[s, i] + (1 if i == t else 0)
                    fewer = fewer and space.used[x, i] <= used
                    more = more and space.used[x, i] >= used
                if fewer:
                    return True
                if more and x > s:
                    space.alive[x] = False
        x = space.chain[x]
    new = ctl[STATES]
    ctl[STATES] += 1
    if offset == at:
        ctl[POOL] += length
    space.low[new], space.length[new], space.offset[new] = begin, length, offset
    for i in range(len(g.count)):
        space.used[new, i] = space.used[s, i] + (1 if i == t else 0)
    space.peak[new, 0], space.peak[new, 1] = forward, backward
    for k in range(K):
        space.left[new, k] = space.left[s, k] - space.row[BLOCKS + k]
        space.crossing[new, k] = space.crossing[s, k] + space.row[BLOCKS + 2 * K + k]
    space.rank[new] = rank
    space.parent[new], space.kind[new], space.alive[new] = s, t, True
    space.chain[new] = space.heads[head]
    space.heads[head] = new
    return True


@compiled
def _emit(g, m, space, ctl, target, scratch):  # type: ignore[no-untyped-def]
    """Judge the finished piece and store its downset; False if there is no room left."""
    K = len(m.kind)
    s, t, row = ctl[STATE], ctl[TYPE], space.row
    forward, backward = _load(g, row, 0, True), _load(g, row, 1, True)
    peak = space.peak[s]
    if not _within(g, peak, forward, backward, target):
        return True
    forward = max(forward, peak[0]) if g.gpipe else 0.0
    backward = max(backward, peak[1]) if g.gpipe else 0.0
    rank = 0.0
    for k in range(K):
        left = space.left[s, k] - row[BLOCKS + k] + space.crossing[s, k] + row[BLOCKS + 2 * K + k]
        room = _capacity(g, m, k, space.used[s], t, forward, backward, target)
        if left > room + m.slack[k]:
            return True
        if room > 0.0 and room < np.inf:
            rank = max(rank, left / room)
    any_taken = False
    for d in range(ctl[DEPTH]):
        v = space.listed[d]
        if space.where[v] == TAKEN:
            any_taken = True
        elif _fits(g, space, s, t, v, row, target, scratch) and _harmless(
            g, space, space.used[s], t, v, scratch
        ):
            return True
    if not any_taken:
        return True
    return _insert(g, m, space, ctl, s, t, forward, backward, rank)


@compiled
def _needs(g, m, space, ctl, target):  # type: ignore[no-untyped-def]
    """Work that the piece must hold at least, so that the devices left can hold the rest; whether it can."""
    K = len(m.kind)
    s, t = ctl[STATE], ctl[TYPE]
    peak = space.peak[s]
    for k in range(K):
        room = _capacity(g, m, k, space.used[s], t, peak[0], peak[1], target)
        space.need[k] = space.left[s, k] - room - m.slack[k]
        if space.row[BLOCKS + K + k] < space.need[k]:
            return False
    return True


@compiled
def _leave(g, m, space, ctl, t, v, target):  # type: ignore[no-untyped-def]
    """Decide against item v at this depth; whether plans within the target may remain."""
    d, s, row = ctl[DEPTH], ctl[STATE], space.row
    space.frame[d, 0] = 0
    ctl[DEPTH] = d + 1
    return (
        _holdable(g, space, s, t, v, target)
        and _exclude(g, m, space, ctl, t, v, row)
        and _within(g, space.peak[s], _load(g, row, 0, False), _load(g, row, 1, False), target)
    )


@compiled
def _choose(space, ctl, depth):  # type: ignore[no-untyped-def]
    """Bring the undecided item of best priority to the front; returns where it came from."""
    best = depth
    for i in range(depth + 1, ctl[LISTED]):
        if space.order[space.listed[i]] < space.order[space.listed[best]]:
            best = i
    space.listed[depth], space.listed[best] = space.listed[best], space.listed[depth]
    return best


@compiled
def expand(g, m, space, ctl, target, budget, piece_budget):  # type: ignore[no-untyped-def]
    """Expand states until a plan is found, a level ends, the budget is spent or the arrays are full.

    Parameters
    ----------
    g, m, space, ctl
        The items, the measures, the states and the control array; changed in place, ready to resume.
    target
        Largest load allowed; for gpipe the largest sum of both maxima.
    budget, piece_budget
        Steps for this call, and for the pieces of one state on one type (then the search is truncated).

    Returns
    -------
    int
        FOUND (``ctl[GOAL_STATE]``, ``ctl[GOAL_TYPE]`` say how), LEVEL, STEPS or FULL.
    """
    T = len(g.count)
    scratch = np.zeros(4)
    end = ctl[COUNT] + budget
    row = space.row
    while ctl[COUNT] < end:
        phase = ctl[PHASE]
        if phase == NEXT_STATE:
            s = ctl[STATE] + 1
            if s >= ctl[LEVEL_END]:
                return LEVEL
            ctl[STATE] = s
            ctl[COUNT] += 1
            if not space.alive[s]:
                continue
            _load_state(g, space, ctl, s)
            ctl[COUNT] += len(space.words)
            devices = 0
            for t in range(T):
                left = g.count[t] - space.used[s, t]
                devices += left
                if left > 0 and _finishes(g, m, space, s, t, target):
                    ctl[GOAL_STATE], ctl[GOAL_TYPE] = s, t
                    return FOUND
            ctl[TYPE] = -1 if devices > 1 else T
            ctl[PHASE] = NEXT_TYPE
        elif phase == NEXT_TYPE:
            ctl[TYPE] += 1
            t = ctl[TYPE]
            if t >= T:
                ctl[PHASE] = NEXT_STATE
            elif g.count[t] > space.used[ctl[STATE], t]:
                row[:] = 0.0
                ctl[DEPTH] = ctl[LISTED] = ctl[TRAIL] = 0
                _mark_zone(g, m, space, ctl, t, target)
                ctl[PIECE_COUNT] = ctl[COUNT]
                if _needs(g, m, space, ctl, target):
                    ctl[PHASE] = FORWARD
        elif phase == FORWARD:
            d, s, t = ctl[DEPTH], ctl[STATE], ctl[TYPE]
            if ctl[COUNT] - ctl[PIECE_COUNT] > piece_budget:
                ctl[TRUNCATED] = 1
                ctl[PHASE] = GIVE_UP
                continue
            if d == ctl[LISTED]:
                ctl[COUNT] += 1 + d
                if not _emit(g, m, space, ctl, target, scratch):
                    return FULL
                ctl[PHASE] = BACKWARD
                continue
            space.frame[d, 3] = _choose(space, ctl, d)
            v = space.listed[d]
            space.rows[d] = row
            space.frame[d, 0], space.frame[d, 1], space.frame[d, 2] = 1, ctl[LISTED], ctl[TRAIL]
            if _costs_nothing(g, space, ctl, s, t, v, row, scratch):
                space.frame[d, 0] = 2
            _take(g, m, space, ctl, t, v, row)
            if row[MEMORY] <= g.limit[t] and _within(
                g, space.peak[s], _load(g, row, 0, False), _load(g, row, 1, False), target
            ):
                ctl[DEPTH] = d + 1
            else:
                _untake(g, space, v)
                ctl[LISTED] = space.frame[d, 1]
                row[:] = space.rows[d]
                if space.frame[d, 0] == 2:
                    space.frame[d, 0] = 0
                    ctl[DEPTH] = d + 1
                    ctl[PHASE] = BACKWARD
                elif not _leave(g, m, space, ctl, t, v, target):
                    ctl[PHASE] = BACKWARD
        else:  # BACKWARD or GIVE_UP
            d, t = ctl[DEPTH] - 1, ctl[TYPE]
            if d < 0:
                ctl[PHASE] = NEXT_TYPE
                continue
            v = space.listed[d]
            ctl[DEPTH] = d
            choice = space.frame[d, 0]
            if choice >= 1:
                _untake(g, space, v)
                ctl[LISTED] = space.frame[d, 1]
                row[:] = space.rows[d]
                if phase == BACKWARD and choice == 1:
                    if _leave(g, m, space, ctl, t, v, target):
                        ctl[PHASE] = FORWARD
                    continue
            else:
                _unexclude(g, space, ctl, space.frame[d, 2])
            other = space.frame[d, 3]
            space.listed[d], space.listed[other] = space.listed[other], space.listed[d]
    return STEPS
