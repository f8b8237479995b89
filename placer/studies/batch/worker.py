"""What is done with one instance, in a process of its own, on this machine or any other."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from placer.errors import InputError, NotAnInstanceError
from placer.formats.files import loads
from placer.formats.text import decode
from placer.instance.fingerprint import fingerprint
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.plans.status import Point
from placer.processes import peak_memory_mb
from placer.solving.solve import solve
from placer.studies.attempt import ATTEMPTS, FailureKind, Outcome, attempt, in_a_process
from placer.studies.batch.version import code_version
from placer.studies.isolation import Nurseries, nurseries_of
from placer.studies.nursery import Call, How, Life

__all__ = ["Inspected", "Task", "inspect", "inspect_safely", "run_task"]

INSPECT_SECONDS = 120.0
INSPECT_MB = 4096
PROGRESS_SECONDS = 0.25


@dataclass(frozen=True)
class Task:
    """All that is needed to run a job anywhere.

    Parameters
    ----------
    id
        The job.
    data, name
        The instance file and the name of the instance.
    sha256, code
        What the instance and the solver must be.
    options
        How to solve it.
    seconds, memory_mb
        Limits of the process.
    """

    id: str
    data: bytes
    name: str
    sha256: str
    code: str
    options: Options
    seconds: float | None
    memory_mb: int


@dataclass(frozen=True)
class Inspected:
    """What a file is: the instance with its content hash and name, or the problem with it."""

    sha256: str = ""
    name: str = ""
    problem: str = ""
    other: bool = False


def inspect(life: Life, data: bytes, name: str) -> Inspected:
    """Read an instance to know what it is."""
    try:
        instance = loads(decode(data, ""), source="", name=name)
    except NotAnInstanceError as error:
        return Inspected(problem=str(error), other=True)
    except InputError as error:
        return Inspected(problem=str(error))
    return Inspected(fingerprint(instance), instance.name)


def inspect_safely(
    nurseries: Nurseries, data: bytes, name: str, stopped: Callable[[], bool] | None = None
) -> Inspected:
    """Read an instance in a process of its own: whatever it does to the reader is its problem."""
    for _ in range(ATTEMPTS):
        answer = nurseries.run(Call(inspect, (data, name), INSPECT_SECONDS, INSPECT_MB), stopped=stopped)
        if isinstance(answer.value, Inspected):
            return answer.value
        if answer.ended.how is not How.KILLED:
            break
    return Inspected(problem=f"it cannot be read: {answer.ended.reason or answer.ended.how}")


def run_task(
    task: Task,
    tell: Callable[[str, Point, str], None] | None = None,
    stopped: Callable[[], bool] | None = None,
    nurseries: Nurseries | None = None,
) -> Outcome:
    """Run a job in a process of its own; start it once more if it is killed from outside.

    Parameters
    ----------
    task
        The job.
    tell
        Called with the job's id, its progress and the name of the phase.
    stopped
        Asked ten times a second whether to stop.
    nurseries
        Where processes come from; those kept by this process when None.
    """
    if task.code != code_version():
        reason = "this worker runs another version of placer, or of a library that it uses, than the batch"
        return Outcome(None, FailureKind.DEFECT, reason)
    nurseries = nurseries or nurseries_of(os.getpid())
    method, objective = task.options.method, task.options.objective
    call = Call(_solve, (task,), task.seconds, task.memory_mb, _Warm(method, objective))
    tell_all = None if tell is None else functools.partial(_pass_on, tell, task.id)
    return in_a_process(call, nurseries, tell=tell_all, stopped=stopped)


def _pass_on(tell: Callable[[str, Point, str], None], job: str, said: tuple[Point, str]) -> None:
    tell(job, *said)


def _solve(life: Life, task: Task) -> Outcome:
    """Solve, in the process of the job."""

    def solved() -> Outcome:
        instance = loads(decode(task.data, task.name), source=task.name, name=task.name)
        if fingerprint(instance) != task.sha256:
            return Outcome(None, FailureKind.BAD_INSTANCE, "its file changed after the batch was planned")
        instance = instance.replace(name=task.name)
        told = _Sparse(life.tell)
        result = solve(instance, task.options, on_progress=told, interrupt=life.interrupt)
        stats = {**result.stats, "peak_memory_mb": round(peak_memory_mb() or 0.0, 1)}
        return Outcome(result.model_copy(update={"stats": stats}).sealed())

    return attempt(solved, task.memory_mb)


class _Sparse:
    """Passes progress on, a few times a second at most."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell, self._next = tell, 0.0

    def __call__(self, point: Point, phase: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_SECONDS
            self._tell((point, phase))


@dataclass(frozen=True)
class _Warm:
    """Loads a method."""

    method: str
    objective: Objective

    def __call__(self) -> None:
        load_method(self.method, self.objective)
