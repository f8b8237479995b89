"""Reasons, in words, why no token can pass all layers; simple ones that need no search."""

from __future__ import annotations

import networkx as nx
import numpy as np

from placer.layered_flow.flow_problem import FlowProblem

__all__ = ["why_impossible"]


def why_impossible(problem: FlowProblem) -> str:
    """Say why there is no plan; empty where there may be one."""
    n = problem.n
    if not n:
        return "there are no devices"
    for ends, what in ((problem.links[n], "from the source"), (problem.links[:, n], "to the sink")):
        if not ends.any():
            return f"there is no link {what}"
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n + 2))
    working = np.append(np.array([rate.any() for rate in problem.rates]), True)
    for a, b in zip(*np.nonzero(problem.links), strict=True):
        if working[a] and working[b]:
            graph.add_edge(int(a), n + 1 if b == n else int(b))
    between = nx.descendants(graph, n) & nx.ancestors(graph, n + 1)
    if not between:
        return "no way along the links leads from the source to the sink"
    held = sum(int(np.flatnonzero(problem.rates[i])[-1]) + 1 for i in between)
    if held < problem.layers:
        return f"the devices between source and sink hold at most {held} layers, of {problem.layers}"
    return ""
