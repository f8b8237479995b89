"""Annealing of contiguous plans: a plan that holds, no worse than the start, mostly the best."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.local_search.contiguous_annealing import solve
from placer.options import Communication, Options, Schedule
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.random_instances import random_instance


@pytest.mark.parametrize("training", [False, True])
def test_reaches_the_optimum_of_small_instances(training: bool) -> None:
    """From all on one device, on nine of ten; never below it."""
    reached = tried = 0
    for seed in range(40):
        instance = random_instance(seed, nodes=6, training=training, heterogeneous=seed % 3 == 0)
        communication = list(Communication)[seed % 3]
        schedule = Schedule.GPIPE if training and seed % 2 else Schedule.ONE_F_ONE_B
        options = Options(schedule=schedule, communication=communication)
        singles = (Plan(np.full(instance.n, d)) for d in range(len(instance.devices)))
        start = next((plan for plan in singles if not violations(instance, plan, options)), None)
        if start is None:
            continue
        outcome = solve(instance, options, Run(start=start, work_limit=1.0))
        assert outcome.plan is not None
        assert violations(instance, outcome.plan, options) == []
        value = objective_of(instance, outcome.plan, options)
        optimum = throughput_optima(instance)["ordered", schedule.value, communication.value]
        assert value >= optimum * (1 - 1e-9)
        tried += 1
        reached += value <= optimum * (1 + 1e-9)
    assert tried > 20
    assert reached >= 0.9 * tried


def test_nothing_is_done_without_a_plan() -> None:
    assert solve(random_instance(1), Options(), Run()).plan is None


def test_exchanges_among_the_readers_of_a_hub() -> None:
    """Bins of 6 + 6 + 6 and 10 + 8 beside a hub: from 6 + 6 + 8 and 10 + 6 no single move helps."""
    times = [0.0, 6.0, 6.0, 6.0, 10.0, 8.0]
    instance = Instance.build(
        ids=[f"v{i}" for i in range(6)],
        types=("gpu",),
        time_ms=times,
        edges=[(0, i) for i in range(1, 6)],
        classes=(DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR),),
    )
    start = Plan(np.array([0, 0, 0, 1, 1, 0]))
    outcome = solve(instance, Options(), Run(start=start, work_limit=2.0))
    assert outcome.plan is not None
    assert objective_of(instance, outcome.plan, Options()) == 18.0
    assert outcome.bound_ms is None
