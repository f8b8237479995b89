"""The integer programs find the optimum that trying every assignment finds, for every kind of plan."""

import threading

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.milp import milp
from placer.methods.milp.milp import solve
from placer.options import Communication, Formulation, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Outcome, Run
from tests.support.brute import KINDS, throughput_optima
from tests.support.level import seeds
from tests.support.random_instances import random_instance
from tests.support.workloads import THROUGHPUT, known, needs_workloads, workload


def options(kind: tuple[str, str, str], formulation: str = "ordered", gap: float = 0.0) -> Options:
    contiguity, schedule, communication = kind
    return Options(
        contiguous=contiguity != "free",
        schedule=schedule,
        communication=communication,
        method="milp",
        formulation="paper" if contiguity == "each" else formulation,
        gap=gap,
    )


def check(instance: Instance, chosen: Options, optimum: float, start: Plan | None = None) -> None:
    outcome = solve(instance, chosen, Run(start=start))
    if not np.isfinite(optimum):
        assert outcome.plan is None
        assert outcome.stop is Stop.INFEASIBLE
        return
    assert outcome.stop is Stop.FINISHED
    assert violations(instance, outcome.plan, chosen) == []
    value = device_loads(instance, outcome.plan.device).objective_ms(chosen.communication, chosen.schedule)
    assert value == pytest.approx(optimum, rel=1e-6, abs=1e-9)
    if optimum > 0:
        assert optimum * (1 - 1e-5) <= outcome.bound_ms <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", seeds(100))
def test_every_kind_of_plan_is_optimal(seed):
    """All 18 kinds on one instance: inference and training, one or two accelerator classes, pins or none."""
    instance = random_instance(
        seed, nodes=5, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=bool(seed & 4)
    )
    optima = throughput_optima(instance)
    for kind in KINDS:
        check(instance, options(kind), optima[kind])
        if kind[0] == "free":
            check(instance, options(kind, "paper"), optima[kind])


@pytest.mark.parametrize("seed", seeds(25, 1000))
def test_larger_graphs_with_a_random_valid_start(seed):
    instance = random_instance(seed, nodes=7, training=bool(seed & 1))
    optima = throughput_optima(instance)
    for kind in KINDS[::4]:
        chosen = options(kind)
        rng = np.random.default_rng(seed)
        tries = (Plan(rng.integers(0, len(instance.devices), instance.n)) for _ in range(200))
        start = next((plan for plan in tries if not violations(instance, plan, chosen)), None)
        check(instance, chosen, optima[kind], start)


@pytest.mark.parametrize("seed", seeds(12, 2000))
def test_column_generation_hands_over_what_is_right(seed, monkeypatch):
    monkeypatch.setattr(milp, "FIRST_FREE", (0.0, 0.0))
    instance = random_instance(seed, nodes=7, training=bool(seed & 1), heterogeneous=bool(seed & 2))
    optima = throughput_optima(instance)
    for kind in KINDS:
        if kind[0] == "free":
            check(instance, options(kind), optima[kind])


def test_column_generation_is_asked_where_the_program_takes_long(monkeypatch):
    asked = []

    def colgen(instance: Instance, options: Options, run: Run) -> Outcome:
        asked.append(run.start)
        return column_generation(instance, options, run)

    column_generation = milp.colgen.solve
    monkeypatch.setattr(milp.colgen, "solve", colgen)
    monkeypatch.setattr(milp, "FIRST_FREE", (0.0, 0.0))
    rng = np.random.default_rng(0)
    instance = chain(rng.uniform(1, 2, 40).tolist(), 5, transfer=0.1)
    outcome = solve(instance, Options(method="milp", contiguous=False, gap=1e-2), Run())
    assert len(asked) == 1
    assert violations(instance, asked[0], Options()) == []
    assert outcome.stop is Stop.FINISHED


def chain(times: list[float], devices: int, transfer: float = 0.0, memory: float = 0.0) -> Instance:
    """A chain of nodes on identical accelerators."""
    n = len(times)
    return Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=["gpu"],
        time_ms=times,
        memory_bytes=[memory] * n,
        transfer_ms=[transfer] * n,
        edges=[(i, i + 1) for i in range(n - 1)],
        classes=[DeviceClass("acc", "gpu", devices, Kind.ACCELERATOR, 2.0)],
    )


