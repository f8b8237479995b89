"""Column generation: bounds never exceed, and plans never beat, what trying every assignment finds."""

import threading

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.colgen.colgen import bound_contiguous, solve
from placer.methods.starts.first_fit import solve as first_fit
from placer.options import Communication, Objective, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.level import BROAD, FULL, LEVEL, QUICK, count
from tests.support.random_instances import random_instance
from tests.support.workloads import THROUGHPUT, known, needs_workloads, workload

COUNT = count(12)
FREE = Options(contiguous=False)


def value(instance, plan, options) -> float:
    return device_loads(instance, plan.device).objective_ms(options.communication, options.schedule)


@pytest.mark.parametrize("schedule", list(Schedule))
@pytest.mark.parametrize("communication", list(Communication))
def test_bound_optimum_plan(schedule, communication):
    options = Options(contiguous=False, schedule=schedule, communication=communication)
    found = []
    for seed in range(COUNT):
        instance = random_instance(
            seed, nodes=6, training=seed % 2 == 1, heterogeneous=seed % 3 == 0, overrides=seed % 5 == 0
        )
        optimum = throughput_optima(instance)["free", schedule.value, communication.value]
        outcome = solve(instance, options, Run(work_limit=5.0))
        if not np.isfinite(optimum):
            assert outcome.plan is None
            continue
        assert outcome.stop is not Stop.INFEASIBLE
        assert outcome.plan is not None
        assert violations(instance, outcome.plan, options) == []
        objective = value(instance, outcome.plan, options)
        assert outcome.bound_ms <= optimum * (1 + 1e-12) + 1e-12
        assert objective >= optimum * (1 - 1e-9)
        if objective - outcome.bound_ms <= options.gap * objective:
            assert outcome.stop is Stop.FINISHED
            assert objective <= optimum * (1 + options.gap) + 1e-12
        found.append(objective <= optimum * (1 + 1e-9))
    # A heuristic, but on graphs this small it has no excuse.
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("schedule", list(Schedule))
@pytest.mark.parametrize("communication", list(Communication))
def test_bound_on_contiguous_plans(schedule, communication):
    options = Options(schedule=schedule, communication=communication)
    for seed in range(COUNT):
        instance = random_instance(seed, nodes=6, training=seed % 2 == 1, heterogeneous=seed % 3 == 0)
        optimum = throughput_optima(instance)["ordered", schedule.value, communication.value]
        start = first_fit(instance, options, Run()).plan
        if start is not None:
            outcome = bound_contiguous(instance, options, Run(work_limit=5.0, start=start))
            assert outcome.bound_ms is not None
            assert outcome.bound_ms <= optimum * (1 + 1e-12) + 1e-12


def chain(count: int, transfer: float) -> Instance:
    """Make a chain of unit items for three devices."""
    return Instance.build(
        ids=[str(i) for i in range(count)],
        types=("gpu",),
        time_ms=[[1.0]] * count,
        transfer_ms=[transfer] * count,
        edges=[(i, i + 1) for i in range(count - 1)],
        classes=(DeviceClass("gpu", "gpu", 3, Kind.ACCELERATOR),),
    )


def test_proves_a_chain():
    # Three pieces of four: the middle one receives and sends, the others do one of both; shorter middle
    # pieces only lengthen the others.
    outcome = solve(chain(12, 0.25), FREE, Run(work_limit=20.0))
    assert value(chain(12, 0.25), outcome.plan, FREE) == pytest.approx(4.5)
    assert outcome.stop is Stop.FINISHED
    assert outcome.bound_ms == pytest.approx(4.5, rel=1e-4)


def test_a_sum_of_two_maxima_is_bounded():
    options = Options(contiguous=False, schedule=Schedule.GPIPE)
    instance = random_instance(3, nodes=6, training=True)
    outcome = solve(instance, options, Run(work_limit=5.0))
    optimum = throughput_optima(instance)["free", "gpipe", "sequential"]
    assert 0 < outcome.bound_ms <= optimum


