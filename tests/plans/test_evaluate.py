"""Evaluation and verification against brute force: the same optimum over all assignments, every kind."""

import itertools

import numpy as np
import pytest

from placer.options import Communication, Formulation, Objective, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.verify import violations
from tests.support.brute import KINDS, latency_optimum, throughput_optima
from tests.support.random_instances import random_instance, with_single_hosts

VARIANTS = [
    {"training": training, "heterogeneous": heterogeneous, "overrides": overrides}
    for training, heterogeneous, overrides in itertools.product((False, True), repeat=3)
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", range(4))
def test_best_verified_throughput_plan_is_the_brute_force_optimum(variant, seed):
    instance = random_instance(seed, nodes=4, **variant)
    plans = [np.array(p) for p in itertools.product(range(len(instance.devices)), repeat=instance.n)]
    found = dict.fromkeys(KINDS, np.inf)
    for contiguity in ("free", "each", "ordered"):
        options = Options(
            contiguous=contiguity != "free",
            method="milp",
            formulation=Formulation.PAPER if contiguity == "each" else Formulation.ORDERED,
        )
        for device in plans:
            if violations(instance, Plan(device), options):
                continue
            loads = device_loads(instance, device)
            for schedule, communication in itertools.product(Schedule, Communication):
                key = (contiguity, schedule.value, communication.value)
                found[key] = min(found[key], loads.objective_ms(communication, schedule))
    expected = throughput_optima(instance)
    for kind in KINDS:
        assert found[kind] == pytest.approx(expected[kind], rel=1e-12), kind


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("variant", [v for v in VARIANTS if not v["training"]])
@pytest.mark.parametrize("seed", range(3))
def test_best_verified_latency_plan_is_the_brute_force_optimum(variant, seed, pieces):
    instance = with_single_hosts(random_instance(seed, nodes=4, latency=True, **variant))
    options = Options(objective=Objective.LATENCY, pieces=pieces)
    slots = [(d.index, q) for d in instance.devices for q in ([-1] if d.is_host else range(pieces))]
    best = np.inf
    for choice in itertools.product(slots, repeat=instance.n):
        plan = Plan(np.array([d for d, _ in choice]), np.array([q for _, q in choice]))
        if not violations(instance, plan, options):
            best = min(best, latency_schedule(instance, plan).makespan_ms)
    assert best == pytest.approx(latency_optimum(instance, pieces), rel=1e-12)
