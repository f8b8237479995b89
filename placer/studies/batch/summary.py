"""What a batch found, per method."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from placer.formats.csv_table import to_csv
from placer.studies.batch.names import cells, shown
from placer.studies.batch.records import Record, State
from placer.studies.claims import refuted
from placer.studies.saved import Document
from placer.tolerances import BOUND_TOLERANCE

__all__ = ["MethodSummary", "Summary", "summarise"]

SHIFT_S = 1.0
"""Seconds added before the geometric mean and taken off after it, so that tiny times do not rule it."""


class MethodSummary(Document):
    """One method (with its options, where they vary) over all instances.

    Parameters
    ----------
    jobs
        All of its jobs; the states that follow add up to it.
    solved
        Jobs with a plan, proven ones included.
    proven
        Those whose gap is within the one asked for.
    infeasible, stopped, not_applicable, failed, waiting
        Jobs without a plan, by what came of them.
    time_s
        Shifted geometric mean (shift 1 s) of the seconds of all jobs but the failed, the waiting and
        those that do not apply.
    mean_gap, with_gap, without_gap
        Mean gap of the solved jobs that have a bound, how many these are, and how many jobs that could
        have one do not (no plan or no bound; proven infeasible ones do not count).
    wins
        Problems on which no method has a better plan.
    ratio_to_best
        Geometric mean of the objective over the best one known, of the solved jobs.
    """

    method: str
    jobs: int
    solved: int
    proven: int
    infeasible: int
    stopped: int
    not_applicable: int
    failed: int
    waiting: int
    time_s: float | None
    mean_gap: float | None
    with_gap: int
    without_gap: int
    wins: int
    ratio_to_best: float | None


class Summary(Document):
    """The table of a batch.

    Parameters
    ----------
    methods
        One row per method.
    contradictions
        Claims that cannot both be true, in words; there must be none.
    """

    format: Literal["placer-summary"] = "placer-summary"
    version: Literal[1] = 1
    methods: list[MethodSummary]
    contradictions: list[str] = Field(default=[])

    def to_csv(self) -> str:
        """Return the rows as CSV with a header line; absent values are empty."""
        return to_csv(MethodSummary.model_fields, map(cells, self.methods))


def summarise(records: Sequence[Record]) -> Summary:
    """Summarise the jobs of a batch per method."""
    methods: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        methods[record.method].append(record)
    return Summary(
        methods=[_summary(method, rows) for method, rows in methods.items()],
        contradictions=_contradictions(records),
    )


def _summary(method: str, rows: list[Record]) -> MethodSummary:
    def count(*states: State) -> int:
        return sum(row.state in states for row in rows)

    ran = (State.PROVEN, State.SOLVED, State.INFEASIBLE, State.STOPPED)
    gaps = [row.gap for row in rows if row.gap is not None]
    could = count(State.PROVEN, State.SOLVED, State.STOPPED, State.FAILED)
    ratios = [row.ratio for row in rows if row.ratio is not None]
    return MethodSummary(
        method=method,
        jobs=len(rows),
        solved=count(State.PROVEN, State.SOLVED),
        proven=count(State.PROVEN),
        infeasible=count(State.INFEASIBLE),
        stopped=count(State.STOPPED),
        not_applicable=count(State.NOT_APPLICABLE),
        failed=count(State.FAILED),
        waiting=count(State.WAITING),
        time_s=_geometric([r.seconds for r in rows if r.state in ran and r.seconds is not None], SHIFT_S),
        mean_gap=sum(gaps) / len(gaps) if gaps else None,
        with_gap=len(gaps),
        without_gap=could - len(gaps),
        wins=len({row.problem for row in rows if row.ratio is not None and row.ratio <= 1 + BOUND_TOLERANCE}),
        ratio_to_best=_geometric(ratios, 0.0),
    )


def _geometric(values: Sequence[float], shift: float) -> float | None:
    """Shifted geometric mean ``(prod (x + s))^(1/n) - s``."""
    if not values:
        return None
    return math.exp(sum(math.log(x + shift) for x in values) / len(values)) - shift


def _contradictions(records: Sequence[Record]) -> list[str]:
    """Find proofs that a verified plan for the same problem contradicts."""
    best: dict[str, Record] = {}
    for record in records:
        if record.objective is not None:
            known = best.get(record.problem)
            if known is None or known.objective is None or record.objective < known.objective:
                best[record.problem] = record
    found = []
    for record in records:
        infeasible = record.state is State.INFEASIBLE
        plan = best.get(record.problem)
        said = None if plan is None else refuted(record, plan, record.unit, infeasible=infeasible)
        if said is not None:
            found.append(f"{shown(record.instance)}: {said}")
    return found
