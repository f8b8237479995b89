r"""Latency, ordered: positions H_0, A_1, H_1, …, A_K, H_K with cumulative binaries and a network of downsets.

A plan runs as a sequence of pieces and host nodes in which everything follows what it waits for.  Sort
both by start time (ties topologically): piece j takes position A_j, host nodes the positions between.  Two
pieces can never wait for each other in such an order, not even when their times are zero.

Sets
    v ∈ V nodes with groups g(v), (u, w) ∈ E edges, E' its transitive reduction; j = 1..K pieces, κ kinds of
    accelerators with members d ∈ κ, memory M_κ, times p_vκ and transfers c_vκ; h hosts with memory M_h, times
    p_vh; s_v memory; q pieces per accelerator; U an upper bound on the makespan; a ∈ A arcs of the network
    (``formulations.latency.network``) with core Q, steps S_a, closures cl_a and token costs t_a.
    Times are divided by U, memory by M_κ / 1000, so that numbers are near 1.

Variables
    L_vj ∈ {0,1}   v lies at A_j or before;  U_vj ∈ {0,1}  v lies at H_j or before (U_v0: in H_0; U_vK = 1)
    x_vjκ ∈ {0,1}  v is in piece j and the piece on kind κ (for q = 1 shared by colocated nodes)
    y_vh ∈ {0,1}   v runs on host h (shared by colocated nodes)
    b_jκ           piece j runs on kind κ;  β_jd ∈ {0,1}  on device d (q > 1; else b binary);  z_gd group g
    on d (q > 1)
    r_ujκ, o_ujκ   piece j receives u, sends u;  S_j, F_j start and finish of piece j
    a_v            v is available;  T_v  v is computed;  f_a ≥ 0 flow;  C makespan

Objective
    minimise C

Assignment
    Σ_κ x_vjκ = L_vj − U_v,j−1,   Σ_h y_vh = U_v0 + Σ_j (U_vj − L_vj),
    U_v,j−1 ≤ L_vj ≤ U_vj,   L_uj ≥ L_wj and U_uj ≥ U_wj for (u, w) ∈ E'            (contiguity, acyclicity)
    x_vjκ ≤ b_jκ,   Σ_κ b_jκ ≤ 1, non-increasing in j (empty pieces last),   Σ_v s_v x_vjκ ≤ M_κ b_jκ
    Σ_v s_v y_vh ≤ M_h                                                              (hosts with a limit)
    q = 1:  Σ_j b_jκ ≤ |κ|
    q > 1:  b_jκ = Σ_{d∈κ} β_jd,  Σ_j β_jd ≤ q,  m_jd ≥ Σ_v s_v x_vjκ(d) − M (1 − β_jd),  Σ_j m_jd ≤ M,
            β_jd ≤ Σ_{i<j} β_i,d−1 for neighbours d−1, d of one kind
            x_vjκ(d) + β_jd ≤ 1 + z_g(v)d,   Σ_d z_gd + Σ_h y_gh = 1    (groups of several nodes)
Transfers
    r_ujκ ≥ x_wjκ − x_ujκ,   o_ujκ ≥ x_ujκ − x_wjκ   for (u, w) ∈ E
Times (big-M is U; 1 in scaled units)
    F_j = S_j + Σ_vκ p_vκ x_vjκ + Σ_uκ c_uκ (r_ujκ + o_ujκ),   S_j+1 ≥ S_j,   C ≥ F_j
    S_j ≥ a_u − (1 − Σ_κ r_ujκ),   a_v ≥ F_j − (1 − Σ_κ x_vjκ)
    q > 1:  S_j ≥ F_i − (2 − β_id − β_jd) for i < j
    T_w ≥ a_u + Σ_h p_wh y_wh − (1 − Σ_h y_wh)   for (u, w) ∈ E
    T_v ≥ head_v,   C ≥ T_v + tail_v,   a_v ≥ T_v + Σ_jκ c_vκ o_vjκ,   C ≥ a_v
Chains, without big-M.  T_v may be read as the time v would be computed if its piece ran its nodes in
topological order, so that
    T_w ≥ T_u + Σ_jκ p_wκ x_wjκ + Σ_h p_wh y_wh + [w is the only consumer of u] Σ_jκ c_uκ (o_ujκ + r_ujκ)
holds for (u, w) ∈ E.  A tail is never added to F_j: the piece already contains part of it.
Network
    f is a unit flow from ∅ to Q;   C ≥ Σ_a t_a f_a;   Σ of piece arcs ≤ K
    Σ_{a on κ: v ∈ S_a} f_a = Σ_j x_vjκ and Σ_{host arcs of v} f_a = Σ_h y_vh for v ∈ Q
    Σ_{a on κ: v ∈ cl_a} f_a ≤ Σ_j x_vjκ for v ∉ Q
    It makes the relaxation see that memory forces cuts, and what these cost: without it x_vjκ = 1/K is free.

What exceeds U is left out: x_vjκ = 0 for p_vκ > U, r_ujκ = o_ujκ = 0 for c_uκ > U. What is negligible beside
U is 0; F_j is then at least the right side instead of equal to it (see ``Scaled``).

Windows: a node whose cheapest host leads to head + p + tail > U is on no host; with the memory of
such nodes before (or after) v a lower bound on the pieces before (after) it follows, and fixes L and U.
"""

