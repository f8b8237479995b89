"""Better plans near one: blocks lie on one device each; what is found is a plan, mostly the best."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.stage_blocks import StageBlocks, solve
from placer.options import Communication, Options, Schedule
from placer.plans.plan import Plan
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.random_instances import random_instance

ROUNDS = 30


def blocks_of(instance: Instance, options: Options) -> StageBlocks | None:
    """Begin with all nodes on the first device that may hold them all; None where none may."""
    best = Incumbent(instance, options, Run())
    for device in range(len(instance.devices)):
        best.offer(Plan(np.full(instance.n, device)), "single")
    if best.plan is None:
        return None
    return StageBlocks(Lattice.of(instance, options), best, 64.0, np.random.default_rng(0))


@pytest.mark.parametrize("training", [False, True])
def test_reaches_the_optimum_of_small_instances(training: bool) -> None:
    """From all on one device, within 30 rounds, on nine of ten; never below it."""
    reached = tried = 0
    for seed in range(60):
        instance = random_instance(seed, nodes=6, training=training, heterogeneous=seed % 3 == 0)
        communication = list(Communication)[seed % 3]
        schedule = Schedule.GPIPE if training and seed % 2 else Schedule.ONE_F_ONE_B
        options = Options(schedule=schedule, communication=communication)
        blocks = blocks_of(instance, options)
        if blocks is None:
            continue
        for _ in range(ROUNDS):
            blocks.look(Run())
        optimum = throughput_optima(instance)["ordered", schedule.value, communication.value]
        assert blocks.best.value >= optimum * (1 - 1e-9)
        tried += 1
        reached += blocks.best.value <= optimum * (1 + 1e-9)
    assert tried > 20
    assert reached >= 0.9 * tried


def test_nothing_is_done_without_a_plan() -> None:
    assert solve(random_instance(1), Options(), Run()).plan is None


def test_a_start_gets_better_and_is_no_proof() -> None:
    """Three even stages of nine nodes of 1 ms, from 7 | 1 | 1."""
    instance = Instance.build(
        ids=[f"v{i}" for i in range(9)],
        types=("gpu",),
        time_ms=[1.0] * 9,
        memory_bytes=[1.0] * 9,
        edges=[(i, i + 3) for i in range(6)],
        classes=(DeviceClass("gpu", "gpu", 3, Kind.ACCELERATOR, 100.0),),
    )
    outcome = solve(instance, Options(), Run(start=Plan(np.array([0] * 7 + [1, 2])), work_limit=5.0))
    assert outcome.plan is not None
    assert np.bincount(outcome.plan.device).tolist() == [3, 3, 3]
    assert outcome.bound_ms is None
