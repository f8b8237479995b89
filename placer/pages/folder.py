"""From the folder of a batch to what its page shows; every plan is verified against its instance again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from placer.errors import InputError, UsageError
from placer.formats.files import loads
from placer.formats.text import decode
from placer.instance.instance import Instance
from placer.pages.performance_profiles import Entry
from placer.plans.check import check
from placer.studies.batch.records import Record, State, read_records
from placer.studies.batch.store import Store
from placer.studies.batch.summary import summarise

__all__ = ["Folder", "read_folder"]

KEPT = 32
"""Instances held in memory while plans are verified: jobs of one instance follow each other."""


@dataclass(frozen=True)
class Folder:
    """What a batch found.

    Parameters
    ----------
    name
        Name of the folder.
    entries
        One per job; a plan that does not hold has no figures.
    summary
        One row per method.
    problems
        Plans that do not hold and contradictions between methods, in words.
    left_out
        What the batch left out, with the reason.
    """

    name: str
    entries: list[Entry]
    summary: list[dict[str, Any]]
    problems: list[str]
    left_out: list[str]


def read_folder(path: str | Path) -> Folder:
    """Read and verify the folder of a batch.

    Raises
    ------
    UsageError
        When the folder holds no batch.
    InputError
        When its manifest cannot be read.
    """
    store = Store(path)
    manifest = store.manifest()
    if not manifest.jobs:
        raise UsageError(f"{path}: holds no batch (no manifest.json with jobs)")

    @lru_cache(maxsize=KEPT)
    def instance(sha256: str, name: str) -> Instance:
        return loads(decode(store.instance(sha256), name), source=name, name=name)

    records: list[Record] = []
    problems: list[str] = []
    for job, record in zip(manifest.jobs, read_records(store, manifest), strict=True):
        found = []
        if record.objective is not None:
            try:
                result = store.result(job)
                found = [] if result is None else check(instance(job.sha256, job.instance), result)
            except InputError as error:
                found = [f"its instance cannot be read: {error.rule}"]
        if found:
            problems.append(f"{record.instance}, {record.method}: the plan does not hold: {found[0]}")
            none = dict.fromkeys(("objective", "bound", "gap", "ratio"))
            record = record.model_copy(update={**none, "state": State.FAILED, "reason": found[0]})
        records.append(record)
    summary = summarise(records)
    return Folder(
        name=Path(path).resolve().name,
        entries=[_entry(record) for record in records],
        summary=[row.model_dump(mode="json") for row in summary.methods],
        problems=problems + summary.contradictions,
        left_out=manifest.left_out,
    )


def _entry(record: Record) -> Entry:
    return Entry(
        instance=record.instance,
        method=record.method,
        problem=record.problem,
        state=record.state.value,
        objective=record.objective,
        bound=record.bound,
        gap=record.gap,
        ratio=record.ratio,
        seconds=record.seconds,
        reason=record.reason,
        unit=record.unit,
    )
