"""Every cell of the table is run: obeyed, refused with those words, or without meaning.

``obeyed`` is judged by trying everything: each row has two problems that differ in it alone and whose optima
differ, so that a method that ignored it would be caught.  Heuristics may miss the optimum; their plan is one
that holds, and has the objective that the row gives it.
"""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from placer.errors import InputError, PlacerError, UsageError
from placer.exports import FORMATS
from placer.exports.api import export
from placer.instance.overrides import apply
from placer.options import Objective, Options
from placer.pages.plan_page import plan_page
from placer.pages.verification import Trust, verdict
from placer.plans.check import check, plan_of
from placer.plans.figures import objective_ms
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.plans.verify import violations
from placer.simulation import simulate
from placer.solving.request import make_options
from placer.solving.solve import solve
from tests.audit import cells, independent
from tests.audit.cells import METHOD_COLUMNS, Kind, Verdict
from tests.audit.independent import Truth
from tests.audit.table import ROWS, TABLE
from tests.audit.witnesses import FREEDOMS, WITNESSES, Problem, Witness, witness

EXACT = {"auto", "milp", "dp", "paper"}
QUICK = {"milp", "dp", "paper", "single", "expert", "greedy"}
"""Methods whose cells are part of the default run; refusals always are."""
WITNESSED = [row for row in TABLE if row.kind in (Kind.COST, Kind.MEMORY, Kind.RULE)]


def test_there_is_a_row_for_everything() -> None:
    assert sorted(ROWS) == sorted(cells.names())
    assert len(ROWS) == len(TABLE)
    for row in TABLE:
        assert set(row.cells) <= set(cells.COLUMNS)
        assert set(row.shown) <= set(cells.COLUMNS)
    assert {row.name for row in WITNESSED} == set(WITNESSES)


def _cells() -> list[Any]:
    """Method cells of the rows with witnesses; slow ones are marked so."""
    found = []
    for row in WITNESSED:
        for column, (name, _) in METHOD_COLUMNS.items():
            quick = name in QUICK or row.cell(column).verdict is Verdict.REFUSED
            marks = () if quick else (pytest.mark.slow,)
            found.append(pytest.param(row.name, column, id=f"{row.name}-{column}", marks=marks))
    return found


@pytest.mark.parametrize(("name", "column"), _cells())
def test_methods(name: str, column: str, tmp_path: Path) -> None:
    if column == "partition" and find_spec("pymetis") is None:
        pytest.skip("pymetis is not installed")
    cell, pair = ROWS[name].cell(column), witness(name, column)
    if cell.verdict is Verdict.REFUSED:
        with pytest.raises(UsageError, match=cell.words):
            _solved(pair.given, column, tmp_path)
        return
    result = _solved(pair.given, column, tmp_path)
    if cell.verdict is Verdict.NO_PLAN:
        assert result.assignment is None
        assert cell.words in result.message
        return
    if cell.verdict is Verdict.MEANINGLESS:
        assert result.objective == pytest.approx(_solved(pair.ignoring, column, tmp_path).objective)
        return
    right, wrong = _truth(name, column)
    assert result.assignment is not None, result.message
    assert result.objective is not None
    assert check(pair.given.instance, result) == []
    assert right.allows(tuple(result.assignment[v] for v in pair.given.plain.ids), result.objective)
    if METHOD_COLUMNS[column][0] in EXACT:
        assert abs(right.optimum - wrong.optimum) > 1e-3 * wrong.optimum
        assert result.objective == pytest.approx(right.optimum, rel=1e-6)
        assert result.bound == pytest.approx(right.optimum, rel=2e-4)
    assert result.bound is None or result.bound <= right.optimum * (1 + 1e-6)


@cache
def _truth(name: str, column: str) -> tuple[Truth, Truth]:
    """What is right with a row, and where it is ignored."""
    pair = witness(name, column)
    return _tried(pair.given, column), _tried(pair.ignoring, column)


def _tried(problem: Problem, column: str) -> Truth:
    options = Options.model_validate({k: v for k, v in _options(problem, column).items() if k != "split"})
    if options.objective is Objective.LATENCY:
        return independent.latency(problem.plain, options.pieces)
    contiguity = "free" if not options.contiguous else "each" if options.per_device_contiguity else "ordered"
    kind = contiguity, options.schedule.value, options.communication.value
    return independent.throughput(problem.plain, kind, options.replicas, options.recompute.value)


def _options(problem: Problem, column: str) -> dict[str, Any]:
    method, objective = METHOD_COLUMNS[column]
    base: dict[str, Any] = {"method": method, "objective": objective.value, "gap": 1e-6}
    if method == "paper":
        base |= {"method": "milp", "formulation": "paper"}
    if method == "colgen":
        base["contiguous"] = False
    return base | problem.options


def _solved(problem: Problem, column: str, folder: Path) -> Result:
    options = _options(problem, column)
    if options["method"] == "expert":
        options["split"] = _split(problem, column, folder)
    return solve(problem.instance, **options)


