"""CP-SAT in a process of its own: reads a program as JSON, and tells points and bounds as lines of JSON.

It needs ortools and nothing of this project, so that its interpreter may be any: the libraries that ortools
brings do not mix with others.
"""

from __future__ import annotations

import json
import math
import sys
import threading
from typing import Any

__all__: list[str] = []

FINE = 1e5
"""Whole units per unit of a continuous column; objectives are about 100."""
FINER = 1e6
"""Rows whose continuous columns have fractions for coefficients are multiplied by this once more."""
LARGEST = 1e5
"""Continuous columns never exceed this."""


def main() -> None:
    """Solve the program on standard input."""
    task = json.loads(sys.stdin.readline())
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        tell({"missing": True})
        return
    model = cp_model.CpModel()
    columns, cost_scale, slack = built(task, model)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = task["threads"]
    solver.parameters.random_seed = task["seed"]
    solver.parameters.relative_gap_limit = task["gap"] / 2  # rounding takes its share
    solver.parameters.max_memory_in_mb = task["memory_mb"]
    lock = threading.Lock()

    class Told(cp_model.CpSolverSolutionCallback):
        """Tells each point."""

        def on_solution_callback(self) -> None:
            values = [self.value(x) / (1.0 if whole else FINE) for x, whole in columns]
            with lock:
                tell({"values": values})

    def bound_told(bound: float) -> None:
        with lock:
            tell({"bound": (bound - slack) / cost_scale})

    solver.best_bound_callback = bound_told
    status = solver.solve(model, Told())
    tell({"end": solver.status_name(status), "bound": (solver.best_objective_bound - slack) / cost_scale})


def tell(message: dict[str, Any]) -> None:
    """Write one line."""
    print(json.dumps(message), flush=True)


def built(task: dict[str, Any], model: Any) -> tuple[list[tuple[Any, bool]], float, float]:
    """Add columns, rows and objective in whole numbers; every point of the program stays a point.

    Returns the columns and which of them are whole, and what the objective is multiplied by and loosened by.
    """
    columns = []
    for lower, upper, whole in zip(task["lower"], task["upper"], task["integer"], strict=True):
        unit = 1.0 if whole else FINE
        low, high = max(lower, -LARGEST) * unit, min(upper, LARGEST) * unit
        columns.append((model.new_int_var(math.floor(low + 1e-6), math.ceil(high - 1e-6), ""), whole))

    def summed(terms: list[tuple[int, float]]) -> tuple[Any, float, float]:
        rounded, scale, slack = scaled(terms, task)
        return sum(factor * columns[j][0] for j, factor in rounded), scale, slack

    for terms, low, high in zip(task["rows"], task["row_lower"], task["row_upper"], strict=True):
        expression, scale, slack = summed(terms)
        if low > -math.inf:
            model.add(expression >= math.floor(low * scale - slack))
        if high < math.inf:
            model.add(expression <= math.ceil(high * scale + slack))
    cost = [(j, c) for j, c in enumerate(task["cost"]) if c]
    expression, scale, slack = summed(cost)
    model.minimize(expression)
    for (x, whole), value in zip(columns, task["start"] or (), strict=task["start"] is not None):
        model.add_hint(x, round(value * (1.0 if whole else FINE)))
    return columns, scale, slack


def scaled(
    terms: list[tuple[int, float]], task: dict[str, Any]
) -> tuple[list[tuple[int, int]], float, float]:
    """Return a sum with whole coefficients, its scale, and how far rounding may move it."""
    whole = task["integer"]
    mixed = not all(whole[j] for j, _ in terms)
    scale = FINE if mixed else 1.0
    if any(a != round(a) for j, a in terms if whole[j] != mixed):
        scale *= FINER if mixed else 1e6 / max(abs(a) for _, a in terms)
    rounded, slack = [], 0.0
    for j, a in terms:
        unit = 1.0 if whole[j] else FINE
        factor = round(a * scale / unit)
        rounded.append((j, factor))
        reach = min(LARGEST, max(abs(task["lower"][j]), abs(task["upper"][j]))) * unit
        slack += abs(a * scale / unit - factor) * reach + (0.0 if whole[j] else abs(a * scale / unit))
    return rounded, scale, slack


if __name__ == "__main__":
    main()
