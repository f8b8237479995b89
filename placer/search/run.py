"""What a method may ask while it works, and what it hands back.

Decisions are never made by the clock, which runs differently every time: methods *count* their work
(simplex iterations, states, moves) in nominal seconds of a slow core, and shares of time between phases are
shares of counted work.  So two runs decide alike until the time limit strikes, which alone obeys the clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from placer.arrays import IntArray
from placer.plans.plan import Plan
from placer.plans.status import Point, Stop
from placer.processes import Allowance
from placer.reductions.inverse import Inverse

__all__ = ["Outcome", "Run", "Stopped"]


WATCH_S = 0.05
"""Seconds between two looks at the clock on behalf of a kernel."""


class Stopped(Exception):  # noqa: N818 - no error: the run is over
    """Unwinds a long construction when the run is over; whoever holds plans and bounds catches it."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.value)
        self.stop = stop


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
    hints
        What binds, and what would help.
    stats
        Figures worth keeping (nodes explored, model size, seconds per phase).
    """

    stop: Stop
    plan: Plan | None = None
    bound_ms: float | None = None
    message: str = ""
    stats: Mapping[str, float | int | str] = field(default_factory=dict)
    hints: tuple[str, ...] = ()

    def inverted(self, inverse: Inverse) -> Outcome:
        """Return what an outcome of a smaller instance says about the original."""
        plan = None if self.plan is None else inverse.plan(self.plan)
        return replace(self, plan=plan, bound_ms=inverse.bound(self.bound_ms))


class Run:
    """The clock, the stop button and the log of one solve.

    Parameters
    ----------
    time_limit
        Seconds from now, or None.
    work_limit
        Counted work from now in nominal seconds, or None.
    start
        A plan to start from, known to be valid, or None.
    bound_ms
        A lower bound that is already proven, or None.
    on_progress
        Called with each new `Point` and the name of the phase.
    on_plan
        Called with each plan that is worth keeping, should the method never get to hand it back.
    interrupt
        Set from outside to stop as soon as possible and keep the best plan.
    began
        When the clock was started (`time.perf_counter`); now when None.
    memory
        What the process may still take, or None.
    enough_ms
        The question is only whether a plan is as fast as that: it is enough to find one, or to prove a bound
        above it.  None for the best plan.
    """

    def __init__(
        self,
        *,
        time_limit: float | None = None,
        work_limit: float | None = None,
        start: Plan | None = None,
        bound_ms: float | None = None,
        on_progress: Callable[[Point, str], None] | None = None,
        on_plan: Callable[[Plan], None] | None = None,
        interrupt: threading.Event | None = None,
        began: float | None = None,
        memory: Allowance | None = None,
        enough_ms: float | None = None,
    ) -> None:
        self.began = time.perf_counter() if began is None else began
        self.time_limit = time_limit
        self.work_limit = work_limit
        self.work_s = 0.0
        """Work counted so far, in nominal seconds."""
        self._planned = _least(time_limit, work_limit)
        self._whole: Run | None = None
        self.start = start
        self.bound_ms = bound_ms
        self.interrupt = interrupt or threading.Event()
        self.history: list[Point] = []
        self.memory = memory
        self.enough_ms = enough_ms
        self._on_progress = on_progress
        self._on_plan = on_plan

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    @property
    def remaining(self) -> float | None:
        """Seconds left, at least 0; None without a limit."""
        return None if self.time_limit is None else max(0.0, self.time_limit - self.seconds)

    @property
    def work_left(self) -> float | None:
        """Counted work after which to stop, at least 0, in nominal seconds; None without a limit."""
        return None if self.work_limit is None else max(0.0, self.work_limit - self.work_s)

    @property
    def planned(self) -> float | None:
        """Counted work to divide among phases, at least 0, in nominal seconds; None without any limit.

        What the limits allow less what was counted: unlike `remaining` the same in every run.
        """
        return None if self._planned is None else max(0.0, self._planned - self.work_s)

    def portion(self, share: float, seconds: float) -> float:
        """Return a share of the work that limits allow, or nominal seconds where there are none."""
        return seconds if self.planned is None else share * self.planned

    def spend(self, seconds: float) -> None:
        """Count work, in nominal seconds."""
        self.work_s += seconds
        if self._whole is not None:
            self._whole.spend(seconds)

    def stopped(self) -> Stop | None:
        """Whether to stop now, and why."""
        if self.interrupt.is_set():
            return Stop.INTERRUPTED
        if self.remaining == 0.0:
            return Stop.TIME_LIMIT
        if self.memory is not None and self.memory.exceeded():
            return Stop.MEMORY_LIMIT
        if self.work_left == 0.0:
            return Stop.WORK_LIMIT
        return Stop.FINISHED if self.is_answered else None

    @property
    def is_answered(self) -> bool:
        """Whether it is known if a plan is as fast as `enough_ms`, here or where this is a part of."""
        if self._whole is not None and self._whole.is_answered:
            return True
        if self.enough_ms is None or not self.history:
            return False
        last = self.history[-1]
        found = last.incumbent_ms is not None and last.incumbent_ms <= self.enough_ms
        return found or (last.bound_ms is not None and last.bound_ms > self.enough_ms)

    def check(self) -> None:
        """Leave a long construction when the run is over.

        Raises
        ------
        Stopped
            When it is.
        """
        stop = self.stopped()
        if stop is not None:
            raise Stopped(stop)

    @contextmanager
    def raising(self, flag: IntArray) -> Iterator[None]:
        """Set the first element of an array when the run is over: for kernels, which cannot ask.

        They run without the interpreter lock, beside the thread that asks for them.
        """
        flag[0] = 0
        done = threading.Event()

        def watch() -> None:
            while not done.wait(WATCH_S):
                if self.stopped() is not None:
                    flag[0] = 1
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def keep(self, plan: Plan) -> None:
        """Hand on a plan that is worth keeping, should the method never get to hand it back."""
        if self._on_plan is not None:
            self._on_plan(plan)

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

    def relay(self, point: Point, phase: str) -> None:
        """Take a point of another process that works for this run, which told only what was better."""
        last = self.history[-1] if self.history else None
        if last is None or (point.incumbent_ms, point.bound_ms) != (last.incumbent_ms, last.bound_ms):
            self.history.append(point)
        if self._on_progress is not None:
            self._on_progress(point, phase)

    def divert(
        self, on_plan: Callable[[Plan], None], on_progress: Callable[[Point, str], None] | None = None
    ) -> None:
        """Tell others from now on: of plans, and of progress where that is given."""
        self._on_plan, self._on_progress = on_plan, on_progress or self._on_progress

    def part(
        self,
        *,
        work: float | None = None,
        quiet: bool = False,
        inverse: Inverse | None = None,
        enough_ms: float | None = None,
    ) -> Run:
        """Return a run for one phase: within this one's limits, stopped with it, counted and logged in it.

        Parameters
        ----------
        work
            Counted work that it may do, in nominal seconds.
        quiet
            It solves another problem: nothing is handed on, and nothing is reported.
        inverse
            It solves a smaller instance: what its start is, and its plans and bounds are here.
        enough_ms
            How fast a plan has to be, where that is the question; passed on to parts that solve the same.
        """

        def hand_on(point: Point, name: str) -> None:
            bound = point.bound_ms if inverse is None else inverse.bound(point.bound_ms)
            self.report(point.incumbent_ms, bound, name)

        def keep(plan: Plan) -> None:
            self.keep(plan if inverse is None else inverse.plan(plan))

        start = None if quiet else self.start
        if start is not None and inverse is not None:
            start = inverse.start(start)

        part = Run(
            time_limit=self.remaining,
            work_limit=_least(self.work_left, work),
            start=start,
            bound_ms=None if quiet else self.bound_ms,
            interrupt=self.interrupt,
            on_progress=None if quiet else hand_on,
            on_plan=None if quiet else keep,
            memory=self.memory,
            enough_ms=enough_ms if quiet or enough_ms is not None else self.enough_ms,
        )
        part._planned = _least(self.planned, work)
        part._whole = self
        return part


def _least(*limits: float | None) -> float | None:
    """Return the least of the limits that there are."""
    return min((limit for limit in limits if limit is not None), default=None)
