"""Sharing: what all devices of a pool can do and hold together, whatever lies on which of them.

Sets
    g ∈ groups of n_g nodes that cost the same;  p ∈ pools of N_p devices with room R_p each;  o ∈ options:
    ways to run a stage on d_o devices of pool p(o), s_o of which split every node; the others take turns.
Data
    t_go  time of a node per sequence of a microbatch;  m_go  memory that it takes on all d_o devices;
    M  microbatches on their way at most.
Variables
    y_go ≥ 0  nodes of a group that run so;  τ  time per token over all sequences that are served.
Objective
    minimise τ
Constraints
    Σ_o y_go = n_g                                    for every group
    Σ_{o: p(o) = p} Σ_g s_o t_go y_go ≤ N_p τ         for every pool: its devices compute all the time at most
    Σ_{o: p(o) = p} Σ_g m_go y_go ≤ N_p R_p           for every pool with a limit
    Σ_g Σ_o t_go y_go ≤ M τ                           a sequence's next token waits for its last one

Transfers and the way back are left out, and so is which nodes lie together: a bound for every plan.  Batches
make weights cheaper, but not caches: where memory is short, weights on hosts are read there for each token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.bulk import ProgramBuilder
from formulations.program import Program
from placer.arrays import FloatArray, IntArray

__all__ = ["Sharing", "build"]


@dataclass(frozen=True, eq=False)
class Sharing:
    """G groups of nodes, O options, P pools.

    Parameters
    ----------
    nodes
        Of each group, ``(G,)``.
    time
        Of a node per sequence, in any unit; inf where it may not run, ``(G, O)``.
    memory
        Of a node on all devices of the option, as a share of its pool's; 0 without a limit, ``(G, O)``.
    pool, splits
        Of each option, ``(O,)``.
    devices
        Of each pool, ``(P,)``.
    microbatches
        On their way at most.
    """

    nodes: IntArray
    time: FloatArray
    memory: FloatArray
    pool: IntArray
    splits: IntArray
    devices: IntArray
    microbatches: int


def build(sharing: Sharing) -> Program:
    """Build the program; its objective is the time per token, in the unit of the times."""
    builder = ProgramBuilder()
    may = np.isfinite(sharing.time)
    time = np.where(may, sharing.time, 0.0)
    y = builder.columns(time.shape, 0.0, np.where(may, sharing.nodes[:, None], 0))
    # No plan takes longer than all nodes where they are slowest, one after the other.
    per_token = builder.columns((1,), 0.0, 1.0 + float((time * sharing.splits).max(axis=1) @ sharing.nodes))
    builder.add(y.sum(1) == sharing.nodes)
    for p, devices in enumerate(sharing.devices.tolist()):
        own = np.flatnonzero(sharing.pool == p)
        if len(own):
            builder.add((y[:, own] * (time * sharing.splits)[:, own]).sum(0, 1) <= per_token * devices)
        if sharing.memory[:, own].any():
            builder.add((y[:, own] * sharing.memory[:, own]).sum(0, 1) <= 1.0)
    builder.add((y * time).sum(0, 1) <= per_token * sharing.microbatches)
    return builder.build(per_token)
