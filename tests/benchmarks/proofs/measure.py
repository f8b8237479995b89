"""One question to one method, in the process that this is called in: what it found, and when."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any
from unittest import mock

import placer
from placer.errors import InputError, UsageError
from placer.plans.result import gap_of
from placer.plans.status import Point
from placer.search.run import Run
from placer.studies.nursery import Life
from tests.benchmarks.measure import GAPS, Watch
from tests.benchmarks.proofs.methods import PROGRAMS

__all__ = ["Question", "measure", "warm"]

PATIENCE = 1.5
"""A process that has used so many times its CPU seconds is ended."""
GRACE_S = 5.0
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
    """Also tells how long each phase took, and which gaps there were on the way."""

    def __post_init__(self) -> None:
        self.phase = "start"
        self.spent: dict[str, float] = defaultdict(float)
        self.curve: list[tuple[float, float]] = []
        self._since = 0.0
        super().__post_init__()

    def on_progress(self, point: Point, phase: str) -> None:
        """Take the time of the phase before."""
        used = time.process_time() - self.began
        self.close(phase)
        gap = gap_of(point.incumbent_ms, point.bound_ms)
        if gap is not None and (not self.curve or gap < self.curve[-1][1]):
            self.curve.append((round(used, 4), gap))
        super().on_progress(point, phase)

    def close(self, phase: str = "end") -> None:
        """End a phase."""
        used = time.process_time() - self.began
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
    del life
    most = int(PATIENCE * question.limit_s + GRACE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 2))
    for place, value in question.constants.items():
        module, _, name = place.partition(":")
        setattr(import_module(module), name, type(getattr(import_module(module), name))(value))
    instance = placer.load(question.path)
    if question.method in PROGRAMS:
        return PROGRAMS[question.method](instance, question.options, question.limit_s, question.memory_mb)
    watch = _Phases(question.limit_s)
    try:
        with mock.patch("placer.solving.solve.Run", partial(_planned, question.limit_s)):
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
    used = time.process_time() - watch.began
    return {
        "status": result.status.value,
        "stop": result.stop.value,
        "objective": result.objective,
        "bound": result.bound,
        "gap": result.gap,
        "seconds_1pct": watch.seconds.get(GAPS[0]),
        "seconds_001pct": watch.seconds.get(GAPS[1]),
        "cpu_s": used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "phases": {name: round(s, 3) for name, s in watch.spent.items() if s >= 0.01},
        "curve": [*watch.curve, (round(used, 4), result.gap)] if result.gap is not None else watch.curve,
        "message": result.message[:500],
    }


def _planned(limit_s: float, **arguments: Any) -> Run:
    """Return a run that divides work as under a limit, which somebody else keeps."""
    run = Run(**arguments)
    run._planned = limit_s
    return run
