r"""Threshold search over downsets: cut the items into pieces whose loads stay within a target.

A contiguous plan is a chain of downsets ∅ = I_0 ⊂ I_1 ⊂ ... ⊂ I_m = all items; the piece I_i \ I_{i-1}
lies on one device. A *state* is a downset together with the devices used so far, per type, and for the
schedule ``gpipe`` the largest forward and backward load so far. States are expanded level by level (one
more piece per level); from each state all pieces within the target grow one item at a time.
All is held in arrays, so that a call can stop and be resumed. Why each rule is valid: ``downsets.search``.
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.downsets.kernels.downset_keys import barred, bucket, is_written, write
    from placer.methods.downsets.kernels.exchange import (
        costs_nothing,
        finishes,
        fits,
        harmless,
        has_device,
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
    from placer.methods.downsets.kernels.views import (
        BLOCKS,
        FOUND,
        FULL,
        INFINITY,
        LEVEL,
        MEMORY,
        STEPS,
        TAKEN,
        Control,
        GraphView,
        MeasuresView,
        SpaceView,
    )

__all__ = ["expand", "rehash"]

# Phases of the search.
NEXT_STATE, NEXT_TYPE, FORWARD, BACKWARD, GIVE_UP = 0, 1, 2, 3, 4


def rehash(space: SpaceView, states: int) -> None:
    """Fill the empty table of a grown space."""
    for s in range(states):
        head = bucket(space, space.key[s], space.key_low[s], space.key_length[s])
        space.chain[s] = space.heads[head]
        space.heads[head] = s


def _used(g: GraphView, space: SpaceView, ctl: Control, i: int) -> int:
    """Devices of the pool of type i that are used with the finished piece; behind the types, pieces."""
    taken = 1 if i == g.types else g.width[ctl.type] if g.pool[i] == g.pool[ctl.type] else 0
    return space.used[ctl.state, i] + taken


def _share(space: SpaceView, ctl: Control, x: int) -> None:
    """Let the downset written last use the words of state x, which are the same up to twins."""
    if ctl.key == ctl.offset:
        ctl.offset, ctl.end = space.key[x], ctl.pool
    else:
        ctl.end = ctl.offset + ctl.length
    ctl.key = space.key[x]


def _superfluous(
    g: GraphView, space: SpaceView, ctl: Control, head: int, forward: float, backward: float
) -> bool:
    """Whether a state is as good as the new one (rule *States*); later ones that are worse end here."""
    x = space.heads[head]
    while x >= 0:
        if is_written(space, ctl, x):
            _share(space, ctl, x)
            fewer = space.peak[x, 0] <= forward and space.peak[x, 1] <= backward
            more = space.peak[x, 0] >= forward and space.peak[x, 1] >= backward
            for i in range(g.types + g.by_stage):
                used = _used(g, space, ctl, i)
                fewer = fewer and space.used[x, i] <= used
                more = more and space.used[x, i] >= used
            if fewer and space.alive[x]:
                return True
            if more and x > ctl.state:
                space.alive[x] = False
        x = space.chain[x]
    return False


def _insert(
    g: GraphView,
    m: MeasuresView,
    space: SpaceView,
    ctl: Control,
    forward: float,
    backward: float,
    rank: float,
) -> bool:
    """Store the downset of the finished piece unless it is superfluous; False if there is no room left."""
    K, s, new = m.kinds, ctl.state, ctl.states
    if new >= space.low.shape[0] or ctl.pool + 2 * space.words.shape[0] >= space.pool.shape[0]:
        return False
    write(g, space, ctl)
    head = bucket(space, ctl.key, ctl.key_low, ctl.key_length)
    if _superfluous(g, space, ctl, head, forward, backward):
        return True
    ctl.states += 1
    ctl.pool = ctl.end
    space.low[new], space.length[new], space.offset[new] = ctl.low, ctl.length, ctl.offset
    space.key_low[new], space.key_length[new], space.key[new] = ctl.key_low, ctl.key_length, ctl.key
    for i in range(g.types + 1):
        space.used[new, i] = _used(g, space, ctl, i)
    space.peak[new, 0], space.peak[new, 1] = forward, backward
    for k in range(K):
        space.left[new, k] = space.left[s, k] - space.row[BLOCKS + k]
        space.crossing[new, k] = space.crossing[s, k] + space.row[BLOCKS + 2 * K + k]
    space.rank[new] = rank
    space.parent[new], space.kind[new], space.alive[new] = s, ctl.type, True
    space.chain[new] = space.heads[head]
    space.heads[head] = new
    return True


def _emit(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, target: float) -> bool:
    """Judge the finished piece and store its downset; False if there is no room left."""
    K = m.kinds
    s, t = ctl.state, ctl.type
    forward, backward = load(g, space, 0, True), load(g, space, 1, True)
    if not within(g, space, s, forward, backward, target):
        return True
    if g.again[t] and space.row[MEMORY] + received(g, space, ctl, -1) > g.limit[t]:
        return True
    forward = max(forward, space.peak[s, 0]) if g.gpipe else 0.0
    backward = max(backward, space.peak[s, 1]) if g.gpipe else 0.0
    rank = 0.0
    for k in range(K):
        left = space.left[s, k] - space.row[BLOCKS + k] + space.crossing[s, k] + space.row[BLOCKS + 2 * K + k]
        room = capacity(g, m, space, k, s, t, forward, backward, target)
        if left > room + m.slack[k]:
            return True
        if room > 0.0 and room < INFINITY:
            rank = max(rank, left / room)
    any_taken = False
    for d in range(ctl.depth):
        v = space.listed[d]
        if space.where[v] == TAKEN:
            any_taken = True
        elif fits(g, space, ctl, s, t, v, target) and harmless(g, space, s, t, v):
            return True
    if not any_taken:
        return True
    return _insert(g, m, space, ctl, forward, backward, rank)


def _needs(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, target: float) -> bool:
    """Work that the piece must hold at least, to leave no more than fits later; whether it can (*Room*)."""
    K = m.kinds
    s, t = ctl.state, ctl.type
    for k in range(K):
        room = capacity(g, m, space, k, s, t, space.peak[s, 0], space.peak[s, 1], target)
        space.need[k] = space.left[s, k] - room - m.slack[k]
        if space.row[BLOCKS + K + k] < space.need[k]:
            return False
    return True


def _leave(
    g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, t: int, v: int, target: float
) -> bool:
    """Decide against item v at this depth; whether plans may remain (*Growth*, *Room*, *Holdable*)."""
    d, s = ctl.depth, ctl.state
    space.frame[d, 0] = 0
    ctl.depth = d + 1
    return (
        (g.optional[v] or holdable(g, space, s, t, v, target))
        and exclude(g, m, space, ctl, t, v)
        and within(g, space, s, load(g, space, 0, False), load(g, space, 1, False), target)
    )


def _choose(space: SpaceView, ctl: Control, depth: int) -> int:
    """Bring the undecided item of best priority to the front; returns where it came from."""
    best = depth
    for i in range(depth + 1, ctl.listed):
        if space.order[space.listed[i]] < space.order[space.listed[best]]:
            best = i
    space.listed[depth], space.listed[best] = space.listed[best], space.listed[depth]
    return best


def _save(space: SpaceView, d: int) -> None:
    for i in range(space.row.shape[0]):
        space.rows[d, i] = space.row[i]


def _restore(space: SpaceView, d: int) -> None:
    for i in range(space.row.shape[0]):
        space.row[i] = space.rows[d, i]


def expand(
    g: GraphView,
    m: MeasuresView,
    space: SpaceView,
    ctl: Control,
    target: float,
    budget: int,
    piece_budget: int,
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
        FOUND (``ctl.goal_state``, ``ctl.goal_type`` say how), LEVEL, STEPS or FULL.
    """
    with cython.nogil:
        why = _expand(g, m, space, ctl, target, budget, piece_budget)
    return why


