"""Why a search stopped, and its progress at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Point", "Stop"]


class Stop(StrEnum):
    """Why a method stopped; what it holds then is a separate question."""

    FINISHED = "finished"
    """It did all that it does: proved the gap asked for, or ran its heuristic to the end."""
    INFEASIBLE = "infeasible"
    """It proved that there is no plan."""
    TIME_LIMIT = "time limit"
    WORK_LIMIT = "work limit"
    """It did as much work as it was given, counted and not timed: again it would do the same."""
    MEMORY_LIMIT = "memory limit"
    INTERRUPTED = "interrupted"
    NOT_APPLICABLE = "not applicable"
    """It does not handle this kind of instance; the message says why."""


@dataclass(frozen=True)
class Point:
    """Progress at one moment: seconds since the start, best objective and bound in ms so far."""

    seconds: float
    incumbent_ms: float | None
    bound_ms: float | None
