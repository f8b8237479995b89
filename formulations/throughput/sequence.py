"""Contiguous throughput for one sequence of devices: which kind each stage is of is given.

Sets
    c ∈ items, s ∈ stages 0..k−1 in pipeline order, κ(s) the kind of stage s, e ∈ nets, r ∈ directions.
Variables
    Y_{cs} ∈ {0, 1}   item c lies at stage s or before, s < k − 1; Y_{c,−1} = 0 and Y_{c,k−1} = 1;
    x_{cs} = Y_{cs} − Y_{c,s−1}: item c lies at stage s;
    s_e, L, T         loads and objective, see `formulations.throughput.loads`.
Constraints
    Y_{cs} ≥ Y_{c,s−1}
    Y_{us} ≥ Y_{ws}   for every edge u → w and every stage s
    x_{cs} = 0        where c may not go to κ(s)
    loads ≤ T, memory ≤ limit at every stage

The ordered program (`formulations.throughput.ordered`) chooses kinds by variables, whose relaxation spreads
items over kinds and forgets the order; with the sequence given there is nothing to spread, and a host has to
take what lies between two cuts. A contiguous plan belongs to the sequences that hold its devices in its
order, so that the best of all sequences is the best plan, and the least of their bounds is a bound.

Memory by stage (``1f1b``: the stage that is s-th from the end has min(s, m) microbatches in flight). A plan
with an empty stage before its last one is asked for too much, but the sequence that has the unused devices
first asks it for exactly what it needs.
"""

from __future__ import annotations

import numpy as np

from formulations.bulk import Linear, ProgramBuilder
from formulations.program import Program
from formulations.throughput.shared import TIME_UNIT, UPPER_SLACK, ThroughputParams, fits
from formulations.throughput.stage_memory import MEMORY_MOST, MEMORY_UNIT
from placer.arrays import FloatArray, IntArray
from placer.options import Communication, Schedule
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem

__all__ = ["build", "decode"]


def build(
    problem: Problem,
    kinds: Kinds,
    sequence: IntArray,
    params: ThroughputParams,
    *,
    transfers: bool = True,
) -> Program:
    """Build the program of one sequence; its first columns are Y, ``(N, k − 1)``.

    Parameters
    ----------
    problem
        Contracted for contiguity.
    kinds
        Its devices; none recompute.
    sequence
        Kind of each stage, ``(k,)`` with k at least 2.
    params
        Schedule, communication model, unit, known bounds, and microbatches in flight.
    transfers
        Whether to count them; a relaxation without, of a fraction of the size.
    """
    return _Builder(problem, kinds, sequence, params, transfers=transfers).program()


def decode(values: FloatArray, items: int, stages: int) -> IntArray:
    """Return the stage of each item, ``(N,)``."""
    Y = values[: items * (stages - 1)].reshape(items, stages - 1)
    return np.asarray((Y < 0.5).sum(axis=1), dtype=np.int64)


