"""Simulated annealing towards a target load: moves of connected clusters between two devices.

The energy is what exceeds the target, summed over the devices, so that the search wanders freely among
plans that keep the target everywhere but on a few devices.  Random numbers come from the compiler's own
generator, which has the interface of numpy's legacy functions and is seeded by `anneal`.
"""

# ruff: noqa: NPY002

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.jit import jit, jit_inline
from placer.methods.local_search.kernels.moves import DUPLEX, OVERLAP, State, Static

__all__ = ["anneal"]

MEMORY_PENALTY = 10.0
"""Energy of exceeding a memory limit by the whole limit, in target loads."""
ROUNDING = 1e-12
"""Relative excess over a memory limit that running sums may feign."""


@jit_inline
def _load(static: Static, state: State, way: int, d: int) -> float:
    """Load of device d in one direction."""
    compute, receive, send = state.compute[way, d], state.receive[way, d], state.send[way, d]
    if static.communication == OVERLAP:
        return max(compute, receive + send)
    if static.communication == DUPLEX:
        return max(compute, receive, send)
    return compute + receive + send


@jit_inline
def _energy(static: Static, state: State, d: int, forward: float, backward: float, both: float) -> float:
    """Return what device d exceeds: the target of each direction or of both together, and its memory."""
    fw, bw = _load(static, state, 0, d), _load(static, state, 1, d)
    out = max(0.0, fw - forward) + max(0.0, bw - backward) if static.gpipe else max(0.0, fw + bw - both)
    over = state.used[d] - static.limit[d]
    if over > ROUNDING * state.used[d]:
        out += MEMORY_PENALTY * both * (over / static.limit[d] if static.limit[d] > 0.0 else over)
    return out


@jit_inline
def _leave(static: Static, state: State, i: int) -> None:
    """Take item i off its device."""
    a = state.device[i]
    c = static.class_of[a]
    for way in range(2):
        state.compute[way, a] -= static.time[way, i, c]
    state.used[a] -= static.memory[i]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        e = static.item_nets[k]
        first = static.net_start[e]
        held, cost, way = state.held[e, a], static.net_cost[e, c], static.net_way[e]
        producer = static.net_items[first]
        at_home = state.device[producer] == a
        if held < static.net_start[e + 1] - first:
            if at_home:
                state.send[way, a] -= cost
            else:
                state.receive[way, a] -= cost
        if held > 1:
            if at_home and producer != i:
                state.send[way, a] += cost
            else:
                state.receive[way, a] += cost
        state.held[e, a] = held - 1


@jit_inline
def _enter(static: Static, state: State, i: int, b: int) -> None:
    """Put item i, which is nowhere, on device b."""
    state.device[i] = b
    c = static.class_of[b]
    for way in range(2):
        state.compute[way, b] += static.time[way, i, c]
    state.used[b] += static.memory[i]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        e = static.item_nets[k]
        first = static.net_start[e]
        held, cost, way = state.held[e, b], static.net_cost[e, c], static.net_way[e]
        producer = static.net_items[first]
        at_home = state.device[producer] == b
        if held > 0:
            if at_home and producer != i:
                state.send[way, b] -= cost
            else:
                state.receive[way, b] -= cost
        if held + 1 < static.net_start[e + 1] - first:
            if at_home:
                state.send[way, b] += cost
            else:
                state.receive[way, b] += cost
        state.held[e, b] = held + 1


@jit
def _shift(static: Static, state: State, i: int, b: int) -> None:
    """Move item i to device b."""
    _leave(static, state, i)
    _enter(static, state, i, b)


@jit
def _neighbour(static: Static, i: int) -> int:
    """Return a random item of a random net of i; i itself where it has none."""
    first, last = static.item_start[i], static.item_start[i + 1]
    if first == last:
        return i
    e = static.item_nets[np.random.randint(first, last)]
    return static.net_items[np.random.randint(static.net_start[e], static.net_start[e + 1])]


@jit
def _grow(
    static: Static, state: State, seed: int, a: int, b: int, size: int, cluster: IntArray, begin: int
) -> int:
    """Collect connected items on device a that may go to b; return the end of the list."""
    end = begin
    if state.device[seed] != a or not static.allowed[seed, b]:
        return end
    cluster[end] = seed
    end += 1
    for _ in range(4 * size):
        if end - begin >= size:
            break
        j = _neighbour(static, cluster[np.random.randint(begin, end)])
        if state.device[j] != a or not static.allowed[j, b]:
            continue
        fresh = True
        for k in range(begin, end):
            fresh = fresh and cluster[k] != j
        if fresh:
            cluster[end] = j
            end += 1
    return end


@jit
def _total(static: Static, state: State, forward: float, backward: float, both: float) -> float:
    out = 0.0
    for d in range(state.used.size):
        out += _energy(static, state, d, forward, backward, both)
    return out


@jit
def _copy(source: IntArray, goal: IntArray) -> None:
    for i in range(source.size):
        goal[i] = source[i]


@jit
def _size(largest: int) -> int:
    """Return a random size of a cluster: often a single item."""
    return 1 if np.random.random() < 0.4 else 1 + np.random.randint(largest)


@jit
def anneal(
    static: Static,
    state: State,
    seed: int,
    moves: int,
    hot: float,
    cold: float,
    forward: float,
    backward: float,
    both: float,
    largest: int,
    cluster: IntArray,
    best: IntArray,
) -> float:
    """Anneal from the filled state; call it for few enough moves that rounding does not build up.

    Parameters
    ----------
    static, state
        Of the local search.
    seed
        Seeds the random numbers; negative to go on with them.
    moves
        Number of moves tried; the temperature falls geometrically from ``hot`` to ``cold``.
    forward, backward, both
        Targets in ms; the first two count for gpipe, the last otherwise.
    largest
        Largest cluster moved.
    cluster
        Scratch, ``(2 * largest + 2,)``.
    best
        Receives the assignment of least energy, ``(N,)``.

    Returns
    -------
    float
        Its energy; 0 when every device keeps the target.
    """
    if seed >= 0:
        np.random.seed(seed)
    N, D = state.device.size, state.used.size
    energy = _total(static, state, forward, backward, both)
    least = energy
    _copy(state.device, best)
    cooling = (cold / hot) ** (1.0 / max(1, moves))
    temperature = hot
    for _ in range(moves):
        if least <= 0.0:
            break
        temperature *= cooling
        i = np.random.randint(N)
        a = state.device[i]
        b = state.device[_neighbour(static, i)] if np.random.random() < 0.6 else np.random.randint(D)
        if b == a:
            continue
        middle = _grow(static, state, i, a, b, _size(largest), cluster, 0)
        if middle == 0:
            continue
        end = middle
        if np.random.random() < 0.4:
            j = np.random.randint(N)
            if state.device[j] == b:
                end = _grow(static, state, j, b, a, _size(largest), cluster, middle)
        before = _energy(static, state, a, forward, backward, both)
        before += _energy(static, state, b, forward, backward, both)
        for k in range(end):
            _shift(static, state, cluster[k], b if k < middle else a)
        change = _energy(static, state, a, forward, backward, both) - before
        change += _energy(static, state, b, forward, backward, both)
        if change <= 0.0 or np.random.random() < np.exp(-change / temperature):
            energy += change
            if energy < least - 1e-12 * both:
                least = energy
                _copy(state.device, best)
        else:
            for k in range(end - 1, -1, -1):
                _shift(static, state, cluster[k], a if k < middle else b)
    return max(0.0, least)
