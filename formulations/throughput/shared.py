"""What the throughput programs share: their parameters, the unit of times, and which items fit where.

All times are divided by ``unit_ms / TIME_UNIT``, so that the objective is near `TIME_UNIT`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.throughput.goals import Cap, Goal
from formulations.throughput.step_rows import StepRules
from placer.arrays import BoolArray, FloatArray, IntArray
from placer.options import Communication, Recompute, Schedule
from placer.plans.in_flight import InFlight
from placer.plans.plan import Plan
from placer.reductions.kinds import Kinds
from placer.reductions.problem import Problem
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["TIME_UNIT", "UPPER_SLACK", "ThroughputParams", "fits"]

TIME_UNIT = 100.0
"""Objectives are near 100, so that the solver's absolute tolerance of 1e-6 is 1e-8 of them."""

NEGLIGIBLE = 1e-8
"""Share of the unit below which a time counts as 0: `TIME_UNIT` times that is the solver's tolerance."""

UPPER_SLACK = 1e-7
"""Relative slack above an upper bound: ten of the solver's tolerances, so that the plan that has it stays."""

ONE = InFlight(1)
"""One microbatch in flight everywhere: what a node keeps does not depend on the plan."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ThroughputParams:
    """What a throughput program is built for, beside the problem.

    Parameters
    ----------
    schedule, communication
        As in the options.
    unit_ms
        About the objective; what it stands for in the model is `TIME_UNIT`.
    upper_bound_ms
        Objective of a known plan, or None: plans that are worse may be cut off.
    lower_bound_ms
        A proven lower bound on the objective, 0 where there is none.
    windows
        First and last accelerator slot at or before which an item lies, ``(N, 2)``, or None (ordered
        program only): an item in a gap lies between the accelerator slots g and g + 1 and counts as at
        slot g for the first and g + 1 for the last.
    each_contiguous
        Whether the set of each device must be contiguous by itself (the paper's program only).
    goal, caps
        A secondary goal to minimise in place of the objective, which then is at most the upper bound, and
        what earlier goals may be at most (not in the paper's program).
    flights, recompute
        Microbatches in flight, and which stages may or must recompute (ordered program only).
    start
        The plan to start from, for its stages and what it recomputes, or None (ordered program only).
    step
        Minimise the time of a step in place of the largest load, both bounds and the unit being those of that
        time over the number of microbatches (ordered program only).
    """

    schedule: Schedule = Schedule.ONE_F_ONE_B
    communication: Communication = Communication.SEQUENTIAL
    unit_ms: float = 1.0
    upper_bound_ms: float | None = None
    lower_bound_ms: float = 0.0
    windows: IntArray | None = None
    each_contiguous: bool = False
    goal: Goal | None = None
    caps: tuple[Cap, ...] = ()
    flights: InFlight = ONE
    recompute: Recompute = Recompute.NONE
    start: Plan | None = None
    step: StepRules | None = None

    @property
    def by_place(self) -> bool:
        """Whether what a stage keeps or does depends on its place from the end."""
        return self.flights.by_stage or (self.step is not None and not self.step.flow)

    @property
    def scale(self) -> float:
        """What times in ms are multiplied with."""
        return TIME_UNIT / self.unit_ms

    def hopeless(self, time_ms: FloatArray) -> BoolArray:
        """Whether a time exceeds the upper bound, so that nothing may take it."""
        if self.upper_bound_ms is None:
            return np.zeros(np.shape(time_ms), dtype=np.bool_)
        return np.asarray(time_ms > self.upper_bound_ms * (1 + EQUAL))

    def negligible(self, time_ms: FloatArray) -> BoolArray:
        """Whether a time is so short that it counts as 0."""
        return np.asarray(time_ms < NEGLIGIBLE * self.unit_ms)

    def scaled(self, time_ms: FloatArray) -> FloatArray:
        """Return times in the unit of the program; what is hopeless or cannot run is kept out, and 0."""
        kept = np.isfinite(time_ms) & ~self.hopeless(time_ms) & ~self.negligible(time_ms)
        return np.where(kept, time_ms, 0.0) / self.unit_ms * TIME_UNIT


def fits(problem: Problem, kinds: Kinds, params: ThroughputParams) -> BoolArray:
    """Whether an item may go to a kind, fits there, and is not above the upper bound alone, ``(N, K)``."""
    may = kinds.allowed & (kinds.held_bytes <= kinds.limit_bytes * (1 + MEMORY_TOLERANCE))
    if params.upper_bound_ms is not None:
        may &= kinds.time_ms.sum(axis=0) <= params.upper_bound_ms * (1 + EQUAL)
    return np.asarray(may)
