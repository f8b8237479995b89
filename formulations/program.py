"""Linear and mixed-integer programs as arrays: what the solver adapter takes, whoever builds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Program", "read_pulp"]


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
    names, row_names
        For messages; empty when nobody needs them.
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
    row_names: tuple[str, ...] = field(default=(), repr=False)

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


def read_pulp(model: Any) -> Program:
    """Take the columns and rows of a PuLP model, once and in bulk.

    Uses only what PuLP 3.3 and PuLP 4 share.

    Parameters
    ----------
    model
        A ``pulp.LpProblem`` with named variables, minimising.

    Returns
    -------
    Program
        Its columns are in the order of ``model.variables()``.

    Raises
    ------
    ValueError
        When the model maximises.
    """
    if model.sense != 1:
        raise ValueError("the model maximises; programs of this project minimise")
    variables = model.variables()
    names = tuple(v.name for v in variables)
    column = {name: j for j, name in enumerate(names)}
    rows = model.constraints()
    terms = [[(column[v.name], a) for v, a in row.items()] for row in rows]
    bounds = [(row.getLb(), row.getUb()) for row in rows]
    cost = np.zeros(len(names))
    if model.objective is not None:
        for v, a in model.objective.items():
            cost[column[v.name]] += a
    return Program(
        cost=cost,
        lower=_bounds([v.lowBound for v in variables], -np.inf),
        upper=_bounds([v.upBound for v in variables], np.inf),
        integer=np.array([v.cat == "Integer" for v in variables], dtype=np.bool_),
        row_start=np.concatenate([[0], np.cumsum([len(t) for t in terms], dtype=np.int64)]),
        row_index=np.array([j for t in terms for j, _ in t], dtype=np.int64),
        row_value=np.array([a for t in terms for _, a in t], dtype=np.float64),
        row_lower=_bounds([low for low, _ in bounds], -np.inf),
        row_upper=_bounds([up for _, up in bounds], np.inf),
        offset=0.0 if model.objective is None else float(model.objective.constant),
        names=names,
        row_names=tuple(row.name or f"row{i}" for i, row in enumerate(rows)),
    )


def _bounds(values: Sequence[float | None], absent: float) -> FloatArray:
    return np.array([absent if v is None else v for v in values], dtype=np.float64)
