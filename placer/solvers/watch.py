"""Waiting for a solver that runs in a thread of its own, in steps short enough for signals and limits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from placer.arrays import FloatArray
from placer.plans.status import Stop
from placer.processes import resident_mb
from placer.search.run import Run

__all__ = ["Event", "wait"]


@dataclass(frozen=True, eq=False)
class Event:
    """News from the solver: a point (or None), the bound (or -inf) and the number of nodes."""

    values: FloatArray | None
    bound: float
    nodes: int


def wait(
    news: queue.SimpleQueue[Event | BaseException | None],
    asked: threading.Event,
    run: Run,
    on_event: Callable[[Event], None] | None,
    memory_limit_mb: float | None,
) -> Stop | None:
    """Hand on the news of a solver thread until it ends; ask it to stop when the run is over.

    Parameters
    ----------
    news
        What the thread tells; None at its end, an exception when it failed.
    asked
        Set to ask the thread to stop.
    run
        Its time limit and stop button are obeyed.
    on_event
        Called with each piece of news, in the calling thread.
    memory_limit_mb
        Stop when the process holds more resident memory than this.

    Returns
    -------
    Stop or None
        Why the thread was asked to stop; None when it was not.
    """
    stop: Stop | None = None
    while True:
        if stop is None:
            stop = run.stopped()
            if stop is None and memory_limit_mb is not None and resident_mb() > memory_limit_mb:
                stop = Stop.MEMORY_LIMIT
            if stop is not None:
                asked.set()
        try:
            event = news.get(timeout=0.05)
        except queue.Empty:
            continue
        if event is None:
            return stop
        if isinstance(event, BaseException):
            raise event
        if on_event is not None:
            on_event(event)
