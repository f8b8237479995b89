"""Several methods on one instance, side by side, and whether they agree."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Literal, Unpack

from pydantic import BaseModel, ConfigDict, Field

from placer.choices import none_of
from placer.errors import UsageError
from placer.formats.csv_table import to_csv
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.methods.registry import METHODS
from placer.objectives import OBJECTIVES
from placer.options import Formulation, OptionChanges, Options
from placer.plans.result import InstanceReference, Result, Status
from placer.plans.status import Stop
from placer.solving.solve import make_options
from placer.studies.isolated import Report, report_on, solve_isolated

__all__ = ["Comparison", "Row", "RowStatus", "compare"]

AGREE = 1e-6
"""Relative difference between methods that the tolerances of a solver explain."""
GRACE = 60.0
"""Seconds beyond twice its time limit after which a method's process is ended."""


class RowStatus(StrEnum):
    """What came of a method."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"
    FAILED = "failed"


class Row(BaseModel):
    """One method; ``ratio`` is its objective over the best one, times are ms unless named otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    status: RowStatus
    objective: float | None = None
    ratio: float | None = None
    bound: float | None = None
    gap: float | None = None
    seconds: float
    peak_memory_mb: float | None = None
    message: str = ""


class Comparison(BaseModel):
    """The table, and the contradictions between its rows (there must be none).

    Parameters
    ----------
    instance, options
        What was solved, and the options common to all rows.
    rows
        In the order of the methods.
    disagreements
        Claims that cannot both be true, in words.
    interrupted
        Whether the comparison was stopped; the methods that were not run have no row.
    results
        The result documents by method; not part of the JSON document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["placer-comparison"] = "placer-comparison"
    version: Literal[1] = 1
    instance: InstanceReference
    options: Options
    rows: list[Row]
    disagreements: list[str] = []
    interrupted: bool = False
    results: dict[str, Result] = Field(default={}, exclude=True, repr=False)

    def to_json(self) -> str:
        """Return the table as a JSON document."""
        return self.model_dump_json(indent=1) + "\n"

    def to_csv(self) -> str:
        """Return the rows as CSV with a header line; absent values are empty."""
        return to_csv(Row.model_fields, (row.model_dump(mode="json") for row in self.rows))


def compare(
    instance: Instance,
    methods: Sequence[str] | None = None,
    options: Options | None = None,
    *,
    isolate: bool = True,
    on_row: Callable[[Row], None] | None = None,
    interrupt: threading.Event | None = None,
    **changes: Unpack[OptionChanges],
) -> Comparison:
    """Run several methods on one instance and look for contradictions.

    Parameters
    ----------
    instance
        The graph and the cluster.
    methods
        Names; all that plan for the objective (but ``auto``, which combines them) when None.
    options
        Options common to all methods; the defaults when None.
    isolate
        Whether each method gets a process of its own, so that its memory is measured (libraries and
        compiled code included) and a crash is a row instead of the end.
    on_row
        Called with each row when it is there; its ratio is not known yet.
    interrupt
        Set it to stop the current method, keep its best plan, and leave out the rest.
    **changes
        Single options by name.

    Raises
    ------
    UsageError
        When options or names of methods are wrong.
    """
    changes["method"] = "auto"
    common = make_options(options, **changes)
    chosen = list(METHODS) if methods is None else list(dict.fromkeys(methods))
    if methods is None:
        chosen = [m for m in chosen if m != "auto" and common.objective in METHODS[m].objectives]
    for name in chosen:
        if name not in METHODS:
            raise UsageError(none_of("method", name, METHODS))
    interrupt = interrupt or threading.Event()
    rows: list[Row] = []
    results: dict[str, Result] = {}
    for name in chosen:
        if interrupt.is_set():
            break
        began = time.perf_counter()
        report = _run(instance, common, name, isolate, interrupt)
        rows.append(_row(name, report, time.perf_counter() - began))
        if report.result is not None:
            results[name] = report.result
        if on_row is not None:
            on_row(rows[-1])
    best = min((row.objective for row in rows if row.objective is not None), default=None)
    return Comparison(
        instance=InstanceReference(name=instance.name, sha256=fingerprint(instance)),
        options=common,
        rows=[row.model_copy(update={"ratio": _ratio(row.objective, best)}) for row in rows],
        disagreements=_disagreements(rows, common),
        interrupted=interrupt.is_set(),
        results=results,
    )


def _run(instance: Instance, common: Options, name: str, isolate: bool, interrupt: threading.Event) -> Report:
    """Run one method."""
    if common.objective not in METHODS[name].objectives:
        others = " and ".join(sorted(METHODS[name].objectives))
        return Report(None, f"it plans for {others} only", refused=True)
    options = common.model_copy(update={"method": name})
    if not isolate:
        return report_on(instance, options, interrupt)
    limit = options.time_limit or METHODS[name].default_time_limit
    kill_after = None if limit is None else 2 * limit + GRACE
    return solve_isolated(instance, options, interrupt=interrupt, kill_after=kill_after)


def _row(name: str, report: Report, seconds: float) -> Row:
    """Make the row of a method; its seconds are its own where it got as far as to tell them."""
    result = report.result
    if result is None:
        status = RowStatus.NOT_APPLICABLE if report.refused else RowStatus.FAILED
        return Row(
            method=name,
            status=status,
            seconds=seconds,
            peak_memory_mb=report.peak_memory_mb,
            message=report.error,
        )
    status = RowStatus(result.status.value)
    if result.status is Status.UNKNOWN and result.stop is Stop.NOT_APPLICABLE:
        status = RowStatus.NOT_APPLICABLE
    return Row(
        method=name,
        status=status,
        objective=result.objective,
        bound=result.bound,
        gap=result.gap,
        seconds=result.runtime_s,
        peak_memory_mb=report.peak_memory_mb,
        message=result.message,
    )


def _ratio(objective: float | None, best: float | None) -> float | None:
    if objective is None or best is None:
        return None
    if best > 0:
        return objective / best
    return 1.0 if objective == 0 else None


def _disagreements(rows: list[Row], options: Options) -> list[str]:
    """Find proofs of one method that the verified plan of another contradicts.

    The paper's program allows more plans than the others: what is proven for them says nothing about its
    plan, while its bound holds for theirs.
    """
    found = []
    unit = OBJECTIVES[options.objective].unit
    wider = "milp" if options.contiguous and options.formulation is Formulation.PAPER else None
    for claim in rows:
        for row in rows:
            if row.objective is None or (row.method == wider and claim.method != wider):
                continue
            plan = f"{row.method} has a verified plan of {row.objective!r} {unit}"
            if claim.status is RowStatus.INFEASIBLE:
                found.append(f"{claim.method} claims that there is no plan, but {plan}")
            elif claim.bound is not None and claim.bound > row.objective * (1 + AGREE):
                found.append(
                    f"{claim.method} claims that no plan is below {claim.bound!r} {unit}, but {plan}"
                )
    return found
