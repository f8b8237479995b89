"""Memory replayed step by step against what the planner promised."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import placer
from placer.formats.files import load
from placer.instance.instance import Instance
from placer.instance.training import Optimizer, Training
from placer.options import Communication, Options, Recompute, Schedule
from placer.plans.plan import Plan
from placer.simulation import simulate
from tests.simulation.test_by_hand import chain
from tests.support.level import seeds
from tests.support.random_instances import random_cluster_memory
from tests.support.simulation import simulated

DATA = Path(__file__).resolve().parents[2] / "data"
MICROBATCHES = 6


def transformer() -> Instance:
    """GPT-2 medium on four GPUs of 5 GiB, two thirds of its memory per block being activations."""
    instance = load(DATA / "gpt_training.json")
    forward = ~instance.backward
    gpu, cpu = instance.classes
    return instance.replace(
        memory_bytes=np.zeros(instance.n),
        weight_bytes=np.where(forward, instance.memory_bytes / 24, 0.0),
        activation_bytes=np.where(forward, instance.memory_bytes / 3, 0.0),
        classes=(placer.DeviceClass(gpu.name, gpu.type, 4, gpu.kind, 5 * 2.0**30, gpu.link), cpu),
        training=Training(Optimizer.MIXED_ADAM, MICROBATCHES),
    )


@pytest.mark.parametrize(("schedule", "recompute"), [("1f1b", "none"), ("1f1b", "all"), ("gpipe", "all")])
def test_a_transformer_needs_what_was_promised(schedule, recompute):
    result = placer.solve(transformer(), method="milp", gap=0.05, schedule=schedule, recompute=recompute)
    stages = len(result.stages)
    in_flight = [MICROBATCHES] * stages if schedule == "gpipe" else list(range(stages, 0, -1))
    simulation = simulated(transformer(), result)
    assert simulation.samples == MICROBATCHES
    promised = {report.name: report for report in result.devices}
    uses = {use.name: use for use in simulation.devices}
    assert [uses[name].in_flight for name in result.stages] == in_flight
    for name in result.stages:
        assert uses[name].peak_bytes == pytest.approx(promised[name].memory_bytes, rel=1e-9)
        assert uses[name].in_flight == promised[name].in_flight
        assert not uses[name].exceeds_limit


@pytest.mark.parametrize("seed", seeds(20))
def test_never_more_than_promised(seed):
    """In pipelines whose transfers take their turn, and wherever all microbatches may be in flight."""
    instance = random_cluster_memory(seed)
    schedules = Schedule if instance.is_training else [Schedule.ONE_F_ONE_B]
    recompute = Recompute if instance.is_training else [Recompute.NONE]
    for schedule, again in itertools.product(schedules, recompute):
        result = placer.solve(instance, method="milp", schedule=schedule, recompute=again, time_limit=10)
        if result.assignment is None:
            continue
        for use, report in zip(simulated(instance, result).devices, result.devices, strict=True):
            assert use.peak_bytes <= report.memory_bytes * (1 + 1e-9)


@pytest.mark.parametrize("communication", [Communication.OVERLAP, Communication.DUPLEX])
def test_transfers_beside_computation_need_more_in_flight(communication):
    """Full speed takes more than s in flight.

    Computing, sending, receiving and computing again are three rounds, there and back; and one at the end.
    """
    instance = chain([3, 3, 3, 3], transfer=1, backward=2, activation_bytes=[1, 1, 0, 0])
    simulation = simulate(
        instance,
        Plan(np.array([0, 1, 1, 0])),
        Options(communication=communication),
        microbatches=20,
    )
    assert simulation.steady_ms == pytest.approx(6)
    assert [use.in_flight for use in simulation.devices[:2]] == [7, 1]
    assert [use.peak_bytes for use in simulation.devices[:2]] == [8 + 7, 8 + 1]


def test_recomputation_by_hand():
    """A device computes its forward node (1 ms) before its backward node (3), and keeps one activation.

    What it keeps of each microbatch in flight is what it received: 2 bytes on the second device.
    """
    instance = chain([1, 2, 1, 3], backward=2, activation_bytes=[10, 100, 0, 0])
    instance = instance.replace(
        transfer_ms=np.full(4, np.nan),
        output_bytes=np.array([2.0, 0, 0, 0]),
        classes=(
            placer.DeviceClass("acc", "acc", 2, link=placer.Link(bandwidth_bytes_per_s=2e3)),
            instance.classes[1],
        ),
    )
    plan = Plan(np.array([0, 1, 1, 0]), recompute=(0, 1))
    options = Options(recompute=Recompute.ALL)
    simulation = simulated(instance, plan, options, microbatches=2)
    assert simulation.steady_ms == pytest.approx(1 + 1 + 1 + 3)  # v0, its transfer, v0 again, v3
    first, second, _ = simulation.devices
    assert (first.peak_bytes, second.peak_bytes) == (8 + 10, 8 + 2 + 100)
    # receive 1, compute 2, then 2 again and 1: until then 100 bytes are dropped in between
    assert second.memory[:3] == ((0, 8), (2, 110), (5, 110))
