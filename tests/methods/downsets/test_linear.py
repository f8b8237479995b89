"""Plans along linear orders: where items have one order, the test that finds nothing proves the optimum."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest

import placer
from placer.instance.instance import Instance
from placer.methods.downsets.lattice import Lattice
from placer.options import Communication, Options, Schedule
from placer.plans.result import Status
from tests.support.brute import throughput_optima
from tests.support.brute_memory import Brute
from tests.support.level import seeds
from tests.support.random_instances import random_cluster, random_cluster_memory


def in_a_row(instance: Instance) -> Instance:
    """Add edges until one topological order is left: forward nodes first."""
    graph = nx.DiGraph(instance.edges.tolist())
    graph.add_nodes_from(range(instance.n))
    order = list(nx.lexicographical_topological_sort(graph, key=lambda v: (bool(instance.backward[v]), v)))
    steps = np.array(list(itertools.pairwise(order)), dtype=np.int64).reshape(-1, 2)
    return instance.replace(edges=np.unique(np.concatenate([instance.edges, steps]), axis=0))


@pytest.mark.parametrize("seed", seeds(150))
def test_optima_of_chains_are_proven(seed: int) -> None:
    instance = in_a_row(random_cluster(seed))
    optima = throughput_optima(instance)
    for schedule in Schedule if instance.is_training else [Schedule.ONE_F_ONE_B]:
        for communication in Communication:
            optimum = optima["ordered", schedule.value, communication.value]
            options = Options(method="dpl", gap=0.0, schedule=schedule, communication=communication)
            result = placer.solve(instance, options)
            if optimum == np.inf:
                assert result.objective is None
                continue
            assert result.objective >= optimum * (1 - 1e-9)
            assert result.bound <= optimum * (1 + 1e-9)
            if Lattice.of(instance, options).has_one_order:
                assert result.status is Status.OPTIMAL
                assert result.objective == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("seed", seeds(30))
def test_optima_of_chains_whose_stages_keep_microbatches(seed: int) -> None:
    instance = in_a_row(random_cluster_memory(seed, nodes=5))
    m = instance.training.microbatches
    recomputes = ("none", "auto", "all") if instance.is_training else ("none",)
    choices = [(s, "sequential", recompute, m) for s in ("1f1b", "gpipe") for recompute in recomputes]
    for (schedule, _, recompute, _), optimum in Brute(instance).optima(choices).items():
        options = Options(method="dpl", gap=0.0, schedule=schedule, recompute=recompute)
        result = placer.solve(instance, options)
        if result.objective is not None:
            assert result.objective >= optimum * (1 - 1e-9)
            assert result.bound <= optimum * (1 + 1e-9)
            if Lattice.of(instance, options).has_one_order:
                assert result.status is Status.OPTIMAL


@pytest.mark.parametrize(
    ("size", "pairs", "one"),
    [
        (1, [], True),
        (2, [], False),
        (3, [(0, 1), (0, 2)], False),
        (3, [(0, 1), (1, 2), (0, 2)], True),
    ],
)
def test_one_order(size: int, pairs: list[tuple[int, int]], one: bool) -> None:
    instance = Instance.build(
        ids=[f"v{i}" for i in range(size)],
        types=("gpu",),
        time_ms=[1.0] * size,
        memory_bytes=[1.0] * size,
        edges=pairs,
        classes=(placer.DeviceClass("gpu", "gpu", 2, placer.Kind.ACCELERATOR, 10.0),),
    )
    assert Lattice.of(instance, Options()).has_one_order is one
