"""Packing by columns that are made when they are wanted (the program: `formulations.serving.packing`)."""

from __future__ import annotations

import numpy as np

from formulations.serving import packing
from placer.arrays import BoolArray, FloatArray
from placer.search.run import Run
from placer.solvers.highs import LinearMaster
from placer.solvers.solution import Status

__all__ = ["Packing"]


class Packing:
    """The linear program of packing, kept warm while columns are added and switched.

    Parameters
    ----------
    counts
        Devices of each kind, ``(T,)``.
    """

    def __init__(self, counts: FloatArray) -> None:
        # A first column that is worth nothing: a program has columns.
        self._master = LinearMaster(packing.build(counts, [0.0], [np.zeros(len(counts))], integer=False))
        self._active = np.ones(1, dtype=np.bool_)

    def add(self, length: float, uses: FloatArray) -> None:
        """Add a column: layers, and devices that it takes, ``(T,)``."""
        (rows,) = np.nonzero(uses)
        zero, ends = np.zeros(1), np.array([0, len(rows)])
        self._master.add_columns(np.array([-length]), zero, zero + np.inf, ends, rows, uses[rows])
        self._active = np.append(self._active, True)

    def switch(self, active: BoolArray) -> None:
        """Say which columns may be taken, in the order in which they were added."""
        wanted = np.append(True, active)
        changed = np.flatnonzero(wanted != self._active)
        if len(changed):
            upper = np.where(wanted[changed], np.inf, 0.0)
            self._master.change_column_bounds(changed, np.zeros(len(changed)), upper)
            self._active = wanted

    def solve(self, run: Run) -> tuple[float, FloatArray] | None:
        """Return the layers and what a device of each kind is worth; None when the run is over."""
        point = self._master.solve(run)
        if point.status is not Status.OPTIMAL or point.row_dual is None or point.objective is None:
            return None
        return -point.objective, np.maximum(0.0, -point.row_dual)
