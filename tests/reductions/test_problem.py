"""Contraction: items, nets and precedence carry the same loads as nodes and edges."""

import itertools

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.options import Communication, Options
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.reductions.problem import Problem, contract
from tests.support.random_instances import random_instance


def item_loads(problem: Problem, device: np.ndarray) -> np.ndarray:
    """Forward and backward loads (sequential) of all devices from items and nets alone, (2, D)."""
    instance = problem.instance
    loads = np.zeros((2, len(instance.devices)))
    for v in range(problem.size):
        loads[:, device[v]] += problem.time_ms[:, v, instance.device_class[device[v]]]
    for e in range(problem.nets):
        places = set(device[problem.net(e)].tolist())
        for d in places if len(places) > 1 else ():
            loads[int(problem.net_backward[e]), d] += problem.net_cost_ms[e, instance.device_class[d]]
    return loads


@pytest.mark.parametrize("keep_producers", [False, True])
@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_lifted_placements_have_the_loads_of_the_items(training, contiguous, keep_producers):
    compared = 0
    for seed in range(12):
        instance = random_instance(seed, nodes=5, training=training, heterogeneous=True)
        problem = contract(instance, contiguous=contiguous, keep_producers=keep_producers)
        for choice in itertools.product(range(len(instance.devices)), repeat=problem.size):
            device = np.array(choice)
            if not problem.allowed[np.arange(problem.size), device].all():
                continue
            expected = device_loads(instance, problem.plan(device).device).by_direction(
                Communication.SEQUENTIAL
            )
            np.testing.assert_allclose(item_loads(problem, device), expected, rtol=1e-12, atol=1e-12)
            compared += 1
    assert compared > 400


@pytest.mark.parametrize("training", [False, True])
def test_every_contiguous_plan_is_a_placement_of_items(training):
    """Contracting colocation groups and the cycles among them loses no contiguous plan."""
    kept = 0
    for seed in range(25):
        instance = random_instance(seed, nodes=5, training=training)
        problem = contract(instance, contiguous=True)
        assert all(u < w for u, w in problem.edges.tolist()), "items are in topological order"
        for choice in itertools.product(range(len(instance.devices)), repeat=instance.n):
            device = np.array(choice)
            if violations(instance, Plan(device), Options()):
                continue
            kept += 1
            for nodes in problem.members:
                assert len(set(device[nodes].tolist())) == 1
    assert kept > 100


def test_cycles_among_groups_are_one_item_only_under_contiguity():
    """Groups g = {a, c} and h = {b, d} on the chain a -> b -> c -> d need each other."""
    instance = Instance.build(
        ids=list("abcd"),
        types=["cpu"],
        time_ms=[[1.0]] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=[DeviceClass("cpu", "cpu", 2, Kind.HOST)],
        colocate=["g", "h", "g", "h"],
    )
    assert contract(instance, contiguous=True).size == 1
    assert contract(instance, contiguous=False).size == 2
