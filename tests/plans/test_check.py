"""A result is accepted as written, and every kind of alteration is noticed."""

import json

import numpy as np
import pytest

from placer.errors import VerificationError
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.options import Objective, Options
from placer.plans.check import check
from placer.plans.plan import Plan
from placer.plans.result import Result, Status
from placer.plans.status import Stop
from placer.search.run import Outcome, Run
from placer.solving.to_result import to_result

DEVICE = np.array([0, 0, 1, 2])


@pytest.fixture
def instance() -> Instance:
    """A chain a -> b -> c -> d, each 2 ms on an accelerator and 3 on the host, transfers of 1 ms."""
    return Instance.build(
        name="chain",
        ids=["a", "b", "c", "d"],
        types=["gpu", "cpu"],
        time_ms=[[2, 3]] * 4,
        transfer_ms=[1, 1, 1, 0],
        memory_bytes=[4, 4, 4, 4],
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=[
            DeviceClass("acc", "gpu", 2, Kind.ACCELERATOR, 10),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ],
    )


def result_of(instance: Instance, plan: Plan | None, bound: float | None, **options) -> Result:
    stop = Stop.FINISHED if plan is not None else Stop.INFEASIBLE
    return to_result(instance, instance, Options(**options), Outcome(stop, plan, bound), Run())


def test_figures_by_hand(instance):
    """acc0 computes 4 and sends 1; acc1 receives 1, computes 2 and sends 1; the host computes 3."""
    result = result_of(instance, Plan(DEVICE), 4.5)
    assert [d.load_ms for d in result.devices] == [5, 4, 3]
    assert (result.objective, result.bound, result.gap) == (5, 4.5, 0.1)
    assert result.status is Status.FEASIBLE
    assert result.assignment == {"a": "acc0", "b": "acc0", "c": "acc1", "d": "cpu0"}
    assert check(instance, result) == []


def test_latency_by_hand(instance):
    """Pieces take 5 and 4 ms in sequence, then 3 ms on the host."""
    plan = Plan(DEVICE, np.array([0, 0, 0, -1]))
    result = result_of(instance, plan, 12.0, objective=Objective.LATENCY)
    assert result.objective == 12
    assert result.status is Status.OPTIMAL
    assert [(p.device, p.order, p.nodes, p.start_ms, p.finish_ms) for p in result.pieces] == [
        ("acc0", 0, ["a", "b"], 0, 5),
        ("acc1", 0, ["c"], 5, 9),
    ]
    assert check(instance, result) == []


def test_a_document_survives_the_round_trip(instance):
    result = result_of(instance, Plan(DEVICE), 4.5)
    assert check(instance, Result.model_validate_json(result.to_json())) == []


ALTERATIONS = [
    (["objective"], 4.9),
    (["bound"], 4.9),
    (["bound"], 5.5),
    (["gap"], 0.0),
    (["status"], "optimal"),
    (["assignment", "b"], "acc1"),
    (["assignment", "b"], "acc7"),
    (["assignment", "z"], "acc1"),
    (["devices", 1, "load_ms"], 3.0),
    (["devices", 0, "memory_bytes"], 0.0),
    (["devices", 2, "nodes"], []),
    (["instance", "sha256"], "0" * 64),
    (["options", "contiguous"], False),
    (["method"], "dp"),
    (["runtime_s"], 0.25),
]


@pytest.mark.parametrize(("path", "value"), ALTERATIONS)
@pytest.mark.parametrize("reseal", [False, True])
def test_alterations_are_noticed(instance, path, value, reseal):
    """Even when the forger recomputes the digest, whatever can be recomputed from the instance is."""
    document = json.loads(result_of(instance, Plan(DEVICE), 4.5).to_json())
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    altered = Result.model_validate_json(json.dumps(document))
    claims = path[0] in ("options", "method", "runtime_s") or (path == ["bound"] and value == 4.9)
    if reseal and claims and path != ["bound"]:
        return  # not a statement about the plan that the instance could contradict
    found = check(instance, altered.sealed() if reseal else altered)
    assert found, f"{path} = {value!r} was not noticed"
    if not reseal:
        assert any("altered" in line for line in found)


def test_a_missing_node_is_noticed(instance):
    document = json.loads(result_of(instance, Plan(DEVICE), 4.5).to_json())
    del document["assignment"]["c"]
    found = check(instance, Result.model_validate_json(json.dumps(document)))
    assert "node 'c' is not assigned" in found


def test_a_plan_that_does_not_hold_never_becomes_a_result(instance):
    with pytest.raises(VerificationError, match="acc0 holds 16 bytes"):
        result_of(instance, Plan(np.zeros(4, dtype=np.int64)), None)
    with pytest.raises(VerificationError, match="not contiguous"):
        result_of(instance, Plan(np.array([0, 1, 0, 1])), None)


def test_a_bound_above_the_objective_never_becomes_a_result(instance):
    with pytest.raises(VerificationError, match="claims the bound"):
        result_of(instance, Plan(DEVICE), 5.01)


def test_an_infeasible_result_has_no_figures(instance):
    result = result_of(instance, None, None)
    assert (result.status, result.objective, result.gap, result.assignment) == (
        Status.INFEASIBLE,
        None,
        None,
        None,
    )
    assert check(instance, result) == []
