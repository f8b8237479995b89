"""A search under guard: it works in a fork, and who waits for it keeps the clock, the memory and the signals.

Solvers and graph algorithms do not look at the clock as often as it takes.  So the fork tells at
once what is worth keeping, plans and bounds, and when it does not answer soon after a limit it is ended,
with the best that it told as the outcome.  Where no fork is possible (on other systems, beside threads,
after a solver ran, which leaves threads behind) the search works in this process and only looks itself.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from placer.errors import PlacerError
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.figures import objective_of
from placer.plans.latency_schedule import Deadlock
from placer.plans.plan import Plan
from placer.plans.status import Point, Stop
from placer.plans.verify import violations
from placer.search.fork import Fork
from placer.search.run import Outcome, Run, Stopped
from placer.tolerances import BOUND_TOLERANCE

__all__ = ["Kept", "can_guard", "grace_s", "searched"]

BEAT_S = 0.05
"""Seconds between two looks at the clock, the memory and the stop button."""
GRACE_S, GRACE_SHARE = 0.3, 0.02
"""What the fork gets after its time limit to hand over its outcome: seconds, and a share of the limit."""
PATIENCE_S = 0.7
"""Seconds that it gets after it was interrupted."""
MEMORY_SHARE = 1.1
"""Share of the memory limit at which it is ended at once."""
LIMITS = frozenset({Stop.TIME_LIMIT, Stop.WORK_LIMIT, Stop.MEMORY_LIMIT, Stop.INTERRUPTED})
KEPT = 8
"""Plans that are remembered: the last ones, since methods tell of a plan when it is better."""
TALK_S = 0.1
"""Least time between two messages that report no progress."""


class Kept:
    """The plans that a search told of while it ran, and what is made of them if it never comes to its end."""

    def __init__(self, instance: Instance, options: Options, run: Run) -> None:
        self.instance, self.options, self.run = instance, options, run
        self._plans: deque[Plan] = deque([] if run.start is None else [run.start], KEPT)
        run.divert(self.take)

    def take(self, plan: Plan) -> None:
        """Remember a plan; whether it holds is judged at the end."""
        self._plans.append(plan)

    def outcome(self, stop: Stop, phase: str = "") -> Outcome:
        """Say what is held: the best plan that holds, and the best bound reported."""
        best = self.best()
        history = self.run.history
        bound = history[-1].bound_ms if history else self.run.bound_ms
        if best is not None and bound is not None:
            # Methods drop a bound that a plan refutes; what was told before stays in the history.
            refuted = bound > objective_of(self.instance, best, self.options) * (1 + BOUND_TOLERANCE)
            bound = None if refuted else bound
        where = f"stopped during {phase}" if phase else ""
        return Outcome(stop, best, bound, where if best is not None else "stopped before a plan was found")

    def best(self) -> Plan | None:
        """Return the best plan that holds."""
        valued: list[tuple[float, int, Plan]] = []
        for k, plan in enumerate(self._plans):
            if self.instance.allowed[np.arange(self.instance.n), plan.device].all():
                with contextlib.suppress(Deadlock):
                    valued.append((objective_of(self.instance, plan, self.options), k, plan))
        for _, _, plan in sorted(valued, key=lambda entry: entry[:2]):
            if not violations(self.instance, plan, self.options):
                return plan
        return None

    def completed(self, outcome: Outcome) -> Outcome:
        """Give an outcome that a limit cut short the best plan of all; secondary goals stay as they are."""
        held, options = outcome.plan, self.options
        if outcome.stop not in LIMITS or (held is not None and (options.balance or options.near)):
            return outcome
        best = self.best()
        if best is None or held is None:
            return outcome if best is None else replace(outcome, plan=best, message="")
        values = [objective_of(self.instance, plan, options) for plan in (best, held)]
        return replace(outcome, plan=best) if values[0] < values[1] else outcome


def grace_s(time_limit: float) -> float:
    """Seconds after its time limit at which a search under guard is over, whatever it does."""
    return GRACE_S + GRACE_SHARE * time_limit


def can_guard() -> bool:
    """Whether a fork of this process can work: nothing that it needs may be a thread."""
    solvers_threads = "highspy" in sys.modules
    return sys.platform.startswith("linux") and threading.active_count() == 1 and not solvers_threads


def searched(search: Callable[[Run], Outcome], run: Run, kept: Kept, *, guard: bool) -> Outcome:
    """Run a search, in a fork if asked for and possible; it stops at its limits in any case but crashes.

    Parameters
    ----------
    search
        What to do; it hands plans to ``run.keep`` and progress to ``run.report``.
    run
        Its limits and stop button.
    kept
        Takes the plans.
    guard
        Whether to work in a fork.
    """
    if guard and can_guard():
        return kept.completed(_Watch(search, run, kept).outcome())
    try:
        return kept.completed(search(run))
    except Stopped as over:
        return kept.outcome(over.stop)
    except MemoryError:
        return kept.outcome(Stop.MEMORY_LIMIT)


@dataclass(frozen=True)
class _Progress:
    point: Point
    phase: str


class _Raised(Exception):  # noqa: N818 - the cause of what is raised again
    """The traceback in the fork, as the cause of what it raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Watch:
    """One fork, watched until it ends."""

    def __init__(self, search: Callable[[Run], Outcome], run: Run, kept: Kept) -> None:
        self._run, self._kept = run, kept
        self._phase = ""
        self._told: tuple[float, Stop] | None = None
        self._fork = Fork(partial(_be_the_fork, search, run))

    def outcome(self) -> Outcome:
        """Wait for the outcome; end the fork when it is beyond a limit and does not answer."""
        with contextlib.closing(self._fork):
            while True:
                answer = self._listen()
                if answer is not None:
                    return answer
                stop = self._overdue()
                if stop is not None:
                    self._drain()
                    return self._kept.outcome(stop, self._phase)

    def _listen(self) -> Outcome | None:
        """Wait for a moment for what the fork says; return the outcome when that is it, or the end of it."""
        try:
            return self._hear(self._fork.said.recv()) if self._fork.said.poll(BEAT_S) else None
        except EOFError:
            return self._crashed()

    def _hear(self, said: object) -> Outcome | None:
        """Take what the fork says; return its outcome when it is there."""
        if isinstance(said, Plan):
            self._kept.take(said)
        elif isinstance(said, _Progress):
            self._phase = said.phase
            self._run.relay(said.point, said.phase)
        elif isinstance(said, Outcome):
            return said
        elif isinstance(said, Stop):
            return self._kept.outcome(said, self._phase)
        elif isinstance(said, tuple):
            error, text = said
            raise error from _Raised(text)
        return None

    def _overdue(self) -> Stop | None:
        """Return why the fork has to be ended now, if it has to be."""
        now, run = time.perf_counter(), self._run
        if run.memory is not None:
            most = MEMORY_SHARE * run.memory.limit_mb
            if run.memory.taken_mb(self._fork.pid) > most:
                return Stop.MEMORY_LIMIT
        if self._told is None:
            if run.interrupt.is_set():
                self._told = now + PATIENCE_S, Stop.INTERRUPTED
                self._fork.interrupt()
            elif run.remaining == 0.0:
                assert run.time_limit is not None
                self._told = now + grace_s(run.time_limit), Stop.TIME_LIMIT
        return self._told[1] if self._told is not None and now > self._told[0] else None

    def _drain(self) -> None:
        """End the fork, and hear what it said before."""
        self._fork.kill()
        with contextlib.suppress(EOFError, OSError):
            while self._fork.said.poll():
                said = self._fork.said.recv()
                if isinstance(said, Plan | _Progress):
                    self._hear(said)

    def _crashed(self) -> Outcome:
        """Judge a fork that ended without an outcome."""
        end = self._fork.ended(wait=True)
        how = "" if end is None else end.how
        if how == "SIGKILL":  # somebody's, or the kernel's when memory runs out: it was not ours
            held = self._kept.outcome(Stop.INTERRUPTED, self._phase)
            if held.plan is not None:
                return replace(held, message=f"the search was ended from outside by {how}")
        raise PlacerError(f"the search was ended by {how} during {self._phase or 'its start'}")


def _be_the_fork(search: Callable[[Run], Outcome], run: Run, tell: Callable[[object], None]) -> None:
    """Run the search in the fork that this process is."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: run.interrupt.set())
    run.divert(tell, _Teller(tell))
    try:
        said: object = search(run)
    except Stopped as over:
        said = over.stop
    except MemoryError:
        said = Stop.MEMORY_LIMIT
    except Exception as error:
        said = error, traceback.format_exc()
    tell(said)


class _Teller:
    """Passes progress on: all that is better, and a few times a second that the search lives."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._last: tuple[float | None, float | None, str] = None, None, ""
        self._next = 0.0

    def __call__(self, point: Point, phase: str) -> None:
        now, news = time.monotonic(), (point.incumbent_ms, point.bound_ms, phase)
        if news != self._last or now >= self._next:
            self._last, self._next = news, now + TALK_S
            self._tell(_Progress(point, phase))
