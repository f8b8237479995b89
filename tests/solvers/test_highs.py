"""The adapter keeps what a solve holds whatever stops it, and never makes up a solution."""

import itertools
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from formulations.program import Program
from placer.search.run import Run
from placer.solvers import highs as adapter
from placer.solvers.highs import LinearMaster, solve
from placer.solvers.solution import Settings, Status


def knapsack(items: int = 12, seed: int = 0, rows: int = 3) -> Program:
    """A random multi-dimensional knapsack, minimising minus the value."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 100, (rows, items)).astype(float)
    return Program(
        cost=-rng.integers(1, 100, items).astype(float),
        lower=np.zeros(items),
        upper=np.ones(items),
        integer=np.ones(items, dtype=bool),
        row_start=np.arange(rows + 1) * items,
        row_index=np.tile(np.arange(items), rows),
        row_value=weight.ravel(),
        row_lower=np.full(rows, -np.inf),
        row_upper=np.floor(weight.sum(axis=1) / 3),
        names=tuple(f"x{j}" for j in range(items)),
    )


def brute(program: Program) -> float:
    points = np.array(list(itertools.product([0.0, 1.0], repeat=program.columns)))
    return min(program.objective(p) for p in points if program.excess(p) <= 1e-9)


HARD = knapsack(items=300, seed=1, rows=60)
"""Not solved to optimality in minutes."""


def infeasible() -> Program:
    """x + y ≥ 3 with binaries x, y."""
    return Program(
        cost=np.ones(2),
        lower=np.zeros(2),
        upper=np.ones(2),
        integer=np.ones(2, dtype=bool),
        row_start=np.array([0, 2, 4]),
        row_index=np.array([0, 1, 0, 1]),
        row_value=np.array([1.0, 1.0, 1.0, -1.0]),
        row_lower=np.array([3.0, -1.0]),
        row_upper=np.array([np.inf, 1.0]),
        names=("x", "y"),
    )


@pytest.mark.parametrize("seed", range(5))
def test_optimum_equals_brute_force(seed):
    program = knapsack(seed=seed)
    found = solve(program, Run(), Settings(gap=0.0))
    assert found.status is Status.OPTIMAL
    assert found.objective == brute(program)
    assert found.bound == pytest.approx(found.objective, rel=1e-9)
    assert program.excess(found.values) == 0


def test_time_limit_keeps_incumbent_and_bound():
    for limit in (1.0, 4.0, 16.0):  # a busy machine may take longer to a first point
        found = solve(HARD, Run(time_limit=limit), Settings(gap=0.0))
        assert found.status is Status.TIME_LIMIT
        if found.values is not None:
            break
    assert HARD.excess(found.values) == 0
    assert found.bound < found.objective == HARD.objective(found.values)
    assert found.bound > 2 * found.objective


def test_interrupt_keeps_incumbent_and_bound_and_reports_them():
    interrupt = threading.Event()
    seen, progress = [], []
    caller = threading.get_ident()

    def on_incumbent(values):
        assert threading.get_ident() == caller
        if not seen:
            threading.Timer(0.5, interrupt.set).start()
        seen.append(HARD.objective(values))

    found = solve(
        HARD,
        Run(interrupt=interrupt),
        Settings(gap=0.0),
        on_incumbent=on_incumbent,
        on_progress=lambda objective, bound, nodes: progress.append((objective, bound, nodes)),
    )
    assert found.status is Status.INTERRUPTED
    assert seen == sorted(seen, reverse=True)
    assert found.objective == seen[-1]
    assert progress[-1][0] == found.objective
    assert found.bound >= progress[-1][1]


def test_a_signal_is_handled_while_the_solver_runs():
    """Ctrl-C sets the stop button from a signal handler, which runs in the main thread only."""
    interrupt = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda number, frame: interrupt.set())
    try:
        found = solve(
            HARD,
            Run(interrupt=interrupt, time_limit=60),
            Settings(gap=0.0),
            on_incumbent=lambda _: os.kill(os.getpid(), signal.SIGINT),
        )
    finally:
        signal.signal(signal.SIGINT, previous)
    assert found.status is Status.INTERRUPTED
    assert found.values is not None


def test_already_stopped_returns_at_once_with_the_start():
    interrupt = threading.Event()
    interrupt.set()
    start = np.zeros(HARD.columns)
    found = solve(HARD, Run(interrupt=interrupt), start=start)
    assert found.status is Status.INTERRUPTED
    assert found.objective <= 0.0


def test_exception_in_a_hook_stops_the_solver_and_surfaces():
    def fail(values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(HARD, Run(), Settings(gap=0.0), on_incumbent=fail)
    assert not any(t.name == "highs" for t in threading.enumerate())


def test_start_is_used(caplog):
    caplog.set_level("INFO")
    program = knapsack()
    best = solve(program, Run(), Settings(gap=0.0))
    again = solve(program, Run(), Settings(gap=0.0, node_limit=0), start=best.values)
    assert again.start_used
    assert again.objective == best.objective
    assert "MIP start used" in caplog.text


def test_a_partial_start_is_filled_in():
    """min T, T ≥ 3x, T ≥ 2 − x: only x is given, T follows; with x = 2 the start breaks a bound."""
    program = Program(
        cost=np.array([0.0, 1.0]),
        lower=np.zeros(2),
        upper=np.array([1.0, np.inf]),
        integer=np.array([True, False]),
        row_start=np.array([0, 2, 4]),
        row_index=np.array([0, 1, 0, 1]),
        row_value=np.array([-3.0, 1.0, 1.0, 1.0]),
        row_lower=np.array([0.0, 2.0]),
        row_upper=np.full(2, np.inf),
        names=("x", "T"),
    )
    found = solve(program, Run(), Settings(gap=0.9), start=program.point({"x": 1.0}))
    assert found.start_used
    assert solve(program, Run(), start=program.point({"x": 2.0})).start_used is False
    assert solve(program, Run(), Settings(gap=0.0)).objective == 2.0


def test_start_that_breaks_a_row_is_refused(caplog):
    program = knapsack()
    found = solve(program, Run(), Settings(gap=0.0), start=np.ones(program.columns))
    assert found.start_used is False
    assert "MIP start not used" in caplog.text
    assert found.objective == brute(program)


def test_cutoff_below_the_optimum_proves_that_nothing_is_better():
    program = knapsack()
    optimum = brute(program)
    found = solve(program, Run(), Settings(gap=0.0, cutoff=optimum - 0.5))
    assert found.status is Status.NOTHING_BETTER
    assert found.bound == optimum - 0.5
    assert found.objective is None or found.objective >= optimum


def test_infeasible_holds_nothing():
    found = solve(infeasible(), Run())
    assert found.status is Status.INFEASIBLE
    assert found.values is None
    assert found.objective is None


ATTEMPT = adapter._attempt


def claiming(monkeypatch, *claims: Status | None) -> list[Status | None]:
    """Let the solver end its runs with these claims in turn; None: with what is right."""
    left = list(claims)

    def claim(*args):
        said, right = left.pop(0), ATTEMPT(*args)
        return right if said is None else said

    monkeypatch.setattr(adapter, "_attempt", claim)
    return left


def test_a_claim_of_infeasibility_is_confirmed_or_withdrawn(monkeypatch):
    left = claiming(monkeypatch, Status.INFEASIBLE, None)
    found = solve(knapsack(), Run(), Settings(gap=0.0, confirm=True))
    assert not left
    assert found.status is Status.OPTIMAL
    assert found.objective == brute(knapsack())
    left = claiming(monkeypatch, None, None)
    assert solve(infeasible(), Run(), Settings(confirm=True)).status is Status.INFEASIBLE
    assert not left


def test_claims_that_points_contradict_leave_no_bound(monkeypatch):
    """Bounds far above the points that it found: whatever the solver says, twice."""
    monkeypatch.setattr(adapter.Held, "contradicted", True)
    found = solve(knapsack(), Run(), Settings(gap=0.0))
    assert found.status is Status.FAILED
    assert found.bound is None
    assert found.objective == brute(knapsack())


def test_a_bound_above_a_point_is_a_contradiction_up_to_rounding():
    program = knapsack()
    held = adapter.Held(program, Settings())
    held.take(solve(program, Run(), Settings(gap=0.0)).values)
    held.take_bound(held.objective + 1e-7 * abs(held.objective), 0)
    assert not held.contradicted
    held.take_bound(held.objective + 1e-5 * abs(held.objective), 0)
    assert held.contradicted
    assert held.bound == held.objective


def test_a_program_beyond_the_range_of_the_solver_is_not_passed_on(monkeypatch):
    program = knapsack()
    monkeypatch.setattr(adapter, "_load", lambda program: pytest.fail("it was passed on"))
    found = solve(replace(program, row_value=1e13 * program.row_value), Run())
    assert found.status is Status.FAILED
    assert found.values is None
    assert found.bound is None


def test_memory_limit_stops():
    found = solve(HARD, Run(time_limit=30), Settings(gap=0.0, memory_limit_mb=1.0))
    assert found.status is Status.MEMORY_LIMIT


def test_same_seed_same_point():
    program = knapsack(items=40, seed=3)
    runs = [solve(program, Run(), Settings(gap=0.05, seed=5)) for _ in range(2)]
    assert (runs[0].values == runs[1].values).all()
    assert runs[0].nodes == runs[1].nodes


def test_unknown_option_is_refused():
    with pytest.raises(ValueError, match="no_such_option"):
        solve(knapsack(), Run(), Settings(extra=(("no_such_option", 1),)))


def test_stops_promptly():
    run = Run(time_limit=0.5)
    solve(HARD, run, Settings(gap=0.0))
    assert time.perf_counter() - run.began < 5.0


def test_master_is_solved_again_with_new_columns():
    """min uncovered cost: two rows x_i ≥ 1 with slack columns of cost 5, then a column that covers both."""
    program = Program(
        cost=np.array([5.0, 5.0]),
        lower=np.zeros(2),
        upper=np.full(2, np.inf),
        integer=np.zeros(2, dtype=bool),
        row_start=np.array([0, 1, 2]),
        row_index=np.array([0, 1]),
        row_value=np.ones(2),
        row_lower=np.ones(2),
        row_upper=np.full(2, np.inf),
    )
    master = LinearMaster(program)
    first = master.solve(Run())
    assert first.objective == 10
    assert first.row_dual.tolist() == [5.0, 5.0]
    master.add_columns(
        np.array([6.0]), np.zeros(1), np.ones(1), np.array([0, 2]), np.array([0, 1]), np.ones(2)
    )
    second = master.solve(Run())
    assert second.objective == 6
    assert second.values.tolist() == [0.0, 0.0, 1.0]
    master.change_column_bounds(np.array([2]), np.zeros(1), np.zeros(1))
    assert master.solve(Run()).objective == 10
