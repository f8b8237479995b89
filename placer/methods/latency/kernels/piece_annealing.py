"""Simulated annealing of the makespan of one sample: items wander between pieces and hosts.

A *place* is a piece of an accelerator (a slot) or a host.  A *unit* is what starts as a whole: a slot, or a
node on a host.  Each move is judged by the whole schedule, so its cost grows with the graph.
"""

from __future__ import annotations

from typing import NamedTuple

import cython
import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.kernels import bind, fixed, view

if not cython.compiled:
    from math import exp

    from placer.methods.local_search.kernels.twister import Twister, below, share

__all__ = ["Costs", "Sample", "anneal", "makespan"]

INFINITY = 1e300
ROUNDING = 1e-12
"""Relative excess over a memory limit that running sums may feign."""
NEAR, ANYWHERE = 0.75, 0.9
"""Of moves, these shares go where a neighbour is, and anywhere; the rest exchange two items."""


class Costs(NamedTuple):
    """Graph and places.

    Parameters
    ----------
    read_start, read, reader_start, reader, node_start, node
        What each node reads, who reads it, the nodes of each item: starts and values.
    item
        Item of each node, ``(n,)``.
    time, transfer
        Of each node by class of devices, ms, ``(n, C)``.
    allowed
        Whether an item may be on a device, ``(N, D)``.
    memory, limit
        Of items, ``(N,)``, and devices, ``(D,)``; bytes.
    device, cls
        Device and class of each place, ``(P,)``.
    follows
        The slot that comes before each slot on its accelerator, or -1, ``(S,)``; the other places are hosts.
    """

    read_start: IntArray
    read: IntArray
    reader_start: IntArray
    reader: IntArray
    node_start: IntArray
    node: IntArray
    item: IntArray
    time: FloatArray
    transfer: FloatArray
    allowed: BoolArray
    memory: FloatArray
    limit: FloatArray
    device: IntArray
    cls: IntArray
    follows: IntArray


class Sample:
    """Graph and places, and the assignment at hand with room for its schedule.

    Parameters
    ----------
    costs
        The former.
    place
        Place of each item, ``(N,)``; the search changes it.
    """

    def __init__(self, costs: Costs, place: IntArray) -> None:
        bind(self, costs, fixed)
        n, S = len(costs.item), len(costs.follows)
        self.place = view(place)
        self.unit, self.queue, self.chain = (view(np.zeros(n + S, dtype=np.int64)) for _ in range(3))
        self.waits, self.mark = view(np.zeros(n + S, dtype=np.int64)), view(np.full(S, -1, dtype=np.int64))
        self.start, self.work = view(np.zeros(n + S)), view(np.zeros(S))
        self.used = view(np.zeros(len(costs.limit)))
        self.seen = 0
        """Schedules computed."""


def _set_work(s: Sample) -> None:
    """Set the unit of each node, what slots take, and for how many each unit waits."""
    n, S = s.item.shape[0], s.follows.shape[0]
    for u in range(n + S):
        s.waits[u] = 0
        s.start[u] = 0.0
    for p in range(S):
        s.work[p] = 0.0
        s.mark[p] = -1
        s.chain[p] = -1  # the last node listed of each slot, and before each node the one before it
        if s.follows[p] >= 0:
            s.waits[p] = 1
    for v in range(n):
        p = s.place[s.item[v]]
        s.unit[v] = p if p < S else S + v
        if p < S:
            s.work[p] += s.time[v, s.cls[p]]
            s.chain[S + v] = s.chain[p]
            s.chain[p] = v
    for v in range(n):
        u, sent = s.unit[v], False
        for e in range(s.reader_start[v], s.reader_start[v + 1]):
            w = s.unit[s.reader[e]]
            if w == u:
                continue
            sent = True
            s.waits[w] += 1
            if w < S and s.mark[w] != v:
                s.mark[w] = v
                s.work[w] += s.transfer[v, s.cls[w]]
        if sent and u < S:
            s.work[u] += s.transfer[v, s.cls[u]]


def _release(s: Sample, w: int, time: float, tail: int) -> int:
    """Let a unit know that something it waits for is there; return the end of the queue."""
    s.start[w] = max(s.start[w], time)
    s.waits[w] -= 1
    if s.waits[w] == 0:
        s.queue[tail] = w
        tail += 1
    return tail


