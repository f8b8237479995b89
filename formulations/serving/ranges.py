"""Layered flow: which range of layers each device holds, and the tokens that pass from range to range.

Sets
    i, j ∈ kinds of devices, N_i of each;  b ∈ boundaries, 0 and L among them;  r = (i, s, e) ∈ ranges
    between boundaries that kind i holds;  groups of kinds, within which links carry whatever comes;
    a = (i, j, p) ∈ passages at boundary p along other links.
Variables, flows as shares of an upper bound U on the flow
    x_r ∈ {0, ..., N_i}  devices that hold range r;  g_r ≥ 0  flow through them;  f_a ≥ 0  flow of passage a
    F ∈ [0, 1]           flow through all layers
Objective
    maximise F   (stated as: minimise its negative)
Constraints
    Σ_{r of i} x_r ≤ N_i                                                  a device holds one range
    g_r ≤ min(τ_i(e − s), U) / U · x_r                                    its rate
    out_{ip} = Σ_{r of i, e = p} g_r − Σ_{a from i at p} f_a ≥ 0          the rest leaves into the group
    in_{ip} = Σ_{r of i, s = p} g_r − Σ_{a to i at p} f_a ≥ 0             the rest comes from the group
    Σ_{i in group} out_{ip} = Σ_{i in group} in_{ip}                      for each group and inner boundary
    f_a ≤ c_{ij} Σ_{r of i, e = p} x_r,   f_a ≤ c_{ij} Σ_{r of j, s = p} x_r
    Σ_{r of i, s = 0} g_r ≤ N_i c_{source,i},   Σ_{r of i, e = L} g_r ≤ N_i c_{i,sink}
    F = Σ_{r, s = 0} g_r

With all boundaries the program is exact; with fewer it finds plans only.  Kinds that have passages are single
devices.  Source of the model: Mei et al., Helix, ASPLOS 2025, with big-M links between starts and ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.bulk import ProgramBuilder
from formulations.program import Program
from placer.arrays import FloatArray, IntArray

__all__ = ["RangeProgram", "build"]


@dataclass(frozen=True, eq=False)
class RangeProgram:
    """The program, and which range each of its first columns is: kind, first layer, layer after the last."""

    program: Program
    kind: IntArray
    first: IntArray
    end: IntArray

    def point(self, held: dict[tuple[int, int, int], int]) -> FloatArray:
        """Return a point with so many devices on each range, flows left open (nan)."""
        values = np.full(self.program.columns, np.nan)
        ranges = zip(self.kind.tolist(), self.first.tolist(), self.end.tolist(), strict=True)
        values[: len(self.kind)] = [held.get(r, 0) for r in ranges]
        return values

    def held(self, values: FloatArray) -> dict[tuple[int, int, int], int]:
        """Return the devices on each range of a point."""
        taken = np.flatnonzero(values[: len(self.kind)] > 0.5)
        return {
            (int(self.kind[r]), int(self.first[r]), int(self.end[r])): round(values[r])
            for r in taken.tolist()
        }


def build(
    rates: list[FloatArray],
    counts: IntArray,
    links: FloatArray,
    group: IntArray,
    boundaries: IntArray,
    upper: float,
) -> RangeProgram:
    """Build the program.

    Parameters
    ----------
    rates
        Tokens per second of a device of each kind with 1, 2, ... layers.
    counts
        Devices of each kind, ``(K,)``.
    links
        Tokens per second between devices of two kinds, ``(K + 1, K + 1)``, with the source as last row and
        the sink as last column.
    group
        Group of each kind, ``(K,)``.
    boundaries
        Where ranges may start and end, increasing, from 0 to L.
    upper
        Upper bound U on the flow, tokens per second.
    """
    rows = _Rows(rates, counts, np.minimum(links, upper) / upper, group, boundaries, upper)
    rows.one_range_each()
    rows.rates()
    rows.passages_meet()
    rows.conservation()
    rows.ends()
    rows.all_layers()
    return RangeProgram(rows.builder.build(rows.objective), rows.kind, rows.first, rows.end)


class _Rows:
    """The program under construction: variables, and a method for each family of constraints."""

    def __init__(
        self,
        rates: list[FloatArray],
        counts: IntArray,
        links: FloatArray,
        group: IntArray,
        boundaries: IntArray,
        upper: float,
    ) -> None:
        self.counts, self.links, self.group = counts, links, group
        self.kinds, self.points = len(rates), len(boundaries)
        self.kind, start, stop, rate = _ranges(rates, boundaries)
        self.first, self.end = boundaries[start], boundaries[stop]
        self.rate = np.minimum(rate, upper) / upper
        # A cell is a kind at a boundary.
        self.starts, self.stops = self.kind * self.points + start, self.kind * self.points + stop
        self.builder = ProgramBuilder()
        self.x = self.builder.columns((len(self.kind),), 0.0, counts[self.kind], integer=True)
        self.g = self.builder.columns((len(self.kind),), 0.0, np.inf)
        self._passages()
        self.objective = self.builder.columns((), -1.0, 0.0)

    def _passages(self) -> None:
        """Make f_a where a range may end, another may start, and a link outside groups joins them."""
        kinds, group = self.kinds, self.group
        ends = np.bincount(self.stops, minlength=kinds * self.points).reshape(kinds, -1) > 0
        starts = np.bincount(self.starts, minlength=kinds * self.points).reshape(kinds, -1) > 0
        i, j = np.nonzero((self.links[:kinds, :kinds] > 0) & (group[:, None] != group[None, :]))
        pair, place = np.nonzero(ends[i, 1:-1] & starts[j, 1:-1])
        self.capacity = self.links[i[pair], j[pair]]
        self.out_of, self.into = i[pair] * self.points + place + 1, j[pair] * self.points + place + 1
        self.f = self.builder.columns((len(pair),), 0.0, self.capacity)

    def one_range_each(self) -> None:
        """Σ_{r of i} x_r ≤ N_i."""
        ones = np.ones(len(self.kind))
        self.builder.add_ragged(-np.inf, self.counts, self.kinds, (self.kind, self.x.index, ones))

    def rates(self) -> None:
        """g_r ≤ min(τ_i(e − s), U) / U · x_r."""
        self.builder.add(self.g <= self.x * self.rate)

    def passages_meet(self) -> None:
        """f_a ≤ c_{ij} Σ_{r of i, e = p} x_r and f_a ≤ c_{ij} Σ_{r of j, s = p} x_r."""
        m, own = len(self.capacity), np.arange(len(self.capacity))
        for cells, meets in ((self.out_of, self.stops), (self.into, self.starts)):
            row, r = _joined(cells, meets)
            self.builder.add_ragged(
                -np.inf, 0.0, m, (own, self.f.index, np.ones(m)), (row, self.x.index[r], -self.capacity[row])
            )

    def conservation(self) -> None:
        """out_{ip} ≥ 0, in_{ip} ≥ 0, and their sums over each group are equal at each inner boundary."""
        cells = self.kinds * self.points
        one, minus = np.ones(len(self.kind)), -np.ones(len(self.capacity))
        out = (self.stops, self.g.index, one), (self.out_of, self.f.index, minus)
        into = (self.starts, self.g.index, one), (self.into, self.f.index, minus)
        alone = (np.bincount(self.group)[self.group] == 1) & (self.counts == 1)
        inner = np.ones((self.kinds, self.points), dtype=bool)
        inner[:, [0, -1]] = False
        rest = np.where((inner & alone[:, None]).ravel(), 0.0, np.inf)  # a device alone has no group to go to
        self.builder.add_ragged(0.0, rest, cells, *out)
        self.builder.add_ragged(0.0, rest, cells, *into)
        hub = self.group.repeat(self.points) * self.points + np.tile(np.arange(self.points), self.kinds)
        hubs = (int(self.group.max()) + 1) * self.points
        free = np.where(np.isin(np.arange(hubs) % self.points, (0, self.points - 1)), np.inf, 0.0)
        both = [(hub[row], column, value) for row, column, value in out]
        both += [(hub[row], column, -value) for row, column, value in into]
        self.builder.add_ragged(-free, free, hubs, *both)

    def ends(self) -> None:
        """Σ_{r of i, s = 0} g_r ≤ N_i c_{source,i} and Σ_{r of i, e = L} g_r ≤ N_i c_{i,sink}."""
        for links, (r,) in (
            (self.links[-1, :-1], np.nonzero(self.first == 0)),
            (self.links[:-1, -1], np.nonzero(self.stops % self.points == self.points - 1)),
        ):
            entries = (self.kind[r], self.g.index[r], np.ones(len(r)))
            self.builder.add_ragged(-np.inf, self.counts * links, self.kinds, entries)

    def all_layers(self) -> None:
        """F = Σ_{r, s = 0} g_r."""
        (r,) = np.nonzero(self.first == 0)
        zero = np.zeros(len(r), dtype=np.int64)
        own = (zero[:1], self.objective.index.reshape(1), np.ones(1))
        self.builder.add_ragged(0.0, 0.0, 1, own, (zero, self.g.index[r], np.ones(len(r))))


def _joined(cells: IntArray, meets: IntArray) -> tuple[IntArray, IntArray]:
    """Return all pairs (row of a cell, place in ``meets``) with equal cells."""
    order = np.argsort(meets, kind="stable")
    low, high = np.searchsorted(meets[order], cells), np.searchsorted(meets[order], cells, side="right")
    row = np.repeat(np.arange(len(cells)), high - low)
    place = np.arange(len(row)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
    return row, order[low[row] + place]


def _ranges(rates: list[FloatArray], boundaries: IntArray) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Return kind, places of both ends among the boundaries, and rate of all ranges that pass anything."""
    s, e = np.triu_indices(len(boundaries), 1)
    length = boundaries[e] - boundaries[s]
    kind, start, stop, passed = [], [], [], []
    for i, rate in enumerate(rates):
        (held,) = np.nonzero(length <= len(rate))
        held = held[rate[length[held] - 1] > 0]
        kind.append(np.full(len(held), i))
        start.append(s[held])
        stop.append(e[held])
        passed.append(rate[length[held] - 1])
    return np.concatenate(kind), np.concatenate(start), np.concatenate(stop), np.concatenate(passed)
