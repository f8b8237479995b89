"""Both latency programs find the optimum that trying every plan finds."""

import threading

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.milp import milp_latency
from placer.methods.milp.milp_latency import solve
from placer.options import Objective, Options
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.reductions import hosts
from placer.search.run import Run
from tests.support.brute import latency_optimum
from tests.support.level import seeds
from tests.support.random_instances import random_instance, with_single_hosts
from tests.support.workloads import known, needs_workloads, workload

REFUTED = (130, 153, 256, 276)
"""Seeds on which HiGHS 1.15 went wrong with its presolve."""


def options(pieces: int, formulation: str = "ordered", gap: float = 0.0) -> Options:
    return Options(
        objective=Objective.LATENCY, pieces=pieces, formulation=formulation, method="milp", gap=gap
    )


def instance_of(seed: int, pieces: int) -> Instance:
    """One or two classes, pins or none, colocation, unsupported nodes, memory limits, zeros."""
    return with_single_hosts(
        random_instance(
            seed,
            nodes=5 if pieces == 1 else 4,
            heterogeneous=bool(seed & 1),
            overrides=seed % 3 == 2,
            latency=True,
        )
    )


def check(instance: Instance, chosen: Options, optimum: float, start: Plan | None = None) -> None:
    outcome = solve(instance, chosen, Run(start=start))
    if not np.isfinite(optimum):
        assert outcome.plan is None
        assert outcome.stop is Stop.INFEASIBLE
        return
    assert outcome.stop is Stop.FINISHED
    assert violations(instance, outcome.plan, chosen) == []
    value = latency_schedule(instance, outcome.plan).makespan_ms
    assert value == pytest.approx(optimum, rel=1e-5, abs=1e-9)
    assert optimum * (1 - 1e-4) - 1e-6 <= outcome.bound_ms <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", seeds(100))
@pytest.mark.parametrize("pieces", [1, 2])
def test_both_programs_are_optimal(seed, pieces):
    instance = instance_of(seed, pieces)
    optimum = latency_optimum(instance, pieces)
    for formulation in ("ordered", "paper"):
        check(instance, options(pieces, formulation), optimum)


@pytest.mark.parametrize("arcs", [pytest.param(0, marks=pytest.mark.slow), 8])
@pytest.mark.parametrize("pieces", [1, 2])
def test_program_without_a_full_network(monkeypatch, arcs, pieces):
    """The ordered program alone, or with a core of a few nodes, has the same optimum."""
    monkeypatch.setattr(milp_latency, "NETWORK_ARCS", arcs)
    for seed in seeds(100, 100):
        instance = instance_of(seed, pieces)
        check(instance, options(pieces), latency_optimum(instance, pieces))


@pytest.mark.parametrize(("seed", "pieces"), [(s, q) for s in REFUTED for q in (1, 2)])
def test_programs_that_presolve_got_wrong(monkeypatch, seed, pieces):
    monkeypatch.setattr(milp_latency, "NETWORK_ARCS", 0)
    instance = with_single_hosts(
        random_instance(
            seed,
            nodes=7 - pieces,
            heterogeneous=seed % 2 == 1,
            overrides=seed % 3 == 2,
            latency=True,
        )
    )
    optimum = latency_optimum(instance, pieces)
    for formulation in ("ordered", "paper"):
        check(instance, options(pieces, formulation), optimum)


@pytest.mark.parametrize("formulation", ["ordered", "paper"])
def test_pieces_without_time_do_not_wait_for_each_other(formulation):
    """{a, d} and {c, b} would each need the other first; in no time this is still no plan."""
    instance = Instance.build(
        ids="abcd",
        types=("gpu",),
        time_ms=np.zeros((4, 1)),
        edges=[(0, 1), (2, 3)],
        classes=(DeviceClass("acc", "gpu", 2, Kind.ACCELERATOR),),
        colocate=["p", "r", "r", "p"],
        forbid=[("acc1",), ("acc0",), (), ()],
    )
    outcome = solve(instance, options(1, formulation), Run())
    assert outcome.stop is Stop.INFEASIBLE
    # With two pieces on one of them the two groups can be interleaved.
    outcome = solve(instance, options(2, formulation), Run())
    assert outcome.stop is Stop.FINISHED
    assert violations(instance, outcome.plan, options(2)) == []


@pytest.mark.parametrize("formulation", ["ordered", "paper"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_start_is_used(formulation, pieces):
    """A valid start comes back at once when there is no time for anything better."""
    used = 0
    for seed in range(40):
        instance = instance_of(seed, pieces)
        best = solve(instance, options(pieces), Run())
        if best.plan is None:
            continue
        again = solve(instance, options(pieces, formulation), Run(start=best.plan))
        assert again.stats.get("start_used", "True") == "True"
        assert latency_schedule(instance, again.plan).makespan_ms == pytest.approx(
            latency_schedule(instance, best.plan).makespan_ms, rel=1e-6
        )
        used += "start_used" in again.stats
    assert used > 20


def test_interrupt_keeps_the_start():
    instance = instance_of(3, 1)
    best = solve(instance, options(1), Run())
    stop = threading.Event()
    stop.set()
    outcome = solve(instance, options(1), Run(start=best.plan, interrupt=stop))
    assert outcome.plan is not None
    assert outcome.stop in (Stop.INTERRUPTED, Stop.FINISHED)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", ["layer_bert24_inference", "layer_resnet50_inference"])
def test_known_optima(name):
    instance = hosts.apply(workload("latency", name))[0]
    chosen = options(1, gap=1e-4)
    outcome = solve(instance, chosen, Run(time_limit=300))
    assert violations(instance, outcome.plan, chosen) == []
    optimum = known()["latency_q1"][name]["optimum"]
    assert latency_schedule(instance, outcome.plan).makespan_ms == pytest.approx(optimum, rel=1e-4)
    assert optimum * (1 - 1e-4) <= outcome.bound_ms <= optimum * (1 + 1e-8)
