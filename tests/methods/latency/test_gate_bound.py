"""The bound around gates: never above an optimum, whichever gates are chosen, and what it sees by hand."""

from math import inf

import numpy as np
import pytest

from formulations.latency.latency_problem import LatencyProblem
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.latency.gate_bound import bound_ms, solve
from placer.options import Objective, Options
from placer.search.run import Run
from tests.support.brute import latency_optimum
from tests.support.level import seeds
from tests.support.random_instances import in_short_supply, random_instance

ROUNDING = 1 + 1e-9


@pytest.mark.parametrize("seed", seeds(200))
@pytest.mark.parametrize("pieces", [1, 2])
def test_no_plan_ends_earlier(seed, pieces):
    instance = random_instance(
        seed, nodes=5, latency=True, heterogeneous=seed % 2 == 0, overrides=seed % 5 == 0
    )
    instance = in_short_supply(instance, seed) if seed % 3 else instance
    optimum = latency_optimum(instance, pieces)
    problem = LatencyProblem.of(instance, pieces)
    if not np.isfinite(problem.least_ms).all() or optimum in (0.0, inf):
        return
    options = Options(objective=Objective.LATENCY, pieces=pieces)
    nodes = range(problem.n)
    pairs = [(a, z) for a in nodes for z in nodes if a != z and problem.reach[a, z]]
    for gates in [*pairs, *((a, None) for a in nodes), *((None, z) for z in nodes)]:
        for upper in (optimum, 1.3 * optimum, problem.safe_upper_ms):
            assert bound_ms(problem, gates, upper, options, Run()) <= optimum * ROUNDING


def star(consumers: int, devices: int, limit: float = inf) -> Instance:
    """A hub of 1 ms that so many nodes of 1 ms and 1 byte read; moving its output takes 0.25 ms each way."""
    return Instance.build(
        ids=[f"v{i}" for i in range(consumers + 1)],
        types=("gpu",),
        time_ms=[1.0] * (consumers + 1),
        memory_bytes=[1.0] * (consumers + 1),
        transfer_ms=[0.25] + [0.0] * consumers,
        edges=[(0, i) for i in range(1, consumers + 1)],
        classes=(DeviceClass("gpu", "gpu", devices, Kind.ACCELERATOR, limit),),
    )


@pytest.mark.parametrize(
    ("consumers", "limit", "least"),
    [
        (6, inf, 1.0 + 0.25 + 0.25 + 3.0),  # the hub alone, then three on each of the others
        (1, inf, 2.0),  # both in one piece
        (6, 4.0, 1.0 + 0.25 + 0.25 + 3.0),
    ],
)
def test_readers_of_a_hub_share_the_other_devices(consumers, limit, least):
    instance = star(consumers, 3, limit)
    outcome = solve(instance, Options(objective=Objective.LATENCY), Run())
    assert outcome.plan is None
    assert outcome.bound_ms == pytest.approx(least, rel=1e-4)
    assert latency_optimum(instance, 1) == pytest.approx(least)