def _split(problem: Problem, column: str, folder: Path) -> str:
    """Write the best plan down as the file of a split."""
    instance = problem.instance
    try:
        best = dict(zip(instance.ids, _tried(problem, column).best, strict=True))
    except (PlacerError, ValueError):  # refused in any case
        best = {}
    parts: dict[str, list[dict[str, list[str]]]] = {"fpgas": [], "cpus": []}
    for d in instance.devices:
        nodes = [v for v, name in best.items() if name == d.name]
        parts["cpus" if d.is_host else "fpgas"].append({"nodes": nodes})
    path = folder / "split.json"
    path.write_text(json.dumps(parts))
    return str(path)


# -- evaluation, verification, simulation, exports, page --------------------------------------------


def _problems(name: str) -> Witness:
    """The problems that tell what ignores a row from what does not."""
    pair = witness(name, "milp")
    if name in FREEDOMS:
        pair = Witness(pair.ignoring, pair.given)
    if name in OTHER_OBJECTIVE:
        pair = Witness(*(_asking(p, OTHER_OBJECTIVE[name]) for p in (pair.given, pair.ignoring)))
    return pair


OTHER_OBJECTIVE = {"option pieces": "latency", "option max_ms": "memory"}
"""Options that have a meaning for another objective than throughput."""


def _asking(problem: Problem, objective: str) -> Problem:
    return dataclasses.replace(problem, options=problem.options | {"objective": objective})


def _forged(pair: Witness) -> tuple[Result, Result]:
    """A true result, and one found while the row was ignored, as if it were about the same problem."""
    true = solve(pair.given.instance, method="milp", **pair.given.options)
    ignorant = solve(pair.ignoring.instance, method="milp", **pair.ignoring.options)
    return true, ignorant.model_copy(update={"options": true.options, "instance": true.instance}).sealed()


def _reading(kind: Kind) -> list[Any]:
    return [row.name for row in WITNESSED if row.kind is kind or kind is Kind.HOLDER]


@pytest.mark.parametrize("name", _reading(Kind.HOLDER))
def test_what_ignores_a_row_is_found_out(name: str, tmp_path: Path) -> None:
    """Verifier, every export and the page refuse the plan or the figures of a solve that ignored the row."""
    pair = _problems(name)
    true, forged = _forged(pair)
    instance = pair.given.instance
    assert check(instance, true) == []
    assert check(instance, forged)
    assert verdict(true, instance).trust is Trust.VERIFIED
    assert verdict(forged, instance).trust is Trust.BROKEN
    assert "does not hold" in plan_page(forged, instance)
    for to in FORMATS:
        with pytest.raises(InputError, match="does not hold"):
            export(forged, to, tmp_path / "out", instance=instance)


@pytest.mark.parametrize("name", [*_reading(Kind.RULE), *_reading(Kind.MEMORY)])
def test_the_verifier_knows_the_rule(name: str) -> None:
    pair = _problems(name)
    true, forged = _forged(pair)
    instance = apply(pair.given.instance, true.options)
    assert violations(instance, plan_of(instance, true), true.options) == []
    try:
        plan = plan_of(instance, forged)
    except ValueError:  # a device that is not there
        return
    assert violations(instance, dataclasses.replace(plan, stages=None), true.options)


@pytest.mark.parametrize("name", _reading(Kind.COST))
def test_evaluation_and_simulation_know_the_cost(name: str) -> None:
    """For one plan, both see the difference and agree on the figures."""
    pair = witness(name, "milp")
    true, _ = _forged(pair)
    right, _ = _truth(name, "milp")
    instance = apply(pair.given.instance, true.options)
    plan = plan_of(instance, true)
    assert objective_ms(instance, plan, true.options) == pytest.approx(right.optimum)
    assert simulate(pair.given.instance, true).objective_ms == pytest.approx(right.optimum)
    found = []
    for problem in (pair.given, pair.ignoring):
        options = make_options(method="milp", **problem.options)
        at, same = apply(problem.instance, options), _as_allowed(plan, options)
        found.append(objective_ms(at, same, options))
        assert simulate(at, same, options).objective_ms == pytest.approx(found[-1])
    if name not in ("class.type",):
        assert abs(found[0] - found[1]) > 1e-3


@pytest.mark.parametrize("name", _reading(Kind.MEMORY))
def test_simulation_sees_what_does_not_fit(name: str) -> None:
    pair = witness(name, "milp")
    true, forged = _forged(pair)
    assert not any(use.exceeds_limit for use in simulate(pair.given.instance, true).devices)
    assert any(use.exceeds_limit for use in simulate(pair.given.instance, forged).devices)


def _as_allowed(plan: Plan, options: Options) -> Plan:
    """The plan without what the options do not know."""
    return dataclasses.replace(
        plan,
        teams=plan.teams if options.replicas > 1 else (),
        recompute=plan.recompute if options.recompute != "none" else (),
    )
