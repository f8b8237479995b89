"""The reduction for latency keeps the optimum, and plans go back and forth without loss."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.milp.milp_latency import solve
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.reductions.free_nodes import apply
from placer.search.run import Run
from tests.support.brute import latency_optimum
from tests.support.level import count
from tests.support.random_instances import random_instance, with_single_hosts

COUNT = count(12, least=6)
CLASSES = (DeviceClass("acc", "gpu", 2), DeviceClass("cpu", "cpu", 1, Kind.HOST))


def with_free_nodes(seed: int, pieces: int) -> Instance:
    """A random instance in which about half of the nodes cost nothing."""
    instance = with_single_hosts(
        random_instance(seed, nodes=5 if pieces == 1 else 4, heterogeneous=bool(seed & 1), latency=True)
    )
    free = np.random.default_rng(seed).random(instance.n) < 0.5
    time = instance.time_ms.copy()
    time[free] = np.where(np.isfinite(time[free]), 0.0, np.inf)
    return instance.replace(time_ms=time, memory_bytes=np.where(free, 0.0, instance.memory_bytes))


@pytest.mark.parametrize("pieces", [1, 2])
def test_optimum_is_preserved(pieces):
    fewer = 0
    for seed in range(2 * COUNT):
        instance = with_free_nodes(seed, pieces)
        smaller, inverse = apply(instance)
        fewer += smaller.n < instance.n
        optimum = latency_optimum(instance, pieces)
        assert latency_optimum(smaller, pieces) == pytest.approx(optimum, rel=1e-12)
        if not np.isfinite(optimum):
            continue
        options = Options(objective=Objective.LATENCY, pieces=pieces, method="milp", gap=0)
        plan = solve(smaller, options, Run()).plan
        lifted = inverse.plan(plan)
        assert violations(instance, lifted, options) == []
        assert latency_schedule(instance, lifted).makespan_ms == pytest.approx(optimum, rel=1e-5, abs=1e-9)
        shrunk = inverse.start(lifted)
        assert shrunk.device.tolist() == plan.device.tolist()
        assert shrunk.piece.tolist() == plan.piece.tolist()
    assert fewer > COUNT / 2


@pytest.mark.parametrize("pieces", [1, 2])
def test_the_dynamic_program_reduces_and_stays_exact(pieces):
    for seed in range(COUNT):
        instance = with_free_nodes(seed, pieces)
        optimum = latency_optimum(instance, pieces)
        options = Options(objective=Objective.LATENCY, pieces=pieces, method="dp", gap=0)
        outcome = load_method("dp", Objective.LATENCY)(instance, options, Run())
        assert (outcome.plan is None) == (not np.isfinite(optimum))
        if outcome.plan is not None:
            assert violations(instance, outcome.plan, options) == []
            found = latency_schedule(instance, outcome.plan).makespan_ms
            assert found == pytest.approx(optimum, rel=1e-9, abs=1e-9)
            assert outcome.bound_ms == pytest.approx(optimum, rel=1e-9, abs=1e-9)


def test_the_dynamic_program_sees_no_node_that_costs_nothing():
    """Three branches in which every second node is a view of what the one before computes, and a join."""
    rng = np.random.default_rng(0)
    length, join = 6, 18
    edges = [(v, v + 1) for v in range(join) if v % length < length - 1]
    free = np.array([v % 2 == 1 and v < join for v in range(join + 1)])
    times = np.where(free[:, None], 0.0, rng.uniform([1, 4], [3, 9], (join + 1, 2)))
    instance = Instance.build(
        ids=[f"n{v}" for v in range(join + 1)],
        types=("gpu", "cpu"),
        time_ms=times.tolist(),
        memory_bytes=np.where(free, 0.0, 1.0).tolist(),
        transfer_ms=rng.uniform(0.5, 1.5, join + 1).tolist(),
        edges=[*edges, *((v, join) for v in range(length - 1, join, length))],
        classes=(DeviceClass("gpu", "gpu", 2, memory_limit_bytes=4.0), CLASSES[1]),
    )
    options = Options(objective=Objective.LATENCY, method="dp", gap=0)
    outcome = load_method("dp", Objective.LATENCY)(instance, options, Run())
    assert outcome.stats["atoms"] == (~free).sum()
    assert outcome.bound_ms == pytest.approx(latency_schedule(instance, outcome.plan).makespan_ms)


def build(edges: list[tuple[int, int]], transfer: list[float], **changes: object) -> Instance:
    """Four nodes; node 1 costs nothing."""
    return Instance.build(
        ids="abcd",
        types=("gpu", "cpu"),
        time_ms=[[1, 2], [0, 0], [3, 4], [5, 6]],
        transfer_ms=transfer,
        edges=edges,
        classes=CLASSES,
        **changes,
    )


def test_a_node_between_two_joins_the_cheaper_side():
    # c_b ≤ c_a: b follows a and its output is what is sent.
    smaller, inverse = apply(build([(0, 1), (1, 2), (1, 3)], [7, 2, 0, 0]))
    assert inverse.node.tolist() == [0, 0, 1, 2]
    assert smaller.transfer_ms.tolist() == [2, 0, 0]
    assert smaller.edges.tolist() == [[0, 1], [0, 2]]
    # c_b > c_a and two consumers: b stays.
    assert apply(build([(0, 1), (1, 2), (1, 3)], [1, 2, 0, 0]))[0].n == 4
    # c_a ≤ c_b and one consumer: b joins the consumer although a feeds another node.
    smaller, inverse = apply(build([(0, 1), (0, 3), (1, 2)], [1, 2, 0, 0]))
    assert inverse.node.tolist() == [0, 1, 1, 2]
    assert smaller.edges.tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_bytes": [0, 1, 0, 0]},
        {"forbid": [(), ("acc",), (), ()]},
        {"colocate": [None, "g", None, "g"]},
    ],
)
def test_conditions(changes):
    """A node with memory, with fewer devices or with a group of its own stays."""
    edges, transfer = [(0, 1), (1, 2), (0, 3)], [1.0, 2.0, 0.0, 0.0]
    assert apply(build(edges, transfer))[0].n == 3
    assert apply(build(edges, transfer, **changes))[0].n == 4


def test_identity_of_plans_without_free_nodes():
    instance = build([(0, 2), (2, 3)], [1, 1, 1, 1], memory_bytes=[1, 1, 1, 1])
    smaller, inverse = apply(instance)
    plan = Plan(np.array([0, 1, 0, 2]), np.array([0, 0, 0, -1]))
    assert smaller.n == 4
    assert inverse.plan(plan).device.tolist() == [0, 1, 0, 2]
