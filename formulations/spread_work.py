"""Work spread over unequal devices: parts of N items on D devices, whatever transfers cost.

x_id is the part of item i on device d, p_id its time there and m_id its share of the memory:

    minimise    T
    subject to  Σ_d x_id = 1         for every item i
                Σ_i p_id x_id <= T   for every device d
                Σ_i m_id x_id <= 1   for every device d with a limit

A vertex has few items in parts, fewer than rows of devices, so that rounding it loses little.

Source: Lenstra, Shmoys, Tardos, "Approximation algorithms for scheduling unrelated parallel machines", 1990.
"""

from __future__ import annotations

import numpy as np

from formulations.bulk import ProgramBuilder
from formulations.program import Program
from placer.arrays import BoolArray, FloatArray

__all__ = ["build"]


def build(time: FloatArray, share: FloatArray, may: BoolArray) -> Program:
    """Build the program of times, shares of memory and what may lie where, ``(N, D)``; x comes first."""
    builder = ProgramBuilder()
    x = builder.columns(may.shape, 0.0, may)
    objective = builder.columns((1,), 0.0, np.inf)
    builder.add(x.sum(1) == 1.0)
    builder.add((x * np.where(may, time, 0.0)).sum(0) <= objective)
    limited = np.flatnonzero(share.any(axis=0))
    if len(limited):
        builder.add((x[:, limited] * share[:, limited]).sum(0) <= 1.0)
    return builder.build(objective)
