"""What a plan may have beyond devices of nodes: every export says it, or refuses the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placer.arrays import IntArray
from placer.errors import UsageError
from placer.instance.instance import Instance
from placer.plans.plan import Plan, Team
from placer.plans.result import Result
from tests.audit.cells import EXPORT_COLUMNS, Verdict
from tests.audit.table import LAUNCHERS, ONE_ACCELERATOR, ROWS
from tests.audit.test_labels import exported, problem_for
from tests.support.plans import result_of


def _placed(instance: Instance, name: str, column: str) -> tuple[Result, Result]:
    """A plan that uses the option, and one with the same devices that does not."""
    half = _in_parts(instance, 2)
    if name == "option replicas":
        plan = Plan(2 * half, teams=(Team((0, 1)),))
        return result_of(instance, plan, replicas=2), result_of(instance, Plan(2 * half))
    if name == "option recompute":
        if column in ONE_ACCELERATOR:
            half = np.zeros_like(half)
        plan = Plan(half, recompute=tuple(sorted({*half.tolist()})))
        return result_of(instance, plan, recompute="all"), result_of(instance, Plan(half))
    third = _in_parts(instance, 3)
    third[-2] = third[-1]  # the head is one module
    plan = Plan(third % 2, third // 2)
    options: dict[str, Any] = {"objective": "latency", "pieces": 2}
    return result_of(instance, plan, **options), result_of(instance, Plan(third % 2), contiguous=False)


def _in_parts(instance: Instance, parts: int) -> IntArray:
    """Cut the forward nodes into equal parts; backward nodes are where theirs are."""
    count = int((~instance.backward).sum())
    part = np.arange(count) * parts // count
    return np.concatenate([part, part[::-1]])[: instance.n]


@pytest.mark.parametrize("column", EXPORT_COLUMNS)
@pytest.mark.parametrize("name", ["option replicas", "option recompute", "option pieces"])
def test_exports(name: str, column: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    of_inference = name == "option pieces" and column in LAUNCHERS  # plans of training have no pieces
    instance, model = problem_for("export csv" if of_inference else column, request)
    cell = ROWS[name].cell(column)
    result, plain = _placed(instance, name, column)
    if cell.verdict is Verdict.REFUSED:
        with pytest.raises(UsageError, match=cell.words):
            exported(result, column, tmp_path / "out", instance, model)
        return
    said = exported(result, column, tmp_path / "out", instance, model)
    if name != "option pieces" or column in ("export csv", "export graphml", "export dot"):
        # Where models are cut or mapped, the parts in their order are the pieces.
        assert said != exported(plain, column, tmp_path / "plain", instance, model)
