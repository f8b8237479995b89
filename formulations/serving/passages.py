"""Bound with links: how many layers a flow can pass at most, whatever the order of the devices.

Every plan of flow 1 (flows are shares of a target F) obeys the program; it forgets at which layer a device
starts.  A device i in mode m passes a flow in [low_m, high_m], holds at most k_m layers, and is worth h_m
layers (`placer.layered_flow.links` says why all layers need Σ h ≥ L).

Sets
    i, j ∈ devices, with source and sink as ends of links;  m ∈ modes of a device;  links (i, j)
Variables
    z_m ∈ {0, 1}  device is in mode m;  g_m ≥ 0  flow that it passes then
    f_{ij} ≥ 0    flow on a link;  y_{ij} ∈ {0, 1}  link is used
    a_{ij} ≥ 0    layers behind the flow on a link: flow times layers passed, as a share of L
    u_{ij}, w_{ij} ≥ 0  flow through i, and through j, where the link is used
Objective
    maximise Σ_m h_m z_m / L   (stated as: minimise its negative)
Constraints
    Σ_{m of i} z_m ≤ 1,   low_m z_m ≤ g_m ≤ high_m z_m
    Σ_j f_{ji} = Σ_{m of i} g_m = Σ_j f_{ij},   Σ_j f_{source,j} = 1
    f_{ij} ≤ c_{ij} y_{ij},   a_{ij} ≤ f_{ij},   a_{source,j} = 0,   a_{i,sink} = f_{i,sink}
    Σ_{m of i} g_m / L ≤ Σ_j a_{ij} − Σ_j a_{ji} ≤ Σ_{m of i} k_m g_m / L
    u_{ij} ≥ Σ_{m of i} g_m − (1 − y_{ij}),   u_{ij} ≥ low_i y_{ij},   u_{ij} ≥ f_{ij},   Σ_i u_{ij} ≤ 1
    w_{ij} likewise for j,   Σ_j w_{ij} ≤ 1,   with u_{source,j} = y_{source,j},  w_{i,sink} = y_{i,sink}

The last two lines: the devices that hand on to j all end where j starts, so what they pass together is 1 at
most, however little of it goes to j; the same for those that i hands on to.  What the source hands on to
starts at layer 0, where no device ends; the same for the sink.  low_i is the least low_m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.bulk import Linear, ProgramBuilder
from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Modes", "build"]


@dataclass(frozen=True, eq=False)
class Modes:
    """Modes of all devices, ``(M,)`` each: device, least and most flow, most layers, worth in layers."""

    device: IntArray
    low: FloatArray
    high: FloatArray
    layers: FloatArray
    worth: FloatArray


def build(layers: int, links: FloatArray, modes: Modes) -> Program:
    """Build the program.

    Parameters
    ----------
    layers
        Number of layers L.
    links
        Shares of the target flow that links carry, ``(n + 1, n + 1)``, with the source as last row and the
        sink as last column.
    modes
        Modes of the devices; a device without any is left out.
    """
    n = len(links) - 1
    kept = np.append(np.isin(np.arange(n), modes.device), True)
    a, b = np.nonzero((links > 0) & kept[:, None] & kept[None, :])
    builder, one = ProgramBuilder(), np.ones(len(a))
    capacity = np.minimum(links[a, b], 1.0)
    z = builder.columns((len(modes.device),), integer=True)
    g = builder.columns((len(modes.device),))
    f = builder.columns((len(a),), 0.0, capacity)
    y = builder.columns((len(a),), integer=True)
    behind = builder.columns((len(a),), 0.0, np.where(a == n, 0.0, 1.0))
    worth = builder.columns((), -np.inf, np.inf)

    of = (modes.device, z.index, np.ones(len(modes.device)))
    builder.add_ragged(-np.inf, 1.0, n, of)
    builder.add(g >= z * modes.low)
    builder.add(g <= z * modes.high)
    zero = np.zeros(len(modes.device), dtype=np.int64)
    builder.add_ragged(
        0.0, 0.0, 1, (zero[:1], worth.index.reshape(1), np.ones(1)), (zero, z.index, modes.worth / layers)
    )

    passed = (modes.device, g.index, -np.ones(len(modes.device)))
    for end in (b, a):
        inner = end < n
        builder.add_ragged(0.0, 0.0, n, (end[inner], f.index[inner], one[inner]), passed)
    source, sink = a == n, b == n
    builder.add_ragged(
        1.0, 1.0, 1, (np.zeros(int(source.sum()), dtype=np.int64), f.index[source], one[source])
    )
    builder.add(f <= y * capacity)
    builder.add(behind <= f)
    if sink.any():
        builder.add(behind[sink] >= f[sink])
    gained = (a[~source], behind.index[~source], one[~source]), (b[~sink], behind.index[~sink], -one[~sink])
    for share, low, high in ((np.ones(len(zero)), 0.0, np.inf), (modes.layers, -np.inf, 0.0)):
        builder.add_ragged(low, high, n, *gained, (modes.device, g.index, -share / layers))

    least = np.full(n, np.inf)
    np.minimum.at(least, modes.device, modes.low)
    between = ~source & ~sink
    for end, other in ((a, b), (b, a)):
        _meet(builder, between, end, other, (f, y, g), least, modes.device)
    return builder.build(worth)


def _meet(
    builder: ProgramBuilder,
    between: BoolArray,
    end: IntArray,
    other: IntArray,
    columns: tuple[Linear, Linear, Linear],
    least: FloatArray,
    device: IntArray,
) -> None:
    """Σ u ≤ 1 over the links that share ``other``, u being the flow through ``end`` where a link is used."""
    (used,) = np.nonzero(between)
    f, y, g = columns
    u = builder.columns((len(used),))
    m, ones = len(used), np.ones(len(used))
    builder.add(u >= f[used])
    builder.add(u >= y[used] * least[end[used]])
    # u − y − Σ g ≥ −1
    row, mode = np.nonzero(end[used][:, None] == device[None, :])
    through = (row, g.index[mode], -np.ones(len(row)))
    own = np.arange(m)
    builder.add_ragged(-1.0, np.inf, m, (own, u.index, ones), (own, y.index[used], -ones), through)
    (outer,) = np.nonzero((end == len(least)) & (other < len(least)))
    at_end = (other[outer], y.index[outer], np.ones(len(outer)))
    builder.add_ragged(-np.inf, 1.0, len(least), (other[used], u.index, ones), at_end)
