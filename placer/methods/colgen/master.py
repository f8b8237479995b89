"""The restricted master program: cover the items by known sets of limited load.

Sets: clusters g of items, device types t with n_t devices, known sets S of each type.  Every item c has
a weight w_c, and a_{gS} = w(g ∩ S) / w(g) is the share of cluster g in S.  Variables: x_S >= 0,
uncovered share u_g >= 0, doubly covered share o_g >= 0.

    minimise    Σ_g w(g) (u_g + o_g)
    subject to  Σ_S a_{gS} x_S + u_g - o_g = 1   for every cluster g   (dual θ_g)
                Σ_{S of type t} x_S <= n_t       for every type t      (dual -σ_t)
                Σ_{S of type t} u_{rS} x_S <= n_t U_r   for every type t and resource r   (dual -λ_tr)

With one item per cluster this is the exact relaxation.  Larger clusters only restrict the values of
items to π_c = θ_g w_c / w(g); any values give a valid bound, and few rows converge in few rounds.
The last rows, where there are any, keep limits on the average: u_{rS} is what S takes of a resource.
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
    """A solution: values of items ``(N,)``, types ``(T,)`` and resources ``(T, R)``, shares of sets."""

    objective: float
    item_value: FloatArray
    type_value: FloatArray
    use_value: FloatArray
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
    resources
        Number of resources R whose limits are kept on the average.
    """

    def __init__(
        self, weight: FloatArray, cluster: IntArray, counts: IntArray, *, resources: int = 0
    ) -> None:
        self.counts, self.resources = counts, resources
        self.cluster, self.rows = cluster, int(cluster.max()) + 1
        total = np.bincount(cluster, weight, minlength=self.rows)
        self.part = weight / total[cluster]
        slack = np.arange(2 * self.rows)
        row_index = np.stack([slack[: self.rows], slack[self.rows :]], axis=1)
        used = len(counts) * resources
        columns = 2 * self.rows + used
        row_start = [2 * np.arange(self.rows + 1), np.full(len(counts), 2 * self.rows)]
        row_start.append(2 * self.rows + np.arange(1, used + 1))
        self._master = LinearMaster(
            Program(
                cost=np.concatenate([np.tile(total / weight.sum(), 2), np.zeros(used)]),
                lower=np.zeros(columns),
                upper=np.full(columns, np.inf),
                integer=np.zeros(columns, dtype=np.bool_),
                row_start=np.concatenate(row_start).astype(np.int64),
                row_index=np.concatenate([row_index.ravel(), 2 * self.rows + np.arange(used)]),
                row_value=np.concatenate([np.tile([1.0, -1.0], self.rows), np.full(used, -1.0)]),
                row_lower=np.concatenate([np.ones(self.rows), np.full(len(counts) + used, -np.inf)]),
                row_upper=np.concatenate([np.ones(self.rows), counts.astype(np.float64), np.zeros(used)]),
            )
        )
        self._first = columns
        self._active = np.zeros(0, dtype=np.bool_)

    def limit(self, use: FloatArray) -> None:
        """Set what each device may take of the resources on the average, ``(R,)``."""
        columns = 2 * self.rows + np.arange(len(self.counts) * self.resources)
        most = self.counts[:, None] * use
        self._master.change_column_bounds(columns, np.zeros(len(columns)), most.ravel())

    def add(self, inside: BoolArray, t: IntArray, use: FloatArray | None = None) -> None:
        """Add sets ``(S, N)`` of types ``(S,)`` that take ``use`` of the resources, ``(S, R)``."""
        share = np.zeros((len(t), self.rows))
        np.add.at(share.T, self.cluster, (inside * self.part).T)
        after = self.rows + len(self.counts)
        start = [0]
        row: list[IntArray] = []
        value: list[FloatArray] = []
        for s in range(len(t)):
            held = np.flatnonzero(share[s])
            row.append(np.append(held, self.rows + t[s]))
            value.append(np.append(share[s, held], 1.0))
            if use is not None:
                row.append(after + t[s] * self.resources + np.arange(self.resources))
                value.append(use[s])
            start.append(start[-1] + len(held) + 1 + self.resources)
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
            self._master.change_column_bounds(self._first + changed, np.zeros(len(changed)), upper)
            self._active = active.copy()

    def solve(self, run: Run) -> MasterPoint | None:
        """Solve; None when the run is over or the solver failed."""
        point = self._master.solve(run)
        if point.status is not Status.OPTIMAL or point.row_dual is None or point.values is None:
            return None
        dual, types = point.row_dual, len(self.counts)
        assert point.objective is not None
        return MasterPoint(
            objective=point.objective,
            item_value=dual[: self.rows][self.cluster] * self.part,
            type_value=-dual[self.rows : self.rows + types],
            use_value=np.maximum(0.0, -dual[self.rows + types :]).reshape(types, self.resources),
            share=point.values[self._first :],
        )
