"""The restricted master program: cover the items by known sets of limited load.

Sets: clusters g of items, device types t with n_t devices, known sets S of each type.  Every item c has
a weight w_c, and a_{gS} = w(g ∩ S) / w(g) is the share of cluster g in S.  Variables: x_S >= 0,
uncovered share u_g >= 0, doubly covered share o_g >= 0.

    minimise    Σ_g w(g) (u_g + o_g)
    subject to  Σ_S a_{gS} x_S + u_g - o_g = 1   for every cluster g   (dual θ_g)
                Σ_{S of type t} x_S <= n_t       for every type t      (dual -σ_t)

With one item per cluster this is the exact relaxation.  Larger clusters only restrict the values of
items to π_c = θ_g w_c / w(g); any values give a valid bound, and few rows converge in few rounds.
Sets heavier than the load looked at are switched off by their upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray
from placer.search.run import Run
from placer.solvers.highs import LinearMaster
from placer.solvers.solution import Status

__all__ = ["Master", "MasterPoint"]


@dataclass(frozen=True, eq=False)
class MasterPoint:
    """A solution: objective, values of the items ``(N,)``, of the types ``(T,)``, and shares of the sets."""

    objective: float
    item_value: FloatArray
    type_value: FloatArray
    share: FloatArray


class Master:
    """The linear program, kept warm between solves.

    Parameters
    ----------
    weight
        Weight of each item, positive, ``(N,)``.
    cluster
        Cluster of each item, ``(N,)``.
    counts
        Number of devices of each type, ``(T,)``.
    """

    def __init__(self, weight: FloatArray, cluster: IntArray, counts: IntArray) -> None:
        self.cluster, self.rows = cluster, int(cluster.max()) + 1
        total = np.bincount(cluster, weight, minlength=self.rows)
        self.part = weight / total[cluster]
        slack = np.arange(2 * self.rows)
        row_index = np.stack([slack[: self.rows], slack[self.rows :]], axis=1)
        self._master = LinearMaster(
            Program(
                cost=np.tile(total / weight.sum(), 2),
                lower=np.zeros(2 * self.rows),
                upper=np.full(2 * self.rows, np.inf),
                integer=np.zeros(2 * self.rows, dtype=np.bool_),
                row_start=np.concatenate(
                    [2 * np.arange(self.rows + 1), np.full(len(counts), 2 * self.rows)]
                ).astype(np.int64),
                row_index=row_index.ravel(),
                row_value=np.tile([1.0, -1.0], self.rows),
                row_lower=np.concatenate([np.ones(self.rows), np.full(len(counts), -np.inf)]),
                row_upper=np.concatenate([np.ones(self.rows), counts.astype(np.float64)]),
            )
        )
        self._active = np.zeros(0, dtype=np.bool_)

    def add(self, inside: BoolArray, t: IntArray) -> None:
        """Add sets ``(S, N)`` of types ``(S,)``."""
        share = np.zeros((len(t), self.rows))
        np.add.at(share.T, self.cluster, (inside * self.part).T)
        start, row, value = [0], [], []
        for s in range(len(t)):
            held = np.flatnonzero(share[s])
            row.append(np.concatenate([held, [self.rows + t[s]]]))
            value.append(np.concatenate([share[s, held], [1.0]]))
            start.append(start[-1] + len(held) + 1)
        none = np.zeros(len(t))
        self._master.add_columns(
            none, none, none + np.inf, np.array(start), np.concatenate(row), np.concatenate(value)
        )
        self._active = np.concatenate([self._active, np.ones(len(t), dtype=np.bool_)])

    def switch(self, active: BoolArray) -> None:
        """Switch sets on and off, ``(S,)``."""
        changed = np.flatnonzero(active != self._active)
        if len(changed):
            upper = np.where(active[changed], np.inf, 0.0)
            self._master.change_column_bounds(2 * self.rows + changed, np.zeros(len(changed)), upper)
            self._active = active.copy()

    def solve(self, run: Run) -> MasterPoint | None:
        """Solve; None when the run is over or the solver failed."""
        point = self._master.solve(run)
        if point.status is not Status.OPTIMAL or point.row_dual is None or point.values is None:
            return None
        dual = point.row_dual
        assert point.objective is not None
        return MasterPoint(
            objective=point.objective,
            item_value=dual[: self.rows][self.cluster] * self.part,
            type_value=-dual[self.rows :],
            share=point.values[2 * self.rows :],
        )
