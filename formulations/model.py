"""Linear expressions and rows written as in the mathematics, and the PuLP models (3 and 4) that they make.

Examples
--------
>>> model = Model("example")
>>> x, s = model.binary("x"), model.real("s")
>>> model.add(s >= 2.0 * x - 1.0)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pulp

__all__ = ["ONE", "ZERO", "Expression", "Model", "Row", "dot", "total"]

LinearExpression: Any = getattr(pulp.LpAffineExpression, "from_list", pulp.LpAffineExpression)
"""Makes an expression from (variable, coefficient) pairs and a constant."""


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
        return Row(self - other, pulp.LpConstraintLE)

    def __ge__(self, other: Expression | float) -> Row:
        return Row(other - self, pulp.LpConstraintLE)

    def __eq__(self, other: Any) -> Any:
        return Row(self - other, pulp.LpConstraintEQ)


class Row(NamedTuple):
    """A constraint ``left ≤ 0`` or ``left = 0``."""

    left: Expression
    sense: int

    @property
    def holds(self) -> bool:
        """Whether it holds whatever the variables are."""
        if not self.left.is_constant:
            return False
        return self.left.constant == 0 or (self.sense == pulp.LpConstraintLE and self.left.constant < 0)


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
    """A PuLP problem under construction; minimises."""

    def __init__(self, name: str) -> None:
        self.problem = pulp.LpProblem(name, pulp.LpMinimize)
        self._variables: list[Any] = []
        self._rows = 0

    def binary(self, name: str) -> Expression:
        """Make a binary variable."""
        return self._variable(name, 0, 1, pulp.LpInteger)

    def real(self, name: str, low: float = 0.0, high: float | None = None) -> Expression:
        """Make a continuous variable."""
        return self._variable(name, low, high, pulp.LpContinuous)

    def minimise(self, objective: Expression) -> None:
        """Set the objective."""
        terms = [(self._variables[j], a) for j, a in objective.terms.items()]
        self.problem.setObjective(LinearExpression(terms, objective.constant))

    def add(self, row: Row) -> None:
        """Require a row; one without variables that holds is left out."""
        left, sense = row
        terms = [(self._variables[j], a) for j, a in left.terms.items() if a]
        if not terms:
            if row.holds:
                return
            terms = [(self.problem.add_variable(f"never{self._rows}", 0, 0), 1.0)]  # a row that cannot hold
        linear = LinearExpression(terms, left.constant)
        made = linear <= 0 if sense == pulp.LpConstraintLE else linear == 0
        self.problem.addConstraint(made, f"r{self._rows}")
        self._rows += 1

    def _variable(self, name: str, low: float, high: float | None, category: str) -> Expression:
        self._variables.append(self.problem.add_variable(name, low, high, cat=category))
        return Expression({len(self._variables) - 1: 1.0})
