"""Folding of placed graphs: every node in one group of its own device, no cycle between pieces."""

import networkx as nx
import numpy as np
import pytest

from placer.formats.files import load
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.pages.outline import RUN, outline
from placer.plans.plan import Plan
from placer.reductions.problem import contract
from tests.support.graphs import skip_chain, transformer
from tests.support.plans import DATA
from tests.support.random_instances import random_instance


def top(found, v):
    g = int(found.leaf[v])
    while found.groups[g].parent >= 0:
        g = found.groups[g].parent
    return g


@pytest.mark.parametrize("training", [False, True])
def test_pieces_of_any_plan_form_no_cycle(training):
    """Random plans, contiguous or not: the folded graph can always be drawn in layers."""
    several = 0
    for seed in range(200):
        instance = random_instance(seed, nodes=9, training=training)
        items = np.random.default_rng(seed).integers(0, len(instance.devices), instance.n)
        device = contract(instance, contiguous=False).plan(items).device
        found = outline(instance, Plan(device))
        for v in range(instance.n):
            assert found.groups[found.leaf[v]].device == device[v]
        pieces = nx.DiGraph()
        pieces.add_edges_from(
            (top(found, u), top(found, w)) for u, w in instance.edges if top(found, u) != top(found, w)
        )
        assert nx.is_directed_acyclic_graph(pieces)
        several += any("stage 2" in g.label for g in found.groups)
    assert several > 20


def test_devices_of_a_pipeline_are_one_piece_each():
    instance = skip_chain(90, 3, transfer=1.0)
    device = np.repeat([0, 1, 2], 30)
    found = outline(instance, Plan(device))
    assert [g.label for g in found.groups if g.parent < 0] == ["acc0", "acc1", "acc2"]
    runs = [g.label for g in found.groups if g.parent == 0]
    assert runs == ["v0 … v14", "v15 … v29"]
    assert RUN >= 15


def test_layers_inside_pieces():
    instance = transformer(2, devices=2)
    found = outline(instance, Plan(np.zeros(instance.n, dtype=np.int64)))
    assert [(g.label, g.parent) for g in found.groups] == [
        ("gpu0", -1),
        ("embeddings", 0),
        ("encoder/layer.0", 0),
        ("encoder/layer.1", 0),
    ]
    assert np.bincount(found.leaf).tolist() == [0, 3, 33, 33]


def test_directions_of_training_are_apart():
    instance = load(DATA / "gpt_training.json")
    found = outline(instance, Plan(np.zeros(instance.n, dtype=np.int64)))
    assert [g.label for g in found.groups] == ["gpu0 forward", "gpu0 backward"]


def test_pieces_of_a_latency_plan():
    instance = Instance.build(
        ids="abc",
        types=("acc", "cpu"),
        time_ms=np.ones((3, 2)),
        edges=[(0, 1), (1, 2)],
        classes=(
            DeviceClass("acc", "acc", 1, Kind.ACCELERATOR, 1.0),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ),
    )
    found = outline(instance, Plan(np.array([0, 1, 0]), np.array([0, -1, 1])))
    assert [g.label for g in found.groups] == ["acc0 piece 1", "acc0 piece 2", "cpu0"]
    assert found.leaf.tolist() == [0, 2, 1]
