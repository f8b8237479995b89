"""Cutting one server out of a chain of items: which stages its devices can run within given loads.

Items stand in pipeline order read from the end.  A server takes the interval [s, e), and its devices take
consecutive intervals of that.  Devices that are interchangeable within their server form a *slot*; how many
of each slot are used is a mixed-radix number, the *mix*.  What a transfer costs depends on s and e, so that
the end is fixed before the stages are chosen.
"""

from __future__ import annotations

from typing import NamedTuple

from placer.jit import jit, jit_inline
from placer.methods.downsets.kernels.arrays import Bools, Bytes, Counts, Floats, Ints

__all__ = ["Chain", "Scratch", "open_server", "pack"]


class Chain(NamedTuple):
    """N items, E nets; servers of one kind hold the slots ``slot_start[kind] : slot_start[kind + 1]``."""

    ok: Bools  # (K, N)
    time: Floats  # (K, 2, N)
    memory: Floats  # (N,) with one microbatch in flight
    activation: Floats  # (N,) for each further one
    flights: int  # microbatches in flight at most
    by_stage: bool  # whether the s-th stage has at most s of them
    limit: Floats  # (K,)
    own: Floats  # (K, E) cost of a net within the server
    extra: Floats  # (K, E) what it costs more across servers
    net_start: Ints  # (E + 1,)
    net_items: Ints  # the producer first
    first: Ints  # (E,) first position of a reader
    last: Ints  # (E,)
    direction: Ints  # (E,)
    item_start: Ints  # (N + 1,)
    item_nets: Ints
    back: Ints  # (N + 1,) first position of the nets that items before and from a position on share
    work: Floats  # (N + 1,) least worth of the items from a position on
    slot_start: Ints
    devices: Ints  # (K,) of a slot in one server
    stride: Ints  # (K,)
    mix_start: Ints  # by kind of server
    mix_stages: Ints  # devices that a mix uses
    mix_worth: Floats  # what they can do per ms
    mode: int  # 0 sequential, 1 overlap, 2 duplex


class Scratch(NamedTuple):
    """Scratch."""

    inside: Counts  # (E,) items of a net in the stage
    holds: Bools  # (E,) whether its producer is one of them
    moved: Floats  # (2, 2) by direction: received, sent
    compute: Floats  # (2,)
    reach: Bytes  # (N + 1, M) whether a mix covers the server's items up to a position
    before: Ints  # (N + 1, M) where its last stage begins
    slot: Ints  # (N + 1, M) and on which slot it is
    far: Ints  # (N,) where the longest stage ends that begins there, before transfers are counted
    free: Bytes  # (N + 1, M) reach of a server whose end is not known
    stop: Ints  # (1,) not 0 when all is to end at once, with what was found
    full: Bytes  # (N + 1, M) mixes that fill a server up to its end


@jit_inline
def _cost(c: Chain, scratch: Scratch, k: int, x: int, s: int, e: int, near: bool) -> float:
    """Return what net x costs the stage: its own link, and the uplink if data cross servers.

    With ``near`` only the items next to [s, e) count as being in another server.
    """
    begin, end = c.net_start[x], c.net_start[x + 1]
    if scratch.inside[x] == 0 or scratch.inside[x] == end - begin:
        return 0.0
    cost = c.own[k, x]
    if c.extra[k, x] > 0.0:
        away = False
        if near:
            last = end if scratch.holds[x] else begin + 1
            for i in range(begin, last):
                away = away or c.net_items[i] == e or c.net_items[i] == s - 1
        elif scratch.holds[x]:
            away = c.first[x] < s or c.last[x] >= e
        else:
            away = c.net_items[begin] < s or c.net_items[begin] >= e
        if away:
            cost += c.extra[k, x]
    return cost


@jit
def _take(c: Chain, scratch: Scratch, k: int, v: int, s: int, e: int, near: bool) -> None:
    """Add item v to the stage."""
    for i in range(c.item_start[v], c.item_start[v + 1]):
        x = c.item_nets[i]
        r = c.direction[x]
        scratch.moved[r, 1 if scratch.holds[x] else 0] -= _cost(c, scratch, k, x, s, e, near)
        scratch.inside[x] += 1
        if c.net_items[c.net_start[x]] == v:
            scratch.holds[x] = True
        scratch.moved[r, 1 if scratch.holds[x] else 0] += _cost(c, scratch, k, x, s, e, near)
    scratch.compute[0] += c.time[k, 0, v]
    scratch.compute[1] += c.time[k, 1, v]


@jit
def _clear(c: Chain, scratch: Scratch, begin: int, end: int) -> None:
    """Forget the stage [begin, end)."""
    for v in range(begin, end):
        for i in range(c.item_start[v], c.item_start[v + 1]):
            scratch.inside[c.item_nets[i]] = 0
            scratch.holds[c.item_nets[i]] = False
    scratch.moved[:] = 0.0
    scratch.compute[:] = 0.0


