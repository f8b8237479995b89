"""Among plans that are equally fast the one with the shorter pipeline wins."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from placer.formats.files import load
from placer.instance.instance import Instance
from placer.methods.step import shorter_pipeline
from placer.options import Objective, Options
from placer.plans.check import check, plan_of
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Outcome, Run
from placer.solving.solve import solve
from tests.simulation.test_by_hand import chain
from tests.support.level import seeds
from tests.support.random_instances import random_instance

CASE = Path(__file__).resolve().parents[3] / "shared/cases/forty_on_sixteen.json"


def on_accelerators(instance: Instance, count: int) -> Instance:
    first, *others = instance.classes
    return instance.replace(classes=(replace(first, count=count), *(replace(c, count=0) for c in others)))


def improved(instance: Instance, plan: Plan, **changes: object) -> Plan:
    options = Options(**changes)
    found = shorter_pipeline.improve(instance, options, Run(), Outcome(Stop.FINISHED, plan, 1.0))
    assert found.plan is not None
    assert violations(instance, found.plan, options) == []
    return found.plan


def test_a_stage_that_only_lengthens_the_pipeline_goes() -> None:
    """4 + 1 | 1 + 1 + 1 and 4 + 1 | 1 + 1 + 1 | 1 + 1 ms are equally fast; a sample takes 8 and 10 ms."""
    instance = on_accelerators(chain([4, 1, 1], transfer=1), 3)
    three, two = (Plan(np.array(d), stages=tuple(sorted(set(d)))) for d in ([0, 1, 2], [0, 1, 1]))
    assert objective_of(instance, three, Options()) == objective_of(instance, two, Options()) == 5.0
    assert len(improved(instance, three).used) == 2
    assert improved(instance, two) is two
    assert len({*solve(instance).assignment.values()}) == 2


def test_in_training_light_stages_come_where_they_shorten_the_step() -> None:
    """Six layers of 1 + 2 ms on four devices take 6 ms; the first stages do best with one."""
    groups = tuple(f"layer{min(v, 11 - v)}" for v in range(12))
    instance = chain([1] * 6 + [2] * 6, backward=6, microbatches=8).replace(colocate=groups)
    instance = on_accelerators(instance, 4)
    layers = np.array([0, 0, 1, 1, 2, 2])
    plan = Plan(np.concatenate([layers, layers[::-1]]), stages=(0, 1, 2))
    step = Options(objective="step")
    better = improved(instance, plan)
    assert objective_of(instance, better, Options()) == objective_of(instance, plan, Options()) == 6.0
    assert objective_of(instance, plan, step) == (8 + 3 - 1) * 6
    assert objective_of(instance, better, step) == solve(instance, objective="step").objective < 60.0


@pytest.mark.parametrize("seed", seeds(16))
def test_no_plan_that_is_as_fast_has_a_shorter_pipeline(seed: int) -> None:
    instance = random_instance(seed, nodes=5, training=bool(seed % 2))
    if len(instance.devices) > 3:
        return
    result = solve(instance, method="dp", gap=1e-9)
    if result.assignment is None:
        return
    options, step = Options(), Options(objective=Objective.STEP)
    assert check(instance, result) == []
    best = np.inf
    for device in itertools.product(range(len(instance.devices)), repeat=instance.n):
        plan = Plan(np.array(device))
        if not instance.allowed[range(instance.n), plan.device].all():
            continue
        if objective_of(instance, plan, options) > result.objective * (1 + 1e-12):
            continue
        if violations(instance, plan, options) == []:
            best = min(best, objective_of(instance, plan, step))
    assert objective_of(instance, plan_of(instance, result), step) <= best * (1 + 1e-9)


def test_when_it_is_asked() -> None:
    assert shorter_pipeline.is_asked(Options())
    for changes in ({"balance": True}, {"replicas": 2}, {"contiguous": False}, {"method": "single"}):
        assert not shorter_pipeline.is_asked(Options(**changes))


@pytest.mark.skipif(not CASE.exists(), reason="needs the shared cases")
def test_forty_layers_leave_no_device_empty() -> None:
    """Fourteen devices are as fast in the steady state; with sixteen the step is 4.6 % shorter."""
    instance = load(CASE)
    result = solve(instance)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(79.890944459)
    assert len({*result.assignment.values()}) == 16
    step = objective_of(instance, plan_of(instance, result), Options(objective="step"))
    assert step == pytest.approx(3371.773582752816)


def test_large_graphs_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables of stages would take longer than all that came before."""
    monkeypatch.setattr(shorter_pipeline, "CELLS", -1)
    monkeypatch.setattr(shorter_pipeline, "all_downsets", None)  # would fail if it were called
    instance = random_instance(1, nodes=5)
    assert solve(instance, gap=0.0).gap == 0.0
