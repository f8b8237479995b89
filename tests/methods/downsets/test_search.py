"""The threshold test: resuming, growing, reversing, and what it proves."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.methods.downsets import dp, relax, search
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import measures, root_bound
from placer.methods.downsets.orders import cheap_boundary, depth_first, random_order, tucked
from placer.methods.downsets.relax import relaxed_below
from placer.methods.downsets.search import Limits, attempt
from placer.methods.downsets.transfers import TransferBound, applicable
from placer.options import Communication, Options, Schedule
from placer.plans.status import Stop
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.graphs import parallel_branches
from tests.support.level import first, seeds
from tests.support.random_instances import random_cluster, random_instance

ORDERS = (
    cheap_boundary,
    depth_first,
    lambda lattice: random_order(lattice, np.random.default_rng(1), branches=True),
    lambda lattice: tucked(lattice, np.arange(lattice.size)),
)


def feasible(lattice: Lattice, target: float) -> bool:
    m = measures(lattice.graph)
    found = attempt(lattice, m, target, Run(), Limits())
    assert found.exhausted or found.pieces is not None
    return found.pieces is not None


def with_optima(seed: int) -> tuple[Instance, dict[tuple[str, str, str], float]] | None:
    """A random instance with plans that take time, and its optima."""
    instance = random_cluster(seed)
    optima = throughput_optima(instance)
    return (instance, optima) if all(0 < x < np.inf for k, x in optima.items() if k[0] == "ordered") else None


@pytest.mark.parametrize("seed", seeds(150))
def test_each_lattice_says_the_same_around_the_optimum(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain, merged, reversed: a plan at the optimum, none below; a relaxation has one at the optimum.

    Without a linearised plan at hand that would hide a rule that cuts too much.
    """
    monkeypatch.setattr(relax, "LIGHT", 1.0)  # more optional items than it would be wise to make
    monkeypatch.setattr(relax, "SMALL", 0.1)
    instance, optima = first(with_optima, seed)
    for schedule in Schedule if instance.is_training else [Schedule.ONE_F_ONE_B]:
        for communication in Communication:
            options = Options(schedule=schedule, communication=communication)
            optimum = optima["ordered", schedule.value, communication.value]
            lattice = Lattice.of(instance, options)
            above, below = optimum * (1 + 1e-9), optimum * (1 - 1e-9)
            sides = [lattice, lattice.merged(above)]
            if (relaxed := relaxed_below(lattice, above)) is not None:
                sides.append(relaxed)
            for side in sides:
                assert feasible(side, above)
                assert feasible(side.reversed(), above)
            assert not feasible(lattice.merged(below), below)


def test_resuming_after_few_steps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lattice = Lattice.of(parallel_branches(3, 4, 3, transfer=2.0), Options())
    m = measures(lattice.graph)
    target = 1.02 * root_bound(m, lattice.graph)
    whole = attempt(lattice, m, target, Run(), Limits())
    monkeypatch.setattr(search, "CALL_STEPS", 7)
    monkeypatch.setattr(search, "FIRST_STATES", 2)
    pieced = attempt(lattice, m, target, Run(), Limits())
    assert whole.exhausted
    assert (pieced.exhausted, pieced.states) == (whole.exhausted, whole.states)


def test_limits_are_kept_and_prove_nothing() -> None:
    lattice = Lattice.of(parallel_branches(8, 10, 5, transfer=1.0), Options())
    m = measures(lattice.graph)
    target = 1.01 * root_bound(m, lattice.graph)
    few = attempt(lattice, m, target, Run(), Limits(steps=10_000))
    assert not few.exhausted
    assert few.steps < 30_000
    narrow = attempt(lattice, m, target, Run(), Limits(width=3, piece_steps=2000))
    assert not narrow.exhausted


def test_memory_limit_ends_a_test_that_needs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    lattice = Lattice.of(parallel_branches(4, 8, 4, transfer=0.5), Options())
    m = measures(lattice.graph)
    target = 1.01 * root_bound(m, lattice.graph)
    whole = attempt(lattice, m, target, Run(), Limits())
    assert whole.exhausted
    assert whole.states > 2
    monkeypatch.setattr(search, "FIRST_STATES", 2)
    small = attempt(lattice, m, target, Run(), Limits(memory_mb=0.001))
    assert small.stop is Stop.MEMORY_LIMIT
    assert not small.exhausted
    assert small.states < whole.states


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", range(10))
def test_orders_are_topological(order: object, seed: int) -> None:
    lattice = Lattice.of(random_instance(seed, nodes=6, training=seed % 2 == 0), Options())
    positions = order(lattice)
    rank = np.empty(lattice.size)
    rank[positions] = np.arange(lattice.size)
    assert sorted(positions) == list(range(lattice.size))
    assert (rank[lattice.edges[:, 0]] < rank[lattice.edges[:, 1]]).all()


