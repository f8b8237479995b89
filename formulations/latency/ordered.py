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

from formulations.bulk import ProgramBuilder
from formulations.latency.columns import OrderedModel
from formulations.latency.network import Network
from formulations.latency.problem import MEMORY_UNITS, NEGLIGIBLE, LatencyProblem, Scaled
from placer.arrays import BoolArray, FloatArray, IntArray

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
        D = len(self.devices_kind)
        self.time, self.host, self.move = scaled.time, scaled.host, scaled.move
        self.on_host = problem.hosts_within(upper_ms)
        p, groups = self.p, int(problem.group.max()) + 1
        self.L = p.add_columns((n, K), integer=True)
        self.U = p.add_columns((n, K + 1), integer=True)
        share = problem.group if problem.pieces == 1 else np.arange(n)
        possible = np.ones((int(share.max()) + 1, X))
        np.minimum.at(possible, share, scaled.may_run.astype(np.float64))
        self.x = p.add_columns((len(possible), K, X), 0.0, possible[:, None, :], integer=True)[share]
        host_possible = np.ones((groups, H))
        np.minimum.at(host_possible, problem.group, self.on_host.astype(np.float64))
        self.y = p.add_columns((groups, H), 0.0, host_possible, integer=True)[problem.group]
        several = problem.pieces > 1
        self.b = p.add_columns((K, X), integer=not several)
        self.beta = p.add_columns((K, D) if several else (0, 0), integer=True)
        self.m = p.add_columns((K, D) if several else (0, 0), 0.0, MEMORY_UNITS)
        moves = scaled.may_move.astype(np.float64)[:, None, :]
        self.r = p.add_columns((n, K, X), 0.0, moves)
        self.o = p.add_columns((n, K, X), 0.0, moves)
        self.S, self.F = p.add_columns((K,)), p.add_columns((K,))
        head = np.minimum(problem.head_ms / self.unit, 1.0)
        self.a, self.T = p.add_columns((n,), head), p.add_columns((n,), head)
        self.f = p.add_columns((network.arcs,))
        self.C = int(p.add_columns((1,))[0])
        self.z = np.zeros((0, D), dtype=np.int64)
        self.need = problem.need * MEMORY_UNITS
        self.large_groups = tuple(g for g in problem.instance.groups.values() if len(g) > 1)

    def assignment(self) -> None:
        """Link x and y to the cumulative variables; order along the edges."""
        p, L, U = self.p, self.L, self.U
        n, K = self.n, self.K
        before, at = U[:, :-1].ravel(), L.ravel()
        if K:
            p.add_rows(0, 0, (self.x.reshape(n * K, -1), 1.0), (at, -1.0), (before, 1.0))
            p.add_rows(0, np.inf, (U[:, 1:].ravel(), 1.0), (at, -1.0))
        p.add_rows(1, 1, (U[:, -1], 1.0))
        p.add_rows(0, 0, (self.y, 1.0), (U, -1.0), (L, 1.0))
        edges = self.problem.precedence
        if len(edges):
            u, w = edges[:, 0], edges[:, 1]
            if K:
                p.add_rows(0, np.inf, (L[u].ravel(), 1.0), (L[w].ravel(), -1.0))
            p.add_rows(0, np.inf, (U[u].ravel(), 1.0), (U[w].ravel(), -1.0))

    def windows(self) -> None:
        """Fix cumulative variables by the memory that must lie before or after a node."""
        if not self.K:
            return
        late, early_at, early_end = self.problem.windows(np.asarray(self.on_host.any(axis=1)))
        for columns, value in (
            (self.L[late[:, 1:]], 0.0),
            (self.U[late & (np.arange(self.K + 1) < self.K)], 0.0),
            (self.U[early_end], 1.0),
            (self.L[early_at[:, 1:]], 1.0),
        ):
            if len(columns):
                self.p.add_rows(value, value, (columns, 1.0))

    def kinds(self) -> None:
        """One kind per piece, empty pieces last."""
        p, K = self.p, self.K
        if not K:
            return
        _, first = np.unique(self.x[:, 0, 0], return_index=True)
        x = self.x[first]
        p.add_rows(-np.inf, 0, (x.ravel(), 1.0), (np.tile(self.b.ravel(), len(first)), -1.0))
        p.add_rows(-np.inf, 1, (self.b, 1.0))
        if K > 1:
            p.add_rows(0, np.inf, (self.b[:-1], 1.0), (self.b[1:], -1.0))
        if self.problem.pieces == 1:
            counts = [float(len(members)) for members in self.problem.kinds]
            p.add_rows(-np.inf, counts, (self.b.T, 1.0))

    def memory(self) -> None:
        """Memory of each piece; nodes that fit nowhere are kept away."""
        self._host_memory()
        need = self.need
        if not self.K or not need.any():
            return
        limit = self.problem.limit_bytes
        for k in np.flatnonzero(need.any(axis=0)):
            too_large = np.flatnonzero(self.problem.instance.memory_bytes > limit[k] * (1 + 1e-9))
            if len(too_large):
                self.p.add_rows(-np.inf, 0, (self.x[too_large][:, :, k].ravel(), 1.0))
            fits = np.setdiff1d(np.flatnonzero(need[:, k]), too_large)
            if len(fits):
                columns = self.x[fits][:, :, k].T
                self.p.add_rows(
                    -np.inf, 1e-6, (columns, need[fits, k][None, :]), (self.b[:, k], -MEMORY_UNITS)
                )

    def _host_memory(self) -> None:
        """Memory of the hosts that have a limit."""
        limit, size = self.problem.host_limit_bytes, self.problem.instance.memory_bytes
        for h in np.flatnonzero(np.isfinite(limit) & (limit > 0)):
            held = np.flatnonzero((size > 0) & self.on_host[:, h])
            if len(held):
                need = size[held] * (MEMORY_UNITS / limit[h])
                self.p.add_rows(-np.inf, MEMORY_UNITS + 1e-6, (self.y[held, h][None, :], need[None, :]))

    def devices(self) -> None:
        """Pieces on devices for q > 1: count, memory, order of members, colocation."""
        if not self.beta.size:
            return
        p, K, kind, problem = self.p, self.K, self.devices_kind, self.problem
        beta = self.beta
        for k in range(self.X):
            p.add_rows(0, 0, (beta[:, kind == k], 1.0), (self.b[:, k], -1.0))
        p.add_rows(-np.inf, float(problem.pieces), (beta.T, 1.0))
        for d in (np.flatnonzero(kind[1:] == kind[:-1]) + 1).tolist():
            p.add_rows(0, 0, (beta[:1, d], 1.0))
            for j in range(1, K):
                p.add_rows(-np.inf, 0, (beta[j : j + 1, d], 1.0), (beta[None, :j, d - 1], -1.0))
        need = self.need
        for d, k in enumerate(kind.tolist()):
            held = np.flatnonzero((need[:, k] > 0) & (need[:, k] <= MEMORY_UNITS * (1 + 1e-9)))
            if len(held):
                columns = self.x[held][:, :, k].T
                p.add_rows(
                    -MEMORY_UNITS,
                    np.inf,
                    (self.m[:, d], 1.0),
                    (columns, -need[held, k][None, :]),
                    (beta[:, d], -MEMORY_UNITS),
                )
        p.add_rows(-np.inf, MEMORY_UNITS + 1e-6, (self.m.T, 1.0))
        self._colocation()

    def _colocation(self) -> None:
        p, kind = self.p, self.devices_kind
        groups = self.large_groups
        if not groups:
            return
        self.z = p.add_columns((len(groups), len(kind)), integer=True)
        first = np.array([nodes[0] for nodes in groups])
        terms = [(self.z, 1.0)] + ([(self.y[first], 1.0)] if self.H else [])
        p.add_rows(1, 1, *terms)
        for g, nodes in enumerate(groups):
            for d, k in enumerate(kind.tolist()):
                x = self.x[nodes][:, :, k]
                beta = np.broadcast_to(self.beta[:, d], x.shape)
                z = np.full(x.size, self.z[g, d])
                p.add_rows(-np.inf, 1, (x.ravel(), 1.0), (beta.ravel(), 1.0), (z, -1.0))

    def transfers(self) -> None:
        """Bind what each piece receives and sends."""
        edges = self.problem.instance.edges
        if not len(edges) or not self.K:
            return
        u, w = edges[:, 0], edges[:, 1]
        xu, xw = self.x[u].ravel(), self.x[w].ravel()
        self.p.add_rows(0, np.inf, (self.r[u].ravel(), 1.0), (xw, -1.0), (xu, 1.0))
        self.p.add_rows(0, np.inf, (self.o[u].ravel(), 1.0), (xu, -1.0), (xw, 1.0))

    def piece_times(self) -> None:
        """Start and finish of pieces, and what waits for what."""
        p, n, K, X = self.p, self.n, self.K, self.X
        if not K:
            return
        by_piece = (1, 0, 2)
        x, r, o = (columns.transpose(by_piece).reshape(K, -1) for columns in (self.x, self.r, self.o))
        move = self.move.reshape(1, -1)
        most = 0.0 if self.scaled.exact else np.inf
        p.add_rows(
            0, most, (self.F, 1.0), (self.S, -1.0), (x, -self.time.reshape(1, -1)), (r, -move), (o, -move)
        )
        if K > 1:
            p.add_rows(0, np.inf, (self.S[1:], 1.0), (self.S[:-1], -1.0))
        C = np.full(K, self.C)
        p.add_rows(0, np.inf, (C, 1.0), (self.F, -1.0))
        S, F, a = np.tile(self.S, n), np.tile(self.F, n), np.repeat(self.a, K)
        producers = np.repeat(np.array([len(s) > 0 for s in self.problem.instance.successors]), K)
        r, x = self.r.reshape(n * K, X), self.x.reshape(n * K, X)
        if producers.any():
            p.add_rows(-1, np.inf, (S[producers], 1.0), (a[producers], -1.0), (r[producers], -1.0))
        p.add_rows(-1, np.inf, (a, 1.0), (F, -1.0), (x, -1.0))
        if self.beta.size:
            i, j = np.triu_indices(K, 1)
            for d in range(self.beta.shape[1]):
                p.add_rows(
                    -2,
                    np.inf,
                    (self.S[j], 1.0),
                    (self.F[i], -1.0),
                    (self.beta[i, d], -1.0),
                    (self.beta[j, d], -1.0),
                )

    def node_times(self) -> None:
        """Availability, hosts, chains, tails."""
        p, n = self.p, self.n
        C = np.full(n, self.C)
        tail = self.problem.tail_ms / self.unit
        sends = np.broadcast_to(self.move[:, None, :], self.o.shape)
        p.add_rows(tail, np.inf, (C, 1.0), (self.T, -1.0))
        p.add_rows(0, np.inf, (C, 1.0), (self.a, -1.0))
        o = self.o.reshape(n, -1)
        p.add_rows(
            0, np.inf, (self.a, 1.0), (self.T, -1.0), *([(o, -sends.reshape(n, -1))] if self.K else [])
        )
        # A first node on a host, or in a piece, takes its own time.
        own = self._own(np.arange(n))
        p.add_rows(0, np.inf, (self.T, 1.0), *own)
        edges = self.problem.instance.edges
        if not len(edges):
            return
        u, w = edges[:, 0], edges[:, 1]
        if self.H:
            p.add_rows(-1, np.inf, (self.T[w], 1.0), (self.a[u], -1.0), (self.y[w], -self.host[w] - 1.0))
        p.add_rows(0, np.inf, (self.T[w], 1.0), (self.T[u], -1.0), *self._own(w))
        single = np.array([len(s) == 1 for s in self.problem.instance.successors])[u]
        if single.any() and self.K:
            u, w = u[single], w[single]
            cost = sends[u].reshape(len(u), -1)
            o, r = self.o[u].reshape(len(u), -1), self.r[u].reshape(len(u), -1)
            p.add_rows(0, np.inf, (self.T[w], 1.0), (self.T[u], -1.0), *self._own(w), (o, -cost), (r, -cost))

    def _own(self, nodes: IntArray) -> list[tuple[IntArray, FloatArray]]:
        """Terms that subtract the processing time of nodes."""
        terms = []
        if self.K:
            time = np.broadcast_to(self.time[nodes][:, None, :], (len(nodes), self.K, self.X))
            terms.append((self.x[nodes], -time))
        if self.H:
            terms.append((self.y[nodes], -self.host[nodes]))
        return terms

    def flow(self) -> None:
        """Send one unit through the network, linked to the assignment."""
        network, p, f = self.network, self.p, self.f
        if not network.arcs:
            return
        size = network.inside.sum(axis=1)
        balance = np.where(size == 0, 1.0, 0.0) - np.where(size == network.core.sum(), 1.0, 0.0)
        one = np.ones(network.arcs)
        p.add_ragged(balance, balance, len(size), (network.source, f, one), (network.target, f, -one))
        cost = network.token_cost_ms[None, :] / self.unit
        cost = np.where(cost < NEGLIGIBLE, 0.0, cost)  # of a step that is bounded by the chains as well
        p.add_rows(0, np.inf, (np.array([self.C]), 1.0), (f[None, :], -cost))
        pieces = f[network.kind >= 0]
        if len(pieces):
            p.add_rows(-np.inf, float(self.K), (pieces[None, :], 1.0))
        self._link(network.steps, network.core, exact=True)
        self._link(network.closure, ~network.core, exact=False)

    def _link(self, member: BoolArray, wanted: BoolArray, *, exact: bool) -> None:
        """Tie the flow over nodes to x, and for host arcs to y."""
        network, p = self.network, self.p
        nodes = np.flatnonzero(wanted)
        row_of = np.cumsum(wanted) - 1
        for k in range(-1, self.X):
            arc, v = np.nonzero(member & wanted & (network.kind == k)[:, None])
            if k < 0:
                if not exact:
                    continue
                columns = self.y[nodes]
            else:
                columns = self.x[nodes][:, :, k]
            if not columns.size and not len(arc):
                continue
            row = np.repeat(np.arange(len(nodes)), columns.shape[1])
            p.add_ragged(
                0.0,
                0.0 if exact else np.inf,
                len(nodes),
                (row, columns.ravel(), np.ones(columns.size)),
                (row_of[v], self.f[arc], -np.ones(len(arc))),
            )

    def model(self) -> OrderedModel:
        """Close the program."""
        return OrderedModel(
            problem=self.problem,
            network=self.network,
            program=self.p.build(self.C),
            upper_ms=self.unit,
            L=self.L,
            U=self.U,
            x=self.x,
            y=self.y,
            b=self.b,
            beta=self.beta,
            m=self.m,
            z=self.z,
            r=self.r,
            o=self.o,
            S=self.S,
            F=self.F,
            a=self.a,
            T=self.T,
            f=self.f,
            C=self.C,
            need=self.need,
            large_groups=self.large_groups,
        )
