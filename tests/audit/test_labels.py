"""Labels, goals and how to search: no plan depends on the first, and each output shows those that it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placer.errors import PlacerError, UsageError
from placer.exports.api import export
from placer.formats import native
from placer.formats.files import loads
from placer.instance.instance import Instance
from placer.methods.registry import METHODS
from placer.options import Objective
from placer.pages.plan_page import plan_page
from placer.plans.check import check
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.solving.solve import solve
from tests.audit.cells import EXPORT_COLUMNS, METHOD_COLUMNS, Kind, Verdict
from tests.audit.table import LAUNCHERS, ONE_ACCELERATOR, ROWS, TABLE
from tests.audit.witnesses import GOALS, LABELS, Document, chain, goals, labelled, trained, with_
from tests.support.brute_features import candidates
from tests.support.feature_instances import Case
from tests.support.feature_pairs import missed_goals
from tests.support.plans import result_of

SEARCH: dict[str, Any] = {
    "option time_limit": 60.0,
    "option gap": 1e-3,
    "option threads": 2,
    "option seed": 5,
    "option memory_limit_mb": 2048,
}
QUICK = {"milp", "dp", "single", "greedy"}


def test_labels_goals_and_searches_are_all_tried() -> None:
    kinds = {Kind.LABEL: LABELS, Kind.GOAL: GOALS, Kind.SEARCH: {**SEARCH, "option split": None}}
    for kind, tried in kinds.items():
        assert {row.name for row in TABLE if row.kind is kind} == set(tried)


# -- labels -----------------------------------------------------------------------------------------


def _of_model(model: Path) -> Document:
    from tests.support.onnx_models import instance_of

    made: Document = json.loads(native.to_json(instance_of(model)))
    made["cluster"]["servers"] = [{"name": "s", "devices": ["gpu"]}]
    return made


def _base(column: str, request: pytest.FixtureRequest) -> tuple[Document, str | None]:
    """A document that a column can show, and the model that it is about."""
    if column in LAUNCHERS:
        return trained(), None
    if "onnx" not in column:
        return labelled(), None
    file = request.getfixturevalue("model")
    return _of_model(file), str(file)


def problem_for(column: str, request: pytest.FixtureRequest) -> tuple[Instance, str | None]:
    """An instance that an export can write, and the model that it is about."""
    document, model = _base(column, request)
    return loads(json.dumps(document), source="labels", name="labels"), model


def exported(result: Result, column: str, out: Path, instance: Instance, model: str | None) -> str:
    """All that an export says: remarks and files."""
    remarks = export(result, column.removeprefix("export "), out, instance=instance, model=model)
    files = [out] if out.is_file() else sorted(out.iterdir())
    return "".join(remarks) + "".join(file.read_bytes().decode("latin-1") for file in files)


def _output(document: Document, column: str, folder: Path, model: str | None) -> str:
    """What a column makes of a fixed plan; an error is what it says."""
    instance = loads(json.dumps(document), source="labels", name="labels")
    count = int((~instance.backward).sum())
    device = np.arange(count) * 3 // count
    plan = Plan(np.concatenate([device, device[::-1]])[: instance.n])
    if column == "export device-map":  # which knows whole modules only
        plan.device[-2] = plan.device[-1]
    if column in ONE_ACCELERATOR:
        plan.device[:] = 0
    result = result_of(instance, plan, contiguous=False).model_copy(update={"runtime_s": 0.0}).sealed()
    if column == "page":
        return plan_page(result, instance)
    try:
        return exported(result, column, folder / "out", instance, model)
    except PlacerError as error:
        return f"error: {error}"


@pytest.mark.parametrize("column", [*EXPORT_COLUMNS, "page"])
@pytest.mark.parametrize("name", LABELS)
def test_what_shows_a_label(name: str, column: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    base, model = _base(column, request)
    texts = []
    for k, document in enumerate((base, with_(base, LABELS[name]))):
        folder = tmp_path / str(k)
        folder.mkdir()
        texts.append(_output(document, column, folder, model))
    assert not texts[0].startswith("error")
    assert (texts[0] != texts[1]) == (column in ROWS[name].shown)


@pytest.mark.parametrize("name", LABELS)
def test_no_plan_depends_on_a_label(name: str) -> None:
    base = labelled()
    found = []
    for document in (base, with_(base, LABELS[name])):
        result = solve(loads(json.dumps(document), source="labels", name="labels"), method="milp", gap=0.0)
        found.append((result.objective, result.bound, [len(d.nodes) for d in result.devices]))
    assert found[0] == found[1]


# -- goals ------------------------------------------------------------------------------------------


def _methods() -> list[Any]:
    return [
        pytest.param(column, marks=() if column in (*QUICK, "paper") else pytest.mark.slow)
        for column in METHOD_COLUMNS
        if column not in ("expert", "expert latency", "single", "single latency", "partition")
    ]


@pytest.mark.parametrize("column", _methods())
@pytest.mark.parametrize("name", GOALS)
def test_goals(name: str, column: str) -> None:
    """Whatever finds the plan, the goals are reached that the best plan reaches."""
    instance = loads(json.dumps(goals()), source="goals", name="goals")
    method, objective = METHOD_COLUMNS[column]
    options: dict[str, Any] = {"method": method, "objective": objective, "contiguous": method != "colgen"}
    if method == "paper":
        options |= {"method": "milp", "formulation": "paper"}
    cell = ROWS[name].cell(column)
    if cell.verdict is Verdict.REFUSED:
        with pytest.raises(UsageError, match=cell.words):
            solve(instance, **options, **GOALS[name])
        return
    contiguity = "free" if method == "colgen" else "ordered"
    plans = candidates(instance, (contiguity, "1f1b", "sequential"))
    made = Case(instance, {}, **{"slack": 0.0} | GOALS[name])
    result = solve(instance, **options, **GOALS[name])
    assert check(instance, result) == []
    assert result.objective <= plans.optimum() * (1 + made.slack + 1e-9)
    assert not missed_goals(made, plans, result)


@pytest.mark.parametrize("name", GOALS)
def test_goals_are_missed_where_they_are_ignored(name: str) -> None:
    instance = loads(json.dumps(goals()), source="goals", name="goals")
    plans = candidates(instance, ("ordered", "1f1b", "sequential"))
    ignoring = {k: v for k, v in GOALS[name].items() if f"option {k}" != name}
    made = Case(instance, {}, **{"slack": 0.0} | GOALS[name])
    assert missed_goals(made, plans, solve(instance, method="milp", **ignoring))


# -- how to search ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEARCH)
@pytest.mark.parametrize(
    "method", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in METHODS]
)
def test_no_proven_answer_depends_on_the_search(method: str, name: str) -> None:
    if method in ("expert", "partition"):
        pytest.skip("needs a file or a package, and searches for nothing")
    instance = loads(json.dumps(chain()), source="search", name="search")
    options: dict[str, Any] = {"method": method, "contiguous": method != "colgen"}
    if Objective.THROUGHPUT not in METHODS[method].objectives:
        options["objective"] = "latency"
    plain = solve(instance, **options)
    result = solve(instance, **options, **{name.removeprefix("option "): SEARCH[name]})
    assert check(instance, result) == []
    assert result.objective == pytest.approx(plain.objective)
