"""The best balance of chains, against trying every plan."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.methods.chain_balance import best_balance
from placer.methods.milp.throughput_program import contracted
from placer.options import Options
from placer.plans.check import check
from placer.plans.in_flight import settled
from placer.plans.verify import violations
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.solving.solve import solve
from tests.methods.test_secondary import values
from tests.support.brute_features import candidates
from tests.support.feature_instances import case
from tests.support.level import seeds
from tests.support.random_instances import random_instance

KNOWN = ("classes", "reserves", "host limits", "order", "in flight", "pins", "max devices", "use devices")


def as_chain(instance: Instance) -> Instance:
    """Let every forward node read the one before it as well."""
    graph = nx.DiGraph(instance.edges.tolist())
    graph.add_nodes_from(range(instance.n))
    forward = [v for v in nx.topological_sort(graph) if not instance.backward[v]]
    edges = {*map(tuple, instance.edges.tolist()), *pairwise(forward)}
    return instance.replace(edges=np.array(sorted(edges), dtype=np.int64).reshape(-1, 2))


def made(seed: int) -> Instance:
    rng = np.random.default_rng([seed, 41])
    if rng.random() < 0.3:
        return as_chain(random_instance(seed, nodes=6, training=rng.random() < 0.5, heterogeneous=True))
    features = set(rng.choice(KNOWN, int(rng.integers(1, 4)), replace=False).tolist())
    return as_chain(case(features, seed).instance)


def program(instance: Instance, options: Options) -> tuple[Instance, Problem]:
    instance = settled(instance, options)
    return instance, contracted(instance, options, contiguous=True)


@pytest.mark.parametrize("seed", seeds(320))
def test_no_plan_is_better_balanced(seed):
    instance = made(seed)
    communication = ("sequential", "overlap", "duplex")[seed % 3]
    options = Options(balance=True, communication=communication)
    every = candidates(instance, ("ordered", "1f1b", communication))
    best = every.secondary({}, balance=True)
    small, problem = program(instance, options)
    limit_ms = every.optimum() if np.isfinite(every.optimum()) else 1e6
    plan = best_balance(small, options, Run(), problem, limit_ms)
    if plan is None:  # there is none, or precedence leaves more than a chain
        loose = {int(v) for v in range(problem.size - 1)} - set(
            problem.edges[np.diff(problem.edges, axis=1)[:, 0] == 1, 0].tolist()
        )
        assert best is None or loose
        return
    assert best is not None
    assert violations(small, plan, options) == []
    result = solve(instance, method="milp", balance=True, communication=communication, gap=0.0)
    assert values(instance, result) == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert "best balance proven" in result.message
    assert check(instance, result) == []


def test_many_random_graphs_are_chains():
    chains = 0
    for seed in range(30):
        instance, problem = program(made(seed), Options())
        chains += best_balance(instance, Options(), Run(), problem, 1e6) is not None
    assert chains >= 8


@pytest.mark.parametrize(
    ("layers", "devices", "split"),
    [(5, 4, [2, 1, 1, 1]), (23, 5, [5, 5, 5, 4, 4]), (46, 12, [4] * 10 + [3] * 2), (3, 5, [1, 1, 1, 0, 0])],
)
def test_equal_layers_are_split_evenly(layers, devices, split):
    instance = Instance.build(
        ids=[f"l{i}" for i in range(layers)],
        types=["gpu"],
        time_ms=[[1.0]] * layers,
        edges=[(i, i + 1) for i in range(layers - 1)],
        classes=[DeviceClass("gpu", "gpu", devices)],
    )
    result = solve(instance, balance=True)
    assert sorted((d.load_ms for d in result.devices), reverse=True) == split
    assert "best balance proven" in result.message


def test_transfers_decide_between_equal_balances():
    # Two cuts leave 2 and 3 ms; the second one crosses the cheaper edge.
    instance = Instance.build(
        ids=["a", "b", "c"],
        types=["gpu"],
        time_ms=[[2.0], [1.0], [2.0]],
        transfer_ms=[4.0, 3.0, 0.0],
        edges=[(0, 1), (1, 2)],
        classes=[DeviceClass("gpu", "gpu", 2)],
    )
    result = solve(instance, balance=True, communication="overlap")
    assert result.assignment is not None
    assert result.assignment["a"] == result.assignment["b"] != result.assignment["c"]


def test_what_the_program_does_not_know_is_left_to_others():
    instance = as_chain(random_instance(3, nodes=6, heterogeneous=True))
    for changes in ({"contiguous": False}, {"recompute": "auto"}):
        options = Options.model_validate(changes)
        small, problem = program(instance, options)
        assert best_balance(small, options, Run(), problem, 1e6) is None