def _expand(
    g: GraphView,
    m: MeasuresView,
    space: SpaceView,
    ctl: Control,
    target: float,
    budget: int,
    piece_budget: int,
) -> int:
    end = ctl.count + budget
    while ctl.count < end:
        if ctl.phase == NEXT_STATE:
            why = _next_state(g, m, space, ctl, target)
            if why != STEPS:
                return why
        elif ctl.phase == NEXT_TYPE:
            _next_type(g, m, space, ctl, target)
        elif ctl.phase == FORWARD:
            if not _forward(g, m, space, ctl, target, piece_budget):
                return FULL
        else:
            _backward(g, m, space, ctl, target)
    return STEPS


def _next_state(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, target: float) -> int:
    """Load the next state; LEVEL if there is none, FOUND if one device can take all that it leaves."""
    s = ctl.state + 1
    if s >= ctl.level_end:
        return LEVEL
    ctl.state = s
    ctl.count += 1
    if not space.alive[s]:
        return STEPS
    load_state(g, space, ctl, s)
    set_flights(g, space, s)
    ctl.count += space.words.shape[0]
    devices = 0
    for t in range(g.types):
        devices += g.devices[t] - space.used[s, t] if g.pool[t] == t else 0
        if has_device(g, space, s, t) and in_order(g, space, s, t) and finishes(g, m, space, s, t, target):
            ctl.goal_state, ctl.goal_type = s, t
            return FOUND
    ctl.type = -1 if devices > 1 else g.types
    ctl.phase = NEXT_TYPE
    return STEPS


