"""One incumbent: plans that hold, bounds that no plan refutes, and where both come from."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.options import Objective, Options, Recompute, Schedule
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Run


def chain(**changes: object) -> Instance:
    """Three nodes of 1, 2 and 3 ms, without transfers, on two accelerators."""
    fields: dict[str, object] = {
        "ids": "abc",
        "types": ("gpu",),
        "time_ms": [1.0, 2.0, 3.0],
        "edges": [(0, 1), (1, 2)],
        "classes": [DeviceClass("gpu", "gpu", 2)],
    }
    return Instance.build(**(fields | changes))


def plan(*device: int) -> Plan:
    return Plan(np.array(device))


def started(**changes: object) -> tuple[Incumbent, list[Plan]]:
    kept: list[Plan] = []
    return Incumbent(chain(), Options(), Run(on_plan=kept.append, **changes)), kept


def test_takes_better_plans_alone_and_hands_them_on():
    best, kept = started()
    assert best.offer(plan(0, 0, 0), "first") == 6.0
    assert best.offer(plan(0, 0, 1), "second") == 3.0
    assert best.offer(plan(0, 1, 1), "third") == 5.0
    assert best.value == 3.0
    assert [p.device.tolist() for p in kept] == [[0, 0, 0], [0, 0, 1]]
    assert [point.incumbent_ms for point in best.run.history] == [6.0, 3.0]


def test_a_plan_that_breaks_a_rule_is_none():
    best, kept = started()
    assert best.offer(plan(0, 1, 0), "wrong") == np.inf
    assert "not contiguous" in best.broken
    assert best.plan is None
    assert kept == []
    best.offer(plan(0, 0, 1), "right")
    assert best.broken == ""


def test_the_best_bound_of_several_sources_never_exceeds_the_plan():
    best, _ = started()
    best.raise_bound(1.0, "work")
    best.raise_bound(2.5, "solver")
    best.raise_bound(2.0, "solver")
    assert (best.bound, best.bound_from) == (2.5, "solver")
    best.offer(plan(0, 0, 1), "search")
    best.raise_bound(3.0 + 1e-10, "search")  # rounding
    assert best.bound == 3.0
    assert best.proven
    assert [point.bound_ms for point in best.run.history] == [1.0, 2.5, 2.5, 3.0]


def test_a_plan_refutes_the_bounds_above_it_and_no_others():
    best, _ = started(bound_ms=2.0)
    best.raise_bound(1.0, "work")
    best.raise_bound(4.0, "solver")
    assert best.bound == 4.0
    best.offer(plan(0, 0, 1), "search")
    assert (best.bound, best.bound_from) == (2.0, "given")
    best.raise_bound(3.1, "work")  # the plan is known by now
    assert (best.bound, best.bounds["work"]) == (2.0, 1.0)
    assert not best.is_within(0.3)
    assert best.is_within(0.34)


def test_nothing_is_proven_without_a_plan():
    best, _ = started(bound_ms=2.0)
    assert not best.is_within(1.0)
    outcome = best.outcome(Stop.TIME_LIMIT, "why", {"nodes": 1})
    assert (outcome.plan, outcome.bound_ms, outcome.message, outcome.stats) == (
        None,
        2.0,
        "why",
        {"nodes": 1},
    )
    assert best.outcome(Stop.INFEASIBLE).bound_ms is None
    unknown, _ = started()
    unknown.offer(plan(0, 0, 1), "search")
    assert unknown.outcome(Stop.FINISHED).bound_ms is None


def test_values_are_those_of_the_objective():
    best = Incumbent(chain(), Options(objective=Objective.LATENCY), Run())
    assert best.offer(Plan(np.array([0, 0, 1]), np.zeros(3, dtype=np.int64)), "pieces") == 6.0


@pytest.mark.parametrize(("limit", "again"), [(8.0, ()), (7.0, (0,))])
def test_devices_recompute_where_they_must(limit, again):
    instance = chain(
        ids="abcd",
        time_ms=[1.0, 2.0, 2.0, 2.0],
        edges=[(0, 1), (1, 2), (2, 3)],
        backward=[False, False, True, True],
        memory_bytes=[1.0, 1.0, 1.0, 1.0],
        activation_bytes=[1.0, 1.0, 0.0, 0.0],
        classes=[DeviceClass("gpu", "gpu", 1, memory_limit_bytes=limit)],
    )
    options = Options(recompute=Recompute.AUTO, microbatches=2, schedule=Schedule.GPIPE)
    best = Incumbent(instance, options, Run())
    assert best.offer(plan(0, 0, 0, 0), "all") == (7.0 if not again else 10.0)
    assert best.plan.recompute == again