def test_says_what_it_does_not_do():
    contiguous = solve(chain(4, 0.0), Options(), Run())
    latency = solve(chain(4, 0.0), Options(objective=Objective.LATENCY, contiguous=False), Run())
    assert contiguous.stop is latency.stop is Stop.NOT_APPLICABLE
    assert "contiguous" in contiguous.message
    assert "throughput" in latency.message


def test_nowhere_to_go_is_infeasible():
    instance = chain(3, 0.0).replace(forbid=((), ("gpu",), ()))
    outcome = solve(instance, FREE, Run())
    assert outcome.stop is Stop.INFEASIBLE
    assert "'1'" in outcome.message


def test_stops_when_interrupted():
    rng = np.random.default_rng(0)
    count = 300
    instance = chain(count, 0.3).replace(time_ms=rng.uniform(0.5, 2.0, (count, 1)))
    interrupt = threading.Event()
    threading.Timer(2.0, interrupt.set).start()
    run = Run(interrupt=interrupt)
    outcome = solve(instance, Options(contiguous=False, gap=0.0), run)
    after = run.seconds
    assert outcome.stop is Stop.INTERRUPTED
    assert violations(instance, outcome.plan, FREE) == []
    if outcome.bound_ms is not None:  # a busy machine may not come to one
        assert outcome.bound_ms <= value(instance, outcome.plan, FREE)
    assert after < 60.0


def test_a_start_is_never_lost():
    instance = chain(30, 0.1)
    best = solve(instance, FREE, Run(work_limit=10.0)).plan
    run = Run(time_limit=0.01, start=best)
    assert value(instance, solve(instance, FREE, run).plan, FREE) <= value(instance, best, FREE)


@pytest.mark.workload
@needs_workloads
def test_optimum_of_bert_l3():
    instance = workload("throughput", "operator_bert_l3_inference")
    optimum = known()["throughput"]["operator_bert_l3_inference"]["noncontiguous"]["optimum"]
    outcome = solve(instance, FREE, Run(time_limit=120.0))
    assert outcome.stop is Stop.FINISHED
    assert value(instance, outcome.plan, FREE) == pytest.approx(optimum, rel=1e-9)
    assert optimum * (1 - 1e-4) <= outcome.bound_ms <= optimum * (1 + 1e-9)


MINUTES = {
    "layer_inceptionv3_inference",
    "layer_resnet50_inference",
    "layer_resnet50_training",
    "operator_bert_l6_inference",
    "operator_bert_l6_training",
}
"""Column generation does not come to an end on these within some minutes."""


@pytest.mark.slow
@pytest.mark.workload
@needs_workloads
@pytest.mark.parametrize("name", THROUGHPUT)
def test_workloads_within_one_percent(name):
    if name in MINUTES and LEVEL in (QUICK, BROAD, FULL):
        pytest.skip("takes minutes: PLACER_TEST_LEVEL=stress runs it")
    instance = workload("throughput", name)
    reference = known()["throughput"][name]["noncontiguous"]
    best = reference["optimum"] if "optimum" in reference else reference["bracket"][1]
    outcome = solve(instance, FREE, Run(time_limit=300.0))
    objective = value(instance, outcome.plan, FREE)
    assert violations(instance, outcome.plan, FREE) == []
    # The search ends within the gap asked for.  References have four decimals or more; of one a plan is known
    # that is 1.3e-5 better.
    assert objective <= best * (1 + FREE.gap + 2e-5) + 1e-4
    assert outcome.bound_ms <= best * (1 + 1e-9)
    assert objective - outcome.bound_ms <= 0.01 * objective


def test_communication_models_differ():
    # Without contention for the device's time, transfers hide behind computation.
    instance = chain(12, 0.25)
    for communication, expected in ((Communication.OVERLAP, 4.0), (Communication.DUPLEX, 4.0)):
        options = Options(contiguous=False, communication=communication)
        outcome = solve(instance, options, Run(work_limit=10.0))
        assert value(instance, outcome.plan, options) == pytest.approx(expected)
        assert outcome.bound_ms == pytest.approx(expected, rel=1e-3)
