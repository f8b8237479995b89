"""A start for unequal devices: work spread by a linear program, each item where most of it lies."""

from __future__ import annotations

import numpy as np

from formulations.spread_work import build
from placer.arrays import IntArray
from placer.methods.colgen.linear_loads import Loads
from placer.search.run import Run
from placer.solvers.linear_program import solve_linear

__all__ = ["spread"]

COLUMNS = 20_000
"""Items times devices at most: some 0.3 s."""


def spread(loads: Loads, run: Run) -> IntArray | None:
    """Return an assignment ``(N,)`` that may break memory limits; None where balanced starts do as well.

    Moves of single items seldom find which items go to slow devices.
    """
    problem, devices = loads.problem, loads.problem.instance.devices
    unequal = sum(not kind.is_host for kind in loads.types) > 1
    if not unequal or problem.size * len(devices) > COLUMNS:
        return None
    time = problem.time_ms.sum(axis=0)[:, [d.class_index for d in devices]]
    share = problem.memory_share(np.array([d.memory_limit_bytes for d in devices]))
    may = problem.allowed & np.isfinite(time) & (share <= 1.0)
    unit = float(time[may].max(initial=0.0))
    if unit <= 0.0:
        return None
    values = solve_linear(build(time / unit, np.where(may, share, 0.0), may), run).values
    if values is None:
        return None
    parts = np.where(may, values[: time.size].reshape(time.shape), -1.0)
    return np.asarray(parts.argmax(axis=1))
