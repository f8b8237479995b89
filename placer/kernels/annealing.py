"""Simulated annealing towards a target load: moves of connected clusters between two devices.

The energy is what exceeds the target, summed over the devices, so that the search wanders freely among
plans that keep the target everywhere but on a few devices.  Random numbers come from the compiler's own
generator, which has the interface of numpy's legacy functions and is seeded by `anneal`.
"""

# ruff: noqa: NPY002

from __future__ import annotations

import numpy as np

from placer.instance import FloatArray, IntArray
from placer.kernels.jit import compiled
from placer.kernels.local_search import State, Static, _combined, _enter, _leave, _over, fill

__all__ = ["anneal"]

MEMORY_PENALTY = 10.0
"""Energy of exceeding a memory limit by the whole limit, in target loads."""


@compiled
def _energy(static: Static, state: State, d: int, forward: float, backward: float, both: float) -> float:
    """Return what device d exceeds: the target of each direction or of both together, and its memory."""
    model = static.communication
    fw = _combined(model, state.compute[0, d], state.receive[0, d], state.send[0, d])
    bw = _combined(model, state.compute[1, d], state.receive[1, d], state.send[1, d])
    out = max(0.0, fw - forward) + max(0.0, bw - backward) if static.gpipe else max(0.0, fw + bw - both)
    over = _over(static, d, state.used[d])
    if over > 0.0:
        out += MEMORY_PENALTY * both * (over / static.limit[d] if static.limit[d] > 0.0 else over)
    return out


@compiled
def _shift(static: Static, state: State, i: int, b: int, scratch: FloatArray) -> None:
    """Move item i to device b."""
    left, entered = scratch[:3], scratch[3:6]
    a = state.device[i]
    _leave(static, state, i, left)
    _enter(static, state, i, b, entered)
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


@compiled
def _neighbour(static: Static, i: int) -> int:
    """Return a random item of a random net of i; i itself where it has none."""
    first, last = static.item_start[i], static.item_start[i + 1]
    if first == last:
        return i
    e = static.item_nets[np.random.randint(first, last)]
    return static.net_items[np.random.randint(static.net_start[e], static.net_start[e + 1])]


@compiled
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


@compiled
def _total(static: Static, state: State, forward: float, backward: float, both: float) -> float:
    out = 0.0
    for d in range(state.used.size):
        out += _energy(static, state, d, forward, backward, both)
    return out


@compiled
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
    best: IntArray,
) -> float:
    """Anneal from ``state.device``.

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
    fill(static, state)
    scratch = np.empty((6, 2))
    cluster = np.empty(2 * largest + 2, dtype=np.int64)
    energy = _total(static, state, forward, backward, both)
    least = energy
    best[:] = state.device
    cooling = (cold / hot) ** (1.0 / max(1, moves))
    temperature = hot
    for step in range(moves):
        if least <= 0.0:
            break
        temperature *= cooling
        if step % 100_000 == 99_999:  # rounding of the running sums must not build up
            fill(static, state)
            energy = _total(static, state, forward, backward, both)
        i = np.random.randint(N)
        a = state.device[i]
        b = state.device[_neighbour(static, i)] if np.random.random() < 0.6 else np.random.randint(D)
        if b == a:
            continue
        size = 1 if np.random.random() < 0.4 else 1 + np.random.randint(largest)
        middle = _grow(static, state, i, a, b, size, cluster, 0)
        if middle == 0:
            continue
        end = middle
        if np.random.random() < 0.4:
            j = np.random.randint(N)
            if state.device[j] == b:
                size = 1 if np.random.random() < 0.4 else 1 + np.random.randint(largest)
                end = _grow(static, state, j, b, a, size, cluster, middle)
        before = _energy(static, state, a, forward, backward, both)
        before += _energy(static, state, b, forward, backward, both)
        for k in range(end):
            _shift(static, state, cluster[k], b if k < middle else a, scratch)
        change = _energy(static, state, a, forward, backward, both) - before
        change += _energy(static, state, b, forward, backward, both)
        if change <= 0.0 or np.random.random() < np.exp(-change / temperature):
            energy += change
            if energy < least - 1e-12 * both:
                least = energy
                best[:] = state.device
        else:
            for k in range(end - 1, -1, -1):
                _shift(static, state, cluster[k], a if k < middle else b, scratch)
    return max(0.0, least)