from __future__ import annotations

import numpy as np

from formulations.bulk import Linear, ProgramBuilder
from formulations.latency.columns import OrderedModel
from formulations.latency.latency_problem import MEMORY_UNITS, NEGLIGIBLE, LatencyProblem, Scaled
from formulations.latency.network import Network
from placer.arrays import BoolArray, IntArray
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["build"]


def build(problem: LatencyProblem, network: Network, upper_ms: float) -> OrderedModel:
    """Build the program.

    Parameters
    ----------
    problem
        The problem.
    network
        A network of the problem; the program keeps the plans that it keeps.
    upper_ms
        An upper bound on the optimum (the makespan of a known plan, or a safe one); plans above it are cut
        off.

    Returns
    -------
    OrderedModel
    """
    builder = _Builder(problem, network, upper_ms)
    builder.assignment()
    builder.windows()
    builder.kinds()
    builder.memory()
    builder.devices()
    builder.transfers()
    builder.piece_times()
    builder.node_times()
    builder.flow()
    return builder.model()


class _Builder:
    """One method per family of constraints."""

    def __init__(self, problem: LatencyProblem, network: Network, upper_ms: float) -> None:
        self.problem, self.network = problem, network
        self.scaled = scaled = Scaled.of(problem, upper_ms)
        self.unit, self.upper_ms = scaled.unit_ms, upper_ms
        self.p = ProgramBuilder()
        n, K, X, H = problem.n, problem.slots, len(problem.kinds), len(problem.hosts)
        self.n, self.K, self.X, self.H = n, K, X, H
        self.devices_kind = np.repeat(np.arange(X), [len(k) for k in problem.kinds]).astype(np.int64)
        self.time, self.host, self.move = scaled.time, scaled.host, scaled.move
        self.on_host = problem.hosts_within(upper_ms)
        self._variables()

    def _variables(self) -> None:
        p, problem, scaled = self.p, self.problem, self.scaled
        n, K, X, H, D = self.n, self.K, self.X, self.H, len(self.devices_kind)
        groups, several = int(problem.group.max()) + 1, problem.pieces > 1
        self.L = p.columns((n, K), integer=True)
        self.U = p.columns((n, K + 1), integer=True)
        share = np.arange(n) if several else problem.group
        possible = np.ones((int(share.max()) + 1, X))
        np.minimum.at(possible, share, scaled.may_run.astype(np.float64))
        self.x = p.columns((len(possible), K, X), 0.0, possible[:, None, :], integer=True)[share]
        host_possible = np.ones((groups, H))
        np.minimum.at(host_possible, problem.group, self.on_host.astype(np.float64))
        self.y = p.columns((groups, H), 0.0, host_possible, integer=True)[problem.group]
        self.b = p.columns((K, X), integer=not several)
        self.beta = p.columns((K, D) if several else (0, 0), integer=True)
        self.m = p.columns((K, D) if several else (0, 0), 0.0, MEMORY_UNITS)
        moves = scaled.may_move.astype(np.float64)[:, None, :]
        self.r = p.columns((n, K, X), 0.0, moves)
        self.o = p.columns((n, K, X), 0.0, moves)
        self.S, self.F = p.columns((K,)), p.columns((K,))
        head = np.minimum(problem.head_ms / self.unit, 1.0)
        self.a, self.T = p.columns((n,), head), p.columns((n,), head)
        self.f = p.columns((self.network.arcs,))
        self.C = p.columns(())
        self.large_groups = tuple(g for g in problem.instance.groups.values() if len(g) > 1)
        self.z = p.columns((len(self.large_groups) if several and K else 0, D), integer=True)
        self.need = problem.need * MEMORY_UNITS

    def assignment(self) -> None:
        """Σ_κ x_vjκ = L_vj − U_v,j−1,  Σ_h y_vh = U_v0 + Σ_j (U_vj − L_vj),  U_vj ≥ L_vj,  order of edges."""
        add, L, U = self.p.add, self.L, self.U
        add(self.x.sum(2) == L - U[:, :-1])
        add(U[:, 1:] >= L)
        add(U[:, -1] == 1)
        add(self.y.sum(1) == U.sum(1) - L.sum(1))
        u, w = self.problem.precedence.T
        add(L[u] >= L[w])
        add(U[u] >= U[w])

    def windows(self) -> None:
        """Fix L and U by the memory that must lie before or after a node."""
        if not self.K:
            return
        add, L, U = self.p.add, self.L, self.U
        late, early_at, early_end = self.problem.windows(np.asarray(self.on_host.any(axis=1)))
        add(L[late[:, 1:]] == 0)
        add(U[late & (np.arange(self.K + 1) < self.K)] == 0)
        add(U[early_end] == 1)
        add(L[early_at[:, 1:]] == 1)

    def kinds(self) -> None:
        """x_vjκ ≤ b_jκ,  Σ_κ b_jκ ≤ 1 and non-increasing in j,  q = 1: Σ_j b_jκ ≤ |κ|."""
        if not self.K:
            return
        add, b = self.p.add, self.b
        _, first = np.unique(self.x.index[:, 0, 0], return_index=True)
        add(self.x[first] <= b)
        add(b.sum(1) <= 1)
        add(b[:-1].sum(1) >= b[1:].sum(1))
        if self.problem.pieces == 1:
            add(b.sum(0) <= [len(members) for members in self.problem.kinds])

    def memory(self) -> None:
        """Σ_v s_v y_vh ≤ M_h,  Σ_v s_v x_vjκ ≤ M_κ b_jκ;  x_vjκ = 0 for what does not fit."""
        add, size = self.p.add, self.problem.instance.memory_bytes
        limit = self.problem.host_limit_bytes
        for h in np.flatnonzero(np.isfinite(limit) & (limit > 0)):
            held = np.flatnonzero((size > 0) & self.on_host[:, h])
            if len(held):
                s = size[held] * (MEMORY_UNITS / limit[h])
                add((s * self.y[held, h]).sum(0) <= MEMORY_UNITS + 1e-6)
        limit = self.problem.limit_bytes
        for k in np.flatnonzero(self.need.any(axis=0)).tolist():
            too_large = np.flatnonzero(size > limit[k] * (1 + MEMORY_TOLERANCE))
            add(self.x[too_large][:, :, k] <= 0)
            fits = np.setdiff1d(np.flatnonzero(self.need[:, k]), too_large)
            if len(fits):
                add(self._held(fits, k) <= MEMORY_UNITS * self.b[:, k] + 1e-6)

    def _held(self, nodes: IntArray, k: int) -> Linear:
        """Σ_v s_v x_vjκ over some nodes, ``(K,)``."""
        return (self.x[nodes][:, :, k] * self.need[nodes, k, None]).sum(0)

    def devices(self) -> None:
        """b_jκ = Σ_{d∈κ} β_jd,  Σ_j β_jd ≤ q,  β_jd ≤ Σ_{i<j} β_i,d−1,  memory of devices; all for q > 1."""
        add, beta, m, kind = self.p.add, self.beta, self.m, self.devices_kind
        if not self.K or self.problem.pieces == 1:
            return
        for k in range(self.X):
            add(beta[:, kind == k].sum(1) == self.b[:, k])
        add(beta.sum(0) <= self.problem.pieces)
        before = np.tri(self.K, k=-1)
        for d in (np.flatnonzero(kind[1:] == kind[:-1]) + 1).tolist():
            add(beta[0, d] == 0)
            add(beta[1:, d] <= (before[1:] * beta[:, d - 1]).sum(1))
        for d, k in enumerate(kind.tolist()):
            held = np.flatnonzero(
                (self.need[:, k] > 0) & (self.need[:, k] <= MEMORY_UNITS * (1 + MEMORY_TOLERANCE))
            )
            if len(held):
                add(m[:, d] >= self._held(held, k) - MEMORY_UNITS * (1 - beta[:, d]))
        add(m.sum(0) <= MEMORY_UNITS + 1e-6)
        self._colocation()

    def _colocation(self) -> None:
        """Σ_d z_gd + Σ_h y_gh = 1,  x_vjκ(d) + β_jd ≤ 1 + z_g(v)d."""
        first = np.array([nodes[0] for nodes in self.large_groups], dtype=np.int64)
        self.p.add(self.z.sum(1) + self.y[first].sum(1) == 1)
        d, j = np.arange(len(self.devices_kind))[:, None, None], np.arange(self.K)
        for g, nodes in enumerate(self.large_groups):
            x = self.x[nodes[:, None], j, self.devices_kind[d]]
            self.p.add(x + self.beta[j, d] <= 1 + self.z[g, d])

    def transfers(self) -> None:
        """r_ujκ ≥ x_wjκ − x_ujκ,  o_ujκ ≥ x_ujκ − x_wjκ."""
        u, w = self.problem.instance.edges.T
        self.p.add(self.r[u] >= self.x[w] - self.x[u])
        self.p.add(self.o[u] >= self.x[u] - self.x[w])

    def piece_times(self) -> None:
        """Start and finish of pieces, and what waits for what, in the docstring's order."""
        add, S, F, a = self.p.add, self.S, self.F, self.a
        work = self.time[:, None, :] * self.x + self.move[:, None, :] * (self.r + self.o)
        end = S + work.sum(0, 2)
        add(F == end if self.scaled.exact else F >= end)
        add(S[1:] >= S[:-1])
        add(self.C >= F)
        u = np.flatnonzero([len(consumers) > 0 for consumers in self.problem.instance.successors])
        add(S >= a[u, None] - (1 - self.r[u].sum(2)))
        add(a[:, None] >= F - (1 - self.x.sum(2)))
        if self.problem.pieces > 1:
            i, j = np.triu_indices(self.K, 1)
            d = np.arange(len(self.devices_kind))[:, None]
            add(S[j] >= F[i] - (2 - self.beta[i, d] - self.beta[j, d]))

    def node_times(self) -> None:
        """When nodes are computed and available, on hosts and along chains, in the docstring's order."""
        add, a, T, C, y = self.p.add, self.a, self.T, self.C, self.y
        move = self.move[:, None, :]
        add(C >= T + self.problem.tail_ms / self.unit)
        add(C >= a)
        add(a >= T + (move * self.o).sum(1, 2))
        own = (self.time[:, None, :] * self.x).sum(1, 2) + (self.host * y).sum(1)
        add(T >= own)  # a first node on a host, or in a piece
        u, w = self.problem.instance.edges.T
        if self.H:
            add(T[w] >= a[u] + (self.host * y).sum(1)[w] - (1 - y.sum(1)[w]))
        add(T[w] >= T[u] + own[w])
        single = np.array([len(consumers) == 1 for consumers in self.problem.instance.successors])[u]
        if self.K:
            u, w = u[single], w[single]
            add(T[w] >= T[u] + own[w] + (move[u] * (self.o[u] + self.r[u])).sum(1, 2))

    def flow(self) -> None:
        """Send one unit through the network, linked to the assignment; C ≥ Σ_a t_a f_a,  piece arcs ≤ K."""
        network, p, f = self.network, self.p, self.f
        if not network.arcs:
            return
        size = network.inside.sum(axis=1)
        balance = np.where(size == 0, 1.0, 0.0) - np.where(size == network.core.sum(), 1.0, 0.0)
        one = np.ones(network.arcs)
        p.add_ragged(
            balance, balance, len(size), (network.source, f.index, one), (network.target, f.index, -one)
        )
        cost = network.token_cost_ms / self.unit
        cost = np.where(cost < NEGLIGIBLE, 0.0, cost)  # of a step that is bounded by the chains as well
        p.add(self.C >= (cost * f).sum(0))
        if (network.kind >= 0).any():
            p.add(f[network.kind >= 0].sum(0) <= self.K)
        self._link(network.steps, network.core, exact=True)
        self._link(network.closure, ~network.core, exact=False)

    def _link(self, member: BoolArray, wanted: BoolArray, *, exact: bool) -> None:
        """Tie the flow over nodes to x, and for host arcs to y."""
        nodes = np.flatnonzero(wanted)
        row_of = np.cumsum(wanted) - 1
        for k in range(-1 if exact else 0, self.X):
            arc, v = np.nonzero(member & wanted & (self.network.kind == k)[:, None])
            columns = (self.y[nodes] if k < 0 else self.x[nodes][:, :, k]).index
            if not columns.size and not len(arc):
                continue
            row = np.repeat(np.arange(len(nodes)), columns.shape[1])
            self.p.add_ragged(
                0.0,
                0.0 if exact else np.inf,
                len(nodes),
                (row, columns.ravel(), np.ones(columns.size)),
                (row_of[v], self.f.index[arc], -np.ones(len(arc))),
            )

    def model(self) -> OrderedModel:
        """Close the program."""
        names = ("L", "U", "x", "y", "b", "beta", "m", "z", "r", "o", "S", "F", "a", "T", "f")
        return OrderedModel(
            problem=self.problem,
            network=self.network,
            program=self.p.build(self.C),
            upper_ms=self.unit,
            C=int(self.C.index),
            need=self.need,
            large_groups=self.large_groups,
            **{name: getattr(self, name).index for name in names},
        )
