r"""Threshold search over downsets: cut the items into pieces whose loads stay within a target.

A contiguous plan is a chain of downsets ∅ = I_0 ⊂ I_1 ⊂ ... ⊂ I_m = all items; the piece I_i \ I_{i-1}
lies on one device. A *state* is a downset together with the devices used so far, per type, and for the
schedule ``gpipe`` the largest forward and backward load so far. States are expanded level by level (one
more device per level); from each state all pieces within the target grow one item at a time.

All arrays live in three tuples, so that a call can stop after a number of steps and be resumed. The
arguments for the validity of each rule stand in ``placer.methods.downsets.search``.
"""

from __future__ import annotations

import numpy as np

from placer.jit import jit
from placer.methods.downsets.kernels.arrays import (
    BLOCKS,
    COUNT,
    DEPTH,
    GOAL_STATE,
    GOAL_TYPE,
    LEVEL_END,
    LISTED,
    MEMORY,
    PHASE,
    PIECE_COUNT,
    POOL,
    STATE,
    STATES,
    TAKEN,
    TRAIL,
    TRUNCATED,
    TYPE,
    Floats,
    Graph,
    Ints,
    Measures,
    Space,
)
from placer.methods.downsets.kernels.exchange import (
    costs_nothing,
    finishes,
    fits,
    harmless,
    holdable,
    in_order,
    mark_zone,
)
from placer.methods.downsets.kernels.pieces import (
    capacity,
    exclude,
    load,
    load_state,
    received,
    set_flights,
    take,
    unexclude,
    untake,
    within,
)

__all__ = ["FOUND", "FULL", "LEVEL", "STEPS", "expand", "rehash"]

# Why ``expand`` returned.
FOUND, LEVEL, STEPS, FULL = 0, 1, 2, 3

# Phases of the search.
NEXT_STATE, NEXT_TYPE, FORWARD, BACKWARD, GIVE_UP = range(5)


@jit
def _bucket(space: Space, at: int, begin: int, length: int) -> np.int64:
    """Hash bucket of the downset with words pool[at : at + length] after ``begin`` full ones."""
    code = np.uint64(begin) * np.uint64(0x9E3779B97F4A7C15)
    for i in range(length):
        code = (code ^ space.pool[at + i]) * np.uint64(0xBF58476D1CE4E5B9)
        code ^= code >> np.uint64(29)
    return np.int64(code & np.uint64(len(space.heads) - 1))


@jit
def rehash(space: Space, states: int) -> None:
    """Fill the empty table of a grown space."""
    for s in range(states):
        head = _bucket(space, space.offset[s], space.low[s], space.length[s])
        space.chain[s] = space.heads[head]
        space.heads[head] = s


@jit
def _insert(
    g: Graph,
    m: Measures,
    space: Space,
    ctl: Ints,
    s: int,
    t: int,
    forward: float,
    backward: float,
    rank: float,
) -> bool:
    """Store the downset of the finished piece unless a state makes it superfluous (rule *States*).

    False if there is no room left.
    """
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
                for i in range(len(g.devices)):
                    used = space.used[s, i] + (1 if g.pool[i] == g.pool[t] else 0)
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
    for i in range(len(g.devices)):
        space.used[new, i] = space.used[s, i] + (1 if g.pool[i] == g.pool[t] else 0)
    space.peak[new, 0], space.peak[new, 1] = forward, backward
    for k in range(K):
        space.left[new, k] = space.left[s, k] - space.row[BLOCKS + k]
        space.crossing[new, k] = space.crossing[s, k] + space.row[BLOCKS + 2 * K + k]
    space.rank[new] = rank
    space.parent[new], space.kind[new], space.alive[new] = s, t, True
    space.chain[new] = space.heads[head]
    space.heads[head] = new
    return True


@jit
def _emit(g: Graph, m: Measures, space: Space, ctl: Ints, target: float, scratch: Floats) -> bool:
    """Judge the finished piece and store its downset; False if there is no room left."""
    K = len(m.kind)
    s, t, row = ctl[STATE], ctl[TYPE], space.row
    forward, backward = load(g, row, 0, True), load(g, row, 1, True)
    peak = space.peak[s]
    if not within(g, peak, forward, backward, target):
        return True
    if g.again[t] and row[MEMORY] + received(g, space, ctl, -1) > g.limit[t]:
        return True
    forward = max(forward, peak[0]) if g.gpipe else 0.0
    backward = max(backward, peak[1]) if g.gpipe else 0.0
    rank = 0.0
    for k in range(K):
        left = space.left[s, k] - row[BLOCKS + k] + space.crossing[s, k] + row[BLOCKS + 2 * K + k]
        room = capacity(g, m, k, space.used[s], t, forward, backward, target)
        if left > room + m.slack[k]:
            return True
        if room > 0.0 and room < np.inf:
            rank = max(rank, left / room)
    any_taken = False
    for d in range(ctl[DEPTH]):
        v = space.listed[d]
        if space.where[v] == TAKEN:
            any_taken = True
        elif fits(g, space, ctl, s, t, v, row, target, scratch) and harmless(
            g, space, space.used[s], t, v, scratch
        ):
            return True
    if not any_taken:
        return True
    return _insert(g, m, space, ctl, s, t, forward, backward, rank)


