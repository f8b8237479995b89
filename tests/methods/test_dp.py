"""The throughput dynamic programs against brute force, against known optima, and under limits."""

import threading

import numpy as np
import pytest

from placer.instance.instance import Instance
from placer.methods.downsets import dp, dpl
from placer.options import Communication, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Outcome, Run
from tests.support.brute import throughput_optima
from tests.support.graphs import parallel_branches, skip_chain
from tests.support.level import seeds
from tests.support.random_instances import random_cluster, random_instance
from tests.support.workloads import THROUGHPUT, known, needs_workloads, workload


def objective(instance: Instance, outcome: Outcome, options: Options) -> float:
    """Objective of a plan after checking it; inf without one."""
    if outcome.plan is None:
        return np.inf
    assert violations(instance, outcome.plan, options) == []
    return device_loads(instance, outcome.plan.device).objective_ms(options.communication, options.schedule)


@pytest.mark.parametrize("seed", seeds(60))
def test_equals_brute_force_for_every_option(seed: int) -> None:
    instance = random_cluster(seed)
    optima = throughput_optima(instance)
    for schedule in Schedule if instance.is_training else [Schedule.ONE_F_ONE_B]:
        for communication in Communication:
            options = Options(schedule=schedule, communication=communication)
            optimum = optima["ordered", schedule.value, communication.value]
            exact = dp.solve(instance, options, Run())
            linear = dpl.solve(instance, options, Run())
            assert objective(instance, exact, options) == pytest.approx(optimum, rel=1e-9, abs=1e-12)
            assert exact.stop is (Stop.FINISHED if optimum < np.inf else Stop.INFEASIBLE)
            assert objective(instance, linear, options) >= optimum * (1 - 1e-12)
            for outcome in (exact, linear):
                assert outcome.bound_ms is None or outcome.bound_ms <= optimum * (1 + 1e-12)
            if optimum < np.inf:
                assert exact.bound_ms is not None
                assert exact.bound_ms >= optimum * (1 - 1e-9)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", THROUGHPUT)
def test_known_contiguous_optima_are_proven(name: str) -> None:
    instance, options = workload("throughput", name), Options()
    outcome = dp.solve(instance, options, Run())
    value = objective(instance, outcome, options)
    optimum = known()["throughput"][name]["contiguous"]["optimum"]
    assert value == pytest.approx(optimum, rel=1e-9)
    assert outcome.stop is Stop.FINISHED
    assert outcome.bound_ms == pytest.approx(optimum, rel=1e-9)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", THROUGHPUT)
def test_linear_orders_are_no_worse_than_the_published_ones(name: str) -> None:
    instance, options = workload("throughput", name), Options()
    value = objective(instance, dpl.solve(instance, options, Run()), options)
    assert value <= known()["throughput"][name]["baselines"]["dpl"] * (1 + 1e-5)


def test_proves_four_wide_branches_with_heavy_transfers() -> None:
    instance, options = parallel_branches(4, 6, 3, transfer=10.0), Options()
    outcome = dp.solve(instance, options, Run())
    value = objective(instance, outcome, options)
    assert outcome.stop is Stop.FINISHED
    assert outcome.bound_ms == pytest.approx(value, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("transfer", "gap"), [(0.5, 0.05), (10.0, 0.10)])
def test_wide_graph_is_certified_at_the_time_limit(transfer: float, gap: float) -> None:
    instance, options = parallel_branches(10, 20, 6, transfer=transfer), Options()
    outcome = dp.solve(instance, options, Run(time_limit=40.0))
    value = objective(instance, outcome, options)
    assert outcome.stop is Stop.TIME_LIMIT
    assert outcome.bound_ms is not None
    assert 0 <= 1 - outcome.bound_ms / value <= gap


def test_memory_limit_stops_the_table_and_keeps_the_plan() -> None:
    instance = parallel_branches(10, 20, 6, transfer=0.5)
    options = Options(memory_limit_mb=64)
    outcome = dp.solve(instance, options, Run(time_limit=3.0))
    assert outcome.stop in (Stop.MEMORY_LIMIT, Stop.TIME_LIMIT)
    assert outcome.bound_ms is not None
    assert 0 < outcome.bound_ms <= objective(instance, outcome, options) < np.inf


def test_long_chain_is_certified_within_one_percent() -> None:
    instance, options = skip_chain(3000, 16, transfer=2.0), Options()
    outcome = dpl.solve(instance, options, Run())
    assert outcome.bound_ms is not None
    assert outcome.bound_ms >= 0.99 * objective(instance, outcome, options)


def test_short_limit_still_gives_a_plan() -> None:
    instance, options = parallel_branches(4, 10, 3, transfer=1.0), Options()
    outcome = dp.solve(instance, options, Run(time_limit=1e-6))
    assert outcome.stop is Stop.TIME_LIMIT
    assert objective(instance, outcome, options) < np.inf


def test_interrupt_stops_at_once() -> None:
    pressed = threading.Event()
    pressed.set()
    outcome = dp.solve(parallel_branches(4, 10, 3, transfer=1.0), Options(), Run(interrupt=pressed))
    assert outcome.stop is Stop.INTERRUPTED


def test_start_is_never_lost() -> None:
    instance, options = parallel_branches(3, 5, 2, transfer=3.0), Options()
    best = dp.solve(instance, options, Run())
    pressed = threading.Event()
    pressed.set()
    again = dp.solve(instance, options, Run(start=best.plan, interrupt=pressed))
    assert objective(instance, again, options) == objective(instance, best, options)


@pytest.mark.parametrize("method", [dp, dpl])
def test_free_plans_are_not_its_business(method: object) -> None:
    outcome = method.solve(parallel_branches(2, 2, 2, transfer=1.0), Options(contiguous=False), Run())
    assert outcome.stop is Stop.NOT_APPLICABLE
    assert "contiguous" in outcome.message


def test_same_seed_same_plan() -> None:
    instance, options = random_instance(5, nodes=6, training=True), Options()
    plans = [dp.solve(instance, options, Run()).plan for _ in range(2)]
    assert (plans[0].device == plans[1].device).all()


@pytest.mark.parametrize("seed", seeds(24))
def test_goes_on_where_it_was_stopped(seed: int) -> None:
    """In slices of growing work, beginning anew with the best plan each time, it proves the optimum."""
    instance = random_instance(seed, nodes=7, training=bool(seed & 1), heterogeneous=bool(seed & 2))
    schedule = Schedule.GPIPE if seed & 4 else Schedule.ONE_F_ONE_B
    communication = list(Communication)[seed % 3]
    options = Options(schedule=schedule, communication=communication)
    optimum = throughput_optima(instance)["ordered", schedule.value, communication.value]
    search, work_s, start = dp.DynamicProgram(instance, options), 1e-7, None
    for _ in range(100):
        outcome = search.go_on(Run(start=start, work_limit=work_s))
        start, work_s = outcome.plan, 1.5 * work_s
        if outcome.stop in (Stop.FINISHED, Stop.INFEASIBLE):
            break
    assert (outcome.stop is Stop.INFEASIBLE) is not bool(np.isfinite(optimum))
    if np.isfinite(optimum):
        assert outcome.stop is Stop.FINISHED
        assert objective(instance, outcome, options) == pytest.approx(optimum, rel=1e-9, abs=1e-12)
        assert outcome.bound_ms == pytest.approx(optimum, rel=1e-6, abs=1e-12)
