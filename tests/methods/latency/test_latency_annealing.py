"""Annealing of latency plans: a plan that holds, no worse than the start, mostly the best."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.latency.latency_annealing import solve
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.plans.figures import objective_of
from placer.plans.verify import violations
from placer.search.run import Run
from tests.support.brute import latency_optimum
from tests.support.random_instances import in_short_supply, random_instance


@pytest.mark.parametrize("pieces", [1, 2])
def test_reaches_the_optimum_of_small_instances(pieces: int) -> None:
    """From what a greedy method finds, with memory that is short; never below the optimum."""
    reached = tried = 0
    for seed in range(60):
        instance = random_instance(
            seed, nodes=5, latency=True, heterogeneous=seed % 2 == 0, overrides=seed % 3 == 0
        )
        instance = in_short_supply(instance, seed)
        options = Options(objective=Objective.LATENCY, pieces=pieces)
        start = load_method("greedy", Objective.LATENCY)(instance, options, Run()).plan
        if start is None or violations(instance, start, options):
            continue
        outcome = solve(instance, options, Run(start=start, work_limit=0.5))
        assert outcome.plan is not None
        assert violations(instance, outcome.plan, options) == []
        value, optimum = objective_of(instance, outcome.plan, options), latency_optimum(instance, pieces)
        assert value >= optimum * (1 - 1e-9)
        tried += 1
        reached += value <= optimum * (1 + 1e-9)
    assert tried > 20
    assert reached >= 0.85 * tried


def test_pieces_side_by_side() -> None:
    """Two chains of 3 ms that no accelerator should run in a row: one move at a time finds it."""
    instance = Instance.build(
        ids=list("abcdef"),
        types=("gpu",),
        time_ms=[1.0] * 6,
        transfer_ms=[0.25] * 6,
        edges=[(0, 1), (1, 2), (3, 4), (4, 5)],
        classes=(DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR),),
    )
    options = Options(objective=Objective.LATENCY)
    start = load_method("greedy", Objective.LATENCY)(instance, options, Run()).plan
    assert start is not None
    assert objective_of(instance, start, options) == 6.0
    outcome = solve(instance, options, Run(start=start, work_limit=1.0))
    assert outcome.plan is not None
    assert objective_of(instance, outcome.plan, options) == 3.0
    assert len(np.unique(outcome.plan.device)) == 2
    assert outcome.bound_ms is None


def test_nothing_is_done_without_a_plan() -> None:
    assert solve(random_instance(1, latency=True), Options(objective=Objective.LATENCY), Run()).plan is None
