"""Orders and components against networkx, on random graphs with loops, repeated edges and cycles."""

import networkx as nx
import numpy as np
import pytest

from placer.arrays import distinct
from placer.instance.graphs import components, depth_first, strong_components, topological_order

from ..support.level import seeds


def random_edges(seed, *, acyclic=False):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    edges = rng.integers(0, n, size=(int(rng.integers(0, 2 * n)), 2))
    if acyclic:
        edges = np.sort(edges, axis=1)
        edges = rng.permutation(n)[edges[edges[:, 0] < edges[:, 1]]]
    return n, edges


def graph_of(nodes, edges, kind=nx.DiGraph):
    graph = kind()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges.tolist())
    return graph


def least(n, parts):
    label = np.empty(n, dtype=np.int64)
    for part in parts:
        label[list(part)] = min(part)
    return label.tolist()


@pytest.mark.parametrize("seed", seeds(80))
def test_topological_order(seed):
    n, edges = random_edges(seed, acyclic=True)
    loops = np.repeat(np.arange(n), 2).reshape(-1, 2)
    found = topological_order(np.arange(n), np.concatenate([loops, edges]))
    assert found.tolist() == list(nx.lexicographical_topological_sort(graph_of(range(n), edges)))


@pytest.mark.parametrize("seed", seeds(80))
def test_cycles(seed):
    n, edges = random_edges(seed)
    graph = graph_of(range(n), edges)
    assert strong_components(n, edges).tolist() == least(n, nx.strongly_connected_components(graph))
    undirected = graph_of(range(n), edges, nx.Graph)
    assert components(n, edges).tolist() == least(n, nx.connected_components(undirected))
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    order = topological_order(np.arange(n), edges)
    assert (order is not None) == nx.is_directed_acyclic_graph(graph)
    whole = strong_components(n, edges)
    assert topological_order(distinct(whole), whole[edges]) is not None


@pytest.mark.parametrize("seed", seeds(80))
def test_depth_first(seed):
    n, edges = random_edges(seed)
    graph = graph_of(range(n), edges)
    for root in range(n):
        assert depth_first(n, edges, [root]) == list(nx.dfs_postorder_nodes(graph, root))
    graph.add_edges_from((-1, root) for root in range(n))
    assert depth_first(n, edges, range(n)) == list(nx.dfs_postorder_nodes(graph, -1))[:-1]


def test_long_chains_need_no_deep_calls():
    n = 30_000
    chain = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    assert depth_first(n, chain, [0]) == list(range(n))[::-1]
    assert strong_components(n, np.concatenate([chain, [[n - 1, 0]]])).tolist() == [0] * n


@pytest.mark.parametrize("seed", seeds(40))
def test_distinct(seed):
    _, rows = random_edges(seed)
    assert distinct(rows).tolist() == np.unique(rows, axis=0).reshape(-1, 2).tolist()
    assert distinct(rows[:, 0]).tolist() == np.unique(rows[:, 0]).tolist()
    assert distinct(rows).shape[1:] == (2,)