def test_memory_decides():
    """Four unit nodes of one byte on two devices of two bytes: two and two; with 1.01 bytes each: none."""
    outcome = solve(chain([1, 1, 1, 1], 2, memory=1.0), Options(method="milp"), Run())
    assert sorted(np.bincount(outcome.plan.device).tolist()) == [2, 2]
    outcome = solve(chain([1, 1, 1, 1], 2, memory=1.01), Options(method="milp"), Run())
    assert outcome.stop is Stop.INFEASIBLE


@pytest.mark.parametrize("formulation", ["ordered", "paper"])
@pytest.mark.parametrize("contiguous", [True, False])
def test_memory_over_the_limit_by_a_millionth_is_refused(formulation, contiguous):
    """The tolerance of the solver must not let a plan exceed a limit by more than rounding."""
    instance = chain([1, 1], 1, memory=1.0 + 1e-7)
    chosen = Options(method="milp", contiguous=contiguous, formulation=formulation)
    outcome = solve(instance, chosen, Run())
    assert outcome.plan is None
    assert outcome.stop is Stop.INFEASIBLE


def test_all_times_zero():
    outcome = solve(chain([0, 0, 0], 2), Options(method="milp"), Run())
    assert outcome.stop is Stop.FINISHED
    assert outcome.plan is not None


def test_interrupt_before_the_start_still_hands_back_a_first_plan():
    interrupt = threading.Event()
    interrupt.set()
    outcome = solve(random_instance(60, nodes=12), Options(method="milp"), Run(interrupt=interrupt))
    assert outcome.stop is Stop.INTERRUPTED
    assert outcome.plan is not None


def test_given_bound_and_start_are_kept():
    instance = chain([1, 2, 3, 4], 2)
    start = Plan(np.array([0, 0, 0, 1]))
    outcome = solve(instance, Options(method="milp", gap=0.5), Run(start=start, bound_ms=5.5))
    assert outcome.bound_ms >= 5.5
    assert device_loads(instance, outcome.plan.device).compute_ms.sum(axis=0).max() == 6.0


def test_same_seed_same_plan():
    instance = random_instance(88, nodes=12, training=True)
    plans = [solve(instance, Options(method="milp", seed=3), Run()).plan for _ in range(2)]
    assert (plans[0].device == plans[1].device).all()


def test_progress_is_reported_with_bounds_below_objectives():
    run = Run()
    solve(random_instance(78, nodes=12), Options(method="milp"), run)
    assert run.history
    for point in run.history:
        if point.incumbent_ms is not None and point.bound_ms is not None:
            assert point.bound_ms <= point.incumbent_ms


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", [n for n in THROUGHPUT if n.startswith("layer")])
def test_layer_workloads_reach_the_known_contiguous_optimum(name):
    instance = workload("throughput", name)
    chosen = Options(method="milp", formulation=Formulation.ORDERED)
    outcome = solve(instance, chosen, Run(time_limit=300))
    optimum = known()["throughput"][name]["contiguous"]["optimum"]
    value = device_loads(instance, outcome.plan.device).objective_ms(chosen.communication, chosen.schedule)
    assert violations(instance, outcome.plan, chosen) == []
    assert value <= optimum * (1 + 1e-4)
    assert outcome.bound_ms <= optimum * (1 + 1e-9)
    assert outcome.bound_ms >= value * (1 - 1e-4)


def test_an_optimum_that_presolve_must_not_lose():
    """One accelerator for `c`, one for `a`, one for the rest: 8 ms; with `a` and `c` on one it is 8.5."""
    instance = Instance.build(
        ids=["a", "b", "c", "d", "e"],
        types=["gpu", "cpu"],
        time_ms=[[8.0, np.inf], [0.0, 0.0], [0.5, np.inf], [np.inf, 6.0], [1.0, 7.0]],
        transfer_ms=[4.0, 0.0, 0.0, 3.0, 1.5],
        edges=[(2, 0), (2, 3), (0, 4), (4, 1), (3, 1)],
        classes=[DeviceClass("gpu", "gpu", 3), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )
    outcome = solve(instance, Options(method="milp", communication="duplex", gap=1e-5), Run())
    assert outcome.plan is not None
    loads = device_loads(instance, outcome.plan.device)
    assert loads.objective_ms(Communication.DUPLEX, Schedule.ONE_F_ONE_B) == 8.0
    assert outcome.bound_ms == pytest.approx(8.0, rel=1e-5)