def _release_readers(s: Sample, v: int, time: float, tail: int) -> int:
    for e in range(s.reader_start[v], s.reader_start[v + 1]):
        w = s.unit[s.reader[e]]
        if w != s.unit[v]:
            tail = _release(s, w, time, tail)
    return tail


def makespan(s: Sample) -> float:
    """Return the makespan of the assignment in ms; `INFINITY` where units wait for each other."""
    n, S = s.item.shape[0], s.follows.shape[0]
    head, tail, units, last = 0, 0, S, 0.0
    s.seen += 1
    _set_work(s)
    for p in range(S):
        if s.waits[p] == 0:
            s.queue[tail] = p
            tail += 1
    for v in range(n):
        if s.unit[v] >= S:
            units += 1
            if s.waits[S + v] == 0:
                s.queue[tail] = S + v
                tail += 1
    while head < tail:
        u = s.queue[head]
        head += 1
        if u >= S:
            time = s.start[u] + s.time[u - S, s.cls[s.place[s.item[u - S]]]]
            tail = _release_readers(s, u - S, time, tail)
        else:
            time = s.start[u] + s.work[u]
            v = s.chain[u]
            while v >= 0:
                tail = _release_readers(s, v, time, tail)
                v = s.chain[S + v]
            if u + 1 < S and s.follows[u + 1] == u:
                tail = _release(s, u + 1, time, tail)
        last = max(last, time)
    return last if head == units else INFINITY


def _move(s: Sample, i: int, p: int) -> None:
    """Bring item i to place p."""
    s.used[s.device[s.place[i]]] -= s.memory[i]
    s.place[i] = p
    s.used[s.device[p]] += s.memory[i]


def _holds(s: Sample, i: int) -> bool:
    """Whether the device of item i may hold it, and has room for all that is there."""
    d = s.device[s.place[i]]
    return s.allowed[i, d] != 0 and s.used[d] <= s.limit[d] * (1.0 + ROUNDING)


def _target(s: Sample, twister: Twister, i: int, drawn: float) -> int:
    """Draw a place for item i."""
    if drawn >= NEAR:
        return below(twister, s.device.shape[0])
    v = s.node[s.node_start[i] + below(twister, s.node_start[i + 1] - s.node_start[i])]
    reads = s.read_start[v + 1] - s.read_start[v]
    around = reads + s.reader_start[v + 1] - s.reader_start[v]
    if around == 0:
        return below(twister, s.device.shape[0])
    e = below(twister, around)
    w = s.read[s.read_start[v] + e] if e < reads else s.reader[s.reader_start[v] + e - reads]
    return s.place[s.item[w]]


def anneal(s: Sample, twister: Twister, moves: int, hot: float, cold: float, best: IntArray) -> float:
    """Try so many moves while the temperature falls from ``hot`` to ``cold`` ms.

    Writes the best assignment, ``(N,)``, to ``best`` and returns its makespan; the last one stays in
    ``s.place``.
    """
    N = s.place.shape[0]
    for d in range(s.limit.shape[0]):
        s.used[d] = 0.0
    for i in range(N):
        s.used[s.device[s.place[i]]] += s.memory[i]
        best[i] = s.place[i]
    now = makespan(s)
    least, temperature, cooling = now, hot, (cold / hot) ** (1.0 / moves)
    for _ in range(moves):
        temperature *= cooling
        i, drawn, j = below(twister, N), share(twister), -1
        before = s.place[i]
        if drawn < ANYWHERE:
            p = _target(s, twister, i, drawn)
        else:
            j = below(twister, N)
            p = s.place[j]
        if p == before:
            continue
        _move(s, i, p)
        if j >= 0:
            _move(s, j, before)
        good = _holds(s, i) and (j < 0 or _holds(s, j))
        if good:
            value = makespan(s)
            good = value < INFINITY and (value <= now or share(twister) < exp((now - value) / temperature))
        if not good:
            _move(s, i, before)
            if j >= 0:
                _move(s, j, p)
            continue
        now = value
        if now < least:
            least = now
            for i in range(N):
                best[i] = s.place[i]
    return least
