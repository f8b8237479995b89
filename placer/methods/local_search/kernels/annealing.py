"""Simulated annealing towards a target load: moves of connected clusters between two devices.

Where items have an order, so have the devices, and moves keep both.  The energy is what exceeds the target,
summed over the devices, so that the search wanders freely among plans that keep the target everywhere but on
a few devices.
"""

from __future__ import annotations

import cython
import numpy as np

from placer.arrays import IntArray
from placer.kernels import view

if not cython.compiled:
    from math import exp

    from placer.methods.local_search.kernels.moves import _first_place, _last_place
    from placer.methods.local_search.kernels.twister import Twister, below, share
    from placer.methods.local_search.kernels.views import DUPLEX, OVERLAP, StateView, StaticView

__all__ = ["Course", "anneal"]

MEMORY_PENALTY = 10.0
"""Energy of exceeding a memory limit by the whole limit, in target loads."""
ROUNDING = 1e-12
"""Relative excess over a memory limit that running sums may feign."""
NOTED = 64
"""Items that may be written down for each move, so that it costs no more than the move."""
NEAR, SINGLE, EXCHANGE = 0.6, 0.4, 0.4
"""Shares of moves that go where a neighbour is, of one item alone, and that bring others back in exchange."""


class Course:
    """A course of annealing.

    Parameters
    ----------
    twister
        The random numbers.
    forward, backward, both
        Targets in ms; the first two count for gpipe, the last otherwise.
    largest
        Largest cluster moved.
    best
        Receives the assignment of least energy, ``(N,)``.
    """

    def __init__(
        self, twister: Twister, forward: float, backward: float, both: float, largest: int, best: IntArray
    ) -> None:
        self.twister = twister
        self.forward, self.backward, self.both = forward, backward, both
        self.largest = largest
        self.best = view(best)
        self.cluster = view(np.zeros(2 * largest + 2, dtype=np.int64))


def _load(static: StaticView, state: StateView, way: int, d: int) -> float:
    """Load of device d in one direction."""
    compute, receive, send = state.compute[way, d], state.receive[way, d], state.send[way, d]
    if static.communication == OVERLAP:
        return max(compute, receive + send)
    if static.communication == DUPLEX:
        return max(compute, receive, send)
    return compute + receive + send


def _energy(static: StaticView, state: StateView, course: Course, d: int) -> float:
    """Return what device d exceeds: the target of each direction or of both together, and its memory."""
    fw, bw = _load(static, state, 0, d), _load(static, state, 1, d)
    if static.gpipe:
        out = max(0.0, fw - course.forward) + max(0.0, bw - course.backward)
    else:
        out = max(0.0, fw + bw - course.both)
    over = state.used[d] - static.limit[d]
    if over > ROUNDING * state.used[d]:
        out += MEMORY_PENALTY * course.both * (over / static.limit[d] if static.limit[d] > 0.0 else over)
    return out


def _book(state: StateView, sends: bool, way: int, d: int, cost: float) -> None:
    """Add a cost to what device d sends or receives."""
    if sends:
        state.send[way, d] += cost
    else:
        state.receive[way, d] += cost


def _leave(static: StaticView, state: StateView, i: int) -> None:
    """Take item i off its device."""
    a = state.device[i]
    c = static.class_of[a]
    for way in range(2):
        state.compute[way, a] -= static.time[way, i, c]
    state.used[a] -= static.memory[i]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        e = static.item_nets[k]
        first, held, cost, way = (
            static.net_start[e],
            state.held[e, a],
            static.net_cost[e, c],
            static.net_way[e],
        )
        at_home = state.device[static.net_items[first]] == a
        if held < static.net_start[e + 1] - first:
            _book(state, at_home, way, a, -cost)
        if held > 1:
            _book(state, at_home and static.net_items[first] != i, way, a, cost)
        state.held[e, a] = held - 1


def _enter(static: StaticView, state: StateView, i: int, b: int) -> None:
    """Put item i, which is nowhere, on device b."""
    state.device[i] = b
    c = static.class_of[b]
    for way in range(2):
        state.compute[way, b] += static.time[way, i, c]
    state.used[b] += static.memory[i]
    for k in range(static.item_start[i], static.item_start[i + 1]):
        e = static.item_nets[k]
        first, held, cost, way = (
            static.net_start[e],
            state.held[e, b],
            static.net_cost[e, c],
            static.net_way[e],
        )
        at_home = state.device[static.net_items[first]] == b
        if held > 0:
            _book(state, at_home and static.net_items[first] != i, way, b, -cost)
        if held + 1 < static.net_start[e + 1] - first:
            _book(state, at_home, way, b, cost)
        state.held[e, b] = held + 1


def _neighbour(static: StaticView, twister: Twister, i: int) -> int:
    """Return a random item of a random net of i; i itself where it has none."""
    first, last = static.item_start[i], static.item_start[i + 1]
    if first == last:
        return i
    e = static.item_nets[first + below(twister, last - first)]
    begin = static.net_start[e]
    return static.net_items[begin + below(twister, static.net_start[e + 1] - begin)]


