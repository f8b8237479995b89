"""Linear expressions and rows written as in the mathematics, and the programs that they make.

Examples
--------
>>> model = Model()
>>> x, s = model.binary("x"), model.real("s")
>>> model.add(s >= 2.0 * x - 1.0)
>>> model.minimise(s)
>>> model.program().rows
1
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import inf
from typing import Any, NamedTuple

import numpy as np

from formulations.program import Program

__all__ = ["ONE", "ZERO", "Expression", "Model", "Row", "dot", "total"]


class Expression:
    """A linear expression ``Σ coefficient · variable + constant``; variables and numbers are expressions too.

    It never changes: operators return new ones, and comparisons make a `Row`.

    Parameters
    ----------
    terms
        Coefficients by the number of the variable.
    constant
        What is added.
    """

    __slots__ = ("constant", "terms")
    __array_ufunc__ = None  # numbers of NumPy leave the operators to this class

    def __init__(self, terms: dict[int, float], constant: float = 0.0) -> None:
        self.terms, self.constant = terms, constant

    @property
    def is_constant(self) -> bool:
        """Whether no variable is left."""
        return not self.terms or not any(self.terms.values())

    def __add__(self, other: Expression | float) -> Expression:
        if not isinstance(other, Expression):
            return Expression(self.terms, self.constant + other)
        return total((self, other))

    __radd__ = __add__

    def __neg__(self) -> Expression:
        return self * -1.0

    def __sub__(self, other: Expression | float) -> Expression:
        if not isinstance(other, Expression):
            return Expression(self.terms, self.constant - other)
        terms = self.terms.copy()
        for j, a in other.terms.items():
            terms[j] = terms[j] - a if j in terms else -a
        return Expression(terms, self.constant - other.constant)

    def __rsub__(self, other: float) -> Expression:
        return Expression({}, other) - self

    def __mul__(self, factor: float) -> Expression:
        return dot((factor,), (self,))

    __rmul__ = __mul__

    def __le__(self, other: Expression | float) -> Row:
        return Row(self - other, False)

    def __ge__(self, other: Expression | float) -> Row:
        return Row(other - self, False)

    def __eq__(self, other: Any) -> Any:
        return Row(self - other, True)


class Row(NamedTuple):
    """A constraint ``left ≤ 0``, or ``left = 0`` where it is an equation."""

    left: Expression
    equation: bool

    @property
    def holds(self) -> bool:
        """Whether it holds whatever the variables are."""
        left = self.left
        return left.is_constant and (left.constant == 0 or (left.constant < 0 and not self.equation))


ZERO, ONE = Expression({}), Expression({}, 1.0)


def total(parts: Iterable[Expression]) -> Expression:
    """Return the sum of expressions."""
    terms: dict[int, float] = {}
    constant = 0.0
    for part in parts:
        constant += part.constant
        for j, a in part.terms.items():
            terms[j] = terms[j] + a if j in terms else a
    return Expression(terms, constant)


def dot(factors: Iterable[float], parts: Iterable[Expression]) -> Expression:
    """Return the sum of expressions, each times a number; what is multiplied by 0 is left out."""
    terms: dict[int, float] = {}
    constant = 0.0
    for factor, part in zip(factors, parts, strict=True):
        if factor:
            constant += factor * part.constant
            for j, a in part.terms.items():
                terms[j] = terms[j] + factor * a if j in terms else factor * a
    return Expression(terms, constant)


class Model:
    """A program under construction; minimises.

    Rows are kept as flat arrays from the start: objects for each of their terms would cost most of the time.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._lower, self._upper, self._integer = array("d"), array("d"), array("b")
        self._index, self._value = array("q"), array("d")
        self._length, self._constant, self._equation = array("q"), array("d"), array("b")
        self._objective = ZERO

    def binary(self, name: str) -> Expression:
        """Make a binary variable."""
        return self._variable(name, 0.0, 1.0, True)

    def real(self, name: str, low: float = 0.0, high: float = inf) -> Expression:
        """Make a continuous variable."""
        return self._variable(name, low, high, False)

    def minimise(self, objective: Expression) -> None:
        """Set the objective."""
        self._objective = objective

    def add(self, row: Row) -> None:
        """Require a row; one without variables that holds is left out."""
        if row.holds:
            return
        left, equation = row
        self._index.extend(left.terms)
        self._value.extend(left.terms.values())
        self._length.append(len(left.terms))
        self._constant.append(left.constant)
        self._equation.append(equation)

    def program(self) -> Program:
        """Return the program: its columns are the variables that are used, in the order of their names."""
        index, value = np.array(self._index), np.array(self._value)
        row = np.repeat(np.arange(len(self._length)), self._length)
        some = value != 0
        index, value, row = index[some], value[some], row[some]
        cost = np.zeros(len(self._names))
        cost[list(self._objective.terms)] = list(self._objective.terms.values())
        used = np.flatnonzero((np.bincount(index, minlength=len(cost)) > 0) | (cost != 0)).tolist()
        chosen = np.array(sorted(used, key=self._names.__getitem__), dtype=np.int64)
        column = np.empty(len(cost), dtype=np.int64)
        column[chosen] = np.arange(len(chosen))
        right = 0.0 - np.array(self._constant)
        return Program(
            cost=cost[chosen],
            lower=np.array(self._lower)[chosen],
            upper=np.array(self._upper)[chosen],
            integer=np.array(self._integer, dtype=np.bool_)[chosen],
            row_start=np.searchsorted(row, np.arange(len(right) + 1)).astype(np.int64),
            row_index=column[index],
            row_value=value,
            row_lower=np.where(np.array(self._equation, dtype=np.bool_), right, -np.inf),
            row_upper=right,
            offset=self._objective.constant,
            names=tuple(self._names[j] for j in chosen),
        )

    def _variable(self, name: str, low: float, high: float, integer: bool) -> Expression:
        self._names.append(name)
        self._lower.append(low)
        self._upper.append(high)
        self._integer.append(integer)
        return Expression({len(self._names) - 1: 1.0})
