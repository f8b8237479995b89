"""Secondary goals: values against trying every assignment, and what a user sees."""

import numpy as np
import pytest

from formulations.throughput.goals import Goal, GoalName
from placer.errors import UsageError
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.secondary import measure
from placer.options import Options
from placer.plans.check import check, plan_of
from placer.solving.solve import solve
from tests.support.brute import KINDS
from tests.support.brute_features import candidates
from tests.support.level import seeds
from tests.support.random_instances import random_instance


def values(instance: Instance, result) -> list[float]:
    """Values of the goals, in their order, under a result's plan."""
    options, plan = result.options, plan_of(instance, result)
    goals = [Goal(GoalName.CHANGES)] if options.near else []
    if options.balance:
        goals += [Goal(GoalName.BALANCE, k + 1) for k in range(len(instance.devices))]
        goals += [Goal(GoalName.TRANSFERS), Goal(GoalName.DEVICES)]
    return [measure(instance, plan, options, goal) for goal in goals]


@pytest.mark.parametrize("seed", seeds(40))
def test_goals_against_brute_force(seed):
    instance = random_instance(
        seed, nodes=5, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=bool(seed & 4)
    )
    rng = np.random.default_rng(seed)
    names = [d.name for d in instance.devices]
    near = {v: str(rng.choice(names)) for v in instance.ids} if seed % 3 else {}
    kinds = [k for k in KINDS if k[0] != "each"]
    for i in rng.choice(len(kinds), 4, replace=False):
        contiguity, schedule, communication = kinds[i]
        balance = not near or bool(rng.random() < 0.5)
        best = candidates(instance, kinds[i]).secondary(near, balance=balance)
        result = solve(
            instance,
            method="milp",
            gap=0.0,
            contiguous=contiguity == "ordered",
            schedule=schedule,
            communication=communication,
            near=near,
            balance=balance,
        )
        if best is None:
            assert result.assignment is None
            continue
        assert values(instance, result) == pytest.approx(best, rel=1e-6, abs=1e-6), result.stats
        assert check(instance, result) == []


def branches() -> Instance:
    """A heavy node that bounds the objective, and light ones that may lie anywhere."""
    return Instance.build(
        ids=["heavy", "a", "b", "c", "d"],
        types=["gpu"],
        time_ms=[[9.0], [2.0], [2.0], [2.0], [2.0]],
        edges=[(0, 1), (0, 2), (0, 3), (0, 4)],
        classes=[DeviceClass("gpu", "gpu", 3)],
    )


def test_light_loads_are_balanced():
    result = solve(branches(), balance=True)
    assert sorted(d.load_ms for d in result.devices) == [4.0, 4.0, 9.0]
    assert "best balance proven" in result.message


def test_slack_allows_a_worse_objective():
    instance = branches()
    near = dict.fromkeys(instance.ids, "gpu0") | {"d": "gpu1"}
    stay = solve(instance, near=near, slack=1.0)
    assert stay.assignment == near
    assert stay.objective == 15.0
    moved = solve(instance, near=near)
    assert moved.objective == 9.0
    assert [v for v in instance.ids if moved.assignment[v] != near[v]] == ["heavy"]


def test_devices_are_renamed_to_stay_near():
    instance = branches()
    first = solve(instance, balance=True)
    swap = {"gpu0": "gpu2", "gpu1": "gpu0", "gpu2": "gpu1"}
    near = {v: swap[d] for v, d in first.assignment.items()}
    assert solve(instance, near=near).assignment == near


def test_measure_counts_unknown_devices_as_moved():
    instance = branches()
    plan = plan_of(instance, solve(instance))
    assert measure(instance, plan, Options(near={"a": "tpu0"}), Goal(GoalName.CHANGES)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "latency", "balance": True}, "throughput only"),
        ({"method": "milp", "formulation": "paper", "balance": True}, "formulation ordered"),
        ({"slack": -0.1}, "option slack"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        solve(branches(), **options)


def test_plans_within_the_solvers_tolerance_prove_nothing():
    """Both nodes on one device take 60,000,001 ms, which the solver cannot tell from 60,000,000."""
    instance = Instance.build(
        ids=["long", "short"],
        types=["gpu", "cpu"],
        time_ms=[[6e7, np.inf], [1.0, 0.0]],
        edges=[],
        classes=[DeviceClass("gpu", "gpu", 3), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )
    result = solve(instance, method="milp", near={"short": "gpu0"})
    assert result.objective == 6e7
    assert values(instance, result)[0] == 1 or "not proven" in result.message
