"""``solve_batch``: many instances, many methods, one folder, and nothing done twice."""

from __future__ import annotations

import concurrent.futures as cf
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placer.errors import InputError, UsageError
from placer.formats import native
from placer.instance.instance import Instance
from placer.methods.registry import time_limit
from placer.options import Options
from placer.plans.result import Result
from placer.plans.status import Point
from placer.studies.attempt import FailureKind, Outcome, memory_mb
from placer.studies.batch.executors import Engine, local_submit, submit_to, workers
from placer.studies.batch.grid import Grid, expand
from placer.studies.batch.jobs import Job, Manifest, job_id
from placer.studies.batch.names import shown
from placer.studies.batch.records import Record, State, read_records, records_to_csv
from placer.studies.batch.scheduler import Scheduler, Submit, Watch, failure
from placer.studies.batch.sources import Source, find
from placer.studies.batch.store import Store
from placer.studies.batch.summary import Summary, summarise
from placer.studies.batch.version import code_version
from placer.studies.batch.worker import Inspected, inspect_safely
from placer.studies.isolation import Nurseries

__all__ = ["Batch", "solve_batch"]

Instances = str | Path | Instance | Iterable[str | Path | Instance]
GRACE = (1.25, 30.0)
"""A process is ended after this multiple of its time limit and so many seconds more."""


@dataclass(frozen=True)
class Batch:
    """A finished or interrupted batch.

    Parameters
    ----------
    folder
        Where everything is kept.
    records
        One per job of the folder.
    summary
        One row per method.
    left_out
        Files and combinations of options that are no jobs, with the reason.
    interrupted
        Whether it was stopped; the same call again goes on.
    """

    folder: Path
    records: list[Record]
    summary: Summary
    left_out: list[str]
    interrupted: bool

    @property
    def failed(self) -> list[Record]:
        """The jobs that failed."""
        return [record for record in self.records if record.state is State.FAILED]

    def results(self) -> Iterator[Result]:
        """Read the result documents, in the order of the records."""
        store = Store(self.folder)
        for job in store.manifest().jobs:
            result = store.result(job)
            if result is not None:
                yield result


