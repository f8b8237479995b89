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

from dataclasses import dataclass
from typing import Any

import numpy as np

from formulations.latency.problem import MEMORY_UNITS, LatencyProblem, Scaled
from formulations.rows import Expression, Model, total
from placer.arrays import IntArray
from placer.plans.evaluate import LatencySchedule
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
        A PuLP model that minimises C / U.
    unit_ms
        U.
    slots
        Device and order of each piece position.
    ranked
        Whether there are ranks.
    """

    problem: LatencyProblem
    program: Any
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
    builder.model.minimise(Expression().add(builder.C))
    return PaperModel(problem, builder.model.problem, builder.unit, tuple(builder.slots), builder.ranked)


class _Builder:
    """One method per family of constraints."""

    def __init__(self, problem: LatencyProblem, upper_ms: float, ranked: bool) -> None:
        self.problem, self.instance = problem, problem.instance
        self.scaled = scaled = Scaled.of(problem, upper_ms)
        self.unit = scaled.unit_ms
        self.model = Model("latency_paper")
        self.slots = [(d, t) for members in problem.kinds for d in members for t in range(problem.pieces)]
        self.kind = [
            k for k, members in enumerate(problem.kinds) for _ in members for _ in range(problem.pieces)
        ]
        self.edges = [(int(u), int(w)) for u, w in self.instance.edges]
        nodes, slots, hosts = range(problem.n), range(len(self.slots)), range(len(problem.hosts))
        model = self.model
        self.x = {
            (v, j): model.binary(f"x_{v}_{j}")
            for v in nodes
            for j in slots
            if scaled.may_run[v, self.kind[j]]
        }
        self.y = {(v, h): model.binary(f"y_{v}_{h}") for v in nodes for h in hosts if scaled.may_host[v, h]}
        producers = [u for u in nodes if len(self.instance.successors[u])]
        self.z = {(v, j): model.real(f"z_{v}_{j}", 0, 1) for v in nodes for j in slots}
        most = {(u, j): float(scaled.may_move[u, self.kind[j]]) for u in producers for j in slots}
        self.receives = {(u, j): model.real(f"i_{u}_{j}", 0, most[u, j]) for u, j in most}
        self.sends = {(u, j): model.real(f"o_{u}_{j}", 0, most[u, j]) for u, j in most}
        self.S = [model.real(f"S_{j}", 0, 1) for j in slots]
        self.F = [model.real(f"F_{j}", 0, 1) for j in slots]
        self.a = [model.real(f"a_{v}", 0, 1) for v in nodes]
        self.C = model.real("C", 0, 1)
        self.ranked = ranked or bool((scaled.time == 0)[scaled.may_run].any())

    def inside(self, v: int, j: int) -> Any:
        """Return x_vj, 0 where it cannot be."""
        return self.x.get((v, j), 0.0)

    def hosted(self, v: int, *, timed: bool) -> Expression:
        """Return Σ_h y_vh, each with its time if wanted."""
        out = Expression()
        for h in range(len(self.problem.hosts)):
            if (v, h) in self.y:
                out.add(self.y[v, h], float(self.scaled.host[v, h]) if timed else 1.0)
        return out

    def assignment(self) -> None:
        """Every node lies in one piece or on one host."""
        for v in range(self.problem.n):
            self.model.equal(
                total(self.inside(v, j) for j in range(len(self.slots))).add(self.hosted(v, timed=False)), 1.0
            )

    def memory(self) -> None:
        """Memory of each accelerator over its pieces, and of each host."""
        size = self.instance.resident_bytes
        for d in dict.fromkeys(d for d, _ in self.slots):
            limit = self.instance.devices[d].memory_limit_bytes
            held = Expression()
            for j, (other, _) in enumerate(self.slots):
                if other == d and limit < np.inf:
                    for v in range(self.problem.n):
                        if size[v] > 0:
                            held.add(self.inside(v, j), size[v] * (MEMORY_UNITS / limit) if limit else 1.0)
            self.model.at_most(held, MEMORY_UNITS + 1e-6 if limit else 0.0)
        for h, limit in enumerate(self.problem.host_limit_bytes.tolist()):
            held = Expression()
            for v in range(self.problem.n):
                if (v, h) in self.y and 0 < limit < np.inf:
                    held.add(self.y[v, h], size[v] * (MEMORY_UNITS / limit))
            self.model.at_most(held, MEMORY_UNITS + 1e-6)

    def colocation(self) -> None:
        """Colocated nodes lie on one device."""
        for group in self.instance.groups.values():
            first = int(group[0])
            for v in group[1:].tolist():
                for d in dict.fromkeys(d for d, _ in self.slots):
                    mine = [j for j, (other, _) in enumerate(self.slots) if other == d]
                    row = total(self.inside(first, j) for j in mine)
                    self.model.equal(row.add(total(self.inside(v, j) for j in mine), -1.0), 0.0)
                for h in range(len(self.problem.hosts)):
                    row = Expression().add(self.y.get((first, h), 0.0))
                    self.model.equal(row.add(self.y.get((v, h), 0.0), -1.0), 0.0)

    def contiguity(self) -> None:
        """No path leaves a piece and comes back."""
        for j in range(len(self.slots)):
            for v in range(self.problem.n):
                self.model.at_most(Expression().add(self.inside(v, j)).add(self.z[v, j], -1.0))
            for u, w in self.edges:
                z = self.z[w, j]
                self.model.at_most(Expression().add(z).add(self.z[u, j], -1.0))
                row = Expression().add(z).add(self.inside(w, j), -1.0).add(self.inside(u, j))
                self.model.at_most(row, 1.0)

    def transfers(self) -> None:
        """Bind what each piece receives and sends."""
        for u, w in self.edges:
            for j in range(len(self.slots)):
                crossing = Expression().add(self.inside(w, j)).add(self.inside(u, j), -1.0)
                self.model.at_most(Expression().add(crossing).add(self.receives[u, j], -1.0))
                self.model.at_most(Expression().add(crossing, -1.0).add(self.sends[u, j], -1.0))

    def piece_times(self) -> None:
        """Start and finish of pieces."""
        problem, model = self.problem, self.model
        for j, (_, t) in enumerate(self.slots):
            k = self.kind[j]
            row = Expression().add(self.F[j]).add(self.S[j], -1.0)
            for u in range(problem.n):
                if (u, j) in self.receives:
                    cost = float(self.scaled.move[u, k])
                    row.add(self.receives[u, j], -cost).add(self.sends[u, j], -cost)
                    wait = Expression().add(self.a[u]).add(self.S[j], -1.0).add(self.receives[u, j])
                    model.at_most(wait, 1.0)
                if (u, j) in self.x:
                    row.add(self.x[u, j], -float(self.scaled.time[u, k]))
            if self.scaled.exact:
                model.equal(row, 0.0)
            else:
                model.at_most(Expression().add(row, -1.0))
            if t:
                model.at_most(Expression().add(self.F[j - 1]).add(self.S[j], -1.0))
            model.at_most(Expression().add(self.F[j]).add(self.C, -1.0))

    def node_times(self) -> None:
        """When nodes are available."""
        model = self.model
        for v, a in enumerate(self.a):
            model.at_most(self.hosted(v, timed=True).add(a, -1.0))
            model.at_most(Expression().add(a).add(self.C, -1.0))
            for j in range(len(self.slots)):
                if (v, j) in self.x:
                    model.at_most(Expression().add(self.F[j]).add(a, -1.0).add(self.x[v, j]), 1.0)
        for u, w in self.edges:
            model.at_most(self.hosted(w, timed=True).add(self.a[u]).add(self.a[w], -1.0))

    def ranks(self) -> None:
        """Order everything that waits."""
        model, slots = self.model, len(self.slots)
        N = float(self.problem.n + slots)
        pi = [model.real(f"pi_{v}", 0, N) for v in range(self.problem.n)]
        rank = [model.real(f"rank_{j}", 0, N) for j in range(slots)]
        for u, w in self.edges:
            model.at_most(self.hosted(w, timed=False).add(pi[u]).add(pi[w], -1.0))
            for j in range(slots):
                row = Expression().add(pi[u]).add(rank[j], -1.0).add(self.receives[u, j], N + 1)
                model.at_most(row, N)
        for (v, j), x in self.x.items():
            for sign in (1.0, -1.0):
                model.at_most(Expression().add(pi[v], sign).add(rank[j], -sign).add(x, N + 1), N + 1)
        for j, (_, t) in enumerate(self.slots):
            if t:
                model.at_most(Expression().add(rank[j - 1]).add(rank[j], -1.0), -1.0)
