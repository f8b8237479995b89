"""Facts about the shape of a graph: order, width, number of downsets."""

from __future__ import annotations

from placer.reductions.problem import Problem

__all__ = ["count_downsets", "width"]

WIDTH_LIMIT = 600
"""Items up to which the width is exact: the matching runs on the transitive closure."""


def count_downsets(problem: Problem, limit: int = 100_000) -> int | None:
    """Count the downsets of the items' forward graph.

    Parameters
    ----------
    problem
        Contracted for contiguous plans (acyclic).
    limit
        Stop counting beyond this many.

    Returns
    -------
    int or None
        The number, None when there are more than ``limit``.
    """
    successors, predecessors = _bitsets(problem)
    level = {0: tuple(v for v in range(problem.size) if not predecessors[v])}
    total = 0
    while level:
        total += len(level)
        if total > limit:
            return None
        larger: dict[int, tuple[int, ...]] = {}
        for downset, available in level.items():
            for v in available:
                grown = downset | 1 << v
                if grown not in larger:
                    freed = (w for w in successors[v] if predecessors[w] & ~grown == 0)
                    larger[grown] = (*(a for a in available if a != v), *freed)
            if total + len(larger) > limit:
                return None
        level = larger
    return total


def width(problem: Problem) -> tuple[int, bool]:
    """Largest number of items none of which precedes another (Dilworth).

    Returns
    -------
    (int, bool)
        The width, and whether it is exact; beyond 600 items it is the largest level, a lower bound.
    """
    import networkx as nx  # takes long to import

    graph = nx.DiGraph()
    graph.add_nodes_from(range(problem.size))
    graph.add_edges_from(problem.edges.tolist())
    if problem.size > WIDTH_LIMIT:
        return max(len(level) for level in nx.topological_generations(graph)), False
    pairs = nx.Graph()
    pairs.add_nodes_from((v, side) for v in range(problem.size) for side in (0, 1))
    pairs.add_edges_from(((u, 0), (w, 1)) for u, w in nx.transitive_closure_dag(graph).edges)
    left = [(v, 0) for v in range(problem.size)]
    matching = nx.bipartite.hopcroft_karp_matching(pairs, left)
    return problem.size - len(matching) // 2, True


def _bitsets(problem: Problem) -> tuple[list[list[int]], list[int]]:
    successors: list[list[int]] = [[] for _ in range(problem.size)]
    predecessors = [0] * problem.size
    for u, w in problem.edges.tolist():
        successors[u].append(w)
        predecessors[w] |= 1 << u
    return successors, predecessors
