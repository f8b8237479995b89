"""Anchored programs: a few devices item by item, those that hold given items, and all others together.

Some device holds the *anchor* a_1; what it pays for nets is known from what else lies there. Another holds
the anchor a_2, unless that lies beside a_1 (then it is any other device), and so on. Groups g of c_g devices:
first those of the anchors (c_g = 1), then what is left of every kind. An item i takes p_dig in direction d,
forward or backward, and the share m_ig of the memory of a device; a net e has a producer p, readers, and
costs t_deg; no load of interest exceeds U. Variables: x_ig, whether i lies in g; r_eg and s_eg, how many
devices of g receive and send e; L_dg, loads in sum; T, the time per sample, under ``gpipe`` T >= T_1 + T_2:

    minimise    T
    subject to  Σ_g x_ig = 1;  x_{a_j,1} + .. + x_{a_j,j} = 1 for every anchor
                r_eg >= x_ig - x_pg, s_eg >= x_pg - x_ig       for every net e, its producer p and reader i
                L_dg >= compute, receive and send: their sum, or the largest, as the communication model says
                Σ_d L_dg <= c_g T, or L_dg <= c_g T_d          for every group (and direction)
                Σ_g (Σ_d p_dig) x_ig <= T                      for every item
                Σ_i m_ig x_ig <= c_g                           for every group
                Σ_i∈e m_ig x_ig <= r_eg + x_pg                 for every net e and its readers i
                Σ_i∈e p_dig x_ig <= (U - t_eg) r_eg + U x_pg   likewise

The last two say that readers lie where the net is received or beside its producer. There, p_dig are the sums
over both directions and t_eg of all costs where load is a sum; else p is of one direction, and t_eg the cost
in the other one, as compute and transfers of one direction overlap. With contiguity, where u reaches a_1 by
way of w, or a_1 reaches u by way of w: x_wg >= x_ug on the device of a_1.

In a plan all x, r and s are integers. Where they are on the devices of the anchors, their loads are exact;
of the others the sums are relaxed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.bulk import Linear, ProgramBuilder
from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Hubs", "anchored"]

LONGEST = 10.0
"""Largest load of a device that is looked at, in terms of U: the programs are never infeasible by it."""


@dataclass(frozen=True, eq=False)
class Hubs:
    """N items, E nets and K kinds of devices; times in units of U.

    Parameters
    ----------
    time
        Forward and backward, ``(2, N, K)``; inf where an item may not go.
    share
        Memory of an item as a share of the limit of a device, ``(N, K)``; 0 without a limit.
    net_items, net_start
        Net e holds ``net_items[net_start[e] : net_start[e + 1]]``, its producer first.
    cost
        Forward and backward, ``(2, E, K)``.
    devices
        Of each kind, ``(K,)``.
    parts
        What a load is the largest of: coefficients of (compute, receive, send).
    gpipe
        Whether the directions have maxima of their own.
    """

    time: FloatArray
    share: FloatArray
    net_items: IntArray
    net_start: IntArray
    cost: FloatArray
    devices: IntArray
    parts: tuple[tuple[int, int, int], ...]
    gpipe: bool

    @property
    def readers(self) -> tuple[IntArray, IntArray, IntArray]:
        """Net, producer and reader of each pair of a net."""
        net = np.repeat(np.arange(len(self.net_start) - 1), np.diff(self.net_start))
        reads = np.ones(len(net), dtype=np.bool_)
        reads[self.net_start[:-1]] = False
        return net[reads], self.net_items[self.net_start[:-1]][net[reads]], self.net_items[reads]

    def grouped(self, kinds: tuple[int, ...]) -> _Groups:
        """Put one device of each of the kinds first, and the others of every kind together."""
        left = self.devices.copy()
        np.subtract.at(left, list(kinds), 1)
        of = np.concatenate([kinds, np.flatnonzero(left > 0)]).astype(np.int64)
        may = np.isfinite(self.time[:, :, of]).all(axis=0) & (self.share[:, of] <= 1.0)
        return _Groups(
            time=np.where(may, self.time[:, :, of], 0.0),
            share=np.where(may, self.share[:, of], 0.0),
            cost=self.cost[:, :, of],
            count=np.concatenate([np.ones(len(kinds)), left[left > 0]]),
            may=may,
        )


@dataclass(frozen=True, eq=False)
class _Groups:
    """Times ``(2, N, G)``, shares and what may lie where ``(N, G)``, costs and devices ``(G,)``."""

    time: FloatArray
    share: FloatArray
    cost: FloatArray
    count: FloatArray
    may: BoolArray


def anchored(hubs: Hubs, anchors: tuple[int, ...], kinds: tuple[int, ...], inward: IntArray) -> Program:
    """Build the program.

    Parameters
    ----------
    hubs
        Items, nets and devices.
    anchors, kinds
        The anchors, and the kinds of their devices; without any, all devices are looked at in sum.
    inward
        Pairs (u, w), ``(·, 2)``: w lies beside the first anchor if u does.

    Returns
    -------
    Program
        Its first N times G columns are x, item by item, with the devices of the anchors first; its objective
        is in units of U.
    """
    builder, groups = ProgramBuilder(), hubs.grouped(kinds)
    own = len(kinds)
    x = _places(builder, anchors, groups)
    nets = hubs.cost.shape[1]
    most = np.broadcast_to(groups.count, (nets, len(groups.count)))
    received, sent = (
        builder.columns((nets, len(groups.count)), 0.0, upper, integer=True) for upper in (most, 1.0)
    )
    net, producer, reader = hubs.readers
    if len(net):
        builder.add(received[net] >= x[reader] - x[producer])
        builder.add(sent[net] >= x[producer] - x[reader])
    objective = _loads(builder, hubs, groups, (x, received, sent))
    builder.add((x * groups.time.sum(axis=0)).sum(1) <= objective)
    if groups.share.any():
        builder.add((x * groups.share).sum(0) <= groups.count)
    _receivers(builder, hubs, groups, (x, received))
    if len(inward) and own:
        builder.add(x[inward[:, 1], 0] >= x[inward[:, 0], 0])
    return builder.build(objective)


def _places(builder: ProgramBuilder, anchors: tuple[int, ...], groups: _Groups) -> Linear:
    """Columns of which item lies where: whole on the devices of the anchors, in parts elsewhere."""
    size, own = len(groups.may), len(anchors)
    low, high = np.zeros(groups.may.shape), groups.may.astype(np.float64)
    for j, anchor in enumerate(anchors):
        high[anchor, j + 1 :] = 0.0
    if anchors:
        low[anchors[0], 0] = high[anchors[0], 0]
    x = builder.columns(groups.may.shape, low, high)
    whole = builder.columns((size, own), 0.0, 1.0, integer=True)
    builder.add(x[:, :own] == whole)
    builder.add(x.sum(1) == 1.0)
    return x


def _loads(
    builder: ProgramBuilder, hubs: Hubs, groups: _Groups, columns: tuple[Linear, Linear, Linear]
) -> Linear:
    """Columns and rows of loads; the column of the time per sample."""
    x, received, sent = columns
    count = groups.count
    objective = builder.columns((1,), 0.0, LONGEST)
    load = builder.columns((2, len(count)), 0.0, LONGEST * count)
    for way in (0, 1):
        compute = (x * groups.time[way]).sum(0)
        receive, send = (received * groups.cost[way]).sum(0), (sent * groups.cost[way]).sum(0)
        for a, b, c in hubs.parts:
            builder.add(load[way] >= compute * float(a) + receive * float(b) + send * float(c))
    if hubs.gpipe:
        ways = builder.columns((2, 1), 0.0, LONGEST)
        builder.add(objective >= ways.sum(0))
        builder.add(load <= ways * count)
    else:
        builder.add(load.sum(0) <= objective * count)
    return objective


def _receivers(builder: ProgramBuilder, hubs: Hubs, groups: _Groups, columns: tuple[Linear, Linear]) -> None:
    """Rows of how many devices receive a net that several items read."""
    x, received = columns
    adds_up = len(hubs.parts) == 1
    time = groups.time.sum(axis=0, keepdims=True) if adds_up else groups.time
    for e in np.flatnonzero(np.diff(hubs.net_start) > 2).tolist():
        producer, *readers = hubs.net_items[hubs.net_start[e] : hubs.net_start[e + 1]].tolist()
        there, beside = x[np.array(readers)], x[producer]
        if groups.share[readers].any():
            builder.add((there * groups.share[readers]).sum(0) <= received[e] + beside)
        cost = groups.cost[:, e]
        paid = cost.sum(axis=0, keepdims=True) if adds_up else cost[::-1]
        for spent, left in zip(time, np.maximum(0.0, 1.0 - paid), strict=True):
            builder.add((there * spent[readers]).sum(0) <= received[e] * left + beside)
