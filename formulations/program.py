"""Linear and mixed-integer programs as arrays: what the solver adapter takes, whoever builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Program"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Program:
    """Minimise ``cost · x + offset`` over ``lower ≤ x ≤ upper``, ``row_lower ≤ A x ≤ row_upper``.

    Parameters
    ----------
    cost, lower, upper
        ``(n,)``.
    integer
        Which columns are integer, ``(n,)``.
    row_start, row_index, row_value
        A row by row: row i has the columns ``row_index[row_start[i] : row_start[i + 1]]``;
        ``row_start`` is ``(m + 1,)``.
    row_lower, row_upper
        ``(m,)``.
    offset
        Constant part of the objective.
    names
        Of the columns; empty when nobody needs them.
    """

    cost: FloatArray
    lower: FloatArray
    upper: FloatArray
    integer: BoolArray
    row_start: IntArray
    row_index: IntArray
    row_value: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    offset: float = 0.0
    names: tuple[str, ...] = ()

    @property
    def columns(self) -> int:
        """Number of columns n."""
        return len(self.cost)

    @property
    def rows(self) -> int:
        """Number of rows m."""
        return len(self.row_lower)

    @property
    def largest(self) -> float:
        """Largest absolute value among coefficients, costs and finite bounds."""
        parts = (self.cost, self.lower, self.upper, self.row_value, self.row_lower, self.row_upper)
        return max(float(np.abs(part[np.isfinite(part)]).max(initial=0.0)) for part in parts)

    def objective(self, values: FloatArray) -> float:
        """Objective of a point, ``(n,)``."""
        return float(self.cost @ values) + self.offset

    def excess(self, values: FloatArray) -> float:
        """Largest amount by which a point, ``(n,)``, breaks a bound, a row or integrality."""
        activity = np.zeros(self.rows)
        row = np.repeat(np.arange(self.rows), np.diff(self.row_start))
        np.add.at(activity, row, self.row_value * values[self.row_index])
        whole = values[self.integer]
        parts = (
            self.lower - values,
            values - self.upper,
            self.row_lower - activity,
            activity - self.row_upper,
            np.abs(whole - np.round(whole)),
        )
        return max(float(part.max(initial=0.0)) for part in parts)

    def dual_bound(self, row_dual: FloatArray) -> float:
        """Return the lower bound on the optimum that values of the rows, ``(m,)``, prove: any values do.

        ``cost · x >= Σ_i y_i a_i·x + Σ_j d_j x_j`` with ``d = cost - y A``, each term at its least within the
        bounds of its row or column.
        """
        given = np.where(row_dual > 0, self.row_lower, self.row_upper)
        y = np.where(np.isfinite(given), row_dual, 0.0)
        d = self.cost.copy()
        row = np.repeat(np.arange(self.rows), np.diff(self.row_start))
        np.subtract.at(d, self.row_index, self.row_value * y[row])
        at = np.where(d > 0, self.lower, self.upper)
        return float(y[y != 0] @ given[y != 0] + d[d != 0] @ at[d != 0]) + self.offset

    def fixed(self, values: FloatArray) -> Program:
        """Return the linear program left when the columns with a value, ``(n,)``, are fixed; nan is free."""
        known = ~np.isnan(values)
        return replace(
            self,
            lower=np.where(known, values, self.lower),
            upper=np.where(known, values, self.upper),
            integer=np.zeros(self.columns, dtype=np.bool_),
        )

    def point(self, values: Mapping[str, float]) -> FloatArray:
        """Return the column vector, ``(n,)``, of values by name; nan for columns that are not named."""
        return np.array([values.get(name, np.nan) for name in self.names])

    def named(self, values: FloatArray) -> dict[str, float]:
        """Return the values of all columns by name."""
        return dict(zip(self.names, values.tolist(), strict=True))

    def pulp(self, title: str = "program") -> Any:
        """Return it as a PuLP problem (3 or 4), to be written to a file or given to another solver."""
        import pulp  # nothing else needs it: solving starts faster without

        def finite(bound: float) -> float | None:
            return bound if np.isfinite(bound) else None

        made = pulp.LpProblem(title, pulp.LpMinimize)
        columns = [
            made.add_variable(
                self.names[j] if self.names else f"x{j}",
                finite(self.lower[j]),
                finite(self.upper[j]),
                cat=pulp.LpInteger if self.integer[j] else pulp.LpContinuous,
            )
            for j in range(self.columns)
        ]
        made.setObjective(pulp.lpSum(c * x for c, x in zip(self.cost, columns, strict=True)) + self.offset)
        for i, (low, high) in enumerate(zip(self.row_lower, self.row_upper, strict=True)):
            row = slice(self.row_start[i], self.row_start[i + 1])
            terms = zip(self.row_value[row], self.row_index[row], strict=True)
            activity = pulp.lpSum(a * columns[j] for a, j in terms)
            if low == high:
                made.addConstraint(activity == high, f"r{i}")
                continue
            if np.isfinite(low):
                made.addConstraint(activity >= low, f"r{i}_low")
            if np.isfinite(high):
                made.addConstraint(activity <= high, f"r{i}")
        return made
