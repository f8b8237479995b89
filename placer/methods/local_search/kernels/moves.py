"""Inner loops of the local search: loads under moves of single items, kept up to date incrementally.

A device pays a net while it holds some but not all of its items, so that moving one item changes the
loads of two devices only, and an evaluation costs as much as the item has nets.
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.local_search.kernels.views import EPSILON, OVERLAP, SEQUENTIAL, StateView, StaticView

__all__ = ["fill", "improve", "memory_excess"]

COMPUTE, RECEIVE, SEND = 0, 1, 2
"""Parts of a load, as in ``StateView.parts``."""
WITHOUT, WITH = 0, 1
"""Which side of a move: the device that an item leaves, the one that it enters."""


def _combined(communication: int, compute: float, receive: float, send: float) -> float:
    if communication == SEQUENTIAL:
        return compute + receive + send
    if communication == OVERLAP:
        return max(compute, receive + send)
    return max(compute, receive, send)


def _refresh(static: StaticView, state: StateView, d: int) -> None:
    """Recompute the loads of device d from its parts."""
    for way in range(2):
        state.load[way, d] = _combined(
            static.communication, state.compute[way, d], state.receive[way, d], state.send[way, d]
        )
    state.load[2, d] = state.load[0, d] + state.load[1, d]


def _rank(state: StateView) -> None:
    """Find the three most loaded devices of each row; -1 where there are fewer."""
    for row in range(3):
        for k in range(3):
            state.top[row, k] = -1
        for d in range(state.load.shape[1]):
            value = state.load[row, d]
            at = 3
            while at > 0 and (state.top[row, at - 1] < 0 or state.load[row, state.top[row, at - 1]] < value):
                at -= 1
            for k in range(2, at, -1):
                state.top[row, k] = state.top[row, k - 1]
            if at < 3:
                state.top[row, at] = d


def _clear(state: StateView) -> None:
    for d in range(state.used.shape[0]):
        state.used[d] = 0.0
        for way in range(2):
            state.compute[way, d] = state.receive[way, d] = state.send[way, d] = 0.0
        for e in range(state.held.shape[0]):
            state.held[e, d] = 0


def _fill(static: StaticView, state: StateView) -> None:
    _clear(state)
    for i in range(state.device.shape[0]):
        d = state.device[i]
        state.used[d] += static.memory[i]
        for way in range(2):
            state.compute[way, d] += static.time[way, i, static.class_of[d]]
    for e in range(static.net_way.shape[0]):
        first, last, way = static.net_start[e], static.net_start[e + 1], static.net_way[e]
        for k in range(first, last):
            state.held[e, state.device[static.net_items[k]]] += 1
        for d in range(state.used.shape[0]):
            if 0 < state.held[e, d] < last - first:
                if state.device[static.net_items[first]] == d:
                    state.send[way, d] += static.net_cost[e, static.class_of[d]]
                else:
                    state.receive[way, d] += static.net_cost[e, static.class_of[d]]
    for d in range(state.used.shape[0]):
        _refresh(static, state, d)
    _rank(state)


def fill(static: StaticView, state: StateView) -> None:
    """Compute the whole state from ``state.device``."""
    with cython.nogil:
        _fill(static, state)


def _over(static: StaticView, d: int, used: float) -> float:
    """Bytes beyond the memory limit of device d."""
    return max(0.0, used - static.limit[d] * (1 + 1e-12))


def memory_excess(static: StaticView, state: StateView) -> float:
    """Bytes beyond the memory limits, summed over the devices."""
    total = 0.0
    for d in range(state.used.shape[0]):
        total += _over(static, d, state.used[d])
    return total


def _change(static: StaticView, state: StateView, i: int, d: int, side: int) -> None:
    """Write the parts of the loads of device d without its item i, or with item i of another device."""
    c, sign = static.class_of[d], 1.0 if side == WITH else -1.0
    for way in range(2):
        state.parts[side, COMPUTE, way] = state.compute[way, d] + sign * static.time[way, i, c]
        state.parts[side, RECEIVE, way] = state.receive[way, d]
        state.parts[side, SEND, way] = state.send[way, d]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        e = static.item_nets[k]
        first = static.net_start[e]
        producer, way = static.net_items[first], static.net_way[e]
        others = state.held[e, d] - (1 if side == WITHOUT else 0)
        sends = producer != i and state.device[producer] == d
        alone = static.net_cost[e, c] if others > 0 else 0.0
        joined = static.net_cost[e, c] if others + 1 < static.net_start[e + 1] - first else 0.0
        if side == WITHOUT:
            state.parts[side, SEND if sends or producer == i else RECEIVE, way] -= joined
            state.parts[side, SEND if sends else RECEIVE, way] += alone
        else:
            state.parts[side, SEND if sends else RECEIVE, way] -= alone
            state.parts[side, SEND if sends or producer == i else RECEIVE, way] += joined


def _others(state: StateView, row: int, a: int, b: int) -> float:
    """Return the largest load in a row among the devices other than a and b."""
    for k in range(3):
        d = state.top[row, k]
        if d >= 0 and d != a and d != b:
            return state.load[row, d]
    return 0.0


def _objective(static: StaticView, state: StateView) -> float:
    if static.gpipe:
        return state.load[0, state.top[0, 0]] + state.load[1, state.top[1, 0]]
    return state.load[2, state.top[2, 0]]


def _after(static: StaticView, state: StateView, side: int, way: int) -> float:
    """Load of one direction on one side of the move."""
    return _combined(
        static.communication,
        state.parts[side, COMPUTE, way],
        state.parts[side, RECEIVE, way],
        state.parts[side, SEND, way],
    )


def _square(x: float) -> float:
    return x * x


def _judge(static: StaticView, state: StateView, i: int, b: int) -> None:
    """Write the verdict on item i going to device b, whose parts are there."""
    a, size = state.device[i], static.memory[i]
    fa, ba = _after(static, state, WITHOUT, 0), _after(static, state, WITHOUT, 1)
    fb, bb = _after(static, state, WITH, 0), _after(static, state, WITH, 1)
    state.verdict[0] = _over(static, a, state.used[a] - size) - _over(static, a, state.used[a])
    state.verdict[0] += _over(static, b, state.used[b] + size) - _over(static, b, state.used[b])
    if static.gpipe:
        state.verdict[1] = max(fa, fb, _others(state, 0, a, b)) + max(ba, bb, _others(state, 1, a, b))
        squares = _square(fa) + _square(fb) - _square(state.load[0, a]) - _square(state.load[0, b])
        squares += _square(ba) + _square(bb) - _square(state.load[1, a]) - _square(state.load[1, b])
    else:
        state.verdict[1] = max(fa + ba, fb + bb, _others(state, 2, a, b))
        squares = _square(fa + ba) + _square(fb + bb) - _square(state.load[2, a]) - _square(state.load[2, b])
    state.verdict[2] = squares


def _better(state: StateView, slack_bytes: float, objective: float) -> bool:
    """Compare the verdict with the best lexicographically, up to rounding."""
    if abs(state.verdict[0] - state.best[0]) > slack_bytes:
        return state.verdict[0] < state.best[0]
    if abs(state.verdict[1] - state.best[1]) > EPSILON * objective:
        return state.verdict[1] < state.best[1]
    return state.verdict[2] < state.best[2] - EPSILON * _square(objective)


def _first_place(static: StaticView, state: StateView, i: int) -> int:
    """First pipeline position that item i may take with its neighbours where they are."""
    low = -1
    for k in range(static.before_start[i], static.before_start[i + 1]):
        low = max(low, state.position[state.device[static.before[k]]])
    return low


def _last_place(static: StaticView, state: StateView, i: int) -> int:
    """Last pipeline position that item i may take with its neighbours where they are."""
    high = state.position.shape[0]
    for k in range(static.after_start[i], static.after_start[i + 1]):
        high = min(high, state.position[state.device[static.after[k]]])
    return high


def _move(static: StaticView, state: StateView, i: int, b: int) -> None:
    a = state.device[i]
    _change(static, state, i, a, WITHOUT)
    _change(static, state, i, b, WITH)
    for side in range(2):
        d = b if side == WITH else a
        for way in range(2):
            state.compute[way, d] = state.parts[side, COMPUTE, way]
            state.receive[way, d] = state.parts[side, RECEIVE, way]
            state.send[way, d] = state.parts[side, SEND, way]
    state.used[a] -= static.memory[i]
    state.used[b] += static.memory[i]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        state.held[static.item_nets[k], a] -= 1
        state.held[static.item_nets[k], b] += 1
    state.device[i] = b
    _refresh(static, state, a)
    _refresh(static, state, b)
    _rank(state)


def _mark(static: StaticView, state: StateView, excess: float) -> None:
    """Mark the devices that an improving move has to touch."""
    for d in range(state.hot.shape[0]):
        state.hot[d] = excess > 0.0 and _over(static, d, state.used[d]) > 0.0
    if excess <= 0.0:
        if static.gpipe:
            state.hot[state.top[0, 0]] = True
            state.hot[state.top[1, 0]] = True
        else:
            state.hot[state.top[2, 0]] = True


def _best_device(
    static: StaticView, state: StateView, i: int, everywhere: bool, slack_bytes: float, objective: float
) -> int:
    """Find the device that suits item i better than ``state.best`` says, -1 if none; update ``state.best``.

    Unless ``everywhere``, a device counts only if it or the item's own is hot.
    """
    a, found, ready = state.device[i], -1, False
    low, high = _first_place(static, state, i), _last_place(static, state, i)
    for b in range(state.used.shape[0]):
        if b == a or not static.allowed[i, b] or not (everywhere or state.hot[a] or state.hot[b]):
            continue
        if not low <= state.position[b] <= high:
            continue
        if not ready:
            _change(static, state, i, a, WITHOUT)
            ready = True
        _change(static, state, i, b, WITH)
        _judge(static, state, i, b)
        if _better(state, slack_bytes, objective):
            for k in range(3):
                state.best[k] = state.verdict[k]
            found = b
    return found


def _worth(static: StaticView, i: int) -> int:
    """Work of judging one move of item i."""
    return static.item_start[i + 1] - static.item_start[i] + 1


def _steepest(static: StaticView, state: StateView, slack_bytes: float) -> int:
    """Make the best move that touches a hot device, if one helps; return the work, negative if none does."""
    objective, work, item, goal = _objective(static, state), 0, -1, -1
    state.best[0] = state.best[2] = 0.0
    state.best[1] = objective
    for i in range(state.device.shape[0]):
        b = _best_device(static, state, i, False, slack_bytes, objective)
        work += _worth(static, i) * (state.used.shape[0] if state.hot[state.device[i]] else 1)
        if b >= 0:
            item, goal = i, b
    if item < 0:
        return -work
    _move(static, state, item, goal)
    return work


def _sweep(static: StaticView, state: StateView, slack_bytes: float, objective: float) -> int:
    """Let every item leave a tie by lowering the sum of squares; return the work, negative if none moves."""
    work, moved = 0, False
    for i in range(state.device.shape[0]):
        state.best[0] = state.best[2] = 0.0
        state.best[1] = _objective(static, state)
        b = _best_device(static, state, i, True, slack_bytes, objective)
        work += _worth(static, i) * state.used.shape[0]
        if b >= 0:
            _move(static, state, i, b)
            moved = True
    return work if moved else -work


def _improve(static: StaticView, state: StateView, budget: int, only_mend: bool) -> int:
    """Descend; return the work, negative (less one) where a local optimum was reached."""
    slack_bytes = 0.0
    for i in range(static.memory.shape[0]):
        slack_bytes += static.memory[i]
    slack_bytes = EPSILON * slack_bytes / max(1, state.device.shape[0])
    work = 0
    _fill(static, state)
    while work < budget:
        excess, objective = memory_excess(static, state), _objective(static, state)
        if only_mend and excess == 0.0:
            return -1 - work
        _mark(static, state, excess)
        step = _steepest(static, state, slack_bytes)
        work += abs(step)
        if step < 0:
            step = _sweep(static, state, slack_bytes, objective)
            work += abs(step)
            if step < 0:
                return -1 - work
    return work


def improve(static: StaticView, state: StateView, budget: int, only_mend: bool = False) -> tuple[int, bool]:
    """Descend until a local optimum or until ``budget`` steps of work are spent.

    First the best move that touches a most loaded device (or one over its memory limit); where none
    helps, a sweep in which every item may leave a tie by lowering the sum of squared loads.  With
    ``only_mend`` it stops as soon as all memory limits hold.

    Returns
    -------
    work : int
        What was spent, in evaluated nets and devices.
    done : bool
        Whether a local optimum was reached.
    """
    with cython.nogil:
        work = _improve(static, state, budget, only_mend)
    return (work, False) if work >= 0 else (-1 - work, True)
