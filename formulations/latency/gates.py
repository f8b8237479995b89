r"""Latency bounded around two gates: nodes whose pieces run alone, as far as what waits for them goes.

Gates a and z are nodes, a before z; the piece X holds a, the piece Y ≠ X holds z (or the gate is on a host).
What follows a outside X starts when X has finished, what precedes z outside Y ends before Y starts: so it
shares the other accelerators in what time is left, and memory limits what X and Y can take.

Sets
    v ∈ V nodes, (u, w) ∈ E edges; κ kinds of d_κ accelerators besides X and Y, memory M_κ; times p_vκ, h_v on
    the fastest host, transfers c_uκ.  A, D the nodes before and after a;  A', D' those before and after z.

Variables
    y_vκ, y_vX, y_vY, y_vH ∈ {0,1}   where v is: on another accelerator of kind κ, in X, in Y, on a host
    B, F, S, E    X starts and has finished, Y starts and has finished;  Z makespan
    e_v           v is there (nodes of X and of Y: when X or Y starts or ends, whichever holds)
    g_κ           another accelerator of the kind holds some of a set of nodes

Objective
    minimise Z

Pieces
    Σ_j y_vj = 1,   y_aX = y_zY = 1,   y_vX = 0 for v ∈ D',   y_vY = 0 for v ∈ A
    y_uX ≥ y_wX for edges within D + a,   y_wX ≥ y_uX for edges within A + a;   Y and z alike   (contiguity)
    Σ_v m_v y_vκ ≤ d_κ M_κ,   Σ_v m_v y_vX ≤ M_X,   Σ_v m_v y_vY ≤ M_Y
Times
    F ≥ B + Σ_v p_vX y_vX + (what X receives and sends, each output once),   E and S alike,   S ≥ F
    e_w ≥ e_u + Σ_κ p_wκ y_wκ + h_w y_wH + (crossing into and out of other accelerators)   for (u, w) ∈ E
    e_v ≤ B for v ∈ A,   e_v ≥ F + (v itself) for v ∈ D;   A' with S and D' with E alike
Work of a set R of nodes on other accelerators of a kind, in the time that they share
    Σ_{v ∈ R} p_vκ y_vκ ≤ d_κ t_R,   with t_R =
        Z for V,   B for A,   Z - F for D,   S for A',   Z - E for D',   S - F for D ∩ A',
        Z - (F - B) for A ∪ D,   Z - (E - S) for A' ∪ D',
        Z - (F - B) - (E - S) for (A ∪ D) ∩ (A' ∪ D')
    A piece with nodes of D receives at least the least sum of what one of them reads of D + a; one with nodes
    of A' sends at least the least output of these: this is taken off t_R where g_κ = 1, and y_vκ ≤ g_κ.

With several pieces per accelerator X and Y may share accelerators with others: all then count for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.bulk import Linear, ProgramBuilder
from formulations.latency.latency_problem import LatencyProblem
from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["HOST", "Gate", "build"]

HOST = -1


@dataclass(frozen=True)
class Gate:
    """A node, the kind of accelerator that it is on (`HOST` for a host), and others that share its piece."""

    node: int
    kind: int
    mates: tuple[int, ...] = ()


def build(problem: LatencyProblem, first: Gate | None, last: Gate | None, upper_ms: float) -> Program:
    """Build the program for one choice of where the gates are, and for plans that end by ``upper_ms``.

    Times are in units of ``upper_ms``.
    """
    return _Builder(problem, first, last, upper_ms).program()


@dataclass(eq=False)
class _Side:
    """A gate: what is before and after it, its place, and when its piece starts and has finished."""

    gate: Gate | None
    before: BoolArray
    after: BoolArray
    place: int
    start: Linear
    end: Linear


class _Builder:
    """One method per family of constraints."""

    def __init__(
        self, problem: LatencyProblem, first: Gate | None, last: Gate | None, upper_ms: float
    ) -> None:
        self.problem, self.p = problem, ProgramBuilder()
        n, X = problem.n, len(problem.kinds)
        self.n, self.X = n, X
        self.gates = [g for g in (first, last) if g is not None and g.kind != HOST]
        device = problem.time_ms
        host = np.where(problem.hosts_within(upper_ms), problem.host_ms, np.inf).min(axis=1, initial=np.inf)
        fits = problem.instance.resident_bytes[:, None] <= problem.limit_bytes * (1 + 2 * MEMORY_TOLERANCE)
        device = np.where(fits & (device <= upper_ms), device, np.inf)
        kinds = [*range(X), *(g.kind for g in (first, last) if g is not None and g.kind != HOST)]
        time = np.column_stack([device[:, kinds], host])
        self.may = np.isfinite(time)
        self.time = np.where(self.may, time, 0.0) / upper_ms
        self.move = problem.transfer_ms / upper_ms
        self.left = np.array([len(devices) for devices in problem.kinds], dtype=np.float64)
        if problem.pieces == 1:
            np.subtract.at(self.left, kinds[X:], 1.0)
        self.kinds = kinds
        self.longest = 1.0 + EQUAL
        nobody = np.zeros(n, dtype=np.bool_)
        columns = self.p.columns((5,), 0.0, self.longest)
        self.makespan = columns[4]
        reach = problem.reach & ~np.eye(n, dtype=np.bool_)
        self.sides = []
        place = X
        for i, gate in enumerate((first, last)):
            before, after = (reach[:, gate.node], reach[gate.node]) if gate is not None else (nobody, nobody)
            on_host = gate is None or gate.kind == HOST
            self.sides.append(
                _Side(gate, before, after, -1 if on_host else place, columns[2 * i], columns[2 * i + 1])
            )
            place += not on_host

    def program(self) -> Program:
        """Add all constraints."""
        self._places()
        self._memory()
        for side in self.sides:
            self._contiguity(side)
            self._duration(side)
        for side in self.sides:
            self.p.add(self.makespan >= side.end)
        if all(side.gate is not None for side in self.sides):
            self.p.add(self.sides[1].start >= self.sides[0].end)
        self._paths()
        self._work()
        return self.p.build(self.makespan)

    def _places(self) -> None:
        first, last = self.sides
        may, least = self.may.copy(), np.zeros(self.may.shape)
        may[:, : self.X] &= self.left > 0
        for side, far in ((first, last.after), (last, first.before)):
            if side.gate is None:
                continue
            if side.place >= 0:
                may[far, side.place] = False
            # A gate that may not be where it is said to be leaves no plan.
            least[[side.gate.node, *side.gate.mates], side.place] = 1.0
        self.y = self.p.columns(may.shape, least, np.maximum(may, least), integer=True)
        self.p.add(self.y.sum(1) == 1.0)
        self.busy = (self.y[:, : self.X] * self.time[:, : self.X]).sum(1) + self.y[:, -1] * self.time[:, -1]

    def _memory(self) -> None:
        share = self.problem.instance.resident_bytes[:, None] / np.maximum(self.problem.limit_bytes, 1e-300)
        share = share / (1 + 2 * MEMORY_TOLERANCE)
        for k in range(self.X):
            own = self.y[:, k] * share[:, k]
            for place in range(self.X, len(self.kinds)):
                if self.kinds[place] == k:
                    piece = self.y[:, place] * share[:, k]
                    self.p.add(piece.sum(0) <= 1.0)
                    own = own + piece if self.problem.pieces > 1 else own
            self.p.add(own.sum(0) <= float(self.left[k]))

    def _contiguity(self, side: _Side) -> None:
        if side.place < 0:
            return
        assert side.gate is not None
        source, target = self.problem.instance.edges.T
        y = self.y[:, side.place]
        for part, sign in ((side.after, 1.0), (side.before, -1.0)):
            within = part.copy()
            within[side.gate.node] = True
            edges = within[source] & within[target]
            self.p.add((y[source[edges]] - y[target[edges]]) * sign >= 0.0)

    def _duration(self, side: _Side) -> None:
        """When the piece of the gate has finished, or the gate itself on a host."""
        length = side.end - side.start
        if side.gate is None:
            self.p.add(length >= 0.0)
        elif side.place < 0:
            self.p.add(length >= float(self.time[side.gate.node, -1]))
        else:
            y, source, target = self.y[:, side.place], *self.problem.instance.edges.T
            moved = self.p.columns((2, self.n))
            self.p.add(moved[0, source] >= y[target] - y[source])
            self.p.add(moved[1, source] >= y[source] - y[target])
            cost = self.move[:, self.kinds[side.place]]
            self.p.add(length >= (y * self.time[:, side.place] + moved.sum(0) * cost).sum(0))

    def _paths(self) -> None:
        """When nodes are there."""
        there = self.p.columns((self.n,), 0.0, self.longest)
        source, target = self.problem.instance.edges.T
        later = there[target] - there[source] - self.busy[target]
        cost = self.move[source]
        for sign in (1.0, -1.0):
            crossing = self.p.columns(source.shape, 0.0, cost.max(axis=1, initial=0.0))
            for k in range(self.X):
                self.p.add(crossing >= (self.y[target, k] - self.y[source, k]) * (sign * cost[:, k]))
            later = later - crossing
        self.p.add(later >= 0.0)
        self.p.add(there >= self.busy)
        self.p.add(self.makespan >= there)
        for side in self.sides:
            self.p.add(there[side.before] <= side.start)
            self.p.add(there[side.after] - self.busy[side.after] >= side.end)

    def _work(self) -> None:
        (first, last), total = self.sides, self.makespan
        run, run_last = first.end - first.start, last.end - last.start
        around, around_last = first.before | first.after, last.before | last.after
        self._share(np.ones(self.n, dtype=np.bool_), total)
        self._share(first.before, first.start)
        self._share(first.after, total - first.end, receive=True)
        self._share(last.before, last.start, send=True)
        self._share(last.after, total - last.end)
        self._share(first.after & last.before, last.start - first.end, receive=True, send=True)
        self._share(around, total - run)
        self._share(around_last, total - run_last)
        self._share(around & around_last, total - run - run_last)

    def _share(self, nodes: BoolArray, time: Linear, *, receive: bool = False, send: bool = False) -> None:
        """Limit the work of nodes on other accelerators to what these can do in a time."""
        at = np.flatnonzero(nodes)
        if not len(at):
            return
        toll = np.zeros(self.X)
        if receive:
            toll += self._least_received(at)
        if send:
            toll += self.move[at].min(axis=0)
        for k in np.flatnonzero(self.left > 0).tolist():
            work = (self.y[at, k] * self.time[at, k]).sum(0)
            if toll[k] <= 0:
                self.p.add(work <= time * float(self.left[k]))
                continue
            used, room = self.p.columns((), integer=True), self.p.columns((), 0.0, self.longest)
            self.p.add(self.y[at, k] <= used)
            self.p.add(work <= room * float(self.left[k]))
            self.p.add(room <= time - used * float(toll[k]))

    def _least_received(self, at: IntArray) -> FloatArray:
        """Least time, by kind, to receive what one of some nodes after the first gate reads of such nodes."""
        side = self.sides[0]
        assert side.gate is not None
        within = side.after.copy()
        within[side.gate.node] = True
        reads = (self.problem.adjacent.T[at] * within).astype(np.float64)
        return np.asarray((reads @ self.move).min(axis=0))