class _Builder:
    """The program under construction."""

    def __init__(
        self,
        problem: Problem,
        kinds: Kinds,
        sequence: IntArray,
        params: ThroughputParams,
        *,
        transfers: bool,
    ) -> None:
        self.transfers = transfers
        self.problem, self.kinds, self.sequence, self.params = problem, kinds, sequence, params
        self.rows = ProgramBuilder()
        self.may = fits(problem, kinds, params)
        self.time = params.scaled(kinds.time_ms)
        self.never, self.cost = params.hopeless(kinds.net_cost_ms), params.scaled(kinds.net_cost_ms)
        two = bool(self.time[1].any() or problem.net_backward.any())
        self.directions = (0, 1) if two else (0,)
        self.most = self._loads_of_all()
        # Members of nets beside the producer: net, producer, reader.
        size = np.diff(problem.net_start)
        reads = np.ones(len(problem.net_items), dtype=np.bool_)
        reads[problem.net_start[:-1]] = False
        self.net = np.repeat(np.arange(problem.nets), size)[reads]
        self.producer = problem.net_items[problem.net_start[:-1]][self.net]
        self.reader = problem.net_items[reads]

    def program(self) -> Program:
        """Put all together."""
        n, k = self.problem.size, len(self.sequence)
        Y = self.rows.columns((n, k - 1), integer=True)
        self.top = self._objective()
        before, after = self.problem.edges.T
        self.rows.add(Y[:, 1:] >= Y[:, :-1])
        self.rows.add(Y[before] >= Y[after])
        for s, kind in enumerate(self.sequence.tolist()):
            x = 1.0 - Y[:, s - 1] if s == k - 1 else Y[:, s] - Y[:, s - 1] if s else Y[:, 0]
            self._limit_memory(x, kind, self.params.flights.at(k - s) - 1)
            self._limit_loads(x, kind)
        return self.rows.build(self.objective)

    def _loads_of_all(self) -> float:
        """More than any load that a plan may have."""
        high = self.params.upper_bound_ms
        if high is not None:
            return high * (1 + UPPER_SLACK) / self.params.unit_ms * TIME_UNIT
        return 1.0 + float(self.time.max(axis=2).sum() + 2.0 * self.cost.max(axis=1, initial=0.0).sum())

    def _objective(self) -> list[Linear]:
        """Minimise T, or the sum of T^r; what loads have to stay below."""
        low = self.params.lower_bound_ms / self.params.unit_ms * TIME_UNIT
        self.objective = self.rows.columns((1,), min(low, self.most), self.most)
        if self.params.schedule is not Schedule.GPIPE or len(self.directions) == 1:
            return [self.objective]
        top = [self.rows.columns((1,), 0.0, self.most) for _ in self.directions]
        self.rows.add(self.objective >= top[0] + top[1])
        return top

    def _limit_memory(self, x: Linear, kind: int, more: int) -> None:
        """Σ_c (m_c + (f − 1) a_c) x_c ≤ M for one stage; what may not go there, or exceeds M, is kept out."""
        held = self.kinds.held_bytes[:, kind] + more * self.kinds.more_bytes[:, kind]
        limit = float(self.kinds.limit_bytes[kind])
        share = MEMORY_UNIT * held / limit if limit > 0 else np.where(held > 0, 2 * MEMORY_UNIT, 0.0)
        open_ = self.may[:, kind] & (share <= MEMORY_MOST)
        if not open_.all():
            self.rows.add(x[~open_] == 0.0)
        share = np.where(open_, share, 0.0)
        if share.any():
            self.rows.add((x * share).sum(0) <= MEMORY_MOST)

    def _limit_loads(self, x: Linear, kind: int) -> None:
        """T ≥ Σ_r L^r, or T^r ≥ L^r, for one stage."""
        parts = [self._parts(x, kind, r) for r in self.directions]
        if len(self.top) == len(parts):
            for T, some in zip(self.top, parts, strict=True):
                for part in some:
                    self.rows.add(T >= part)
            return
        loads = []
        for some in parts:
            load = some[0]
            if len(some) > 1:
                load = self.rows.columns((), 0.0, self.most)
                for part in some:
                    self.rows.add(load >= part)
            loads.append(load)
        self.rows.add(self.top[0] >= loads[0] + loads[1])

    def _parts(self, x: Linear, kind: int, r: int) -> list[Linear]:
        """Return what the load of one stage in direction r is at least, each by itself."""
        compute = (x * self.time[r, :, kind]).sum(0)
        if self.kinds.is_host[kind] or not self.transfers:
            return [compute]
        own = (self.problem.net_backward[self.net] == bool(r)) & self.may[self.producer, kind]
        own |= (self.problem.net_backward[self.net] == bool(r)) & self.may[self.reader, kind]
        never = own & self.never[self.net, kind]
        gap = x[self.producer[never]] - x[self.reader[never]]
        self.rows.add(gap == 0.0)
        paid = own & (self.cost[self.net, kind] > 0)
        if not paid.any():
            return [compute]
        gap = x[self.producer[paid]] - x[self.reader[paid]]
        nets, at = np.unique(self.net[paid], return_inverse=True)
        cost = self.cost[nets, kind]
        if self.params.communication is Communication.DUPLEX:
            return [compute, *(self._paid(cost, at, [way]) for way in (gap, -gap))]
        both = self._paid(cost, at, [gap, -gap])
        return [compute + both] if self.params.communication is Communication.SEQUENTIAL else [compute, both]

    def _paid(self, cost: FloatArray, at: IntArray, gaps: list[Linear]) -> Linear:
        """Σ_e w_e s_e with s_e at least every gap of e; ``at`` says whose each gap is."""
        split = self.rows.columns((len(cost),))
        for gap in gaps:
            self.rows.add(split[at] >= gap)
        return (split * cost).sum(0)
