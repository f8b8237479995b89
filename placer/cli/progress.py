"""Progress on standard error, live on a terminal and sparse lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from placer.objectives import OBJECTIVES
from placer.options import Objective
from placer.plans.result import gap_of
from placer.plans.status import Point

__all__ = ["Display", "Live", "Ticking"]

PLAIN_SECONDS = 5.0
"""Least time between two plain progress lines."""


class Live:
    """Shows lines about the progress: the last one on a terminal, elsewhere one now and then."""

    def __init__(self, *, quiet: bool) -> None:
        self._stream = sys.stderr  # as it is now: meanwhile, others may write elsewhere
        self._console = Console(file=self._stream, highlight=False, emoji=False)
        self._quiet = quiet
        self._live: Status | None = None
        self._last = -PLAIN_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, seconds: float, line: str) -> None:
        """Show the progress after some seconds."""
        if self._quiet:
            return
        if self._live is None and self._console.is_terminal:
            # Not before the search tells something: its fork needs a process without threads.
            self._live = self._console.status(line)
            self._live.start()
        if self._live is not None:
            self._live.update(line)
        elif seconds - self._last >= PLAIN_SECONDS:
            self._last = seconds
            print(line, file=self._stream, flush=True)


class Ticking(Live):
    """Shows what is being done since when, also while nothing is told: call it with what begins."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._phase = ""
        self._last = 0.0  # what is short needs no line
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        super().__exit__(kind, error, trace)

    def __call__(self, phase: str) -> None:
        """Say what is being done from now on."""
        self._phase = phase

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            seconds = time.monotonic() - self._began
            self.show(seconds, f"{seconds:7.1f} s  {self._phase}")


class Display(Live):
    """Shows the best objective, the bound and the gap while a solve runs."""

    def __init__(self, *, quiet: bool, objective: Objective = Objective.THROUGHPUT) -> None:
        super().__init__(quiet=quiet)
        self._objective = objective

    def __call__(self, point: Point, phase: str) -> None:
        """Show the progress at one moment."""
        self.show(point.seconds, describe(point, phase, self._objective))


def describe(point: Point, phase: str, objective: Objective = Objective.THROUGHPUT) -> str:
    """One line about the progress at one moment."""
    shown = OBJECTIVES[objective].shown
    gap = gap_of(point.incumbent_ms, point.bound_ms)
    parts = [f"{point.seconds:7.1f} s", phase or "planning"]
    if point.incumbent_ms is not None:
        parts.append(f"best {shown(point.incumbent_ms, 6)}")
    if point.bound_ms is not None:
        parts.append(f"bound {shown(point.bound_ms, 6)}")
    if gap is not None:
        parts.append(f"gap {100 * max(gap, 0.0):.3g} %")
    return "  ".join(parts)
