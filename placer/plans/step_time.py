"""Time of an optimizer step, or of a request of several samples: the pipeline is empty before and after.

Stage s (in pipeline order) works F_s ms for the forward pass of a microbatch and B_s ms for its backward
pass, transfers included.  It begins with a microbatch when the stage before it (in the backward pass: the one
after it) has done it, and with nothing else before it has ended what it is at.

    gpipe    all forward passes, then all backward ones: Σ F + (m − 1) max F + Σ B + (m − 1) max B
    1f1b     the stage that is σ-th from the end does min(σ, m) forward passes, then one backward and one
             forward in turn; the makespan follows from going through these orders

What happens once per step, whatever the number of microbatches, is added: the longest synchronisation of the
weights of replicas.

Source: the schedules of GPipe (Huang et al., 2019) and PipeDream-flush (Narayanan et al., 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.options import Options, Schedule

__all__ = ["longest_path", "makespan_ms", "microbatches_of"]

_Path = tuple[float, IntArray]
"""When it ends, and how often it went through each forward and each backward task, ``(2 S,)``."""


def microbatches_of(instance: Instance, options: Options) -> int:
    """Return how many microbatches, or samples of a request, go through the pipeline."""
    if instance.is_training:
        return options.microbatches or instance.training.microbatches
    return options.samples or 1


def makespan_ms(
    forward_ms: Sequence[float], backward_ms: Sequence[float], microbatches: int, schedule: Schedule
) -> float:
    """Return the time from the start of the first task to the end of the last one, in ms.

    Parameters
    ----------
    forward_ms, backward_ms
        Work of each stage per microbatch, in pipeline order, ``(S,)``.
    microbatches
        How many go through, at least 1.
    schedule
        In which order a stage serves them; without backward work both are the same.
    """
    if not any(backward_ms):
        return _flow_shop(forward_ms, microbatches)
    if schedule is Schedule.GPIPE:
        return _flow_shop(forward_ms, microbatches) + _flow_shop(backward_ms, microbatches)
    return _one_forward_one_backward(forward_ms, backward_ms, microbatches)


def _flow_shop(work_ms: Sequence[float], count: int) -> float:
    """Equal jobs, one after the other over all machines: the slowest machine never waits once it began."""
    return sum(work_ms) + (count - 1) * max(work_ms, default=0.0)


def _one_forward_one_backward(forward_ms: Sequence[float], backward_ms: Sequence[float], count: int) -> float:
    """Go through the orders in rounds: a stage does a forward pass, then a backward pass.

    In round r (from 0), stage i of S serves forward r − i and backward r − (S − 1), where there are such.
    """
    stages = len(forward_ms)
    free = [0.0] * stages  # when a stage has ended what it did so far
    done = [0.0] * stages  # when it ended its last forward pass
    for r in range(count + stages - 1):
        for i in range(min(stages - 1, r), max(0, r - count + 1) - 1, -1):
            arrived = done[i - 1] if i else 0.0  # the stage before did this microbatch a round ago
            free[i] = done[i] = max(free[i], arrived) + forward_ms[i]
        if r >= stages - 1:
            arrived = 0.0
            for i in reversed(range(stages)):
                arrived = free[i] = max(free[i], arrived) + backward_ms[i]
    return max(free, default=0.0)


def longest_path(
    forward_ms: Sequence[float], backward_ms: Sequence[float], count: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a path through the tasks under ``1f1b`` that takes the makespan.

    Returns
    -------
    forward, backward
        How often it goes through the forward and the backward task of each stage, ``(S,)``: with any other
        loads the makespan is at least the sum of these times the loads.
    """
    stages = len(forward_ms)
    step = np.eye(2 * stages, dtype=np.int64)
    nothing = 0.0, np.zeros(2 * stages, dtype=np.int64)
    free, done = [nothing] * stages, [nothing] * stages

    def after(one: _Path, other: _Path, ms: float, task: int) -> _Path:
        late = one if one[0] >= other[0] else other
        return late[0] + ms, late[1] + step[task]

    for r in range(count + stages - 1):
        for i in range(min(stages - 1, r), max(0, r - count + 1) - 1, -1):
            free[i] = done[i] = after(free[i], done[i - 1] if i else nothing, forward_ms[i], i)
        if r >= stages - 1:
            arrived = nothing
            for i in reversed(range(stages)):
                arrived = free[i] = after(free[i], arrived, backward_ms[i], stages + i)
    counts = max(free, key=lambda path: path[0])[1].tolist()
    return tuple(counts[:stages]), tuple(counts[stages:])
