"""One question to one method, in the process that this is called in: what it found, and when."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import placer
from placer.errors import InputError, UsageError
from placer.plans.result import gap_of
from placer.plans.status import Point
from placer.search.run import Run
from placer.studies.nursery import Life
from tests.benchmarks.measure import GAPS, Watch
from tests.benchmarks.proofs import cp_sat
from tests.benchmarks.proofs.methods import METHODS
from tests.support.batches import descendants

__all__ = ["Question", "measure", "warm"]

PATIENCE = 1.2
"""A process that has used so many times its CPU seconds is ended."""
GRACE_S = 3.0
"""And so many more: reading, and verifying the plan."""


@dataclass(frozen=True)
class Question:
    """What is measured.

    Parameters
    ----------
    path
        The instance.
    method
        One of `tests.benchmarks.proofs.methods`.
    options
        Of the solve.
    limit_s
        CPU seconds.
    memory_mb
        Memory of the search, MiB.
    constants
        Constants of modules that are replaced: ``"module:NAME"`` and the value.
    """

    path: str
    method: str
    options: dict[str, Any]
    limit_s: float
    memory_mb: int
    constants: dict[str, float]


@dataclass
class _Phases(Watch):
    """Also tells how long each phase took, and which gaps there were on the way.

    All of that is told at each change as well, for processes that do not stop when they are asked to.
    """

    tell: Callable[[dict[str, Any]], None] = print

    def __post_init__(self) -> None:
        self.phase = "start"
        self.spent: dict[str, float] = defaultdict(float)
        self.curve: list[tuple[float, float]] = []
        self.held: dict[str, Any] = {}
        self._since = 0.0
        super().__post_init__()

    def on_progress(self, point: Point, phase: str) -> None:
        """Take the time of the phase before."""
        used = self.clock() - self.began
        self.close(phase)
        gap = gap_of(point.incumbent_ms, point.bound_ms)
        if gap is not None and (not self.curve or gap < self.curve[-1][1]):
            self.curve.append((round(used, 4), gap))
        super().on_progress(point, phase)
        now = {"objective": point.incumbent_ms, "bound": point.bound_ms, "gap": gap, "phase": phase}
        if now != self.held:
            self.held = now
            self.tell({"status": "late", "stop": f"did not stop in phase {phase}", **now, **self.figures()})

    def figures(self) -> dict[str, Any]:
        """Return the times so far."""
        return {
            "seconds_1pct": self.seconds.get(GAPS[0]),
            "seconds_001pct": self.seconds.get(GAPS[1]),
            "cpu_s": self.clock() - self.began,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "phases": {name: round(s, 3) for name, s in self.spent.items() if s >= 0.01},
            "curve": self.curve,
        }

    def close(self, phase: str = "end") -> None:
        """End a phase."""
        used = self.clock() - self.began
        self.spent[self.phase] += used - self._since
        self.phase, self._since = phase or self.phase, used


def warm() -> None:
    """Load what all measurements need."""
    for name in ("placer.solving.solve", "placer.solvers.highs", "placer.methods.auto", "formulations"):
        import_module(name)


def measure(life: Life, question: Question) -> dict[str, Any]:
    """Solve and tell what came of it.

    The search divides its work as under a time limit of as many seconds, but the clock is that of the
    processor: other work on the machine does not distort it.
    """
    most = int(PATIENCE * question.limit_s + GRACE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 2))
    for place, value in question.constants.items():
        module, _, name = place.partition(":")
        setattr(import_module(module), name, type(getattr(import_module(module), name))(value))
    instance = placer.load(question.path)
    watch = _Phases(question.limit_s, _used_s, life.tell)
    try:
        with _replaced(question):
            result = placer.solve(
                instance,
                on_progress=watch.on_progress,
                interrupt=watch.interrupt,
                gap=GAPS[-1],
                threads=1,
                time_limit=1000 * question.limit_s,
                memory_limit_mb=question.memory_mb,
                **question.options,
            )
    except (UsageError, InputError) as error:
        return {"status": "not applicable", "message": str(error)}
    watch.note(result.gap)
    watch.done.set()
    watch.close()
    if result.gap is not None:
        watch.curve.append((round(watch.clock() - watch.began, 4), result.gap))
    return {
        "status": result.status.value,
        "stop": result.stop.value,
        "objective": result.objective,
        "bound": result.bound,
        "gap": result.gap,
        **watch.figures(),
        "message": result.message[:500],
    }


@contextlib.contextmanager
def _replaced(question: Question) -> Iterator[None]:
    """Let work be divided as under a limit that somebody else keeps, and programs be solved by any solver."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("placer.solving.solve.Run", partial(_planned, question.limit_s)))
        if METHODS[question.method].solver == "cp_sat":
            stack.enter_context(mock.patch("placer.solvers.highs.solve", cp_sat.solve))
        yield


def _used_s() -> float:
    """Return the CPU seconds of this process and of all that it started."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = 0.0
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            running += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return time.process_time() + ended.ru_utime + ended.ru_stime + running


def _planned(limit_s: float, **arguments: Any) -> Run:
    """Return a run that divides work as under a limit, which somebody else keeps."""
    run = Run(**arguments)
    run._planned = limit_s
    return run
