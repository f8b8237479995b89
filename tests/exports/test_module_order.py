"""Parts in order of execution: valid, and one per unit whenever the units can run one after another."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from placer.exports.module_order import Part, in_parts


@st.composite
def labelled_graphs(draw):
    """Random graphs on up to nine nodes with up to three units; some nodes have none."""
    n = draw(st.integers(1, 9))
    pairs = [(u, w) for w in range(n) for u in range(w)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    unit = draw(st.lists(st.sampled_from([None, 0, 1, 2]), min_size=n, max_size=n))
    unit[0] = 0 if all(u is None for u in unit) else unit[0]
    return unit, edges


@given(labelled_graphs())
def test_parts_are_a_valid_order(graph):
    unit, edges = graph
    parts = in_parts(unit, edges)
    order = [v for part in parts for v in part.nodes]
    assert sorted(order) == list(range(len(unit)))
    position = {v: i for i, v in enumerate(order)}
    assert all(position[u] < position[w] for u, w in edges)
    assert all(unit[v] in (part.unit, None) for part in parts for v in part.nodes)
    assert all(any(unit[v] is not None for v in part.nodes) for part in parts)


@given(labelled_graphs())
def test_one_part_per_unit_when_units_can_run_in_some_order(graph):
    unit, edges = graph
    unit = [0 if u is None else u for u in unit]
    between = nx.DiGraph([(unit[u], unit[w]) for u, w in edges if unit[u] != unit[w]])
    if nx.is_directed_acyclic_graph(between):
        assert len(in_parts(unit, edges)) == len(set(unit))


def test_a_device_that_is_returned_to_gets_two_parts():
    assert in_parts([0, 1, 0], [(0, 1), (1, 2)]) == (Part(0, (0,)), Part(1, (1,)), Part(0, (2,)))


def test_units_wait_for_the_one_before():
    """Two independent nodes: piece 1 of a device after piece 0, whatever their numbers."""
    assert [part.unit for part in in_parts([1, 0], [], before={1: 0})] == [0, 1]


def test_pieces_are_cut_last():
    """0 and 1 form a piece that needs node 2 of the host, which needs nothing."""
    edges = [(0, 1), (2, 1), (0, 3)]
    parts = in_parts([0, 0, 1, 1], edges, whole={0})
    assert [part.unit for part in parts] == [1, 0, 1]


def test_units_that_wait_for_each_other_are_no_order():
    with pytest.raises(ValueError, match="wait for each other"):
        in_parts([0, 1], [(1, 0)], before={1: 0})
