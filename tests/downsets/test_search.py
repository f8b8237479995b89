"""The threshold test: resuming, growing, reversing, and what it proves."""

import numpy as np
import pytest

from placer.downsets import search
from placer.downsets.lattice import Lattice
from placer.downsets.measures import measures, root_bound
from placer.downsets.merges import merge_below
from placer.downsets.orders import cheap_boundary, depth_first, random_order, tucked
from placer.downsets.relax import relaxed_below
from placer.downsets.search import Limits, attempt
from placer.downsets.transfers import TransferBound, applicable
from placer.methods import dp
from placer.options import Communication, Options, Schedule
from placer.run import Run, Stop
from tests.support.brute import throughput_optima
from tests.support.graphs import parallel_branches
from tests.support.random_instances import random_instance

ORDERS = (
    cheap_boundary,
    depth_first,
    lambda lattice: random_order(lattice, np.random.default_rng(1), branches=True),
    lambda lattice: tucked(lattice, np.arange(lattice.size)),
)


def feasible(lattice: Lattice, target: float, **limits: int) -> bool:
    found = attempt(lattice, measures(lattice.graph), target, Run(), Limits(**limits))
    assert found.exhausted or found.pieces is not None
    return found.pieces is not None


@pytest.mark.parametrize("seed", range(40))
def test_each_lattice_says_the_same_around_the_optimum(seed: int) -> None:
    """Merged, reversed and both: a plan at the optimum, none below; a relaxation is never infeasible."""
    instance = random_instance(seed, nodes=6, training=seed % 2 == 0, overrides=seed % 3 == 0)
    for communication in Communication:
        options = Options(communication=communication)
        optimum = throughput_optima(instance)["ordered", "1f1b", communication.value]
        if not 0 < optimum < np.inf:
            continue
        lattice = Lattice.of(instance, options)
        above, below = optimum * (1 + 1e-9), optimum * (1 - 1e-9)
        assert feasible(lattice, above)
        assert feasible(merge_below(lattice, above), above)
        assert feasible(merge_below(lattice, above).reversed(), above)
        relaxed = relaxed_below(lattice, above)
        assert relaxed is None or feasible(relaxed, above)
        assert not feasible(lattice, below)
        assert not feasible(lattice.reversed(), below)


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
                bound = TransferBound(lattice, 1.5 * optimum + 1, buckets=128)
                assert bound.improve(Run(), 15) <= optimum * (1 + 1e-12)


def test_transfer_bound_sees_what_the_work_bound_does_not() -> None:
    lattice = Lattice.of(parallel_branches(4, 8, 3, transfer=10.0), Options())
    work = root_bound(measures(lattice.graph), lattice.graph)
    optimum = dp.solve(lattice.problem.instance, Options(), Run()).bound_ms
    bound = TransferBound(lattice, 1.1 * optimum).improve(Run(), 100)
    assert work < 0.85 * optimum
    assert 0.9 * optimum < bound <= optimum * (1 + 1e-9)
