"""Every program, built, solved and decoded with no more around it, against brute force."""

import numpy as np
import pytest

from formulations.latency import ordered as latency_ordered
from formulations.latency import paper as latency_paper
from formulations.latency.latency_problem import LatencyProblem
from formulations.latency.network import along_tokens, long_paths, refine
from formulations.throughput import free, ordered, paper
from formulations.throughput.goals import Cap, Goal, GoalName
from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from placer.options import Communication, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.reductions.problem import contract
from placer.search.run import Run
from placer.solvers.highs import solve
from placer.solvers.solution import Settings, Status
from tests.support.brute import latency_optimum, throughput_optima
from tests.support.brute_features import candidates
from tests.support.level import seeds
from tests.support.random_instances import random_instance

THROUGHPUT = {"each": paper, "ordered": ordered, "free": free}
"""The program of each contiguity."""
EXACT = Settings(gap=0.0, feasibility=1e-7, confirm=True)


def drawn(seed: int, **more: bool):
    return random_instance(
        seed, nodes=4, training=seed % 2 == 0, heterogeneous=seed % 3 == 0, overrides=seed % 4 == 0, **more
    )


def solved(program):
    found = solve(program, Run(), EXACT)
    assert found.status in (Status.OPTIMAL, Status.INFEASIBLE)
    return found


@pytest.mark.parametrize("contiguity", THROUGHPUT)
@pytest.mark.parametrize("seed", seeds(12))
def test_throughput(seed, contiguity):
    instance, module = drawn(seed), THROUGHPUT[contiguity]
    schedule, communication = list(Schedule)[seed % 2], list(Communication)[seed % 3]
    optimum = throughput_optima(instance)[contiguity, str(schedule), str(communication)]
    problem = contract(instance, contiguous=contiguity == "ordered", keep_producers=True)
    params = ThroughputParams(
        schedule=schedule, communication=communication, each_contiguous=contiguity == "each"
    )
    program = module.build(problem, params)
    found = solved(program)
    if np.isinf(optimum):
        assert found.status is Status.INFEASIBLE
        return
    assert found.objective == pytest.approx(TIME_UNIT * optimum, rel=1e-6, abs=1e-6)
    device = problem.plan(module.decode(program.named(found.values), problem, params)).device
    assert violations(instance, Plan(device), Options(contiguous=contiguity == "ordered")) == []
    loads = device_loads(instance, device)
    assert loads.objective_ms(communication, schedule) == pytest.approx(optimum, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("contiguity", ["ordered", "free"])
@pytest.mark.parametrize("seed", seeds(10))
def test_goals(seed, contiguity):
    """Sums of the largest loads, then transfers, then devices: each minimal while the earlier ones hold."""
    instance, module = drawn(seed), THROUGHPUT[contiguity]
    kind = (contiguity, "1f1b", str(list(Communication)[seed % 3]))
    best = candidates(instance, kind).secondary({}, balance=True)
    problem = contract(instance, contiguous=contiguity == "ordered", keep_producers=True)
    if best is None:
        assert solved(module.build(problem, ThroughputParams())).status is Status.INFEASIBLE
        return
    goals = [Goal(GoalName.BALANCE, k + 1) for k in range(len(instance.devices))]
    goals += [Goal(GoalName.TRANSFERS), Goal(GoalName.DEVICES)]
    caps = ()
    for goal, value in zip(goals, best, strict=True):
        params = ThroughputParams(communication=Communication(kind[2]), goal=goal, caps=caps)
        found = solved(module.build(problem, params))
        unit = 1.0 if goal.name is GoalName.DEVICES else TIME_UNIT
        assert found.objective == pytest.approx(unit * value, rel=1e-5, abs=1e-4)
        caps = (*caps, Cap(goal, value * (1 + 1e-7) + 1e-7))


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("name", ["paper", "ordered"])
@pytest.mark.parametrize("seed", seeds(10))
def test_latency(seed, name, pieces):
    instance = drawn(seed, latency=True)
    optimum = latency_optimum(instance, pieces)
    problem = LatencyProblem.of(instance, pieces)
    if not np.isfinite(problem.least_ms).all():
        assert np.isinf(optimum)
        return
    upper = problem.safe_upper_ms
    if name == "paper":
        model = latency_paper.build(problem, upper)
        program, unit = model.program, model.unit_ms
    else:
        network = refine(
            along_tokens(problem, upper, long_paths(problem), arc_limit=1000, stopped=lambda _: False),
            arc_limit=1000,
            stopped=lambda _: False,
        )
        if not np.isfinite(network.bound_ms):
            assert np.isinf(optimum)
            return
        model = latency_ordered.build(problem, network, upper)
        program, unit = model.program, model.upper_ms
    found = solved(program)
    if np.isinf(optimum):
        assert found.status is Status.INFEASIBLE
        return
    assert found.objective * unit == pytest.approx(optimum, rel=1e-5, abs=1e-5)
    plan = model.decode(program.named(found.values) if name == "paper" else found.values)
    assert violations(instance, plan, Options(objective="latency", pieces=pieces)) == []
    assert latency_schedule(instance, plan).makespan_ms == pytest.approx(optimum, rel=1e-5, abs=1e-5)


def test_what_is_drawn_has_plans_and_has_none():
    """Otherwise the tests above would say little."""
    optima = [throughput_optima(drawn(seed))["ordered", "1f1b", "sequential"] for seed in range(12)]
    assert sum(np.isfinite(optima)) >= 8
    latencies = [latency_optimum(drawn(seed, latency=True), 1) for seed in range(10)]
    assert sum(np.isfinite(latencies)) >= 5
