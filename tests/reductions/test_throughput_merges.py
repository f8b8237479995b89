"""Reductions keep the optimum, and their plans lift to plans of the instance."""

import itertools

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.options import Communication, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.reductions.problem import contract
from placer.reductions.throughput_merges import merge_below, merge_directions, merge_items
from tests.support.level import seeds
from tests.support.random_instances import random_instance

SEQUENTIAL = Communication.SEQUENTIAL


def objective(instance, device, options):
    return device_loads(instance, device).objective_ms(options.communication, options.schedule)


def optimum(problem, options):
    """Best objective over all assignments of items, lifted and verified; inf when there is none."""
    instance = problem.instance
    best = np.inf
    for items in itertools.product(range(len(instance.devices)), repeat=problem.size):
        device = problem.plan(np.array(items, dtype=np.int64)).device
        if instance.allowed[np.arange(instance.n), device].all():
            value = objective(instance, device, options)
            if value < best and not violations(instance, Plan(device), options):
                best = value
    return best


def instance_of(seed):
    return random_instance(
        seed, nodes=5, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=bool(seed & 4)
    )


def costly(seed):
    """A random graph with transfers that often outweigh processing times, without sizes and slow hosts."""
    rng = np.random.default_rng([seed, 9])
    n = int(rng.integers(3, 7))
    return Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=["gpu", "cpu"],
        time_ms=np.stack([rng.integers(0, 6, n), rng.choice([0, 4, 99], n)], axis=1),
        transfer_ms=rng.integers(0, 8, n),
        edges=[(i, j) for i in range(n) for j in range(i + 1, n) if rng.random() < 0.4],
        classes=[
            DeviceClass("acc", "gpu", 2),
            DeviceClass("cpu", "cpu", int(rng.integers(0, 2)), Kind.HOST),
        ],
    )


@pytest.mark.parametrize("seed", seeds(80))
def test_the_optimum_stays(seed):
    instance = costly(seed) if seed >= 40 else instance_of(seed)
    communication = list(Communication)[seed % 3]
    schedule = list(Schedule)[seed // 3 % 2]
    for contiguous in (True, False):
        options = Options(contiguous=contiguous, communication=communication, schedule=schedule)
        before = contract(instance, contiguous=contiguous, keep_producers=True)
        best = optimum(before, options)
        problem = merge_directions(before, schedule, communication)
        smaller = merge_below(problem, best * (1 + 1e-9), options)
        assert smaller.size <= problem.size
        assert optimum(smaller, options) == pytest.approx(best, rel=1e-12)


def test_both_merges_do_something():
    merged = {"cutoff": 0, "dominance": 0}
    for seed in range(40):
        problem = merge_directions(contract(costly(40 + seed), contiguous=True), "1f1b", SEQUENTIAL)
        best = optimum(problem, Options())
        if not np.isfinite(best):
            continue
        smaller = merge_below(problem, np.inf, Options())  # nothing is cut off
        merged["dominance"] += problem.size - smaller.size
        merged["cutoff"] += smaller.size - merge_below(smaller, best * (1 + 1e-9), Options()).size
    assert min(merged.values()) >= 5


@pytest.mark.parametrize("seed", seeds(40))
def test_assignments_carry_over_and_get_no_worse(seed):
    instance = costly(seed) if seed % 2 else instance_of(seed)
    options = Options(communication=list(Communication)[seed % 3], schedule=list(Schedule)[seed // 3 % 2])
    whole = contract(instance, contiguous=True, keep_producers=True)
    problem = merge_directions(whole, options.schedule, options.communication)
    for items in itertools.islice(
        itertools.product(range(len(instance.devices)), repeat=problem.size), 0, None, 7
    ):
        assignment = np.array(items, dtype=np.int64)
        device = problem.plan(assignment).device
        if violations(instance, Plan(device), options):
            continue
        before = objective(instance, device, options)
        smaller = merge_below(problem, before * (1 + 1e-9), options)
        after = smaller.plan(smaller.start(Plan(device))).device
        assert violations(instance, Plan(after), options) == []
        assert objective(instance, after, options) <= before + 1e-12


def pair(transfer: float, hosts: int, host_time: float) -> Instance:
    """Two nodes of 1 ms with an edge between, on two accelerators."""
    return Instance.build(
        ids=["a", "b"],
        types=["gpu", "cpu"],
        time_ms=[[1.0, host_time], [1.0, host_time]],
        transfer_ms=[transfer, 0.0],
        edges=[(0, 1)],
        classes=[DeviceClass("acc", "gpu", 2), DeviceClass("cpu", "cpu", hosts, Kind.HOST)],
    )


@pytest.mark.parametrize(
    ("transfer", "hosts", "host_time", "size"),
    [
        (1.5, 0, 9.0, 1),  # 1 + 1.5 > 2 on both sides
        (1.0, 0, 9.0, 2),  # 1 + 1 = 2 is allowed
        (1.5, 1, 1.0, 1),  # one on the host, the other still pays the transfer
        (1.5, 2, 1.0, 2),  # both on different hosts
        (1.5, 2, 3.0, 1),  # hosts too slow
    ],
)
def test_cutoff_merge_weighs_every_pair_of_kinds(transfer, hosts, host_time, size):
    problem = contract(pair(transfer, hosts, host_time), contiguous=False)
    assert merge_below(problem, 2.0, Options(contiguous=False)).size == size


@pytest.mark.parametrize(("time", "size"), [(1.0, 1), (1.5, 2)])
def test_dominance_merge_needs_a_transfer_above_the_time(time, size):
    """b saves the transfer of 1 ms if it follows a; worth it only if it takes no longer than that."""
    instance = Instance.build(
        ids=["a", "b"],
        types=["gpu"],
        time_ms=[4.0, time],
        transfer_ms=[1.0 + 1e-6, 0.0],
        edges=[(0, 1)],
        classes=[DeviceClass("acc", "gpu", 2)],
    )
    problem = merge_below(contract(instance, contiguous=True), np.inf, Options())
    assert problem.size == size
    assert problem.lead.tolist() == [0, 1][:size]


def test_merging_around_an_item_is_refused():
    instance = Instance.build(
        ids=["a", "b", "c"],
        types=["gpu"],
        time_ms=[1.0, 1.0, 1.0],
        edges=[(0, 1), (1, 2)],
        classes=[DeviceClass("acc", "gpu", 2)],
    )
    problem = contract(instance, contiguous=True)
    with pytest.raises(ValueError, match="wait for each other"):
        merge_items(problem, np.array([0, 1, 0]), SEQUENTIAL, contiguous=True)
    assert merge_items(problem, np.array([0, 1, 0]), SEQUENTIAL, contiguous=False).size == 2
