"""Packing: pass a flow through as many layers as possible with the devices that there are.

Sets
    t ∈ kinds of devices, N_t of each;  c ∈ columns: ways to pass the flow through ℓ_c layers with a_{tc}
    devices of each kind.
Variables
    x_c ≥ 0  how often way c is taken; whole numbers for a plan.
Objective
    maximise Σ_c ℓ_c x_c   (stated as: minimise its negative)
Constraints
    Σ_c a_{tc} x_c ≤ N_t   for every kind t   (dual: what a device is worth, in layers)

With *blocks* (devices that pass the flow through ℓ_c whole layers) whole numbers make plans.  With *covers*
(devices that together pass it through one layer, each being part of covers of its k layers, so a_{tc} counts
a device as 1 / k) the program is a bound: every plan is a combination of covers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from formulations.program import Program
from placer.arrays import FloatArray

__all__ = ["build"]


def build(
    counts: FloatArray, lengths: Sequence[float], uses: Sequence[FloatArray], *, integer: bool
) -> Program:
    """Build the program.

    Parameters
    ----------
    counts
        Devices of each kind, ``(T,)``.
    lengths
        Layers of each column.
    uses
        Devices of each kind that each column takes, ``(T,)`` each.
    integer
        Whether columns are taken whole.
    """
    columns = len(lengths)
    matrix = np.array(uses, dtype=np.float64).reshape(columns, len(counts)).T
    row, column = np.nonzero(matrix)
    return Program(
        cost=-np.array(lengths, dtype=np.float64),
        lower=np.zeros(columns),
        upper=np.full(columns, float(counts.max(initial=0.0)) if integer else np.inf),
        integer=np.full(columns, integer, dtype=np.bool_),
        row_start=np.searchsorted(row, np.arange(len(counts) + 1)).astype(np.int64),
        row_index=column.astype(np.int64),
        row_value=matrix[row, column],
        row_lower=np.full(len(counts), -np.inf),
        row_upper=counts.astype(np.float64),
    )
