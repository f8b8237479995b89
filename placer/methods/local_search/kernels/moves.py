"""Inner loops of the local search: loads under moves of single items, kept up to date incrementally.

A device pays a net while it holds some but not all of its items, so that moving one item changes the
loads of two devices only, and an evaluation costs as much as the item has nets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.jit import compiled

__all__ = ["DUPLEX", "OVERLAP", "SEQUENTIAL", "State", "Static", "fill", "improve", "memory_excess"]

SEQUENTIAL, OVERLAP, DUPLEX = 0, 1, 2
EPSILON = 1e-9
"""Relative change that counts as an improvement; less would be rounding of the running sums."""


class Static(NamedTuple):
    """What does not change: N items, D devices, C classes, E nets; rows 0 and 1 are the directions.

    ``x_start`` and ``x_items`` are lists in compressed form: those of i are
    ``x_items[x_start[i] : x_start[i + 1]]``.
    """

    time: FloatArray  # (2, N, C)
    memory: FloatArray  # (N,)
    allowed: BoolArray  # (N, D)
    class_of: IntArray  # (D,)
    limit: FloatArray  # (D,), inf on hosts
    net_start: IntArray
    net_items: IntArray  # the producer first
    net_cost: FloatArray  # (E, C)
    net_way: IntArray  # (E,), 1 = backward
    item_start: IntArray
    item_nets: IntArray
    before_start: IntArray
    before: IntArray
    after_start: IntArray
    after: IntArray
    communication: int
    gpipe: bool


class State(NamedTuple):
    """What a move changes."""

    device: IntArray  # (N,)
    position: IntArray  # (D,), of each device in the pipeline
    held: IntArray  # (E, D), items of a net on a device
    compute: FloatArray  # (2, D)
    receive: FloatArray  # (2, D)
    send: FloatArray  # (2, D)
    used: FloatArray  # (D,), bytes
    load: FloatArray  # (3, D): forward, backward, both
    top: IntArray  # (3, 3): the three devices of largest load in each row of ``load``


@compiled
def _combined(communication: int, compute: float, receive: float, send: float) -> float:
    if communication == SEQUENTIAL:
        return compute + receive + send
    if communication == OVERLAP:
        return max(compute, receive + send)
    return max(compute, receive, send)


@compiled
def _refresh(static: Static, state: State, d: int) -> None:
    """Recompute the loads of device d from its parts."""
    for way in range(2):
        state.load[way, d] = _combined(
            static.communication, state.compute[way, d], state.receive[way, d], state.send[way, d]
        )
    state.load[2, d] = state.load[0, d] + state.load[1, d]


@compiled
def _rank(state: State) -> None:
    """Find the three most loaded devices of each row; -1 where there are fewer."""
    D = state.load.shape[1]
    for row in range(3):
        for k in range(3):
            state.top[row, k] = -1
        for d in range(D):
            value = state.load[row, d]
            at = 3
            while at > 0 and (state.top[row, at - 1] < 0 or state.load[row, state.top[row, at - 1]] < value):
                at -= 1
            for k in range(2, at, -1):
                state.top[row, k] = state.top[row, k - 1]
            if at < 3:
                state.top[row, at] = d


@compiled
def fill(static: Static, state: State) -> None:
    """Compute the whole state from ``state.device``."""
    state.held[:] = 0
    state.compute[:] = 0.0
    state.receive[:] = 0.0
    state.send[:] = 0.0
    state.used[:] = 0.0
    for i in range(state.device.size):
        d = state.device[i]
        state.used[d] += static.memory[i]
        for way in range(2):
            state.compute[way, d] += static.time[way, i, static.class_of[d]]
    for e in range(static.net_way.size):
        items = static.net_items[static.net_start[e] : static.net_start[e + 1]]
        for i in items:
            state.held[e, state.device[i]] += 1
        for d in range(state.used.size):
            if 0 < state.held[e, d] < items.size:
                part = state.send if state.device[items[0]] == d else state.receive
                part[static.net_way[e], d] += static.net_cost[e, static.class_of[d]]
    for d in range(state.used.size):
        _refresh(static, state, d)
    _rank(state)


@compiled
def memory_excess(static: Static, state: State) -> float:
    """Bytes beyond the memory limits, summed over the devices."""
    total = 0.0
    for d in range(state.used.size):
        total += _over(static, d, state.used[d])
    return total


@compiled
def _over(static: Static, d: int, used: float) -> float:
    return float(max(0.0, used - static.limit[d] * (1 + 1e-12)))


@compiled
def _changed(static: Static, state: State, i: int, d: int, enters: bool, parts: FloatArray) -> None:
    """Parts of the loads of d once i enters or leaves it; ``parts`` is (compute, receive, send) x (2,)."""
    c = static.class_of[d]
    for way in range(2):
        time = static.time[way, i, c]
        parts[0, way] = state.compute[way, d] + (time if enters else -time)
        parts[1, way] = state.receive[way, d]
        parts[2, way] = state.send[way, d]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        e = static.item_nets[k]
        first = static.net_start[e]
        others = state.held[e, d] - (0 if enters else 1)
        producer = static.net_items[first]
        # What d pays for the net without i and with it.
        without, including = others > 0, others + 1 < static.net_start[e + 1] - first
        lane = 2 if producer != i and state.device[producer] == d else 1
        lane_including = 2 if producer == i else lane
        cost, way = static.net_cost[e, c], static.net_way[e]
        if not enters:
            without, including, lane, lane_including = including, without, lane_including, lane
        if without:
            parts[lane, way] -= cost
        if including:
            parts[lane_including, way] += cost


@compiled
def _others(state: State, row: int, a: int, b: int) -> float:
    """Return the largest load in a row among the devices other than a and b."""
    for k in range(3):
        d = state.top[row, k]
        if d >= 0 and d != a and d != b:
            return float(state.load[row, d])
    return 0.0


@compiled
def _objective(static: Static, state: State) -> float:
    if static.gpipe:
        return float(state.load[0, state.top[0, 0]] + state.load[1, state.top[1, 0]])
    return float(state.load[2, state.top[2, 0]])


@compiled
def _judge(
    static: Static, state: State, i: int, b: int, left: FloatArray, entered: FloatArray, verdict: FloatArray
) -> None:
    """Write (change of memory excess, objective, change of the sum of squares) if i goes to b."""
    a = state.device[i]
    model = static.communication
    fa = _combined(model, left[0, 0], left[1, 0], left[2, 0])
    ba = _combined(model, left[0, 1], left[1, 1], left[2, 1])
    fb = _combined(model, entered[0, 0], entered[1, 0], entered[2, 0])
    bb = _combined(model, entered[0, 1], entered[1, 1], entered[2, 1])
    size = static.memory[i]
    verdict[0] = _over(static, a, state.used[a] - size) - _over(static, a, state.used[a])
    verdict[0] += _over(static, b, state.used[b] + size) - _over(static, b, state.used[b])
    load = state.load
    if static.gpipe:
        verdict[1] = max(fa, fb, _others(state, 0, a, b)) + max(ba, bb, _others(state, 1, a, b))
        verdict[2] = fa**2 + fb**2 - load[0, a] ** 2 - load[0, b] ** 2
        verdict[2] += ba**2 + bb**2 - load[1, a] ** 2 - load[1, b] ** 2
    else:
        verdict[1] = max(fa + ba, fb + bb, _others(state, 2, a, b))
        verdict[2] = (fa + ba) ** 2 + (fb + bb) ** 2 - load[2, a] ** 2 - load[2, b] ** 2


@compiled
def _better(verdict: FloatArray, best: FloatArray, slack_bytes: float, objective: float) -> bool:
    """Compare two verdicts lexicographically, up to rounding."""
    if abs(verdict[0] - best[0]) > slack_bytes:
        return bool(verdict[0] < best[0])
    if abs(verdict[1] - best[1]) > EPSILON * objective:
        return bool(verdict[1] < best[1])
    return bool(verdict[2] < best[2] - EPSILON * objective**2)


@compiled
def _window(static: Static, state: State, i: int) -> tuple[int, int]:
    """First and last pipeline position that item i may take with its neighbours where they are."""
    low, high = -1, state.position.size
    for k in range(static.before_start[i], static.before_start[i + 1]):
        low = max(low, state.position[state.device[static.before[k]]])
    for k in range(static.after_start[i], static.after_start[i + 1]):
        high = min(high, state.position[state.device[static.after[k]]])
    return low, high


@compiled
def _move(static: Static, state: State, i: int, b: int) -> None:
    left, entered = np.empty((3, 2)), np.empty((3, 2))
    a = state.device[i]
    _changed(static, state, i, a, False, left)
    _changed(static, state, i, b, True, entered)
    for way in range(2):
        state.compute[way, a], state.compute[way, b] = left[0, way], entered[0, way]
        state.receive[way, a], state.receive[way, b] = left[1, way], entered[1, way]
        state.send[way, a], state.send[way, b] = left[2, way], entered[2, way]
    state.used[a] -= static.memory[i]
    state.used[b] += static.memory[i]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        state.held[static.item_nets[k], a] -= 1
        state.held[static.item_nets[k], b] += 1
    state.device[i] = b
    _refresh(static, state, a)
    _refresh(static, state, b)
    _rank(state)


@compiled
def _mark(static: Static, state: State, excess: float, hot: BoolArray) -> None:
    """Mark the devices that an improving move has to touch."""
    hot[:] = False
    if excess > 0.0:
        for d in range(hot.size):
            hot[d] = _over(static, d, state.used[d]) > 0.0
    elif static.gpipe:
        hot[state.top[0, 0]] = True
        hot[state.top[1, 0]] = True
    else:
        hot[state.top[2, 0]] = True


@compiled
def _best_device(
    static: Static,
    state: State,
    i: int,
    hot: BoolArray,
    everywhere: bool,
    scratch: FloatArray,
    best: FloatArray,
    slack_bytes: float,
    objective: float,
) -> int:
    """Find the device that suits item i better than ``best`` says, -1 if none; update ``best``.

    Unless ``everywhere``, a device counts only if it or the item's own is hot.
    """
    left, entered, verdict = scratch[:3], scratch[3:6], scratch[6:].ravel()
    a = state.device[i]
    found = -1
    low, high = _window(static, state, i)
    ready = False
    for b in range(state.used.size):
        if b == a or not static.allowed[i, b] or not (everywhere or hot[a] or hot[b]):
            continue
        if not low <= state.position[b] <= high:
            continue
        if not ready:
            _changed(static, state, i, a, False, left)
            ready = True
        _changed(static, state, i, b, True, entered)
        _judge(static, state, i, b, left, entered, verdict)
        if _better(verdict, best, slack_bytes, objective):
            best[:] = verdict[:3]
            found = b
    return found


@compiled
def improve(static: Static, state: State, budget: int, only_mend: bool = False) -> tuple[int, bool]:
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
    N, D = state.device.size, state.used.size
    slack_bytes = EPSILON * static.memory.sum() / max(1, N)
    hot = np.zeros(D, dtype=np.bool_)
    scratch = np.empty((8, 2))
    best = np.empty(3)
    work = 0
    fill(static, state)
    while work < budget:
        excess, objective = memory_excess(static, state), _objective(static, state)
        if only_mend and excess == 0.0:
            return work, True
        _mark(static, state, excess, hot)
        best[:] = 0.0
        best[1] = objective
        item, goal = -1, -1
        for i in range(N):
            b = _best_device(static, state, i, hot, False, scratch, best, slack_bytes, objective)
            work += (static.item_start[i + 1] - static.item_start[i] + 1) * (D if hot[state.device[i]] else 1)
            if b >= 0:
                item, goal = i, b
        if item >= 0:
            _move(static, state, item, goal)
            continue
        moved = False
        for i in range(N):
            best[:] = 0.0
            best[1] = _objective(static, state)
            b = _best_device(static, state, i, hot, True, scratch, best, slack_bytes, objective)
            work += (static.item_start[i + 1] - static.item_start[i] + 1) * D
            if b >= 0:
                _move(static, state, i, b)
                moved = True
        if not moved:
            return work, True
    return work, False
