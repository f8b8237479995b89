"""Programs in bulk: columns, linear expressions and rows by the array, written as in the mathematics.

Examples
--------
>>> builder = ProgramBuilder()
>>> x, s = builder.columns((5, 3), integer=True), builder.columns((3,))
>>> builder.add(s >= x[0] - x[1])
>>> builder.add(x.sum(1) == 1)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Linear", "ProgramBuilder", "Rows"]

Term = tuple[IntArray, FloatArray]


class Linear:
    """An array of linear expressions, each ``Σ coefficient · column + constant``; operators broadcast.

    Parameters
    ----------
    shape
        Its shape.
    terms
        Pairs of columns and coefficients, each ``(*shape, w)`` for some w.
    constant
        Broadcasts to the shape.
    """

    __array_ufunc__ = None  # arrays of NumPy leave the operators to this class

    def __init__(
        self, shape: tuple[int, ...], terms: tuple[Term, ...], constant: npt.ArrayLike = 0.0
    ) -> None:
        self.shape, self.terms, self.constant = shape, terms, np.asarray(constant, dtype=np.float64)

    @property
    def index(self) -> IntArray:
        """Columns of an array of variables."""
        ((columns, _),) = self.terms
        return columns[..., 0]

    def __getitem__(self, key: Any) -> Linear:
        constant = np.broadcast_to(self.constant, self.shape)[key]
        return Linear(constant.shape, tuple((j[key], a[key]) for j, a in self.terms), constant)

    def sum(self, *axes: int) -> Linear:
        """Sum over some axes."""
        kept = [axis for axis in range(len(self.shape)) if axis not in axes]
        shape = tuple(self.shape[axis] for axis in kept)
        count = math.prod(self.shape[axis] for axis in axes)
        terms = []
        for j, a in self.terms:
            order, summed = (*kept, *axes, -1), (*shape, count * j.shape[-1])
            terms.append((j.transpose(order).reshape(summed), a.transpose(order).reshape(summed)))
        return Linear(shape, tuple(terms), np.broadcast_to(self.constant, self.shape).sum(axis=axes))

    def __add__(self, other: Linear | npt.ArrayLike) -> Linear:
        other = other if isinstance(other, Linear) else Linear(np.shape(other), (), other)
        shape = np.broadcast_shapes(self.shape, other.shape)
        terms = tuple(
            (np.broadcast_to(j, (*shape, j.shape[-1])), np.broadcast_to(a, (*shape, j.shape[-1])))
            for j, a in (*self.terms, *other.terms)
        )
        return Linear(shape, terms, self.constant + other.constant)

    __radd__ = __add__

    def __mul__(self, factor: npt.ArrayLike) -> Linear:
        scale = np.asarray(factor, dtype=np.float64)
        shape = np.broadcast_shapes(self.shape, scale.shape)
        terms = tuple(
            (np.broadcast_to(j, (*shape, j.shape[-1])), a * scale[..., None]) for j, a in self.terms
        )
        return Linear(shape, terms, self.constant * scale)

    __rmul__ = __mul__

    def __neg__(self) -> Linear:
        return self * -1.0

    def __sub__(self, other: Linear | npt.ArrayLike) -> Linear:
        return self + (-other if isinstance(other, Linear) else -np.asarray(other))

    def __rsub__(self, other: npt.ArrayLike) -> Linear:
        return -self + other

    def __le__(self, other: Linear | npt.ArrayLike) -> Rows:
        return Rows(self - other, -np.inf, 0.0)

    def __ge__(self, other: Linear | npt.ArrayLike) -> Rows:
        return Rows(self - other, 0.0, np.inf)

    def __eq__(self, other: Any) -> Any:
        return Rows(self - other, 0.0, 0.0)


class Rows(NamedTuple):
    """Constraints ``lower ≤ left ≤ upper``."""

    left: Linear
    lower: float
    upper: float


class ProgramBuilder:
    """Collects columns and rows; coefficients that are 0 are left out."""

    def __init__(self) -> None:
        self.width = self.height = 0
        """Columns and rows so far."""
        self._lower: list[FloatArray] = []
        self._upper: list[FloatArray] = []
        self._integer: list[BoolArray] = []
        self._rows: list[IntArray] = []
        self._index: list[IntArray] = []
        self._value: list[FloatArray] = []
        self._row_lower: list[FloatArray] = []
        self._row_upper: list[FloatArray] = []

    def columns(
        self,
        shape: tuple[int, ...],
        lower: npt.ArrayLike = 0.0,
        upper: npt.ArrayLike = 1.0,
        *,
        integer: bool = False,
    ) -> Linear:
        """Add columns and return them in the given shape; bounds broadcast to it."""
        count = math.prod(shape)
        columns = np.arange(self.width, self.width + count, dtype=np.int64).reshape(*shape, 1)
        self.width += count
        self._lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), shape).ravel())
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), shape).ravel())
        self._integer.append(np.full(count, integer, dtype=np.bool_))
        return Linear(shape, ((columns, np.ones(columns.shape)),))

    def add(self, rows: Rows) -> None:
        """Require rows."""
        left, lower, upper = rows
        m = math.prod(left.shape)
        for index, value in left.terms:
            value = value.reshape(m, value.shape[-1])
            row, place = np.nonzero(value)
            self._rows.append(row + self.height)
            self._index.append(index.reshape(value.shape)[row, place])
            self._value.append(value[row, place])
        constant = np.broadcast_to(left.constant, left.shape).ravel()
        self._row_lower.append(lower - constant)
        self._row_upper.append(upper - constant)
        self.height += m

    def add_ragged(
        self,
        lower: npt.ArrayLike,
        upper: npt.ArrayLike,
        m: int,
        *entries: tuple[IntArray, IntArray, FloatArray],
    ) -> None:
        """Add ``m`` rows given as triples (row 0..m-1, column, coefficient); equal pairs are summed."""
        for row, column, value in entries:
            self._rows.append(np.asarray(row, dtype=np.int64) + self.height)
            self._index.append(np.asarray(column, dtype=np.int64))
            self._value.append(np.asarray(value, dtype=np.float64))
        self._row_lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), (m,)))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), (m,)))
        self.height += m

    def build(self, objective: Linear) -> Program:
        """Return the program that minimises one column."""
        row, index, value = (np.concatenate(x) for x in (self._rows, self._index, self._value))
        # Sum entries of the same cell: HiGHS rejects duplicates.
        cells, inverse = np.unique(row * self.width + index, return_inverse=True)
        total = np.zeros(len(cells))
        np.add.at(total, inverse, value)
        kept = total != 0
        cells, total = cells[kept], total[kept]
        cost = np.zeros(self.width)
        cost[objective.index] = 1.0
        return Program(
            cost=cost,
            lower=np.concatenate(self._lower),
            upper=np.concatenate(self._upper),
            integer=np.concatenate(self._integer),
            row_start=np.searchsorted(cells // self.width, np.arange(self.height + 1)).astype(np.int64),
            row_index=cells % self.width,
            row_value=total,
            row_lower=np.concatenate(self._row_lower),
            row_upper=np.concatenate(self._row_upper),
        )
