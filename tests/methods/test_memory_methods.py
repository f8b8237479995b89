"""Methods on pipelines with microbatches in flight, reserves, orders, recomputation, against brute force."""

import itertools

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Link
from placer.instance.instance import Instance
from placer.instance.training import Training
from placer.options import Options
from placer.plans.check import check
from placer.plans.result import Status
from placer.solving.solve import solve
from tests.support.brute_memory import Brute
from tests.support.level import seeds
from tests.support.random_instances import random_cluster_memory, with_constraints

SCHEDULES, COMMUNICATIONS = ("1f1b", "gpipe"), ("sequential", "overlap", "duplex")
RECOMPUTES = ("none", "auto", "all")


def check_exact(instance: Instance, options: Options, optimum: float) -> None:
    """An exact method: the optimum with its proof, or a proof that there is no plan."""
    result = solve(instance, options)
    if optimum == np.inf:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(optimum, rel=1e-6, abs=1e-9)
    assert result.bound <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", seeds(40))
def test_milp_is_optimal(seed: int) -> None:
    instance = random_cluster_memory(seed, nodes=5)
    m = instance.training.microbatches
    recomputes = RECOMPUTES if instance.is_training else RECOMPUTES[:1]
    choices = [(*c, m) for c in itertools.product(SCHEDULES, COMMUNICATIONS, recomputes)]
    optima = Brute(instance).optima(choices)
    for (schedule, communication, recompute, _), optimum in optima.items():
        options = Options(
            method="milp", gap=1e-6, schedule=schedule, communication=communication, recompute=recompute
        )
        check_exact(instance, options, optimum)


@pytest.mark.parametrize("seed", seeds(40))
def test_dynamic_programs_are_optimal(seed: int) -> None:
    instance = random_cluster_memory(seed, nodes=5)
    m = instance.training.microbatches
    recomputes = RECOMPUTES if instance.is_training else RECOMPUTES[:1]
    choices = [(*c, m) for c in itertools.product(SCHEDULES, COMMUNICATIONS, recomputes)]
    for (schedule, communication, recompute, _), optimum in Brute(instance).optima(choices).items():
        options = Options(
            method="dp", gap=0.0, schedule=schedule, communication=communication, recompute=recompute
        )
        check_exact(instance, options, optimum)
        linear = solve(instance, options.model_copy(update={"method": "dpl"}))
        assert linear.objective is None or linear.objective >= optimum * (1 - 1e-9)
        assert linear.bound is None or linear.bound <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", seeds(20))
def test_other_methods_keep_all_limits(seed: int) -> None:
    """Their plans are verified before they are returned; no objective is below the optimum."""
    instance = random_cluster_memory(seed, nodes=5)
    m = instance.training.microbatches
    choices = [(schedule, "sequential", "none", m) for schedule in SCHEDULES]
    for (schedule, *_), optimum in Brute(instance).optima(choices).items():
        for method in ("local-search", "pipedream", "partition", "single"):
            result = solve(instance, method=method, schedule=schedule)
            assert result.objective is None or result.objective >= optimum * (1 - 1e-9)
            assert result.status is not Status.INFEASIBLE or optimum == np.inf
        check_exact(instance, Options(schedule=schedule, gap=1e-6), optimum)


@pytest.mark.parametrize("seed", seeds(20))
def test_plans_that_need_not_be_contiguous_keep_all_microbatches(seed: int) -> None:
    """All microbatches may be in flight on each device: activations count as resident that many times."""
    instance = random_cluster_memory(seed, nodes=4).replace(order=())
    count = instance.training.microbatches if instance.is_training else 1
    plain = instance.replace(
        memory_bytes=instance.memory_bytes + count * instance.activation_bytes,
        activation_bytes=np.zeros(instance.n),
    )
    for changes in ({"method": "milp"}, {"method": "colgen"}, {"method": "milp", "formulation": "paper"}):
        options = Options(contiguous="formulation" in changes, gap=1e-6, **changes)
        found, expected = solve(instance, options), solve(plain, options)
        assert found.status is expected.status
        assert found.objective == pytest.approx(expected.objective)


@pytest.mark.parametrize("seed", seeds(40))
def test_together_with_rules_on_the_plan_and_secondary_goals(seed: int) -> None:
    instance = with_constraints(random_cluster_memory(seed, nodes=4), seed)
    m = instance.training.microbatches
    recomputes = RECOMPUTES[:2] if instance.is_training else RECOMPUTES[:1]
    choices = [(*c, m) for c in itertools.product(SCHEDULES, ("sequential",), recomputes)]
    for (schedule, _, recompute, _), optimum in Brute(instance).optima(choices).items():
        options = Options(gap=1e-6, schedule=schedule, recompute=recompute)
        check_exact(instance, options, optimum)
        if optimum < np.inf:
            balanced = solve(instance, options.model_copy(update={"balance": True, "method": "milp"}))
            assert balanced.objective == pytest.approx(optimum, rel=1e-6, abs=1e-9)
            assert check(instance, balanced) == []


def test_a_start_that_recomputes_is_used_in_the_order_that_suits_it(caplog: pytest.LogCaptureFixture) -> None:
    """Recomputing, a can come anywhere and b only last; if neither recomputes it is the other way round."""
    instance = Instance.build(
        ids=["s", "a", "b", "s'"],
        types=["gpu"],
        time_ms=[[1.0]] * 4,
        activation_bytes=[0, 10, 4, 0],
        output_bytes=[8, 0, 0, 0],
        edges=[(0, 2)],
        backward=[False, False, False, True],
        colocate=["s", None, None, "s"],
        classes=[DeviceClass("gpu", "gpu", 3, memory_limit_bytes=12.0, link=Link(1.0, 8e3))],
        pin=[("gpu1",), ("gpu0",), ("gpu2",), ()],
        training=Training(microbatches=3),
    )
    caplog.set_level("INFO", logger="placer")
    assert solve(instance, method="milp", recompute="all").objective == 4.0
    assert "start used" in caplog.text
    assert "not used" not in caplog.text
