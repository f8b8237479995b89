"""Longest paths that see memory and transfers: what each node waits for, and what follows it.

Along a path, nodes of one piece run one after another and share its memory; where the path leaves the piece
it sends, and where it enters one it receives.  With p_v the least time of node v on an accelerator, h_v on
a host, c_v the least transfer of its output, and memory counted in B parts of the largest accelerator, each
node's m_v rounded down:

    F(v, b) = p_v + max over reads u of  min( E(u) + c_u,  F(u, b - m_v) )       v is processed, its piece
                                                                                holding b on the path
    E(v)    = min( h_v + max over reads u of E(u),  F(v, B) + c_v )             v is in host memory
    T(v, b) = max over readers x of  min( p_x + T(x, b + m_x),  c_v + after(v, x) )
    R(v)    = max over readers x of  after(v, x)                                from when it is there
    after(v, x) = min( h_x + R(x),  c_v + p_x + T(x, m_x) )

E is at most the finish time of a node, and T at most what is left of any plan when v has been processed
in a piece that holds b.  What a piece does beside the path, and what its accelerator did before, is left out.
As a piece grows by x, its time grows by p_x at least: so time and T together never fall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.methods.latency.atoms import LatencyModel
from placer.methods.latency.kernels.arrays import per_byte

__all__ = ["Paths", "paths"]

PARTS = 512
"""Of memory: the more, the less is lost by rounding."""
CELLS = 2_000_000
"""Nodes times parts, at most."""


@dataclass(frozen=True, eq=False)
class Paths:
    """What the paths say.

    Parameters
    ----------
    ready
        Earliest finish of each node, in ms, ``(m,)``.
    after
        What follows an atom at least when its piece holds b parts of memory, in ms, ``(N, B + 1)``.
    longest_ms
        A lower bound on every plan.
    """

    ready: FloatArray
    after: FloatArray
    longest_ms: float


@dataclass(frozen=True, eq=False)
class _Costs:
    """Of the m nodes: what they read and who reads them, least times, parts of memory."""

    reads: list[IntArray]
    readers: list[IntArray]
    device: FloatArray
    host: FloatArray
    send: FloatArray
    parts: IntArray
    most: int


def paths(model: LatencyModel) -> Paths:
    """Compute the longest paths of a model."""
    costs = _costs(model)
    ready, longest = _forward(costs)
    return Paths(ready, _backward(costs, model), longest)


def _costs(model: LatencyModel) -> _Costs:
    draft, atoms, nodes = model.draft, model.atoms, model.nodes
    count = len(nodes)
    reads = [
        np.concatenate(
            [
                atoms.inner[atoms.inner_start[v] : atoms.inner_start[v + 1]],
                atoms.outer[atoms.outer_start[v] : atoms.outer_start[v + 1]],
            ]
        )
        for v in range(count)
    ]
    readers: list[list[int]] = [[] for _ in range(count)]
    for v, us in enumerate(reads):
        for u in us.tolist():
            readers[u].append(v)
    most = max(1, min(PARTS, CELLS // max(count, 1)))
    alone = np.array(draft.group, dtype=np.int64)[nodes] < 0  # what a group holds is counted once
    parts = np.floor(draft.memory[nodes] * per_byte(atoms.limit, np.zeros((1, most + 1))))
    return _Costs(
        reads,
        [np.array(vs, dtype=np.int64) for vs in readers],
        draft.time[nodes].min(axis=1, initial=np.inf),
        draft.host_time[nodes].min(axis=1, initial=np.inf),
        draft.transfer[nodes].min(axis=1, initial=np.inf),
        np.where(alone, np.minimum(parts, most + 1), 0).astype(np.int64),
        most,
    )


def _forward(costs: _Costs) -> tuple[FloatArray, float]:
    """Return E, and the longest path."""
    count, most = len(costs.reads), costs.most
    ready, longest = np.zeros(count), 0.0
    piece = np.full((count, most + 1), np.inf)
    for v, us in enumerate(costs.reads):
        m = int(costs.parts[v])
        if m <= most and np.isfinite(costs.device[v]):
            start = np.zeros(most + 1 - m)
            for u in us:
                np.maximum(start, np.minimum(ready[u] + costs.send[u], piece[u, : most + 1 - m]), out=start)
            piece[v, m:] = start + costs.device[v]
        on_host = ready[us].max(initial=0.0) + costs.host[v]
        done = min(on_host, float(piece[v, most]))
        longest = max(longest, done)
        ready[v] = min(on_host, float(piece[v, most]) + costs.send[v]) if len(costs.readers[v]) else done
    return ready, longest


def _backward(costs: _Costs, model: LatencyModel) -> FloatArray:
    """Return T by atom, over readers in other atoms."""
    count, most, atom = len(costs.reads), costs.most, model.atoms.atom_of
    piece, there = np.zeros((count, most + 1)), np.zeros(count)
    after = np.zeros((model.size, most + 1))
    for v in range(count - 1, -1, -1):
        for x in costs.readers[v]:
            m = int(costs.parts[x])
            apart = costs.host[x] + there[x]
            same = np.full(most + 1, np.inf)
            if m <= most and np.isfinite(costs.device[x]):
                apart = min(apart, costs.send[v] + costs.device[x] + piece[x, m])
                same[: most + 1 - m] = piece[x, m:] + costs.device[x]
            there[v] = max(there[v], apart)
            follows = np.minimum(same, costs.send[v] + apart)
            np.maximum(piece[v], follows, out=piece[v])
            if atom[x] != atom[v]:
                np.maximum(after[atom[v]], follows, out=after[atom[v]])
    return after
