"""One line per job: what the tables and the comparison of two batches are made from."""

from __future__ import annotations

from enum import StrEnum

from placer.errors import InputError
from placer.formats.csv_table import to_csv
from placer.objectives import OBJECTIVES
from placer.options import Options
from placer.plans.result import Result, Status
from placer.plans.status import Stop
from placer.studies.attempt import FailureKind
from placer.studies.batch.grid import labels
from placer.studies.batch.jobs import Job, Manifest
from placer.studies.batch.names import cells
from placer.studies.batch.store import Store
from placer.studies.claims import ratio
from placer.studies.saved import Document

__all__ = ["Record", "State", "problem_key", "read_records", "records_to_csv"]

METHOD = frozenset(
    {"method", "formulation", "time_limit", "gap", "threads", "seed", "memory_limit_mb", "split"}
)
"""Options that say how to search, and not what for."""


class State(StrEnum):
    """What came of a job."""

    PROVEN = "proven"
    SOLVED = "solved"
    INFEASIBLE = "infeasible"
    STOPPED = "stopped"
    NOT_APPLICABLE = "not applicable"
    FAILED = "failed"
    WAITING = "waiting"


class Record(Document):
    """One job in a table; objective and bound in the unit of the objective."""

    id: str
    key: str
    instance: str
    sha256: str
    problem: str
    method: str
    state: State
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    ratio: float | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    reason: str = ""
    source: str = ""
    unit: str = "ms"


def read_records(store: Store, manifest: Manifest) -> list[Record]:
    """Read what came of every job of a manifest."""
    names = labels([job.options for job in manifest.jobs])
    records = [_record(store, job, names[job.options.model_dump_json()]) for job in manifest.jobs]
    best: dict[str, float] = {}
    for record in records:
        if record.objective is not None:
            best[record.problem] = min(record.objective, best.get(record.problem, record.objective))
    return [
        record.model_copy(update={"ratio": ratio(record.objective, best.get(record.problem))})
        for record in records
    ]


def records_to_csv(records: list[Record]) -> str:
    """Return the records as CSV with a header line."""
    columns = [name for name in Record.model_fields if name not in ("key", "problem")]
    return to_csv(columns, map(cells, records))


def problem_key(sha256: str, options: Options) -> str:
    """Identity of the question that a job answers: its objectives can be compared with no others."""
    values = options.model_dump(mode="json", exclude=set(METHOD))
    return f"{sha256} {sorted(values.items())} {options.per_device_contiguity}"


def _record(store: Store, job: Job, label: str) -> Record:
    base = Record(
        id=job.id,
        key=job.key,
        instance=job.instance,
        source=job.source,
        sha256=job.sha256,
        problem=problem_key(job.sha256, job.options),
        method=label,
        state=State.WAITING,
        unit=OBJECTIVES[job.options.objective].unit,
    )
    try:
        result = store.result(job)
    except InputError as error:
        return base.model_copy(update={"state": State.FAILED, "reason": error.rule})
    if result is not None:
        return base.model_copy(update=_solved(result))
    failure = store.failure(job)
    if failure is None:
        return base
    refused = failure.kind is FailureKind.REFUSED
    return base.model_copy(
        update={
            "state": State.NOT_APPLICABLE if refused else State.FAILED,
            "seconds": failure.seconds,
            "peak_memory_mb": failure.peak_memory_mb,
            "reason": f"{failure.kind}: {failure.reason}",
        }
    )


def _solved(result: Result) -> dict[str, object]:
    states = {
        Status.OPTIMAL: State.PROVEN,
        Status.FEASIBLE: State.SOLVED,
        Status.INFEASIBLE: State.INFEASIBLE,
        Status.UNKNOWN: State.NOT_APPLICABLE if result.stop is Stop.NOT_APPLICABLE else State.STOPPED,
    }
    return {
        "state": states[result.status],
        "objective": result.objective,
        "bound": result.bound,
        "gap": result.gap,
        "seconds": result.runtime_s,
        "peak_memory_mb": result.stats.get("peak_memory_mb"),
        "reason": "" if result.objective is not None else result.message,
    }
