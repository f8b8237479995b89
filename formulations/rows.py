"""Building PuLP models row by row from terms, the same way on PuLP 3 and 4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulp

__all__ = ["Expression", "Inside", "Model", "difference", "total"]

Inside = Mapping[int, Sequence[Any]]
"""By kind: for each item a number, variable or `Expression` in [0, 1] that says that it is on the device."""

LinearExpression: Any = getattr(pulp.LpAffineExpression, "from_list", pulp.LpAffineExpression)
"""Makes an expression from (variable, coefficient) pairs and a constant."""


class Expression:
    """A linear expression that is built up in place: ``sum of coefficient * variable + constant``."""

    __slots__ = ("constant", "terms")

    def __init__(self, constant: float = 0.0) -> None:
        self.terms: dict[Any, float] = {}
        self.constant = constant

    def add(self, what: Any, coefficient: float = 1.0) -> Expression:
        """Add a multiple of a number, a variable or another expression; return this one."""
        if coefficient == 0.0:
            return self
        if isinstance(what, Expression):
            self.constant += coefficient * what.constant
            for variable, a in what.terms.items():
                self.terms[variable] = self.terms.get(variable, 0.0) + coefficient * a
        elif isinstance(what, int | float):
            self.constant += coefficient * what
        else:
            self.terms[what] = self.terms.get(what, 0.0) + coefficient
        return self

    @property
    def is_constant(self) -> bool:
        """Whether no variable is left."""
        return not any(self.terms.values())


def difference(a: Any, b: Any) -> Expression:
    """Return ``a - b`` for numbers, variables or expressions."""
    return Expression().add(a).add(b, -1.0)


class Model:
    """A PuLP problem under construction; minimises."""

    def __init__(self, name: str) -> None:
        self.problem = pulp.LpProblem(name, pulp.LpMinimize)
        self._rows = 0

    def binary(self, name: str) -> Any:
        """Make a binary variable."""
        return self.problem.add_variable(name, 0, 1, cat=pulp.LpInteger)

    def real(self, name: str, low: float = 0.0, high: float | None = None) -> Any:
        """Make a continuous variable."""
        return self.problem.add_variable(name, low, high)

    def minimise(self, expression: Expression) -> None:
        """Set the objective."""
        self.problem.setObjective(LinearExpression(list(expression.terms.items()), expression.constant))

    def at_most(self, expression: Expression, bound: float = 0.0) -> None:
        """Require ``expression ≤ bound``; a row without variables that holds is left out."""
        if expression.is_constant and expression.constant <= bound:
            return
        self._add(expression, bound, pulp.LpConstraintLE)

    def equal(self, expression: Expression, value: float) -> None:
        """Require ``expression = value``."""
        if expression.is_constant and expression.constant == value:
            return
        self._add(expression, value, pulp.LpConstraintEQ)

    def _add(self, expression: Expression, bound: float, sense: int) -> None:
        terms = [(variable, a) for variable, a in expression.terms.items() if a != 0.0]
        if not terms:  # a contradiction: keep it as a row that cannot hold
            never = self.problem.add_variable(f"never{self._rows}", 0, 0)
            terms = [(never, 1.0)]
        left = LinearExpression(terms, expression.constant - bound)
        row = left <= 0 if sense == pulp.LpConstraintLE else left == 0
        self.problem.addConstraint(row, f"r{self._rows}")
        self._rows += 1


def total(parts: Iterable[Any]) -> Expression:
    """Return the sum of numbers, variables and expressions."""
    out = Expression()
    for part in parts:
        out.add(part)
    return out
