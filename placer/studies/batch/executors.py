"""Where jobs run: threads of this process that each watch one job, or any executor, such as Dask's."""

from __future__ import annotations

import concurrent.futures as cf
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from placer.errors import UsageError
from placer.options import Options
from placer.plans.status import Point
from placer.studies.attempt import Outcome
from placer.studies.batch.scheduler import Submit
from placer.studies.batch.worker import Task, run_task
from placer.studies.isolation import Nurseries

__all__ = ["Engine", "Tell", "cores", "local_submit", "submit_to", "workers"]

Tell = Callable[[str, Point, str], None]
AHEAD = 1000
"""Jobs handed to an executor of unknown size before the first are back."""


@dataclass(frozen=True)
class Engine:
    """An executor with what it can do beyond the standard interface.

    Parameters
    ----------
    executor
        Anything with the interface of ``concurrent.futures.Executor``.
    tell, stopped
        Called by the workers (so both can be pickled): with progress, and to ask whether to stop.
    listen
        Has what the workers tell delivered to a function of this process.
    parallel
        Jobs that run at one time; None when it is not known.
    """

    executor: cf.Executor
    tell: Tell | None = None
    stopped: Callable[[], bool] | None = None
    listen: Callable[[Tell], None] | None = None
    parallel: int | None = None

    @property
    def ahead(self) -> int:
        """Jobs to hand over before the first are back: twice what runs, so that no worker waits."""
        return AHEAD if self.parallel is None else 2 * self.parallel


def cores() -> int:
    """Return the number of cores that this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # the quota of a container
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        available = min(available, max(1, int(quota) // int(period)))
    return available


def workers(options: list[Options], jobs: int | None, *, oversubscribe: bool) -> int:
    """Return how many jobs run at one time on this machine.

    Raises
    ------
    UsageError
        When that is more than there are cores, and nobody asked for it.
    """
    threads, available = max(o.threads for o in options), cores()
    if jobs is None:
        jobs = max(1, available // threads)
    if jobs < 1:
        raise UsageError(f"at least one job must run, got {jobs}")
    if jobs * threads > available and not oversubscribe:
        fitting = available // threads
        advice = f"at most {fitting} jobs fit" if fitting else f"{threads} threads do not fit"
        needed = f"{jobs} jobs with {threads} threads need {jobs * threads} cores, of {available}"
        raise UsageError(f"{needed}; {advice}, or oversubscribe")
    return jobs


@contextmanager
def local_submit(nurseries: Nurseries, jobs: int, tell: Tell, stop: threading.Event) -> Iterator[Submit]:
    """Run jobs on this machine: a thread per job waits for its process."""
    pool = cf.ThreadPoolExecutor(jobs, thread_name_prefix="placer-batch")

    def submit(task: Task) -> cf.Future[Outcome]:
        return pool.submit(run_task, task, tell, stop.is_set, nurseries)

    try:
        yield submit
    finally:
        nurseries.close()
        pool.shutdown(cancel_futures=True)


def submit_to(engine: Engine, tell: Tell) -> Submit:
    """Run jobs on an executor."""
    if engine.listen is not None:
        engine.listen(tell)

    def submit(task: Task) -> cf.Future[Outcome]:
        return engine.executor.submit(run_task, task, engine.tell, engine.stopped)

    return submit
