"""What a method may ask while it works, and what it hands back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from placer.plan import Plan

__all__ = ["Outcome", "Point", "Run", "Stop"]


class Stop(StrEnum):
    """Why a method stopped; what it holds then is a separate question."""

    FINISHED = "finished"
    """It did all that it does: proved the gap asked for, or ran its heuristic to the end."""
    INFEASIBLE = "infeasible"
    """It proved that there is no plan."""
    TIME_LIMIT = "time limit"
    MEMORY_LIMIT = "memory limit"
    INTERRUPTED = "interrupted"
    NOT_APPLICABLE = "not applicable"
    """It does not handle this kind of instance; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What a method found.

    Parameters
    ----------
    stop
        Why it stopped.
    plan
        The best plan, or None.
    bound_ms
        A proven lower bound on the objective, or None.
    message
        The reason in words when there is no plan, or a remark.
    stats
        Figures worth keeping (nodes explored, model size, seconds per phase).
    """

    stop: Stop
    plan: Plan | None = None
    bound_ms: float | None = None
    message: str = ""
    stats: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """Progress at one moment: seconds since the start, best objective and bound in ms so far."""

    seconds: float
    incumbent_ms: float | None
    bound_ms: float | None


class Run:
    """The clock, the stop button and the log of one solve.

    Parameters
    ----------
    time_limit
        Seconds from now, or None.
    start
        A plan to start from, known to be valid, or None.
    bound_ms
        A lower bound that is already proven, or None.
    on_progress
        Called with each new `Point` and the name of the phase.
    interrupt
        Set from outside to stop as soon as possible and keep the best plan.
    """

    def __init__(
        self,
        *,
        time_limit: float | None = None,
        start: Plan | None = None,
        bound_ms: float | None = None,
        on_progress: Callable[[Point, str], None] | None = None,
        interrupt: threading.Event | None = None,
    ) -> None:
        self.began = time.perf_counter()
        self.time_limit = time_limit
        self.start = start
        self.bound_ms = bound_ms
        self.interrupt = interrupt or threading.Event()
        self.history: list[Point] = []
        self._on_progress = on_progress

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    @property
    def remaining(self) -> float | None:
        """Seconds left, at least 0; None without a limit."""
        return None if self.time_limit is None else max(0.0, self.time_limit - self.seconds)

    def stopped(self) -> Stop | None:
        """Whether to stop now, and why."""
        if self.interrupt.is_set():
            return Stop.INTERRUPTED
        if self.remaining == 0.0:
            return Stop.TIME_LIMIT
        return None

    def report(
        self, incumbent_ms: float | None = None, bound_ms: float | None = None, phase: str = ""
    ) -> None:
        """Report the best objective and bound known now; older ones stay if they are better."""
        last = self.history[-1] if self.history else Point(0.0, None, self.bound_ms)
        best = min((x for x in (last.incumbent_ms, incumbent_ms) if x is not None), default=None)
        bound = max((x for x in (last.bound_ms, bound_ms) if x is not None), default=None)
        point = Point(self.seconds, best, bound)
        if (best, bound) != (last.incumbent_ms, last.bound_ms) or not self.history:
            self.history.append(point)
        if self._on_progress is not None:
            self._on_progress(point, phase)

    def part(self, *, seconds: float | None = None, start: Plan | None = None, bounds: bool = True) -> Run:
        """Return a run for one phase: within this one's time, stopped with it, logging into it.

        Without ``bounds`` the phase solves a narrower problem: its bounds prove nothing here.
        """
        limits = [x for x in (self.remaining, seconds) if x is not None]
        return Run(
            time_limit=min(limits) if limits else None,
            start=start or self.start,
            bound_ms=self.bound_ms,
            interrupt=self.interrupt,
            on_progress=lambda point, name: self.report(
                point.incumbent_ms, point.bound_ms if bounds else None, name
            ),
        )
