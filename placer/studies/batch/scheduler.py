"""Runs the jobs of a batch on an executor, and keeps what comes of each as soon as it is there."""

from __future__ import annotations

import concurrent.futures as cf
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from placer.errors import UsageError
from placer.plans.status import Point
from placer.studies.attempt import ATTEMPTS, FailureKind, Outcome
from placer.studies.batch.jobs import Failure, Job
from placer.studies.batch.store import Store
from placer.studies.batch.worker import Task
from placer.studies.nursery import PATIENCE

__all__ = ["Scheduler", "Submit", "Watch", "failure"]

Submit = Callable[[Task], "cf.Future[Outcome]"]
BEAT = 0.2
"""Seconds between two looks at the stop button."""


class Watch(Protocol):
    """Somebody who looks on; `progressed` is called from other threads."""

    def reading(self, where: str) -> None:
        """Take note that a file is being read."""

    def planned(self, jobs: list[Job], finished: int, parallel: int) -> None:
        """Take note of the jobs to run now, and how many are finished from before."""

    def started(self, job: Job) -> None:
        """Take note that a job was handed to a worker."""

    def progressed(self, job: str, point: Point, phase: str) -> None:
        """Take note of the progress of the job with this id."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Take note of the end of a job."""

    def tick(self) -> None:
        """Refresh what is shown."""


class Scheduler:
    """Keeps a number of jobs at an executor until all are done or the batch is stopped.

    Parameters
    ----------
    store
        Where outcomes go.
    submit
        Hands a task to the executor.
    at_once
        Jobs at the executor at one time.
    seconds, memory_mb
        Limits of a job; functions of it.
    stop
        Set from outside to stop.
    watch
        Who looks on.
    """

    def __init__(
        self,
        store: Store,
        submit: Submit,
        *,
        at_once: int,
        seconds: Callable[[Job], float | None],
        memory_mb: Callable[[Job], int],
        stop: threading.Event,
        watch: Watch,
    ) -> None:
        self._store, self._submit, self._at_once = store, submit, at_once
        self._seconds, self._memory_mb = seconds, memory_mb
        self._stop, self._watch = stop, watch
        self._out: dict[cf.Future[Outcome], Job] = {}
        self._lost: dict[str, int] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        """Run the jobs.

        Raises
        ------
        InputError
            When an outcome cannot be written; those written before are kept.
        UsageError
            When the executor takes no more jobs.
        """
        waiting = deque(jobs)
        while (waiting or self._out) and not self._stop.is_set():
            while waiting and len(self._out) < self._at_once:
                self._start(waiting.popleft())
            self._watch.tick()
            done, _ = cf.wait(self._out, BEAT, cf.FIRST_COMPLETED)
            for future in done:
                job = self._out.pop(future)
                if not self._settle(job, future):
                    waiting.append(job)
        if self._out:
            self._collect()

    def _start(self, job: Job) -> None:
        task = Task(
            id=job.id,
            data=self._store.instance(job.sha256),
            name=job.instance,
            sha256=job.sha256,
            code=job.code,
            options=job.options,
            seconds=self._seconds(job),
            memory_mb=self._memory_mb(job),
        )
        try:
            self._out[self._submit(task)] = job
        except (cf.BrokenExecutor, RuntimeError) as error:
            raise UsageError(f"the executor takes no more jobs: {error or type(error).__name__}") from None
        self._watch.started(job)

    def _settle(self, job: Job, future: cf.Future[Outcome]) -> bool:
        """Keep what came of a job; return False if it is to be run again, elsewhere."""
        try:
            outcome = future.result()
        except (cf.CancelledError, cf.BrokenExecutor) as error:
            return self._was_lost(job, error)
        except Exception as error:
            if type(error).__name__ == "KilledWorker":  # of Dask, which need not be installed
                return self._was_lost(job, error)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            outcome = Outcome(None, FailureKind.DEFECT, f"its worker failed: {reason}")
        self._keep(job, outcome)
        return True

    def _was_lost(self, job: Job, error: BaseException) -> bool:
        self._lost[job.id] = self._lost.get(job.id, 0) + 1
        if self._lost[job.id] < ATTEMPTS:
            return False
        reason = f"its workers were lost ({type(error).__name__})"
        self._keep(job, Outcome(None, FailureKind.KILLED, reason, self._lost[job.id]))
        return True

    def _keep(self, job: Job, outcome: Outcome) -> None:
        if outcome.interrupted:
            if outcome.result is not None and outcome.result.assignment is not None:
                self._store.interrupt(job, outcome.result)
        elif outcome.result is not None:
            self._store.finish(job, outcome.result)
        elif outcome.kind is not None:
            self._store.fail(job, failure(job, outcome))
        self._watch.ended(job, outcome)

    def _collect(self) -> None:
        """Give the jobs a moment to hand over what they have after a stop."""
        for future in self._out:
            future.cancel()
        until = time.monotonic() + PATIENCE + 1.0
        while self._out and time.monotonic() < until:
            done, _ = cf.wait(self._out, BEAT, cf.FIRST_COMPLETED)
            for future in done:
                job = self._out.pop(future)
                if not future.cancelled() and future.exception() is None:
                    self._keep(job, future.result())


def failure(job: Job, outcome: Outcome) -> Failure:
    """Make the document of a job without a result."""
    return Failure(
        id=job.id,
        instance=job.instance,
        sha256=job.sha256,
        options=job.options,
        kind=outcome.kind or FailureKind.DEFECT,
        reason=outcome.reason,
        attempts=outcome.attempts,
        seconds=outcome.seconds,
        peak_memory_mb=outcome.peak_memory_mb,
    )