def solve_batch(
    instances: Instances,
    out: str | Path,
    *,
    methods: Sequence[str] = ("auto",),
    grids: Sequence[Grid] | None = None,
    jobs: int | None = None,
    executor: cf.Executor | Engine | None = None,
    kill_after: float | None = None,
    job_memory_mb: int | None = None,
    oversubscribe: bool = False,
    retry_failed: bool = False,
    interrupt: threading.Event | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Batch:
    """Solve every instance with every method and every combination of options.

    Each job runs in a process of its own; what comes of it is written at once.  The same call again goes
    on where the last one ended, however it ended: finished jobs are never run again.

    Parameters
    ----------
    instances, out
        Files, folders, globs, ``.zip`` and ``.tar.gz`` archives, instances, or a mix; the batch's folder.
    methods, grids, **options
        Names of methods; further combinations, each a mapping of options to values or lists of values;
        options by name, as for `placer.solve`: a list of values combines each with all others.
    jobs, oversubscribe
        Jobs at one time, by default as many as there are cores for their threads; whether more may run.
    executor
        Any ``concurrent.futures.Executor`` that can pickle (Dask's ``client.get_executor()``); processes of
        this machine when None.
    kill_after, job_memory_mb
        Seconds after which a job is ended by force, by default 1.25 times its time limit and 30 more, and
        never without one; memory (MiB) at which it is, by default ``memory_limit_mb`` and 1024 more.
    retry_failed
        Whether jobs that failed by themselves run again; those that were killed from outside always do.
    interrupt, watch
        Set it to stop: running jobs hand over their best plan.  Who is told about everything that happens.

    Raises
    ------
    UsageError
        When options or paths lead to no job, or another batch is working in the folder.
    InputError
        When something cannot be written; what was written before is kept.
    """
    if not hasattr(os, "fork"):
        raise UsageError("batches need a system that can fork (Linux, macOS)")
    combinations, left_out = expand([{"methods": list(methods), **options, **grid} for grid in grids or [{}]])
    where: Engine | int
    if executor is None:
        where = workers(combinations, jobs, oversubscribe=oversubscribe)
    else:
        where = executor if isinstance(executor, Engine) else Engine(executor, parallel=jobs)
    limits = _Limits(kill_after, job_memory_mb)
    work = _Work(Store(out), limits, retry_failed, interrupt or threading.Event(), watch or _Nobody())
    return work.done(instances, combinations, left_out, where)


@dataclass(frozen=True)
class _Limits:
    """The limits of a job's process."""

    kill_after: float | None
    job_memory_mb: int | None

    def seconds(self, job: Job) -> float | None:
        if self.kill_after is not None:
            return self.kill_after
        limit = time_limit(job.options)
        return None if limit is None else GRACE[0] * limit + GRACE[1]

    def memory_mb(self, job: Job) -> int:
        return self.job_memory_mb or memory_mb(job.options)


@dataclass(frozen=True)
class _Work:
    """One call: what it plans, runs and writes down."""

    store: Store
    limits: _Limits
    retry_failed: bool
    stop: threading.Event
    watch: Watch

    def done(
        self, instances: Instances, combinations: list[Options], left_out: list[str], where: Engine | int
    ) -> Batch:
        """Do all of it, on an engine or with so many jobs at one time on this machine."""
        with self.store.locked(), Nurseries() as nurseries:
            planned, others = self._planned(instances, combinations, nurseries)
            manifest = self.store.plan(planned, left_out + others)
            to_do = [job for job in planned if self._to_do(job, manifest)]
            before = sum(not job.problem for job in planned) - len(to_do)
            try:
                self._run(to_do, before, where, nurseries)
            finally:
                records = read_records(self.store, manifest)
                summary = summarise(records)
                self.store.write_table("jobs.csv", records_to_csv(records))
                self.store.write_table("summary.csv", summary.to_csv())
        return Batch(self.store.folder, records, summary, manifest.left_out, self.stop.is_set())

    def _run(self, to_do: list[Job], before: int, where: Engine | int, nurseries: Nurseries) -> None:
        if isinstance(where, Engine):
            self.watch.planned(to_do, before, where.parallel or where.ahead)
            self._scheduler(submit_to(where, self.watch.progressed), where.ahead).run(to_do)
        else:
            self.watch.planned(to_do, before, where)
            with local_submit(nurseries, where, self.watch.progressed, self.stop) as submit:
                self._scheduler(submit, where).run(to_do)

    def _scheduler(self, submit: Submit, ahead: int) -> Scheduler:
        return Scheduler(
            self.store,
            submit,
            at_once=ahead,
            seconds=self.limits.seconds,
            memory_mb=self.limits.memory_mb,
            stop=self.stop,
            watch=self.watch,
        )

    def _planned(
        self, instances: Instances, combinations: list[Options], readers: Nurseries
    ) -> tuple[list[Job], list[str]]:
        """Read all instances, keep them, and list the jobs, each once; also what was left out."""
        given = [instances] if isinstance(instances, str | Path | Instance) else list(instances)
        jobs: dict[str, Job] = {}
        left_out: list[str] = []
        for source in _sources(given, self.store.folder):
            self.watch.reading(source.where)
            found = Inspected(problem=source.problem)
            if source.data is not None:
                found = inspect_safely(readers, source.data, source.name, self.stop.is_set)
            if self.stop.is_set():
                break
            if found.other and not source.explicit:
                left_out.append(f"{shown(source.where, 200)}: {found.problem}")
                continue
            if source.data is not None and not found.problem:
                self.store.keep_instance(found.sha256, source.data)
            for options in combinations:
                job = _job(source, found, options)
                jobs.setdefault(job.id, job)
        return list(jobs.values()), left_out

    def _to_do(self, job: Job, manifest: Manifest) -> bool:
        """Whether a job must be run; bad instances and damaged documents are dealt with here."""
        if job.problem:
            self.store.fail(job, failure(job, Outcome(None, FailureKind.BAD_INSTANCE, job.problem, 0)))
            return False
        try:
            result = self.store.result(job)
        except InputError as error:
            self.store.set_aside(job)
            manifest.left_out.append(f"{error}; it was set aside and the job is run again")
            return True
        if result is not None:
            self.store.finish_up(job)
            return False
        failed = self.store.failure(job)
        if failed is None or failed.kind is FailureKind.KILLED:
            return True
        return self.retry_failed and failed.kind is not FailureKind.REFUSED


def _sources(given: list[str | Path | Instance], out: Path) -> Iterator[Source]:
    for item in given:
        if isinstance(item, Instance):
            yield Source(f"instance {item.name}", item.name, native.to_json(item).encode(), explicit=True)
    paths = [item for item in given if not isinstance(item, Instance)]
    yield from find(paths, without=out)


def _job(source: Source, found: Inspected, options: Options) -> Job:
    sha256 = found.sha256
    if found.problem:
        content = source.data if source.data is not None else source.where.encode(errors="surrogateescape")
        sha256 = f"file:{hashlib.sha256(content).hexdigest()}"
    where = source.where.encode(errors="replace").decode()  # names of files need not be Unicode
    return Job(
        id=job_id(sha256, options, code_version()),
        instance=found.name or source.name.encode(errors="replace").decode(),
        source=where,
        sha256=sha256,
        options=options,
        code=code_version(),
        problem=found.problem,
    )


class _Nobody:
    """Looks on and says nothing."""

    def reading(self, where: str) -> None: ...

    def planned(self, jobs: list[Job], finished: int, parallel: int) -> None: ...

    def started(self, job: Job) -> None: ...

    def progressed(self, job: str, point: Point, phase: str) -> None: ...

    def ended(self, job: Job, outcome: Outcome) -> None: ...

    def tick(self) -> None: ...
