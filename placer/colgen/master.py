"""The restricted master program: cover the items by known sets of limited load.

Sets: items c, device types t with n_t devices, known sets S of each type.  Variables: x_S >= 0,
uncovered share u_c >= 0, doubly covered share o_c >= 0.

    minimise    Σ_c w_c (u_c + o_c)
    subject to  Σ_{S ∋ c} x_S + u_c - o_c = 1    for every item c   (dual π_c)
                Σ_{S of type t} x_S <= n_t       for every type t   (dual -σ_t)

Sets heavier than the load looked at are switched off by their upper bound.
"""

from __future__ import annotations

import highspy
import numpy as np

from placer.instance import BoolArray, FloatArray

__all__ = ["Master"]


class Master:
    """The linear program, kept warm between solves."""

    def __init__(self, weight: FloatArray, counts: list[int]) -> None:
        self.size, self.types = len(weight), len(counts)
        self.count = 0
        h = highspy.Highs()
        h.setOptionValue("output_flag", False)
        h.setOptionValue("threads", 1)
        h.setOptionValue("presolve", "off")
        h.setOptionValue("solver", "simplex")
        self._h = h
        inf = highspy.kHighsInf
        for _ in range(self.size):
            h.addRow(1.0, 1.0, 0, [], [])
        for n in counts:
            h.addRow(-inf, float(n), 0, [], [])
        for c in range(self.size):
            h.addCol(float(weight[c]), 0.0, inf, 1, [c], [1.0])
            h.addCol(float(weight[c]), 0.0, inf, 1, [c], [-1.0])
        self._active: list[bool] = []

    def add(self, inside: BoolArray, t: int) -> None:
        """Add a set."""
        rows = np.concatenate([np.flatnonzero(inside), [self.size + t]]).astype(np.int32)
        self._h.addCol(0.0, 0.0, highspy.kHighsInf, len(rows), rows, np.ones(len(rows)))
        self._active.append(True)
        self.count += 1

    def switch(self, active: BoolArray) -> None:
        """Switch sets on and off."""
        for s, on in enumerate(active.tolist()):
            if on != self._active[s]:
                self._active[s] = on
                self._h.changeColBounds(2 * self.size + s, 0.0, highspy.kHighsInf if on else 0.0)

    def solve(self) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """Solve; return the objective, π ``(N,)``, σ ``(types,)`` and x of the sets."""
        self._h.run()
        solution = self._h.getSolution()
        dual = np.array(solution.row_dual)
        value = np.array(solution.col_value)[2 * self.size :]
        return float(self._h.getObjectiveValue()), dual[: self.size], -dual[self.size :], value
