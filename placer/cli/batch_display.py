"""Progress of a batch on standard error: live on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from placer.cli.progress import PLAIN_SECONDS, describe
from placer.plans.status import Point
from placer.studies.attempt import FailureKind, Outcome
from placer.studies.batch.eta import estimate
from placer.studies.batch.jobs import Job
from placer.studies.batch.names import shown

__all__ = ["BatchDisplay"]

ROWS = 12
"""Running jobs that are shown one by one."""


class BatchDisplay:
    """Shows what is done, running and failed, and when the rest may be done."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, highlight=False, emoji=False)
        self._quiet = quiet
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._next = 0.0
        self._read = self._before = self._failed = self._done = self._total = 0
        self._parallel = 1
        self._waiting: Counter[str] = Counter()
        self._running: dict[str, tuple[Job, float]] = {}
        self._points: dict[str, tuple[Point, str, float]] = {}
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if kind is None and not self._quiet:
            print(self.headline(), file=sys.stderr, flush=True)

    # -- what happens -------------------------------------------------------------------------------

    def reading(self, where: str) -> None:
        """Count a file that is read."""
        self._read += 1
        self.tick()

    def counts(self) -> str:
        """Say how many jobs there were, and what had been done before."""
        jobs = f"{self._total} job{'s' * (self._total != 1)}"
        return f"{jobs}, {self._before} of them done before" if self._before else jobs

    def planned(self, jobs: list[Job], finished: int, parallel: int) -> None:
        """Begin with the jobs to run now."""
        self._before, self._parallel, self._total = finished, parallel, finished + len(jobs)
        self._waiting = Counter(_kind(job) for job in jobs)
        self.tick()

    def started(self, job: Job) -> None:
        """Note that a job is at a worker; its clock starts with its first sign of life, if it gives any."""
        with self._lock:
            if job.id not in self._running:
                self._waiting[_kind(job)] -= 1
            self._running[job.id] = (job, time.monotonic())

    def progressed(self, job: str, point: Point, phase: str) -> None:
        """Note the best plan and bound of a job; called from other threads."""
        with self._lock:
            self._points[job] = (point, phase, time.monotonic())

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Note the end of a job."""
        with self._lock:
            self._running.pop(job.id, None)
            self._points.pop(job.id, None)
            if outcome.interrupted:
                return
            self._done += 1
            failed = outcome.kind is not None and outcome.kind is not FailureKind.REFUSED
            self._failed += failed
            self._seconds[_kind(job)].append(outcome.seconds)
        if failed and not self._quiet:
            reason = f"failed: {shown(job.instance)}, {job.options.method}: {shown(outcome.reason, 300)}"
            # Text, so that nothing in a name is markup.
            self._console.print(Text(reason), soft_wrap=True)

    def tick(self) -> None:
        """Refresh the display, when it is time."""
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        if self._live is not None:
            self._next = now + 0.25
            with self._lock:
                self._live.update(self._view(), refresh=True)
        else:
            self._next = now + PLAIN_SECONDS
            print(self.headline(), file=sys.stderr, flush=True)

    # -- what is shown ------------------------------------------------------------------------------

    def headline(self) -> str:
        """One line about the whole batch."""
        if not self._total:
            return f"files read: {self._read}"
        done = self._before + self._done
        parts = [f"{done} of {self._total} jobs done"]
        if self._before:
            parts.append(f"{self._before} of them before")
        parts += [f"{min(len(self._running), self._parallel)} running", f"{self._failed} failed"]
        if done < self._total:
            now = time.monotonic()
            # What waits at a remote worker is not running yet.
            longest = sorted(self._running.values(), key=lambda entry: entry[1])[: self._parallel]
            queued = Counter(_kind(job) for job, _ in self._running.values())
            queued.subtract(_kind(job) for job, _ in longest)
            left = estimate(
                self._seconds,
                self._waiting + queued,
                [(_kind(job), now - began) for job, began in longest],
                self._parallel,
            )
            parts.append("time left not known yet" if left is None else str(left))
        return ", ".join(parts)

    def _view(self) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        now = time.monotonic()
        told = [job for job in self._running if job in self._points]
        quiet = [job for job in self._running if job not in self._points]
        for key in [*told, *quiet][: min(ROWS, self._parallel)]:
            job, began = self._running[key]
            line = f"{now - began:7.1f} s"
            if key in self._points:
                point, phase, since = self._points[key]
                line = describe(replace(point, seconds=point.seconds + now - since), phase)
            table.add_row(Text(shown(job.instance, 40)), Text(job.options.method), Text(line))
        return Group(Text(self.headline(), style="bold"), table)


def _kind(job: Job) -> str:
    """Jobs of one kind take comparable times: those with the same options."""
    return job.options.model_dump_json()