@jit
def _needs(g: Graph, m: Measures, space: Space, ctl: Ints, target: float) -> bool:
    """Work that the piece must hold at least, to leave no more than fits later; whether it can (*Room*)."""
    K = len(m.kind)
    s, t = ctl[STATE], ctl[TYPE]
    peak = space.peak[s]
    for k in range(K):
        room = capacity(g, m, k, space.used[s], t, peak[0], peak[1], target)
        space.need[k] = space.left[s, k] - room - m.slack[k]
        if space.row[BLOCKS + K + k] < space.need[k]:
            return False
    return True


@jit
def _leave(g: Graph, m: Measures, space: Space, ctl: Ints, t: int, v: int, target: float) -> bool:
    """Decide against item v at this depth; whether plans may remain (*Growth*, *Room*, *Holdable*)."""
    d, s, row = ctl[DEPTH], ctl[STATE], space.row
    space.frame[d, 0] = 0
    ctl[DEPTH] = d + 1
    return (
        (g.optional[v] or holdable(g, space, s, t, v, target))
        and exclude(g, m, space, ctl, t, v, row)
        and within(g, space.peak[s], load(g, row, 0, False), load(g, row, 1, False), target)
    )


@jit
def _choose(space: Space, ctl: Ints, depth: int) -> int:
    """Bring the undecided item of best priority to the front; returns where it came from."""
    best = depth
    for i in range(depth + 1, ctl[LISTED]):
        if space.order[space.listed[i]] < space.order[space.listed[best]]:
            best = i
    space.listed[depth], space.listed[best] = space.listed[best], space.listed[depth]
    return best


@jit
def _save(space: Space, d: int) -> None:
    for i in range(len(space.row)):
        space.rows[d, i] = space.row[i]


@jit
def _restore(space: Space, d: int) -> None:
    for i in range(len(space.row)):
        space.row[i] = space.rows[d, i]


@jit
def expand(
    g: Graph, m: Measures, space: Space, ctl: Ints, target: float, budget: int, piece_budget: int
) -> int:
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
    T = len(g.devices)
    scratch = space.scratch
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
            load_state(g, space, ctl, s)
            set_flights(g, space, s)
            ctl[COUNT] += len(space.words)
            devices = 0
            for t in range(T):
                left = g.devices[t] - space.used[s, t]
                devices += left if g.pool[t] == t else 0
                if left > 0 and in_order(g, space, s, t) and finishes(g, m, space, s, t, target):
                    ctl[GOAL_STATE], ctl[GOAL_TYPE] = s, t
                    return FOUND
            ctl[TYPE] = -1 if devices > 1 else T
            ctl[PHASE] = NEXT_TYPE
        elif phase == NEXT_TYPE:
            ctl[TYPE] += 1
            t = ctl[TYPE]
            if t >= T:
                ctl[PHASE] = NEXT_STATE
            elif g.devices[t] > space.used[ctl[STATE], t] and in_order(g, space, ctl[STATE], t):
                row[:] = 0.0
                ctl[DEPTH] = ctl[LISTED] = ctl[TRAIL] = 0
                mark_zone(g, m, space, ctl, t, target)
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
            _save(space, d)
            space.frame[d, 0], space.frame[d, 1], space.frame[d, 2] = 1, ctl[LISTED], ctl[TRAIL]
            if costs_nothing(g, space, s, t, v, scratch):
                space.frame[d, 0] = 2
            take(g, m, space, ctl, t, v, row)
            if row[MEMORY] <= g.limit[t] and within(
                g, space.peak[s], load(g, row, 0, False), load(g, row, 1, False), target
            ):
                ctl[DEPTH] = d + 1
            else:
                untake(g, space, t, v)
                ctl[LISTED] = space.frame[d, 1]
                _restore(space, d)
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
                untake(g, space, t, v)
                ctl[LISTED] = space.frame[d, 1]
                _restore(space, d)
                if phase == BACKWARD and choice == 1:
                    if _leave(g, m, space, ctl, t, v, target):
                        ctl[PHASE] = FORWARD
                    continue
            else:
                unexclude(g, space, ctl, space.frame[d, 2])
            other = space.frame[d, 3]
            space.listed[d], space.listed[other] = space.listed[other], space.listed[d]
    return STEPS