@pytest.mark.parametrize("seed", range(60))
def test_bounds_never_exceed_the_optimum(seed: int) -> None:
    instance = random_instance(seed, nodes=6, training=seed % 2 == 0, heterogeneous=seed % 5 == 0)
    optima = throughput_optima(instance)
    for schedule in Schedule:
        for communication in Communication:
            options = Options(schedule=schedule, communication=communication)
            optimum = optima["ordered", schedule.value, communication.value]
            lattice = Lattice.of(instance, options)
            assert root_bound(measures(lattice.graph), lattice.graph) <= optimum * (1 + 1e-12)
            if applicable(lattice) and optimum < np.inf:
                bound = TransferBound(lattice, 1.5 * optimum + 1, Run(), buckets=128)
                bound.improve(Run(work_limit=0.05))
                assert bound.bound_ms <= optimum * (1 + 1e-12)


def test_transfer_bound_sees_what_the_work_bound_does_not() -> None:
    lattice = Lattice.of(parallel_branches(4, 8, 3, transfer=10.0), Options())
    work = root_bound(measures(lattice.graph), lattice.graph)
    optimum = dp.solve(lattice.problem.instance, Options(), Run()).bound_ms
    bound = TransferBound(lattice, 1.1 * optimum, Run())
    bound.improve(Run(work_limit=0.5))
    assert work < 0.85 * optimum
    assert 0.9 * optimum < bound.bound_ms <= optimum * (1 + 1e-9)


def both_directions(instance: Instance, target: float) -> list[bool]:
    lattice = Lattice.of(instance, Options())
    return [feasible(side, target) for side in (lattice, lattice.reversed())]


def test_item_that_costs_nothing_is_left_out_when_memory_binds() -> None:
    """u -> v saves a transfer on one device, but then b must go to d: 14; {u, b}, {v, d} has 13."""
    instance = Instance.build(
        ids=["u", "v", "b", "d"],
        types=("acc",),
        time_ms=[[10], [0], [2], [12]],
        transfer_ms=[1, 0, 0, 0],
        memory_bytes=[5, 5, 5, 5],
        edges=[(0, 1)],
        classes=(DeviceClass("acc", "acc", 2, Kind.ACCELERATOR, 10.0),),
    )
    assert both_directions(instance, 13.0) == [True, True]
    assert both_directions(instance, 12.9) == [False, False]


def test_item_that_costs_nothing_here_may_be_dear_to_leave_elsewhere() -> None:
    """Three small inputs of v cost more than its output on x, where latency counts, but not on y."""
    instance = Instance.build(
        ids=["u1", "u2", "u3", "v", "w"],
        types=("x", "y"),
        time_ms=[[1, 20], [1, 20], [1, 20], [1, 1], [20, 5]],
        output_bytes=[100, 100, 100, 10_000, 0],
        edges=[(0, 3), (1, 3), (2, 3), (3, 4)],
        classes=(
            DeviceClass("x", "x", 1, Kind.ACCELERATOR, 1e9, Link(1.0, 1e300, 1.0)),
            DeviceClass("y", "y", 1, Kind.ACCELERATOR, 1e9, Link(1.0, 1e6, 0.0)),
        ),
    )
    assert both_directions(instance, 6.3 + 1e-6) == [True, True]
    assert both_directions(instance, 6.2) == [False, False]


def test_no_merge_that_the_old_device_would_pay_for() -> None:
    """On x, v costs nothing beside w; but y, which v leaves, would receive its large output."""
    instance = Instance.build(
        ids=["w", "v", "x"],
        types=("x", "y"),
        time_ms=[[1, np.inf], [0, 1], [np.inf, 5]],
        output_bytes=[100, 10_000, 0],
        edges=[(0, 1), (1, 2)],
        classes=(
            DeviceClass("x", "x", 1, Kind.ACCELERATOR, 1e9, Link(1.0, 1e300, 1.0)),
            DeviceClass("y", "y", 1, Kind.ACCELERATOR, 1e9, Link(1.0, 1e6, 0.0)),
        ),
    )
    lattice = Lattice.of(instance, Options())
    assert feasible(lattice.merged(6.1 + 1e-6), 6.1 + 1e-6)
    assert feasible(lattice.merged(20.0), 6.1 + 1e-6)