@jit_inline
def _load(c: Chain, scratch: Scratch, r: int) -> float:
    if c.mode == 0:
        return scratch.compute[r] + scratch.moved[r, 0] + scratch.moved[r, 1]
    if c.mode == 1:
        return max(scratch.compute[r], scratch.moved[r, 0] + scratch.moved[r, 1])
    return max(scratch.compute[r], scratch.moved[r, 0], scratch.moved[r, 1])


@jit
def _mark(
    c: Chain, scratch: Scratch, kind: int, k: int, i: int, end: int, earlier: int, room: float, bytes_: Floats
) -> None:
    """Let every mix that reaches i and has a device of slot k left reach the end of the stage [i, end)."""
    radix, stride = c.devices[k] + 1, c.stride[k]
    for m in range(c.mix_start[kind + 1] - c.mix_start[kind] - stride):
        at = c.mix_start[kind] + m
        if not scratch.reach[i, m] or (m // stride) % radix == c.devices[k] or scratch.reach[end, m + stride]:
            continue
        flights = c.flights
        if c.by_stage:
            flights = min(flights, earlier + c.mix_stages[at] + 1)
        if bytes_[0] + (flights - 1) * bytes_[1] > c.limit[k]:
            continue
        if c.work[end] > room - bytes_[2] * c.mix_worth[at + stride]:
            continue
        scratch.reach[end, m + stride] = 1
        scratch.before[end, m + stride], scratch.slot[end, m + stride] = i, k


@jit
def pack(
    c: Chain, scratch: Scratch, kind: int, s: int, e: int, known: int, near: bool, earlier: int, room: float,
    limits: Floats, bytes_: Floats,
) -> None:  # fmt: skip
    """Fill ``scratch.reach`` for a server on [s, e); e = N + 1 is an end beyond all items, of unknown place.

    Parameters
    ----------
    c, scratch
        The chain, and scratch.
    kind
        Kind of server.
    s, e
        What it holds.
    known
        Position up to which ``scratch.reach`` holds already, s for none; otherwise `scratch.far` must hold,
        which the call with an unknown end sets.
    near
        Whether only the items next to it are known to be in other servers.
    earlier
        Stages nearer to the end of the pipeline.
    room
        Work that this server and those after it can do within the limits.
    limits
        Largest forward load, backward load, and sum of both on a device, ``(3,)`` in ms.
    bytes_
        Scratch, ``(3,)``.
    """
    mixes = c.mix_start[kind + 1] - c.mix_start[kind]
    top = min(e, len(c.memory))
    scratch.reach[known + 1 : top + 1, :mixes] = 0
    if known == s:
        scratch.reach[s, :mixes] = 0
        scratch.reach[s, 0] = 1
    for i in range(s, top):
        if scratch.stop[0]:
            return
        if not scratch.reach[i, :mixes].any() or (known > s and scratch.far[i] <= known):
            continue
        for k in range(c.slot_start[kind], c.slot_start[kind + 1]):
            _clear(c, scratch, i, i)
            bytes_[0] = bytes_[1] = 0.0
            bytes_[2] = limits[2]
            end = i
            while end < top and c.ok[k, end]:
                _take(c, scratch, k, end, s, e, near)
                bytes_[0] += c.memory[end]
                bytes_[1] += c.activation[end]
                end += 1
                forward, backward = scratch.compute[0], scratch.compute[1]
                if forward > limits[0] or backward > limits[1] or forward + backward > limits[2]:
                    break
                if bytes_[0] > c.limit[k]:
                    break
                if end <= known:
                    continue
                forward, backward = _load(c, scratch, 0), _load(c, scratch, 1)
                if forward <= limits[0] and backward <= limits[1] and forward + backward <= limits[2]:
                    _mark(c, scratch, kind, k, i, end, earlier, room, bytes_)
            _clear(c, scratch, i, end)
            if e > top:
                scratch.far[i] = end if k == c.slot_start[kind] else max(scratch.far[i], end)


@jit
def _copy(source: Bytes, target: Bytes, begin: int, last: int, mixes: int) -> None:
    """Copy rows begin..last."""
    for i in range(begin, last + 1):
        for m in range(mixes):
            target[i, m] = source[i, m]


@jit
def open_server(
    c: Chain, scratch: Scratch, kind: int, s: int, near: bool, earlier: int, room: float, limits: Floats,
    bytes_: Floats,
) -> None:  # fmt: skip
    """Find all ends of a server that begins at s, and the mixes that fill it: ``scratch.full``.

    Parameters as for `pack`. Of a server's stages only those that share nets with what lies beyond its end
    depend on where that is: the others are found once.
    """
    n, mixes = len(c.memory), c.mix_start[kind + 1] - c.mix_start[kind]
    pack(c, scratch, kind, s, n + 1, s, near, earlier, room, limits, bytes_)
    _copy(scratch.reach, scratch.free, s, n, mixes)
    scratch.full[:, :] = 0
    for e in range(s + 1, n + 1):
        if scratch.stop[0]:
            return
        if scratch.free[e, :mixes].any():
            known = max(s, min(c.back[e], e - 1))
            _copy(scratch.free, scratch.reach, s, known, mixes)
            pack(c, scratch, kind, s, e, known, near, earlier, room, limits, bytes_)
            _copy(scratch.reach, scratch.full, e, e, mixes)
