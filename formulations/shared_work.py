"""The work of all devices of a kind in sum: a small linear program whose dual values are prices of items.

N items, T types of devices, n_t of type t; p_it time of an item, w_et and v_et what receiving and sending
net e costs, m_it memory as a share of the limit of type t. Variables: y_it ∈ [0, 1], the share of an item on
all devices of a type; r_et, s_et ∈ [0, 1].

    minimise    L
    subject to  Σ_t y_it = 1                                            for every item i       (price π_i)
                Σ_i p_it y_it + Σ_e w_et r_et + v_et s_et <= n_t L      for every type t       (price ρ_t)
                Σ_i m_it y_it <= n_t                                    for every type t       (price μ_t)
                r_et >= y_bt - y_ut,  s_et >= y_ut - y_bt               u the producer of net e, b a consumer

Devices of a type that hold b and not u, or u and not b, pay for the net between them, and there are at least
|y_bt - y_ut| of them. So L is a lower bound, and for a set S of type t, Σ_{i in S} π_i <= ρ_t load(S) + what
memory is worth: with these prices a single look at the best sets proves no less than L.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.bulk import ProgramBuilder
from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["SharedWork", "build"]


@dataclass(frozen=True, eq=False)
class SharedWork:
    """The data of the program.

    Parameters
    ----------
    time
        ``(N, T)``.
    may
        Whether an item may go to a type, ``(N, T)``.
    memory
        Share of the limit, ``(N, T)``; 0 where there is none.
    receive, send
        Of each net, ``(E, T)``.
    producer, consumer, net
        Pairs of items and the net that joins them, ``(P,)`` each.
    devices
        ``(T,)``.
    """

    time: FloatArray
    may: BoolArray
    memory: FloatArray
    receive: FloatArray
    send: FloatArray
    producer: IntArray
    consumer: IntArray
    net: IntArray
    devices: IntArray


def build(work: SharedWork) -> Program:
    """Build the program; its first rows are those of the items, then loads, then memory, T each."""
    builder = ProgramBuilder()
    y = builder.columns(work.may.shape, 0.0, np.where(work.may, 1.0, 0.0))
    paid = [
        builder.columns(work.receive.shape, 0.0, np.where(cost > 0, 1.0, 0.0))
        for cost in (work.receive, work.send)
    ]
    most = float(np.where(work.may, work.time, 0.0).sum() + work.receive.sum() + work.send.sum())
    top = builder.columns((1,), 0.0, 1.0 + most)
    builder.add(y.sum(1) == 1.0)
    load = (y * np.where(work.may, work.time, 0.0)).sum(0)
    load = load + (paid[0] * work.receive).sum(0) + (paid[1] * work.send).sum(0)
    builder.add(load <= top * work.devices)
    builder.add((y * work.memory).sum(0) <= work.devices.astype(np.float64))
    for way, cost, columns in ((1.0, work.receive, paid[0]), (-1.0, work.send, paid[1])):
        for t in range(len(work.devices)):
            rows = np.flatnonzero(cost[work.net, t] > 0)
            gap = y[work.consumer[rows], t] - y[work.producer[rows], t]
            builder.add(columns[work.net[rows], t] >= gap * way)
    return builder.build(top)
