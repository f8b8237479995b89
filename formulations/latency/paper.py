r"""Latency, the paper's program: start and finish of every piece, big-M links to the nodes' times.

Source: Tarnawski et al., NeurIPS 2020, latency minimisation with q ≥ 1 contiguous subgraphs per accelerator.

Sets
    v ∈ V nodes, (u, w) ∈ E edges, d accelerators with memory M_d, times p_vd and transfers c_vd; pieces
    j = (d, t), t = 1..q, run in this order on d; h hosts with memory M_h, times p_vh and any number of nodes
    at once; s_v memory.  U is an upper bound on the makespan (of the best known plan, else of every plan) and
    the only big-M; times are divided by U, memory by M_d / 1000.

Variables
    x_vj ∈ {0,1}   v lies in piece j;   y_vh ∈ {0,1}   v runs on host h
    z_vj ∈ [0,1]   v lies in piece j or before a part of it
    i_uj, o_uj     u is received, sent by piece j, in [0,1]
    S_j, F_j       start and finish of piece j;   a_v   when v is available;   C   makespan
    π_v, Π_j       ranks in 0..N, N = |V| + number of pieces (only when some node takes no time, see below)

Objective
    minimise C

Constraints
    Σ_j x_vj + Σ_h y_vh = 1;   Σ_{v, t} s_v x_v(d,t) ≤ M_d;   Σ_v s_v y_vh ≤ M_h
    colocated u, v:  Σ_t x_u(d,t) = Σ_t x_v(d,t) for all d,   y_uh = y_vh
    contiguity:      x_vj ≤ z_vj,   z_wj ≤ z_uj and z_wj ≤ x_wj − x_uj + 1 for (u, w) ∈ E
    i_uj ≥ x_wj − x_uj,   o_uj ≥ x_uj − x_wj                      for (u, w) ∈ E
    S_j ≥ a_u − U (1 − i_uj),   S_(d,t) ≥ F_(d,t−1)
    F_j = S_j + Σ_u c_ud (i_uj + o_uj) + Σ_v p_vd x_vj
    a_v ≥ Σ_h p_vh y_vh,   a_w ≥ a_u + Σ_h p_wh y_wh             for (u, w) ∈ E
    a_v ≥ F_j − U (1 − x_vj);   C ≥ a_v,   C ≥ F_j

What exceeds U is left out: x_vj = 0 for p_vd > U, i_uj = o_uj = 0 for c_ud > U. What is negligible beside U
is 0; F_j is then at least the right side instead of equal to it (see ``Scaled``).

Pieces that wait for each other.  Each piece being contiguous does not exclude that two pieces wait for
each other.  If the steps on such a cycle take positive time in total, the inequalities on S, F and a
exclude it.  A cycle of total time zero satisfies them, yet it would never start; it needs a piece without
time, so a node without time on an accelerator.
Only then ranks are added, or when the caller asks for them because a cycle of next to no time fell within the
solver's tolerance; they grow along everything that waits:
    π_w ≥ π_u + Σ_h y_wh,   Π_j ≥ π_u + 1 − (N + 1)(1 − i_uj),   |π_v − Π_j| ≤ (N + 1)(1 − x_vj),
    Π_(d,t) ≥ Π_(d,t−1) + 1
A plan has such ranks exactly if its steps can be ordered, and N is large enough for any order.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from formulations.expressions import ZERO, Expression, Model, dot, total
from formulations.latency.latency_problem import MEMORY_UNITS, LatencyProblem, Scaled
from formulations.program import Program
from placer.arrays import IntArray
from placer.plans.latency_schedule import LatencySchedule
from placer.plans.plan import Plan

__all__ = ["PaperModel", "build"]


@dataclass(frozen=True, eq=False)
class PaperModel:
    """The program; its variables are known by name.

    Parameters
    ----------
    problem
        The problem.
    program
        Minimises C / U.
    unit_ms
        U.
    slots
        Device and order of each piece position.
    ranked
        Whether there are ranks.
    """

    problem: LatencyProblem
    program: Program
    unit_ms: float
    slots: tuple[tuple[int, int], ...]
    ranked: bool

    def decode(self, values: dict[str, float]) -> Plan:
        """Read the plan from values by name."""
        problem = self.problem
        device = np.zeros(problem.n, dtype=np.int64)
        piece = np.full(problem.n, -1, dtype=np.int64)
        for v in range(problem.n):
            for h, host in enumerate(problem.hosts):
                if values.get(f"y_{v}_{h}", 0.0) > 0.5:
                    device[v] = host
            for j, (d, t) in enumerate(self.slots):
                if values.get(f"x_{v}_{j}", 0.0) > 0.5:
                    device[v], piece[v] = d, t
        return Plan(device, piece)

    def encode(self, plan: Plan, schedule: LatencySchedule) -> dict[str, float]:
        """Return the values by name of a valid plan."""
        problem, unit = self.problem, self.unit_ms
        instance = problem.instance
        point = {"C": schedule.makespan_ms / unit}
        point |= {f"a_{v}": t / unit for v, t in enumerate(schedule.available_ms)}
        slot: IntArray = np.full(problem.n, -1, dtype=np.int64)
        busy = dict.fromkeys({d for d, _ in self.slots}, 0.0)
        pieces: dict[tuple[int, int], Any] = {}
        for piece in schedule.pieces:
            t = sum(1 for d, _ in pieces if d == piece.device)
            pieces[piece.device, t] = piece
        for j, at in enumerate(self.slots):
            found = pieces.get(at)
            if found is not None:
                slot[found.nodes] = j
                point[f"S_{j}"] = found.start_ms / unit
                busy[at[0]] = found.finish_ms / unit
            else:
                point[f"S_{j}"] = busy[at[0]]
            point[f"F_{j}"] = busy[at[0]]
        for v in range(problem.n):
            if slot[v] >= 0:
                point[f"x_{v}_{slot[v]}"] = 1.0
                point |= {f"z_{u}_{slot[v]}": 1.0 for u in np.flatnonzero(problem.reach[:, v])}
            else:
                point[f"y_{v}_{problem.hosts.index(int(plan.device[v]))}"] = 1.0
        for u, w in instance.edges.tolist():
            if slot[u] != slot[w]:
                point |= {f"i_{u}_{slot[w]}": 1.0} if slot[w] >= 0 else {}
                point |= {f"o_{u}_{slot[u]}": 1.0} if slot[u] >= 0 else {}
        if self.ranked:
            self._ranks(point, plan, schedule, slot)
        return point

    def _ranks(self, point: dict[str, float], plan: Plan, schedule: LatencySchedule, slot: IntArray) -> None:
        """Rank steps and empty slots one after the other; an empty slot follows its predecessor."""
        start = np.zeros(self.problem.n)
        for piece in schedule.pieces:
            start[piece.nodes] = piece.start_ms
        for v in np.flatnonzero(slot < 0).tolist():
            start[v] = schedule.available_ms[self.problem.instance.predecessors[v]].max(initial=0.0)
        rank = 0
        last = dict.fromkeys({d for d, _ in self.slots}, -1)
        for step in self.problem.steps(plan, start):
            for v in step.nodes:
                point[f"pi_{v}"] = float(rank)
            j = int(slot[step.nodes[0]])
            if j >= 0:
                point[f"rank_{j}"] = float(rank)
                last[step.device] = j
            rank += 1
        for j, (d, _) in enumerate(self.slots):
            if j > last[d]:
                point[f"rank_{j}"] = float(rank)
                rank += 1


def build(problem: LatencyProblem, upper_ms: float, *, ranked: bool = False) -> PaperModel:
    """Build the program.

    Parameters
    ----------
    problem
        The problem.
    upper_ms
        An upper bound on the optimum; plans above it are cut off.
    ranked
        Whether to add ranks in any case.

    Returns
    -------
    PaperModel
    """
    builder = _Builder(problem, upper_ms, ranked)
    builder.assignment()
    builder.memory()
    builder.colocation()
    builder.contiguity()
    builder.transfers()
    builder.piece_times()
    builder.node_times()
    if builder.ranked:
        builder.ranks()
    builder.model.minimise(builder.C)
    return PaperModel(problem, builder.model.program(), builder.unit, tuple(builder.slots), builder.ranked)


class _Builder:
    """One method per family of constraints."""

    def __init__(self, problem: LatencyProblem, upper_ms: float, ranked: bool) -> None:
        self.problem, self.instance = problem, problem.instance
        self.scaled = scaled = Scaled.of(problem, upper_ms)
        self.unit = scaled.unit_ms
        self.model = Model()
        self.slots = [(d, t) for members in problem.kinds for d in members for t in range(problem.pieces)]
        self.kind = [
            k for k, members in enumerate(problem.kinds) for _ in members for _ in range(problem.pieces)
        ]
        self.edges = [(int(u), int(w)) for u, w in self.instance.edges]
        self.ranked = ranked or bool((scaled.time == 0)[scaled.may_run].any())
        self._variables()

    def _variables(self) -> None:
        """Make x, y, z, i, o, S, F, a and C; 0 where a node cannot be."""
        model, scaled = self.model, self.scaled
        nodes, slots = range(self.problem.n), range(len(self.slots))
        self.x = [
            [model.binary(f"x_{v}_{j}") if scaled.may_run[v, self.kind[j]] else ZERO for j in slots]
            for v in nodes
        ]
        self.y = [
            [model.binary(f"y_{v}_{h}") if may else ZERO for h, may in enumerate(row)]
            for v, row in enumerate(scaled.may_host)
        ]
        self.z = [[model.real(f"z_{v}_{j}", 0, 1) for j in slots] for v in nodes]
        producers = [u for u in nodes if len(self.instance.successors[u])]
        most = {(u, j): float(scaled.may_move[u, self.kind[j]]) for u in producers for j in slots}
        self.i = {(u, j): model.real(f"i_{u}_{j}", 0, most[u, j]) for u, j in most}
        self.o = {(u, j): model.real(f"o_{u}_{j}", 0, most[u, j]) for u, j in most}
        self.S = [model.real(f"S_{j}", 0, 1) for j in slots]
        self.F = [model.real(f"F_{j}", 0, 1) for j in slots]
        self.a = [model.real(f"a_{v}", 0, 1) for v in nodes]
        self.C = model.real("C", 0, 1)

    def on_device(self, v: int) -> dict[int, Expression]:
        """Σ_t x_v(d,t) by device d."""
        parts: dict[int, list[Expression]] = {}
        for (d, _), x in zip(self.slots, self.x[v], strict=True):
            parts.setdefault(d, []).append(x)
        return {d: total(pieces) for d, pieces in parts.items()}

    def hosted_ms(self, v: int) -> Expression:
        """Σ_h p_vh y_vh."""
        return dot(self.scaled.host[v].tolist(), self.y[v])

    def assignment(self) -> None:
        """Σ_j x_vj + Σ_h y_vh = 1."""
        for x, y in zip(self.x, self.y, strict=True):
            self.model.add(total((*x, *y)) == 1)

    def memory(self) -> None:
        """Σ_{v, t} s_v x_v(d,t) ≤ M_d,  Σ_v s_v y_vh ≤ M_h."""
        size = self.instance.resident_bytes
        on = [self.on_device(v) for v in range(self.problem.n)]
        for d in dict.fromkeys(d for d, _ in self.slots):
            limit = self.instance.devices[d].memory_limit_bytes
            if limit == 0:
                self.model.add(total(held[d] for held, s in zip(on, size, strict=True) if s > 0) <= 0)
            elif limit < np.inf:
                share = (size * (MEMORY_UNITS / limit)).tolist()
                self.model.add(dot(share, (held[d] for held in on)) <= MEMORY_UNITS + 1e-6)
        for h, limit in enumerate(self.problem.host_limit_bytes.tolist()):
            if 0 < limit < np.inf:
                share = (size * (MEMORY_UNITS / limit)).tolist()
                self.model.add(dot(share, (y[h] for y in self.y)) <= MEMORY_UNITS + 1e-6)

    def colocation(self) -> None:
        """Σ_t x_u(d,t) = Σ_t x_v(d,t),  y_uh = y_vh  for colocated u, v."""
        for u, *others in self.instance.groups.values():
            first = self.on_device(u)
            for v in others:
                for d, x in self.on_device(v).items():
                    self.model.add(first[d] == x)
                for y_u, y_v in zip(self.y[u], self.y[v], strict=True):
                    self.model.add(y_u == y_v)

    def contiguity(self) -> None:
        """x_vj ≤ z_vj,  z_wj ≤ z_uj,  z_wj ≤ x_wj − x_uj + 1."""
        x, z, add = self.x, self.z, self.model.add
        for j in range(len(self.slots)):
            for v in range(self.problem.n):
                add(x[v][j] <= z[v][j])
            for u, w in self.edges:
                add(z[w][j] <= z[u][j])
                add(z[w][j] <= x[w][j] - x[u][j] + 1)

    def transfers(self) -> None:
        """i_uj ≥ x_wj − x_uj,  o_uj ≥ x_uj − x_wj."""
        for u, w in self.edges:
            for j, (x_u, x_w) in enumerate(zip(self.x[u], self.x[w], strict=True)):
                self.model.add(self.i[u, j] >= x_w - x_u)
                self.model.add(self.o[u, j] >= x_u - x_w)

    def piece_times(self) -> None:
        """S_j ≥ a_u − U (1 − i_uj),  F_j = S_j + Σ_u c_ud (i_uj + o_uj) + Σ_v p_vd x_vj ≤ C,  in turn."""
        add, S, F = self.model.add, self.S, self.F
        producers = list(dict.fromkeys(u for u, _ in self.i))
        for j, (_, t) in enumerate(self.slots):
            p, c = (
                self.scaled.time[:, self.kind[j]].tolist(),
                self.scaled.move[producers, self.kind[j]].tolist(),
            )
            for u in producers:
                add(S[j] >= self.a[u] - (1 - self.i[u, j]))
            received = dot(c, (self.i[u, j] for u in producers))
            sent = dot(c, (self.o[u, j] for u in producers))
            end = total((S[j], received, sent, dot(p, (x[j] for x in self.x))))
            add(F[j] == end if self.scaled.exact else F[j] >= end)
            if t:
                add(S[j] >= F[j - 1])
            add(F[j] <= self.C)

    def node_times(self) -> None:
        """a_v ≥ Σ_h p_vh y_vh,  a_v ≤ C,  a_v ≥ F_j − U (1 − x_vj),  a_w ≥ a_u + Σ_h p_wh y_wh."""
        add = self.model.add
        for v, a in enumerate(self.a):
            add(a >= self.hosted_ms(v))
            add(a <= self.C)
            for j, x in enumerate(self.x[v]):
                if not x.is_constant:
                    add(a >= self.F[j] - (1 - x))
        for u, w in self.edges:
            add(self.a[w] >= self.hosted_ms(w) + self.a[u])

    def ranks(self) -> None:
        """Let π grow along everything that waits."""
        model, add, slots = self.model, self.model.add, range(len(self.slots))
        N = float(self.problem.n + len(slots))
        pi = [model.real(f"pi_{v}", 0, N) for v in range(self.problem.n)]
        rank = [model.real(f"rank_{j}", 0, N) for j in slots]
        for u, w in self.edges:
            add(pi[w] >= total(self.y[w]) + pi[u])
            for j in slots:
                add(rank[j] >= pi[u] + 1 - (N + 1) * (1 - self.i[u, j]))
        for v, j in itertools.product(range(self.problem.n), slots):
            if not self.x[v][j].is_constant:
                away = (N + 1) * (1 - self.x[v][j])
                add(pi[v] - rank[j] <= away)
                add(rank[j] - pi[v] <= away)
        for j, (_, t) in enumerate(self.slots):
            if t:
                add(rank[j] >= rank[j - 1] + 1)
