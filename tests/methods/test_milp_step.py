"""The program for the shortest step, against brute force, the dynamic program and a case by hand."""

import numpy as np
import pytest

from formulations.throughput import ordered
from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from formulations.throughput.step_rows import StepRules
from placer.plans.check import check
from placer.plans.result import Status
from placer.plans.step_time import longest_path
from placer.reductions.problem import contract
from placer.search.run import Run
from placer.solvers import highs
from placer.solvers.solution import Settings
from placer.solving.solve import solve
from tests.methods.test_step import brute, chain, drawn
from tests.support.brute_step import makespan
from tests.support.level import first, seeds


@pytest.mark.parametrize("seed", seeds(64, start=300_000))
def test_plans_are_the_shortest_there_are(seed: int) -> None:
    instance, options = first(drawn, seed)
    expected = brute(instance, options)
    result = solve(instance, options.model_copy(update={"method": "milp", "gap": 1e-6}))
    if expected == np.inf:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert result.bound <= expected * (1 + 1e-9)
    assert result.objective == pytest.approx(expected, rel=2e-6)
    assert check(instance, result) == []


@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
def test_it_agrees_with_the_dynamic_program(schedule: str) -> None:
    instance = chain(10, 3, memory=28.0)
    instance = instance.replace(time_ms=instance.time_ms * np.linspace(1.0, 1.7, instance.n)[:, None])
    found = [
        solve(instance, objective="step", microbatches=7, schedule=schedule, method=method, gap=1e-6)
        for method in ("dp", "milp")
    ]
    assert [r.status for r in found] == [Status.OPTIMAL] * 2
    assert found[0].objective == pytest.approx(found[1].objective, rel=1e-6)


def test_the_longest_path_of_a_plan_closes_what_the_rows_leave_open() -> None:
    """F = (0, 1, 0), B = (1, 0, 0), two microbatches: 4 ms, of which the rows see 3."""
    forward, backward = [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]
    assert makespan(forward, backward, 2, "1f1b") == 4.0
    pinned = tuple((f"gpu{i}",) for i in range(3))
    instance = chain(3, 3).replace(time_ms=np.array([*forward, *backward])[:, None], pin=(*pinned, *pinned))
    problem = contract(instance, contiguous=True)
    for paths, expected in (((), 3.0), ((longest_path(forward, backward, 2),), 4.0)):
        params = ThroughputParams(step=StepRules(2, flow=False, paths=paths))
        found = highs.solve(ordered.build(problem, params), Run(), Settings(gap=0.0))
        assert found.objective / TIME_UNIT * 2 == pytest.approx(expected)
    result = solve(instance, objective="step", method="milp", microbatches=2, gap=1e-6)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(4.0)
