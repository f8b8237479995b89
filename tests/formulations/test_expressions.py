"""Expressions and rows against arithmetic on points; the arrays and the PuLP problem they become."""

import operator

import numpy as np
import pulp
import pytest

from formulations.expressions import ONE, ZERO, Model, dot, total
from placer.search.run import Run
from placer.solvers.highs import solve
from placer.solvers.solution import Settings


def small():
    """Minimise 2 x − y + 4 b + 7 with x + y ≤ 5, y − 2 b ≥ −1, x + b = 3; the optimum is 11."""
    model = Model()
    y, x, b = model.real("y", 1.0), model.real("x", 0.0, 4.0), model.binary("b")
    model.real("unused")
    model.minimise(2 * x - y + 4 * b + 7)
    model.add(x + y <= 5)
    model.add(y - 2 * b >= -1)
    model.add(x + b == 3)
    return model.program()


def value(expression, point):
    return expression.constant + sum(a * point[j] for j, a in expression.terms.items())


@pytest.mark.parametrize("seed", range(20))
def test_operators_are_those_of_arithmetic(seed):
    rng = np.random.default_rng(seed)
    model = Model()
    parts = [(model.real(f"v{j}"), x) for j, x in enumerate(rng.normal(size=4))] + [(ZERO, 0.0), (ONE, 1.0)]
    point = [x for _, x in parts[:4]]
    for _ in range(40):
        (a, x), (b, y), c = parts[rng.integers(len(parts))], parts[rng.integers(len(parts))], rng.normal()
        parts += [
            (a + b, x + y), (a - b, x - y), (a + c, x + c), (a - c, x - c), (c - a, c - x), (-a, -x),
            (c * a, c * x), (total((a, b, a)), x + y + x), (dot((c, 0.0, 2.0), (a, b, b)), c * x + 2 * y),
        ]  # fmt: skip
        parts = [*parts[:6], *(parts[i] for i in rng.permutation(len(parts))[:12])]
    for expression, expected in parts:
        assert value(expression, point) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_the_program_are_the_ones_written(seed):
    rng = np.random.default_rng(seed)
    model = Model()
    variables = [model.real(f"v{j}", -10.0, 10.0) for j in range(4)]
    model.minimise(total(variables))
    written = []
    for _ in range(6):
        left, right = (dot(rng.integers(-2, 3, 4), variables) + float(rng.integers(-2, 3)) for _ in "lr")
        compare = [operator.le, operator.ge, operator.eq][rng.integers(3)]
        model.add(compare(left, right))
        written.append((left, right, compare))
    program = model.program()
    assert program.rows <= 6
    for _ in range(100):
        point = rng.integers(-2, 3, 4).astype(float)
        holds = all(compare(value(left, point), value(right, point)) for left, right, compare in written)
        assert holds == (program.excess(point) <= 1e-9)


def test_columns_are_those_in_use_by_name():
    program = small()
    assert program.names == ("b", "x", "y")
    assert program.integer.tolist() == [True, False, False]
    assert (program.lower.tolist(), program.upper.tolist()) == ([0, 0, 1], [1, 4, np.inf])
    point = program.point({"x": 2.0, "y": 3.0, "b": 1.0})
    assert program.objective(point) == 2 * 2 - 3 + 4 + 7
    assert program.excess(point) == 0
    assert program.excess(program.point({"x": 3.0, "y": 3.0, "b": 0.0})) == 1
    assert program.excess(program.point({"x": 2.5, "y": 2.0, "b": 0.5})) == 0.5


def test_rows_without_variables():
    model = Model()
    x = model.binary("x")
    model.minimise(x)
    for holds in (ZERO <= 0, ONE >= 0.5, ZERO == 0, x - x <= 1):
        model.add(holds)
    assert model.program().rows == 0
    model.add(x - x >= 1)
    program = model.program()
    assert program.rows == 1
    assert program.excess(np.zeros(1)) == program.excess(np.ones(1)) == 1


def test_as_a_pulp_problem():
    program = small()
    problem = program.pulp("small")
    assert {v.name: (v.lowBound, v.upBound or np.inf, v.cat) for v in problem.variables()} == {
        "b": (0, 1, "Integer"), "x": (0, 4, "Continuous"), "y": (1, np.inf, "Continuous"),
    }  # fmt: skip
    rows = [({v.name: a for v, a in row.items()}, row.getLb(), row.getUb()) for row in problem.constraints()]
    assert rows == [
        ({"x": 1, "y": 1}, None, 5), ({"y": -1, "b": 2}, None, 1), ({"x": 1, "b": 1}, 3, 3),
    ]  # fmt: skip
    problem.solve(pulp.getSolver("HiGHS", msg=False))
    assert pulp.value(problem.objective) == pytest.approx(11.0)
    found = solve(program, Run(), Settings(gap=0.0))
    assert found.objective == 11.0
    assert program.named(found.values) == {"x": 3.0, "y": 2.0, "b": 0.0}
