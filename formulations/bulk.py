"""Build programs in bulk: columns and rows by the array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from formulations.program import Program
from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["ProgramBuilder"]

Term = tuple[npt.ArrayLike, npt.ArrayLike]


class ProgramBuilder:
    """Collects columns and rows; rows with zero coefficients left out."""

    def __init__(self) -> None:
        self.columns = 0
        self.row_count = 0
        self._lower: list[FloatArray] = []
        self._upper: list[FloatArray] = []
        self._integer: list[BoolArray] = []
        self._rows: list[IntArray] = []
        self._index: list[IntArray] = []
        self._value: list[FloatArray] = []
        self._row_lower: list[FloatArray] = []
        self._row_upper: list[FloatArray] = []

    def add_columns(
        self,
        shape: tuple[int, ...],
        lower: npt.ArrayLike = 0.0,
        upper: npt.ArrayLike = 1.0,
        *,
        integer: bool = False,
    ) -> IntArray:
        """Add columns and return their indices in the given shape; bounds broadcast to it."""
        count = int(np.prod(shape, dtype=np.int64))
        columns = np.arange(self.columns, self.columns + count, dtype=np.int64).reshape(shape)
        self.columns += count
        self._lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), shape).ravel())
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), shape).ravel())
        self._integer.append(np.full(count, integer, dtype=np.bool_))
        return columns

    def add_rows(self, lower: npt.ArrayLike, upper: npt.ArrayLike, *terms: Term) -> None:
        """Add ``m`` rows ``lower ≤ Σ terms ≤ upper``.

        Parameters
        ----------
        lower, upper
            Scalars or ``(m,)``.
        *terms
            Pairs of columns ``(m, ...)`` and coefficients that broadcast to the same shape; one that is 0 is
            left out.
        """
        m = max(np.asarray(columns).shape[0] for columns, _ in terms)
        if m == 0:
            return
        for columns, coefficients in terms:
            index = np.asarray(columns, dtype=np.int64)
            value = np.broadcast_to(np.asarray(coefficients, dtype=np.float64), index.shape)
            width = index.size // m
            index, value = index.reshape(m, width), value.reshape(m, width)
            row, column = np.nonzero(value)
            self._rows.append(row + self.row_count)
            self._index.append(index[row, column])
            self._value.append(value[row, column])
        self._row_lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), (m,)))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), (m,)))
        self.row_count += m

    def add_ragged(
        self,
        lower: npt.ArrayLike,
        upper: npt.ArrayLike,
        m: int,
        *entries: tuple[IntArray, IntArray, FloatArray],
    ) -> None:
        """Add ``m`` rows given as triples (row 0..m-1, column, coefficient); equal pairs are summed."""
        for row, column, value in entries:
            self._rows.append(np.asarray(row, dtype=np.int64) + self.row_count)
            self._index.append(np.asarray(column, dtype=np.int64))
            self._value.append(np.asarray(value, dtype=np.float64))
        self._row_lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), (m,)))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), (m,)))
        self.row_count += m

    def build(self, objective: int) -> Program:
        """Return the program that minimises one column."""
        row, index, value = (np.concatenate(x) for x in (self._rows, self._index, self._value))
        # Sum entries of the same cell: HiGHS rejects duplicates.
        cells, inverse = np.unique(row * self.columns + index, return_inverse=True)
        total = np.zeros(len(cells))
        np.add.at(total, inverse, value)
        kept = total != 0
        cells, total = cells[kept], total[kept]
        cost = np.zeros(self.columns)
        cost[objective] = 1.0
        return Program(
            cost=cost,
            lower=np.concatenate(self._lower),
            upper=np.concatenate(self._upper),
            integer=np.concatenate(self._integer),
            row_start=np.searchsorted(cells // self.columns, np.arange(self.row_count + 1)).astype(np.int64),
            row_index=cells % self.columns,
            row_value=total,
            row_lower=np.concatenate(self._row_lower),
            row_upper=np.concatenate(self._row_upper),
        )