def _grow(static: StaticView, state: StateView, course: Course, seed: int, b: int, begin: int) -> int:
    """List connected items of the seed's device that may go to b, from ``begin`` on; return the end."""
    end, a = begin, state.device[seed]
    size = 1 if share(course.twister) < SINGLE else 1 + below(course.twister, course.largest)
    if not static.allowed[seed, b]:
        return end
    course.cluster[end] = seed
    end += 1
    for _ in range(4 * size):
        if end - begin >= size:
            break
        j = _neighbour(static, course.twister, course.cluster[begin + below(course.twister, end - begin)])
        fresh = state.device[j] == a and static.allowed[j, b]
        for k in range(begin, end):
            fresh = fresh and course.cluster[k] != j
        if fresh:
            course.cluster[end] = j
            end += 1
    return end


def _close(static: StaticView, state: StateView, course: Course, begin: int, end: int, b: int) -> int:
    """List what has to go to device b with the items listed; return the end, ``begin`` where they cannot go.

    What is to come after them (before them, where b is earlier) may stay on b or beyond it, and comes along
    from their own device; on one between, it would be out of order.
    """
    if begin == end:
        return begin
    a, goal = state.device[course.cluster[begin]], state.position[b]
    later = goal > state.position[a]
    k = begin
    while k < end:
        i = course.cluster[k]
        first = static.after_start[i] if later else static.before_start[i]
        last = static.after_start[i + 1] if later else static.before_start[i + 1]
        for m in range(first, last):
            j = static.after[m] if later else static.before[m]
            at = state.position[state.device[j]]
            listed = at >= goal if later else at <= goal
            for n in range(begin, end):
                listed = listed or course.cluster[n] == j
            if listed:
                continue
            if state.device[j] != a or not static.allowed[j, b] or end - begin > course.largest:
                return begin
            course.cluster[end] = j
            end += 1
        k += 1
    return end


def _shift(static: StaticView, state: StateView, course: Course, first: int, last: int, b: int) -> None:
    """Move the items listed at first..last - 1 to device b, in this order or, if last < first, backwards."""
    k = first if first <= last else first - 1
    step = 1 if first <= last else -1
    for _ in range(abs(last - first)):
        _leave(static, state, course.cluster[k])
        _enter(static, state, course.cluster[k], b)
        k += step


def _in_order(static: StaticView, state: StateView, course: Course, end: int) -> bool:
    """Whether the first items listed keep the order of the devices."""
    for k in range(end):
        i = course.cluster[k]
        at = state.position[state.device[i]]
        if at < _first_place(static, state, i) or at > _last_place(static, state, i):
            return False
    return True


def _note(state: StateView, course: Course) -> None:
    for i in range(state.device.shape[0]):
        course.best[i] = state.device[i]


def _try(static: StaticView, state: StateView, course: Course, temperature: float) -> float:
    """Try one move; return the change of energy, 0 where it is not made."""
    N, D = state.device.shape[0], state.used.shape[0]
    i = below(course.twister, N)
    a = state.device[i]
    if share(course.twister) < NEAR:
        b = state.device[_neighbour(static, course.twister, i)]
    else:
        b = below(course.twister, D)
    if b == a:
        return 0.0
    middle = _close(static, state, course, 0, _grow(static, state, course, i, b, 0), b)
    if middle == 0:
        return 0.0
    end = middle
    if share(course.twister) < EXCHANGE:
        j = below(course.twister, N)
        if state.device[j] == b:
            end = _close(static, state, course, middle, _grow(static, state, course, j, a, middle), a)
    before = _energy(static, state, course, a)
    before += _energy(static, state, course, b)
    _shift(static, state, course, 0, middle, b)
    _shift(static, state, course, middle, end, a)
    change = _energy(static, state, course, a) - before
    change += _energy(static, state, course, b)
    wanted = change <= 0.0 or share(course.twister) < exp(-change / temperature)
    if wanted and _in_order(static, state, course, end):
        return change
    _shift(static, state, course, end, middle, b)
    _shift(static, state, course, middle, 0, a)
    return 0.0


def _anneal(
    static: StaticView, state: StateView, course: Course, moves: int, hot: float, cold: float
) -> float:
    energy = 0.0
    for d in range(state.used.shape[0]):
        energy += _energy(static, state, course, d)
    least, temperature, cooling = energy, hot, (cold / hot) ** (1.0 / max(1, moves))
    noted, pause = 0, state.device.shape[0] // NOTED
    _note(state, course)
    for k in range(moves):
        if energy <= 0.0:
            break
        temperature *= cooling
        energy += _try(static, state, course, temperature)
        if energy < least - 1e-12 * course.both and k >= noted + pause:
            least, noted = energy, k
            _note(state, course)
    if energy < least:
        least = energy
        _note(state, course)
    return max(0.0, least)


def anneal(
    static: StaticView, state: StateView, course: Course, moves: int, hot: float, cold: float
) -> float:
    """Anneal from the filled state; call it for few enough moves that rounding does not build up.

    Parameters
    ----------
    static, state
        Of the local search.
    course
        Targets, and where the best assignment goes.
    moves
        Number of moves tried; the temperature falls geometrically from ``hot`` to ``cold``.
    hot, cold
        Temperatures, in ms of energy.

    Returns
    -------
    float
        Energy of the best assignment; 0 when every device keeps the target.
    """
    with cython.nogil:
        least = _anneal(static, state, course, moves, hot, cold)
    return least
