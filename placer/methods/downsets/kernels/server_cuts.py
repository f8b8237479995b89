"""Cutting one server out of a chain of items: which stages its devices can run within given loads.

Items stand in pipeline order read from the end.  A server takes the interval [s, e), and its devices take
consecutive intervals of that.  Devices that are interchangeable within their server form a *slot*; how many
of each slot are used is a mixed-radix number, the *mix*.  What a transfer costs depends on s and e, so that
the end is fixed before the stages are chosen.
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from placer.methods.downsets.kernels.arrays import Bytes
    from placer.methods.downsets.kernels.views import ChainView, ScratchView, Server

__all__ = ["open_server", "pack"]


def _cost(c: ChainView, scratch: ScratchView, server: Server, k: int, x: int) -> float:
    """Return what net x costs the stage: its own link, and the uplink if data cross servers."""
    begin, end = c.net_start[x], c.net_start[x + 1]
    if scratch.inside[x] == 0 or scratch.inside[x] == end - begin:
        return 0.0
    cost = c.own[k, x]
    if c.extra[k, x] > 0.0 and _crosses(c, scratch, server, x):
        cost += c.extra[k, x]
    return cost


def _crosses(c: ChainView, scratch: ScratchView, server: Server, x: int) -> bool:
    """Whether net x has items in other servers that the stage exchanges data with."""
    begin, end = c.net_start[x], c.net_start[x + 1]
    if server.near:
        last = end if scratch.holds[x] else begin + 1
        for i in range(begin, last):
            if c.net_items[i] == server.end or c.net_items[i] == server.begin - 1:
                return True
        return False
    if scratch.holds[x]:
        return c.first[x] < server.begin or c.last[x] >= server.end
    return c.net_items[begin] < server.begin or c.net_items[begin] >= server.end


def _take(c: ChainView, scratch: ScratchView, server: Server, k: int, v: int) -> None:
    """Add item v to the stage."""
    for i in range(c.item_start[v], c.item_start[v + 1]):
        x = c.item_nets[i]
        r = c.direction[x]
        scratch.moved[r, 1 if scratch.holds[x] else 0] -= _cost(c, scratch, server, k, x)
        scratch.inside[x] += 1
        if c.net_items[c.net_start[x]] == v:
            scratch.holds[x] = True
        scratch.moved[r, 1 if scratch.holds[x] else 0] += _cost(c, scratch, server, k, x)
    scratch.compute[0] += c.time[k, 0, v]
    scratch.compute[1] += c.time[k, 1, v]
    scratch.bytes[0] += c.memory[k, v]
    scratch.bytes[1] += c.activation[k, v]


def _clear(c: ChainView, scratch: ScratchView, begin: int, end: int) -> None:
    """Forget the stage [begin, end)."""
    for v in range(begin, end):
        for i in range(c.item_start[v], c.item_start[v + 1]):
            scratch.inside[c.item_nets[i]] = 0
            scratch.holds[c.item_nets[i]] = False
    for r in range(2):
        scratch.moved[r, 0] = scratch.moved[r, 1] = scratch.compute[r] = scratch.bytes[r] = 0.0


def _load(c: ChainView, scratch: ScratchView, r: int) -> float:
    if c.mode == 0:
        return scratch.compute[r] + scratch.moved[r, 0] + scratch.moved[r, 1]
    if c.mode == 1:
        return max(scratch.compute[r], scratch.moved[r, 0] + scratch.moved[r, 1])
    return max(scratch.compute[r], scratch.moved[r, 0], scratch.moved[r, 1])


def _within(scratch: ScratchView, forward: float, backward: float) -> bool:
    """Whether the loads of a stage keep the limits."""
    if forward > scratch.limits[0] or backward > scratch.limits[1]:
        return False
    return forward + backward <= scratch.limits[2]


def _mark(c: ChainView, scratch: ScratchView, server: Server, k: int, i: int, end: int) -> None:
    """Let every mix that reaches i and has a device of slot k left reach the end of the stage [i, end)."""
    radix, stride, first = c.devices[k] + 1, c.stride[k], c.mix_start[server.kind]
    for m in range(server.mixes - stride):
        if not scratch.reach[i, m] or scratch.reach[end, m + stride]:
            continue
        if (m // stride) % radix == c.devices[k]:
            continue
        flights = c.flights
        if c.by_stage:
            flights = min(flights, server.earlier + c.mix_stages[first + m] + 1)
        if scratch.bytes[0] + (flights - 1) * scratch.bytes[1] > c.limit[k]:
            continue
        if c.work[end] > server.room - scratch.limits[2] * c.mix_worth[first + m + stride]:
            continue
        scratch.reach[end, m + stride] = 1
        scratch.before[end, m + stride], scratch.slot[end, m + stride] = i, k


def _stages(c: ChainView, scratch: ScratchView, server: Server, k: int, i: int, top: int) -> int:
    """Mark the ends of all stages on slot k that begin at i; return where the longest ends."""
    end = i
    while end < top and c.ok[k, end]:
        _take(c, scratch, server, k, end)
        end += 1
        if not _within(scratch, scratch.compute[0], scratch.compute[1]) or scratch.bytes[0] > c.limit[k]:
            break
        if end > server.known and _within(scratch, _load(c, scratch, 0), _load(c, scratch, 1)):
            _mark(c, scratch, server, k, i, end)
    _clear(c, scratch, i, end)
    return end


def _pack(c: ChainView, scratch: ScratchView, server: Server) -> None:
    """Fill ``scratch.reach`` for a server, see `pack`."""
    s, known = server.begin, server.known
    top = min(server.end, c.memory.shape[1])
    for i in range(s if known == s else known + 1, top + 1):
        for m in range(server.mixes):
            scratch.reach[i, m] = 0
    if known == s:
        scratch.reach[s, 0] = 1
    for i in range(s, top):
        if scratch.stop[0]:
            return
        if not _any(scratch.reach, i, server.mixes) or (known > s and scratch.far[i] <= known):
            continue
        for k in range(c.slot_start[server.kind], c.slot_start[server.kind + 1]):
            end = _stages(c, scratch, server, k, i, top)
            if server.end > top:
                scratch.far[i] = end if k == c.slot_start[server.kind] else max(scratch.far[i], end)


def pack(c: ChainView, scratch: ScratchView, server: Server) -> None:
    """Find which mixes cover a server's items up to each position: ``scratch.reach``.

    Parameters
    ----------
    c, scratch
        The chain, and scratch; ``scratch.limits`` says what a device may do.
    server
        The server; where it ends at N + 1, its end lies beyond all items in an unknown place.  Unless nothing
        is known, ``scratch.far`` must hold, which the call with an unknown end sets.
    """
    with cython.nogil:
        _pack(c, scratch, server)


def _any(marks: Bytes, i: int, mixes: int) -> bool:
    for m in range(mixes):
        if marks[i, m]:
            return True
    return False


def _copy(source: Bytes, target: Bytes, begin: int, last: int, mixes: int) -> None:
    """Copy rows begin..last."""
    for i in range(begin, last + 1):
        for m in range(mixes):
            target[i, m] = source[i, m]


def _open(c: ChainView, scratch: ScratchView, server: Server) -> None:
    """Fill ``scratch.full``, see `open_server`."""
    n, s, mixes = c.memory.shape[1], server.begin, server.mixes
    server.end, server.known = n + 1, s
    _pack(c, scratch, server)
    _copy(scratch.reach, scratch.free, s, n, mixes)
    for e in range(n + 1):
        for m in range(scratch.full.shape[1]):
            scratch.full[e, m] = 0
    for e in range(s + 1, n + 1):
        if scratch.stop[0]:
            return
        if _any(scratch.free, e, mixes):
            server.end, server.known = e, max(s, min(c.back[e], e - 1))
            _copy(scratch.free, scratch.reach, s, server.known, mixes)
            _pack(c, scratch, server)
            _copy(scratch.reach, scratch.full, e, e, mixes)


def open_server(c: ChainView, scratch: ScratchView, server: Server) -> None:
    """Find all ends of a server that begins at a position, and the mixes that fill it: ``scratch.full``.

    Of a server's stages only those that share nets with what lies beyond its end depend on where that is: the
    others are found once.
    """
    with cython.nogil:
        _open(c, scratch, server)
