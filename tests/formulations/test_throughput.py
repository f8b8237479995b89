"""Every valid plan is a point of the programs, with its own objective; decoding inverts encoding."""

import itertools

import numpy as np
import pytest

from formulations.throughput import free as throughput_free
from formulations.throughput import ordered as throughput_ordered
from formulations.throughput import paper as throughput_paper
from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from placer.options import Communication, Options, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.reductions.kinds import kinds_of
from placer.reductions.problem import contract
from placer.reductions.throughput_merges import merge_directions
from placer.reductions.windows import windows
from placer.search.run import Run
from placer.solvers.highs import solve
from tests.support.random_instances import random_instance

PROGRAMS = {
    "ordered": (throughput_ordered, Options()),
    "free": (throughput_free, Options(contiguous=False)),
    "paper": (throughput_paper, Options(method="milp", formulation="paper")),
}


def some_plans(instance, options, count, seed):
    rng = np.random.default_rng(seed)
    every = itertools.product(range(len(instance.devices)), repeat=instance.n)
    valid = [
        np.array(p) for p in every if not violations(instance, Plan(np.array(p, dtype=np.int64)), options)
    ]
    return [valid[i] for i in rng.permutation(len(valid))[:count]]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("seed", range(10))
def test_plans_are_points_with_their_objective(name, seed):
    module, base = PROGRAMS[name]
    schedule = list(Schedule)[seed % 2]
    communication = list(Communication)[seed % 3]
    instance = random_instance(
        seed, nodes=4, training=seed % 2 == 0, heterogeneous=seed % 3 == 0, overrides=seed % 4 == 0
    )
    options = base.model_copy(update={"schedule": schedule, "communication": communication})
    problem = merge_directions(
        contract(instance, contiguous=name == "ordered", keep_producers=True), schedule, communication
    )
    for device in some_plans(instance, options, 3, seed):
        objective = device_loads(instance, device).objective_ms(communication, schedule)
        if objective == 0.0:
            continue
        params = ThroughputParams(
            schedule=schedule,
            communication=communication,
            unit_ms=objective,
            upper_bound_ms=objective if name != "paper" else None,
            windows=windows(problem, kinds_of(problem), objective) if name == "ordered" else None,
            each_contiguous=name == "paper",
        )
        program = module.build(problem, params)
        items = device[[nodes[0] for nodes in problem.members]]
        values = module.encode(items, problem, params)
        assert set(values) <= set(program.names)
        found = solve(program.fixed(program.point(values)), Run())
        assert found.objective == pytest.approx(TIME_UNIT, rel=1e-7)
        again = problem.plan(module.decode(program.named(found.values), problem, params)).device
        assert violations(instance, Plan(again), options) == []
        assert device_loads(instance, again).objective_ms(communication, schedule) == pytest.approx(objective)
        together = [frozenset(np.flatnonzero(d == i)) for d in (device, again) for i in set(d.tolist())]
        assert len(set(together)) == len(together) / 2


def test_ordered_program_refuses_a_plan_that_is_not_contiguous():
    instance = random_instance(3, nodes=4)
    chain = instance.replace(edges=np.array([[0, 1], [1, 2]]), colocate=(None,) * instance.n)
    problem = contract(chain, contiguous=True)
    with pytest.raises(ValueError, match="not contiguous"):
        throughput_ordered.encode(np.array([0, 1, 0, 0])[: problem.size], problem, ThroughputParams())
