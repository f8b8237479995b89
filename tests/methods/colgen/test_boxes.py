"""Boxes of forward and backward load against every subset and every assignment of small instances."""

import numpy as np
import pytest

from placer.methods.colgen.bound import item_weights
from placer.methods.colgen.boxes import BoxBound, applicable
from placer.methods.colgen.kernels.knapsack import best_box_values
from placer.methods.colgen.linear_loads import build_loads
from placer.methods.colgen.pricing import make_pricers
from placer.options import Communication, Schedule
from placer.plans.status import Stop
from placer.reductions.problem import contract
from placer.search.run import Run
from tests.methods.colgen.test_pricing import subsets
from tests.support.brute import throughput_optima
from tests.support.level import count
from tests.support.random_instances import random_instance

COUNT = count(12, least=12)


def boxes_of(instance, upper: float, count: int) -> BoxBound:
    loads = build_loads(contract(instance, contiguous=False), Communication.SEQUENTIAL, Schedule.GPIPE)
    return BoxBound(loads, make_pricers(loads), item_weights(loads, upper), upper, count)


@pytest.mark.parametrize("seed", range(1, 25, 2))
def test_best_value_for_every_pair_of_capacities(seed):
    instance = random_instance(seed, nodes=7, training=True, heterogeneous=seed % 3 == 0)
    bound = boxes_of(instance, 60.0, 400)
    loads, size = bound.loads, bound.loads.problem.size
    sets = subsets(size)
    value = np.random.default_rng(seed).integers(0, 200, size)
    for t, pricer in enumerate(bound.pricers):
        diagram, (forward, backward) = pricer.diagram, bound._weights[t]
        best = best_box_values(
            diagram.offset,
            diagram.target,
            forward,
            backward,
            value[diagram.order].astype(np.int32),
            bound._taken[t],
            bound._layers,
        )
        possible = ~(sets & ~pricer.allowed).any(axis=1)
        load = np.where(possible, loads.by_direction(t, sets), np.inf)
        held = loads.memory_bytes(sets) <= pricer.kind.memory_limit_bytes
        for i in range(0, 401, 57):
            for j in range(0, 401, 57):
                fits = held & (load[0] <= i * bound.unit[0]) & (load[1] <= j * bound.unit[1])
                # Rounding down lets in sets that are larger by one unit for each item and net, at most.
                slack = 20 * bound.unit
                near = (load[0] <= i * bound.unit[0] + slack[0]) & (load[1] <= j * bound.unit[1] + slack[1])
                assert (sets @ value)[fits].max() <= best[i, j] <= (sets @ value)[near].max()
                assert value[bound._best_set(t, i, j)].sum() == best[i, j]


def test_never_above_the_optimum_and_often_above_the_sum():
    stronger = 0
    for seed in range(1, 2 * COUNT, 2):
        instance = random_instance(seed, nodes=6, training=True, heterogeneous=seed % 3 == 0)
        optima = throughput_optima(instance)
        optimum = optima["free", "gpipe", "sequential"]
        if not 0 < optimum < np.inf:
            continue
        bound = boxes_of(instance, 1.3 * optimum, 200)
        bound.improve(Run(), 0.0)
        assert bound.bound_ms <= optimum * (1 + 1e-12)
        stronger += bound.bound_ms > optima["free", "1f1b", "sequential"] * (1 + 1e-6)
    assert stronger > 0


def test_stops_after_its_work_with_a_valid_bound():
    instance = random_instance(3, nodes=6, training=True)
    optimum = throughput_optima(instance)["free", "gpipe", "sequential"]
    bound = boxes_of(instance, 1.3 * optimum, 200)
    run = Run(work_limit=1e-9)
    bound.improve(run, 0.0)
    assert run.stopped() is Stop.WORK_LIMIT
    assert bound.rounds == 0
    assert 0 <= bound.bound_ms <= optimum


def test_only_where_there_are_two_maxima():
    def loads(schedule, communication, training):
        problem = contract(random_instance(3, nodes=6, training=training), contiguous=False)
        found = build_loads(problem, communication, schedule)
        return found, make_pricers(found)

    assert applicable(*loads(Schedule.GPIPE, Communication.SEQUENTIAL, True))
    assert not applicable(*loads(Schedule.ONE_F_ONE_B, Communication.SEQUENTIAL, True))
    assert not applicable(*loads(Schedule.GPIPE, Communication.DUPLEX, True))
    assert not applicable(*loads(Schedule.GPIPE, Communication.SEQUENTIAL, False))
