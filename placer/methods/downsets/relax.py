"""A relaxation that the search settles faster: small host times are forgotten, loose items optional.

*Host times.* An item whose time on a host is below a thousandth of the target counts as nothing there.
Loads only shrink, and dominance merges that failed for this time alone become possible.

*Optional items.* Backward-only items without precedence can lie anywhere, so that each multiplies the
downsets by two. An optional item needs no device: it may join a piece that holds another item of its nets
(and then costs what it costs), or vanish, when its neighbours pay for its nets as if it lay elsewhere. From
a real plan, let an optional item vanish where its piece holds none of its neighbours: no load grows. A test
that fails on the relaxation thus proves that there is no plan. The rules of the search stay valid: moving
an item v from a later piece to the present one may leave an optional item without neighbours there, which
then vanishes. An optional item is charged nowhere outside its piece: its weight in measures, and the charge
of its nets for the boundary, are zero. Each net holds one at most, so that the device that takes all the
rest can decide for each by itself (``kernels.exchange.optional_cost``). Sequential model, sum of both
directions only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.arrays import IntArray
from placer.methods.downsets.lattice import Lattice, in_groups, net_members
from placer.methods.downsets.twin_branches import with_twins

__all__ = ["place_optional", "relaxed_below"]

SMALL = 1e-3
"""Host times below this share of the target are forgotten."""
LIGHT = 0.02
"""Optional items hold at most this share of all work: more would make the relaxation weak."""


def relaxed_below(lattice: Lattice, target: float) -> Lattice | None:
    """Return the merged relaxation for a target, or None where there is nothing to relax."""
    g = lattice.graph
    if g.mode != 0 or g.gpipe:
        return None
    small = g.ok & ~g.paying[:, None] & (g.time.sum(axis=1) <= SMALL * target)
    small &= np.isinf(g.limit)[:, None]
    time = lattice.problem.time_ms.copy()
    for t, cls in enumerate(lattice.kinds.class_index):
        time[:, small[t], cls] = 0.0
    changed = bool((time != lattice.problem.time_ms).any())
    merged = lattice.rebuilt(replace(lattice.problem, time_ms=time)).merged(target)
    loose = _loose(merged)
    if not len(loose):
        return merged if changed else None
    return _with_optional(merged, loose)


def _loose(lattice: Lattice) -> list[int]:
    """Items without precedence, light ones first, no two in one net."""
    g = lattice.graph
    bound = np.zeros(lattice.size, dtype=bool)
    bound[lattice.edges.ravel()] = True
    work = g.time.sum(axis=1).max(axis=0)
    allowance = LIGHT * float(work.sum())
    seen: set[int] = set()
    out = []
    for v in sorted(np.flatnonzero(~bound).tolist(), key=lambda v: (work[v], v)):
        nets = g.item_nets[g.item_start[v] : g.item_start[v + 1]].tolist()
        if not nets or seen.intersection(nets) or work[v] > allowance:
            continue
        allowance -= work[v]
        seen.update(nets)
        out.append(v)
    return out


def _with_optional(lattice: Lattice, loose: list[int]) -> Lattice:
    g = lattice.graph
    optional = np.zeros(lattice.size, dtype=bool)
    optional[loose] = True
    start, members = net_members(g)
    net_optional = np.full(len(g.net_size), -1, dtype=np.int64)
    near: set[tuple[int, int]] = set()
    for x in loose:
        for e in g.item_nets[g.item_start[x] : g.item_start[x + 1]].tolist():
            net_optional[e] = x
            near.update((v, x) for v in members[start[e] : start[e + 1]].tolist() if v != x)
    table = np.array(sorted(near), dtype=np.int64).reshape(-1, 2)
    near_start, listed = in_groups(table[:, 0], table[:, 1], lattice.size)
    graph = g._replace(optional=optional, near_start=near_start, near=listed, net_optional=net_optional)
    return replace(lattice, graph=with_twins(graph, []))


def place_optional(lattice: Lattice, pieces: list[tuple[int, IntArray]]) -> list[tuple[int, IntArray]]:
    """Put each optional item on the piece that holds most of its nets' weight, to try as a real plan."""
    g = lattice.graph
    owner = np.full(lattice.size, -1, dtype=np.int64)
    for i, (_, positions) in enumerate(pieces):
        owner[positions] = i
    start, members = net_members(g)
    for x in np.flatnonzero(g.optional).tolist():
        saved = np.zeros(len(pieces))
        for e in g.item_nets[g.item_start[x] : g.item_start[x + 1]].tolist():
            others = {int(owner[v]) for v in members[start[e] : start[e + 1]] if v != x}
            for i in others:
                saved[i] += float(g.net_cost[:, e].max(initial=0.0))
        closed = np.array([not g.ok[t, x] or not g.paying[t] for t, _ in pieces])
        if not closed.all():
            owner[x] = int(np.argmax(np.where(closed, -1.0, saved)))
    return [(t, np.flatnonzero(owner == i)) for i, (t, _) in enumerate(pieces)]
