"""The steady state of a stream, read off a simulation: the period with which its events repeat."""

from __future__ import annotations

import numpy as np

from placer.arrays import FloatArray
from placer.simulation.engine import Timeline, execute
from placer.simulation.service_order import Phase, Program

__all__ = ["settled"]

FIRST_ROUNDS = 32
"""Rounds simulated after the pipeline is full, in the first attempt."""
ATTEMPTS = 6
"""Each attempt simulates twice as many samples as the one before."""
AGREE = 1e-9
"""Relative difference of two rates that are the same."""
ROUNDING = 1e-12
"""Differences of times below this part of the makespan are rounding."""


def settled(program: Program) -> tuple[float, bool, Timeline]:
    """Simulate a stream until the events of its slowest resource repeat with a fixed period.

    Returns
    -------
    steady_ms
        Time per sample: of the slowest resource, summed over phases.
    periodic
        Whether a period was found, which makes the figure exact; the average of late rounds otherwise.
    timeline
        The stream that it was read from.
    """
    if program.group > 1:
        return _settled_groups(program)
    depth = max(phase.depth for phase in program.phases)
    samples = 2 * depth + FIRST_ROUNDS
    for attempt in range(ATTEMPTS):
        timeline = execute(program, samples << attempt)
        found = [_period(timeline, phase) for phase in program.phases]
        if all(periodic for _, periodic in found):
            break
    return sum(period for period, _ in found), all(periodic for _, periodic in found), timeline


def _settled_groups(program: Program) -> tuple[float, bool, Timeline]:
    """Simulate a stream in which samples are served in groups: the period is one of whole groups."""
    for attempt in range(ATTEMPTS):
        timeline = execute(program, program.group << (attempt + 3))
        at = np.arange(0, timeline.samples, program.group)
        at = at[len(at) // 4 : -(len(at) // 4)]  # neither filling nor draining
        found = [
            _repetition(timeline.start_ms[turns[0], at], timeline.makespan_ms)
            for turns in program.phases[0].turns.values()
        ]
        if all(periodic for _, periodic in found):
            break
    period = max(period for period, _ in found) / program.group
    return period, all(periodic for _, periodic in found), timeline


def _period(timeline: Timeline, phase: Phase) -> tuple[float, bool]:
    """Time per round of the slowest resource, over the later half of the rounds in which all are busy.

    The others may take longer to fall into step with it; they must not be slower in the meantime.
    """
    rounds = np.arange(phase.depth - 1, timeline.samples)
    rounds = rounds[len(rounds) // 2 :]
    found = [
        _repetition(timeline.start_ms[turns[0], rounds - phase.offset[turns[0]]], timeline.makespan_ms)
        for turns in phase.turns.values()
    ]
    slowest = max(period for period, _ in found)
    steady = max((period for period, periodic in found if periodic), default=-1.0)
    return (steady, True) if steady >= slowest * (1 - AGREE) else (slowest, False)


def _repetition(times: FloatArray, makespan: float) -> tuple[float, bool]:
    """Average interval of ``times``, and whether the intervals repeat."""
    for length in range(1, len(times) // 2 + 1):
        steps = times[length:] - times[:-length]
        if np.ptp(steps) <= ROUNDING * makespan:
            return float(steps.mean()) / length, True
    return float(times[-1] - times[0]) / (len(times) - 1), False
