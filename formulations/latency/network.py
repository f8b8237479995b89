r"""A network of downsets for latency: the shortest path bounds every plan, the flow strengthens programs.

Every plan is a chain ∅ = I_0 ⊂ I_1 ⊂ … ⊂ V of downsets; a step I → I' runs one node on a host or one piece
S = I' \ I on an accelerator.  Restrict it to a subset Q ⊆ V (the *core*): it becomes a chain of downsets
of Q, that is a path of a network whose nodes are the downsets of Q and whose arcs are host steps {v} and
piece steps S.

**Cost of an arc.**  Fix a directed path P ⊆ Q of the graph (the *token*).  P is run from its first node to
its last one, so the steps that hold nodes of P lie one after the other in time and

    makespan ≥ Σ over the steps that touch P of their duration.

A host step of v lasts p_v.  A piece with S = piece ∩ Q lasts at least

    Σ_{v ∈ cl(S)} p_v + Σ { c_u : u ∈ Q \ S with a consumer in cl(S) }          (receive)
                      + Σ { c_u : u ∈ cl(S) with a consumer in Q \ S }          (send)

where the closure cl(S) holds all nodes on paths between nodes of S and, for q = 1, the groups of its nodes
with the paths between them: all of these must lie in the piece.  If cl(S) meets Q \ S, does not fit into
the memory or holds a node that may not go there, there is no such arc.  For q > 1 the group mates only
count for memory.

**Refinement.**  The network starts with Q = ∅.  Adding a node v splits each downset I into I and I ∪ {v}
(where these are downsets), and each arc into at most three.  With the length of the shortest path through
an arc as a lower bound on every plan that takes it, arcs above a known upper bound U are dropped at once;
that keeps the network small while Q grows, often up to Q = V.  Plans with makespan ≤ U always survive.

The number of pieces, the memory over several pieces of one accelerator, and pieces that wait for the
previous piece of their accelerator are not modelled here: the network is a relaxation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from formulations.latency.latency_problem import LatencyProblem
from formulations.latency.step_costs import price
from placer.arrays import BoolArray, FloatArray, IntArray
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["Network", "along_tokens", "long_paths", "refine"]

PATIENCE = 10
"""Growing ends after so many nodes that would take too many arcs."""


@dataclass(frozen=True, eq=False)
class Network:
    """Downsets of the core and the steps between them; A arcs, B downsets.

    Parameters
    ----------
    problem
        The problem.
    upper_ms
        Arcs that only plans above this makespan can take were dropped.
    token
        Nodes of the path P, ``(n,)``.
    core
        Nodes of Q, ``(n,)``.
    inside
        The downsets, ``(B, n)``.
    source, target
        Downset indices of each arc, ``(A,)``.
    kind
        Kind of a piece step, -1 for a host step, ``(A,)``.
    cost_ms
        Least duration of each step, ``(A,)``.
    closure
        Nodes that must lie in a piece; empty for host steps, ``(A, n)``.
    sends
        Nodes of the closure whose send is in the cost, ``(A, n)``.
    """

    problem: LatencyProblem
    upper_ms: float
    token: BoolArray
    core: BoolArray
    inside: BoolArray
    source: IntArray
    target: IntArray
    kind: IntArray
    cost_ms: FloatArray
    closure: BoolArray
    sends: BoolArray

    @property
    def arcs(self) -> int:
        """Number of arcs A."""
        return len(self.source)

    @property
    def steps(self) -> BoolArray:
        """Core nodes of each arc's step, ``(A, n)``."""
        return np.asarray(self.inside[self.target] & ~self.inside[self.source])

    @property
    def token_cost_ms(self) -> FloatArray:
        """Cost of the arcs that touch the token, 0 for the others, ``(A,)``."""
        touches = ((self.steps | self.closure) & self.token).any(axis=1)
        return np.where(touches, self.cost_ms, 0.0)

    @property
    def bound_ms(self) -> float:
        """Length of a shortest path: a lower bound on the makespan; inf when no path is left."""
        forward, _ = self.distances(self.token_cost_ms)
        return float(forward[self.inside.sum(axis=1) == self.core.sum()].min(initial=np.inf))

    def distances(self, cost: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Length of a shortest path from ∅ to each downset and from it to Q, each ``(B,)``."""
        size = self.inside.sum(axis=1)
        last = int(self.core.sum())
        forward = np.where(size == 0, 0.0, np.inf)
        backward = np.where(size == last, 0.0, np.inf)
        for arcs in _levels(size[self.target], range(last + 1)):
            np.minimum.at(forward, self.target[arcs], forward[self.source[arcs]] + cost[arcs])
        for arcs in _levels(size[self.source], range(last, -1, -1)):
            np.minimum.at(backward, self.source[arcs], backward[self.target[arcs]] + cost[arcs])
        return forward, backward

    def shortest_path(self) -> list[int]:
        """Arcs of a shortest path in execution order; empty when there is none."""
        cost = self.token_cost_ms
        _, backward = self.distances(cost)
        path: list[int] = []
        first = np.flatnonzero(~self.inside.any(axis=1) & np.isfinite(backward))
        if not len(first):
            return path
        state = int(first[0])
        leaving: dict[int, list[int]] = {}
        for a, s in enumerate(self.source.tolist()):
            leaving.setdefault(s, []).append(a)
        # Of equally short continuations the one with the least total work wins: it leaves less to chance.
        while state in leaving:
            arc = min(leaving[state], key=lambda a: (cost[a] + backward[self.target[a]], self.cost_ms[a]))
            path.append(arc)
            state = int(self.target[arc])
        return path

    def pruned(self, upper_ms: float | None = None) -> Network:
        """Drop the arcs that only plans above the upper bound can take."""
        upper_ms = self.upper_ms if upper_ms is None else min(upper_ms, self.upper_ms)
        if not self.core.any():
            return replace(self, upper_ms=upper_ms)
        cost = self.token_cost_ms
        forward, backward = self.distances(cost)
        through = forward[self.source] + cost + backward[self.target]
        kept = np.flatnonzero(through <= upper_ms * (1 + EQUAL))
        alive = np.zeros(len(self.inside), dtype=np.bool_)
        alive[self.source[kept]] = alive[self.target[kept]] = True
        number = np.cumsum(alive) - 1
        return replace(
            self,
            upper_ms=upper_ms,
            inside=self.inside[alive],
            source=number[self.source[kept]],
            target=number[self.target[kept]],
            kind=self.kind[kept],
            cost_ms=self.cost_ms[kept],
            closure=self.closure[kept],
            sends=self.sends[kept],
        )


def _levels(level: IntArray, wanted: range) -> Iterator[IntArray]:
    """Yield the indices at each wanted level, in that order."""
    order = np.argsort(level, kind="stable")
    bounds = np.searchsorted(level[order], np.arange(max(wanted, default=0) + 2))
    for k in wanted:
        if bounds[k] < bounds[k + 1]:
            yield order[bounds[k] : bounds[k + 1]]


def along_tokens(
    problem: LatencyProblem,
    upper_ms: float,
    tokens: Sequence[BoolArray],
    *,
    arc_limit: int,
    stopped: Callable[[int], bool],
) -> Network:
    """Make the networks whose core is a token, for several tokens, and return the one with the best bound.

    Parameters
    ----------
    problem
        The problem.
    upper_ms
        Arcs that only plans above it can take are dropped.
    tokens
        Paths, each ``(n,)``; at least one.
    arc_limit
        Nodes whose arcs would exceed this number stay outside the core.
    stopped
        Called between nodes with the entries (arcs times nodes) of the network just made: whether to stop.

    Returns
    -------
    Network
        Valid whenever it was stopped.
    """
    best: Network | None = None
    for token in tokens:
        network = _grown(
            _empty(problem, upper_ms, token), problem.order[token[problem.order]], arc_limit, stopped
        )
        if best is None or network.bound_ms > best.bound_ms:
            best = network
        if stopped(0) or not len(best.inside):
            break
    assert best is not None
    return best


def refine(network: Network, *, arc_limit: int, stopped: Callable[[int], bool]) -> Network:
    """Add the other nodes to the core, heavy ones first, until it covers the graph or the arcs run out.

    Parameters
    ----------
    network
        Where to begin.
    arc_limit
        Nodes whose arcs would exceed this number stay outside the core.
    stopped
        Called between nodes with the entries (arcs times nodes) of the network just made: whether to stop.

    Returns
    -------
    Network
        Valid whenever it was stopped.
    """
    problem = network.problem
    memory = problem.instance.memory_bytes
    weight = (
        problem.least_ms
        + problem.transfer_ms.max(axis=1, initial=0.0)
        + memory * (problem.least_ms.sum() / max(memory.sum(), 1.0))
    )
    return _grown(network, np.argsort(-weight, kind="stable"), arc_limit, stopped)


def _grown(network: Network, nodes: IntArray, arc_limit: int, stopped: Callable[[int], bool]) -> Network:
    """Add nodes to the core until they end, patience does, or no path is left."""
    failures = entries = 0
    for v in nodes:
        if stopped(entries) or failures >= PATIENCE or not len(network.inside):
            break
        entries = (network.arcs + 1) * network.problem.n
        if not network.core[v]:
            grown = _add(network, int(v), arc_limit)
            failures += grown is None
            network = grown or network
    return network


def _empty(problem: LatencyProblem, upper_ms: float, token: BoolArray) -> Network:
    n = problem.n
    none = np.zeros(0, dtype=np.int64)
    nothing = np.zeros((0, n), dtype=np.bool_)
    return Network(
        problem=problem,
        upper_ms=upper_ms,
        token=token,
        core=np.zeros(n, dtype=np.bool_),
        inside=np.zeros((1, n), dtype=np.bool_),
        source=none,
        target=none,
        kind=none,
        cost_ms=np.zeros(0),
        closure=nothing,
        sends=nothing,
    )


def long_paths(problem: LatencyProblem) -> list[BoolArray]:
    """Return paths that are long in work, memory, transfers or mixes of these, each ``(n,)``."""
    work = np.where(np.isfinite(problem.least_ms), problem.least_ms, 0.0)
    moved = problem.transfer_ms.max(axis=1, initial=0.0)
    memory = problem.instance.memory_bytes / max(problem.instance.memory_bytes.sum(), 1.0) * work.sum()
    tiny = 1e-6 * (work.sum() or 1.0)
    out: dict[bytes, BoolArray] = {}
    for weight in (work, work + moved, work + memory, moved + memory, work + moved / 2 + memory):
        path = _longest_path(problem, weight + tiny)
        out.setdefault(path.tobytes(), path)
    return list(out.values())


def _longest_path(problem: LatencyProblem, weight: FloatArray) -> BoolArray:
    length = weight.copy()
    following = np.full(problem.n, -1, dtype=np.int64)
    for v in problem.order[::-1]:
        after = problem.instance.successors[v]
        if len(after):
            following[v] = after[np.argmax(length[after])]
            length[v] += length[following[v]]
    path = np.zeros(problem.n, dtype=np.bool_)
    v = int(np.argmax(length))
    while v >= 0:
        path[v] = True
        v = int(following[v])
    return path


def _add(old: Network, v: int, arc_limit: int) -> Network | None:
    """Add node v to the core; None when that takes too many arcs."""
    problem, inside = old.problem, old.inside
    reach = problem.reach
    stays_out = ~(inside & reach[v]).any(axis=1)
    goes_in = ~((old.core & ~inside) & reach[:, v]).any(axis=1)
    out_id = np.where(stays_out, np.cumsum(stays_out) - 1, -1)
    in_id = np.where(goes_in, stays_out.sum() + np.cumsum(goes_in) - 1, -1)
    with_v = inside[goes_in]
    with_v[:, v] = True

    # v enters after the step, before it, or with it.
    after = np.flatnonzero((out_id[old.source] >= 0) & (out_id[old.target] >= 0) & ~old.closure[:, v])
    before = np.flatnonzero((in_id[old.source] >= 0) & (in_id[old.target] >= 0) & ~old.closure[:, v])
    along = np.flatnonzero(
        (out_id[old.source] >= 0) & (in_id[old.target] >= 0) & (old.kind >= 0) & _has_room(old, v)
    )
    alone = np.flatnonzero(stays_out & goes_in)
    kinds = len(problem.kinds)
    if len(after) + len(before) + len(along) + len(alone) * (kinds + 1) > 2 * arc_limit:
        return None
    core = old.core.copy()
    core[v] = True
    grown = replace(old, core=core, inside=np.concatenate([inside[stays_out], with_v]))

    cost, sends = _with_outsider(old, v)
    piece_source = np.concatenate([out_id[old.source[along]], np.tile(out_id[alone], kinds)])
    piece_target = np.concatenate([in_id[old.target[along]], np.tile(in_id[alone], kinds)])
    piece_kind = np.concatenate([old.kind[along], np.repeat(np.arange(kinds), len(alone))])
    step = grown.inside[piece_target] & ~grown.inside[piece_source]
    fits, closure, new_sends, new_cost = price(problem, core, step, piece_kind)
    host_ms = float(problem.host_ms[v].min(initial=np.inf))
    on_host = alone if np.isfinite(host_ms) else alone[:0]
    nothing = np.zeros((len(on_host), problem.n), dtype=np.bool_)
    grown = replace(
        grown,
        source=np.concatenate(
            [out_id[old.source[after]], in_id[old.source[before]], piece_source[fits], out_id[on_host]]
        ),
        target=np.concatenate(
            [out_id[old.target[after]], in_id[old.target[before]], piece_target[fits], in_id[on_host]]
        ),
        kind=np.concatenate([old.kind[after], old.kind[before], piece_kind[fits], np.full(len(on_host), -1)]),
        cost_ms=np.concatenate([cost[after], cost[before], new_cost[fits], np.full(len(on_host), host_ms)]),
        closure=np.concatenate([old.closure[after], old.closure[before], closure[fits], nothing]),
        sends=np.concatenate([sends[after], sends[before], new_sends[fits], nothing]),
    ).pruned()
    return grown if grown.arcs <= arc_limit else None


def _has_room(network: Network, v: int) -> BoolArray:
    """Whether a piece step could take v along within memory and the upper bound, ``(A,)``."""
    problem, kind = network.problem, network.kind
    new = ~network.closure[:, v]
    memory = problem.instance.memory_bytes
    limit = np.append(problem.limit_bytes, np.inf)[kind] * (1 + MEMORY_TOLERANCE)
    room = network.closure @ memory + new * memory[v] <= limit
    cost = network.token_cost_ms
    forward, backward = network.distances(cost)
    through = forward[network.source] + cost + backward[network.target]
    # A wider step costs at least as much as the narrow one and its new node.
    through = through + np.where(new & (cost > 0), np.append(problem.time_ms[v], 0.0)[kind], 0.0)
    return np.asarray(room & (through <= network.upper_ms * (1 + EQUAL)))


def _with_outsider(network: Network, v: int) -> tuple[FloatArray, BoolArray]:
    """Return cost and sends of the arcs once v is known to lie outside their steps."""
    instance, c = network.problem.instance, network.problem.transfer_ms
    cost, sends, kind = network.cost_ms.copy(), network.sends.copy(), network.kind
    receives = network.closure[:, instance.successors[v]].any(axis=1)
    cost[receives] += c[v, kind[receives]]
    for u in instance.predecessors[v]:
        newly = network.closure[:, u] & ~sends[:, u]
        cost[newly] += c[u, kind[newly]]
        sends[newly, u] = True
    return cost, sends
