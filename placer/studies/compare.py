"""Several methods on one instance, side by side, and whether they agree."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from typing import Literal, Unpack

from pydantic import Field

from placer.choices import none_of
from placer.errors import UsageError
from placer.formats.csv_table import to_csv
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.methods.registry import METHODS, time_limit
from placer.objectives import OBJECTIVES
from placer.options import OptionChanges, Options
from placer.plans.result import InstanceReference, Result, Status
from placer.plans.status import Stop
from placer.processes import peak_memory_mb
from placer.search.guard import grace_s
from placer.solving.request import make_options
from placer.solving.solve import solve
from placer.studies.attempt import FailureKind, Outcome, attempt, in_a_process, memory_mb
from placer.studies.claims import ratio, refuted
from placer.studies.isolation import Nurseries
from placer.studies.nursery import Call, Life
from placer.studies.saved import Document

__all__ = ["Comparison", "Row", "RowStatus", "compare"]

PATIENCE_S = 10.0
"""Seconds that a method's process gets to hand over its best plan after it was told to stop."""


class RowStatus(StrEnum):
    """What came of a method."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"
    FAILED = "failed"


class Row(Document):
    """One method; ``ratio`` is its objective over the best one, times are ms unless named otherwise."""

    method: str
    status: RowStatus
    objective: float | None = None
    ratio: float | None = None
    bound: float | None = None
    gap: float | None = None
    seconds: float
    peak_memory_mb: float | None = None
    message: str = ""


class Comparison(Document):
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

    format: Literal["placer-comparison"] = "placer-comparison"
    version: Literal[1] = 1
    instance: InstanceReference
    options: Options
    rows: list[Row]
    disagreements: list[str] = Field(default=[])
    interrupted: bool = False
    results: dict[str, Result] = Field(default={}, exclude=True, repr=False)

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
        libraries included) and a crash is a row instead of the end.
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
    interrupt = interrupt or threading.Event()
    rows: list[Row] = []
    results: dict[str, Result] = {}
    with Nurseries() as nurseries:
        for name in _chosen(methods, common):
            if interrupt.is_set():
                break
            began = time.perf_counter()
            outcome = _run(instance, common, name, nurseries if isolate else None, interrupt)
            rows.append(_row(name, outcome, time.perf_counter() - began))
            if outcome.result is not None:
                results[name] = outcome.result
            if on_row is not None:
                on_row(rows[-1])
    best = min((row.objective for row in rows if row.objective is not None), default=None)
    return Comparison(
        instance=InstanceReference(name=instance.name, sha256=fingerprint(instance)),
        options=common,
        rows=[row.model_copy(update={"ratio": ratio(row.objective, best)}) for row in rows],
        disagreements=_disagreements(rows, common),
        interrupted=interrupt.is_set(),
        results=results,
    )


def _chosen(methods: Sequence[str] | None, common: Options) -> list[str]:
    """Return the methods to run, each once."""
    if methods is None:
        return [m for m, info in METHODS.items() if m != "auto" and common.objective in info.objectives]
    for name in methods:
        if name not in METHODS:
            raise UsageError(none_of("method", name, METHODS))
    return list(dict.fromkeys(methods))


def _run(
    instance: Instance, common: Options, name: str, nurseries: Nurseries | None, interrupt: threading.Event
) -> Outcome:
    """Run one method, in this process without nurseries."""
    if common.objective not in METHODS[name].objectives:
        others = " and ".join(sorted(METHODS[name].objectives))
        return Outcome(None, FailureKind.REFUSED, f"it plans for {others} only")
    options = common.model_copy(update={"method": name})
    if nurseries is None or not hasattr(os, "fork"):
        outcome = attempt(lambda: Outcome(solve(instance, options, interrupt=interrupt)))
        return replace(outcome, peak_memory_mb=peak_memory_mb())
    limit = time_limit(options)
    seconds = None if limit is None else limit + grace_s(limit)
    call = Call(_solve, (instance, options), seconds, memory_mb(options), patience=PATIENCE_S)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(in_a_process, call, nurseries, stopped=interrupt.is_set, late=True)
        while True:
            try:
                return waiting.result()
            except KeyboardInterrupt:  # the wish to stop; what there is so far is still to come
                interrupt.set()


def _solve(life: Life, instance: Instance, options: Options) -> Outcome:
    """Solve, in the process of a method, under guard: what it tells of is kept when it must be ended."""
    began = time.perf_counter()

    def solved() -> Outcome:
        return Outcome(solve(instance, options, interrupt=life.interrupt, guard=True, began=began))

    return attempt(solved, memory_mb(options))


def _row(name: str, outcome: Outcome, seconds: float) -> Row:
    """Make the row of a method; its seconds are its own where it got as far as to tell them."""
    result = outcome.result
    if result is None:
        refused = outcome.kind is FailureKind.REFUSED
        return Row(
            method=name,
            status=RowStatus.NOT_APPLICABLE if refused else RowStatus.FAILED,
            seconds=seconds,
            peak_memory_mb=outcome.peak_memory_mb,
            message=outcome.reason,
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
        peak_memory_mb=outcome.peak_memory_mb,
        message=result.message,
    )


def _disagreements(rows: list[Row], options: Options) -> list[str]:
    """Find proofs of one method that the verified plan of another contradicts.

    The paper's program allows more plans than the others: what is proven for them says nothing about its
    plan, while its bound holds for theirs.
    """
    unit = OBJECTIVES[options.objective].unit
    wider = {r.method for r in rows if options.model_copy(update={"method": r.method}).per_device_contiguity}
    found = [
        refuted(claim, plan, unit, infeasible=claim.status is RowStatus.INFEASIBLE)
        for claim in rows
        for plan in rows
        if plan.method not in wider or claim.method in wider
    ]
    return [text for text in found if text is not None]