def _next_type(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, target: float) -> None:
    """Begin the pieces of the next type from the loaded state."""
    ctl.type += 1
    if ctl.type >= g.types:
        ctl.phase = NEXT_STATE
    elif has_device(g, space, ctl.state, ctl.type) and in_order(g, space, ctl.state, ctl.type):
        for i in range(space.row.shape[0]):
            space.row[i] = 0.0
        ctl.depth = ctl.listed = ctl.trail = 0
        mark_zone(g, m, space, ctl, ctl.type, target)
        ctl.piece_count = ctl.count
        if _needs(g, m, space, ctl, target):
            ctl.phase = FORWARD


def _forward(
    g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, target: float, piece_budget: int
) -> bool:
    """Decide on one more item, or store the piece where none is left; False if there is no room."""
    d, s, t = ctl.depth, ctl.state, ctl.type
    if ctl.count - ctl.piece_count > piece_budget:
        ctl.truncated = 1
        ctl.phase = GIVE_UP
        return True
    if d == ctl.listed:
        ctl.count += 1 + d
        if not _emit(g, m, space, ctl, target):
            return False
        ctl.phase = BACKWARD
        return True
    space.frame[d, 3] = _choose(space, ctl, d)
    v = space.listed[d]
    _save(space, d)
    space.frame[d, 0], space.frame[d, 1], space.frame[d, 2] = 1, ctl.listed, ctl.trail
    if costs_nothing(g, space, s, t, v):
        space.frame[d, 0] = 2
    if not barred(g, space, v):
        take(g, m, space, ctl, t, v)
        if space.row[MEMORY] <= g.limit[t] and within(
            g, space, s, load(g, space, 0, False), load(g, space, 1, False), target
        ):
            ctl.depth = d + 1
            return True
        untake(g, space, t, v)
        ctl.listed = space.frame[d, 1]
        _restore(space, d)
    if space.frame[d, 0] == 2:
        space.frame[d, 0] = 0
        ctl.depth = d + 1
        ctl.phase = BACKWARD
    elif not _leave(g, m, space, ctl, t, v, target):
        ctl.phase = BACKWARD
    return True


def _backward(g: GraphView, m: MeasuresView, space: SpaceView, ctl: Control, target: float) -> None:
    """Take the last decision back, and decide the other way where that is left."""
    d, t = ctl.depth - 1, ctl.type
    if d < 0:
        ctl.phase = NEXT_TYPE
        return
    v = space.listed[d]
    ctl.depth = d
    choice = space.frame[d, 0]
    if choice >= 1:
        untake(g, space, t, v)
        ctl.listed = space.frame[d, 1]
        _restore(space, d)
        if ctl.phase == BACKWARD and choice == 1:
            if _leave(g, m, space, ctl, t, v, target):
                ctl.phase = FORWARD
            return
    else:
        unexclude(g, space, ctl, space.frame[d, 2])
    other = space.frame[d, 3]
    space.listed[d], space.listed[other] = space.listed[other], space.listed[d]
