"""No plan at or below the bound lies outside the windows."""

import itertools

import networkx as nx
import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.reductions.kinds import kinds_of
from placer.reductions.problem import contract
from placer.reductions.windows import balance_bound_ms, host_relief_ms, windows
from tests.support.brute import throughput_optima
from tests.support.level import seeds
from tests.support.random_instances import random_instance


def positions(instance, device):
    """Accelerators at or before, and at or after, each node in one pipeline order that starts late and ends
    early: all unused accelerators may lie anywhere, so they count on both sides."""
    used = sorted(set(device.tolist()))
    graph = nx.DiGraph()
    graph.add_nodes_from(used)
    graph.add_edges_from((a, b) for a, b in device[instance.order_edges].tolist() if a != b)
    is_host = [d.is_host for d in instance.devices]
    order = list(nx.lexicographical_topological_sort(graph))
    unused = sum(not d.is_host for d in instance.devices) - sum(not is_host[d] for d in order)
    before = {d: sum(not is_host[a] for a in order[: i + 1]) + unused for i, d in enumerate(order)}
    after = {d: sum(not is_host[a] for a in order[i:]) + unused for i, d in enumerate(order)}
    return [before[d] for d in device.tolist()], [after[d] for d in device.tolist()]


@pytest.mark.parametrize("seed", seeds(30))
def test_plans_lie_in_their_windows(seed):
    instance = random_instance(
        seed, nodes=4, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=bool(seed & 4)
    )
    problem = contract(instance, contiguous=True)
    kinds = kinds_of(problem)
    k = sum(not d.is_host for d in instance.devices)
    plans = [np.array(p) for p in itertools.product(range(len(instance.devices)), repeat=instance.n)]
    valid = [p for p in plans if not violations(instance, Plan(p), Options())]
    for device in valid[:: max(1, len(valid) // 40)]:
        objective = device_loads(instance, device).objective_ms(Options().communication, Options().schedule)
        found = windows(problem, kinds, objective)[problem.item]
        before, after = positions(instance, device)
        assert (found[:, 0] <= before).all()
        assert (k + 1 - found[:, 1] <= after).all()


def test_a_chain_at_its_balance_has_one_position_per_node():
    """Six nodes of 1 ms on three accelerators with bound 2 ms: two per accelerator, nothing else."""
    instance = Instance.build(
        ids=[f"v{i}" for i in range(6)],
        types=["gpu"],
        time_ms=[1.0] * 6,
        edges=[(i, i + 1) for i in range(5)],
        classes=[DeviceClass("acc", "gpu", 3)],
    )
    problem = contract(instance, contiguous=True)
    found = windows(problem, kinds_of(problem), 2.0)
    assert found.tolist() == [[1, 1], [1, 1], [2, 2], [2, 2], [3, 3], [3, 3]]
    assert windows(problem, kinds_of(problem), None).tolist() == [[1, 3]] * 6


def test_host_relief_is_a_fractional_knapsack():
    """One host, bound 4: item 0 whole (saves 6 in 2), then half of item 1 (saves 4 in 4); item 2 too slow."""
    instance = Instance.build(
        ids=["a", "b", "c"],
        types=["gpu", "cpu"],
        time_ms=[[6.0, 2.0], [4.0, 4.0], [9.0, 5.0]],
        edges=[],
        classes=[DeviceClass("acc", "gpu", 2), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )
    kinds = kinds_of(contract(instance, contiguous=True))
    assert host_relief_ms(kinds, np.ones(3, dtype=bool), 4.0) == 6.0 + 2.0


@pytest.mark.parametrize("seed", seeds(30))
def test_the_balance_never_exceeds_an_optimum(seed):
    instance = random_instance(
        seed, nodes=5, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=bool(seed & 4)
    )
    problem = contract(instance, contiguous=False)
    assert balance_bound_ms(problem, kinds_of(problem)) <= min(throughput_optima(instance).values()) + 1e-9


def test_the_balance_counts_what_hosts_can_take():
    """12 ms of work on two accelerators is 6 each; a host that runs a node of 4 ms in 4 leaves 4 each."""
    instance = Instance.build(
        ids=["a", "b", "c"],
        types=["gpu", "cpu"],
        time_ms=[[4.0, 4.0]] * 3,
        edges=[],
        classes=[DeviceClass("acc", "gpu", 2), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )
    problem = contract(instance, contiguous=True)
    assert balance_bound_ms(problem, kinds_of(problem)) == pytest.approx(4.0)
    alone = instance.replace(classes=instance.classes[:1])
    problem = contract(alone, contiguous=True)
    assert balance_bound_ms(problem, kinds_of(problem)) == pytest.approx(6.0)
