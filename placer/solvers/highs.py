"""The adapter to HiGHS: the only module that imports highspy.

HiGHS runs in a worker thread (it releases the interpreter lock), the calling thread waits in short steps.
So signal handlers run at once, all hooks are called in the calling thread, and an exception in a hook stops
the solver.  What a solve holds is collected as it happens: whatever stops it, the best point and the best
bound so far come back.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np

from formulations.program import Program
from placer.arrays import FloatArray, IntArray
from placer.plans.status import Stop
from placer.search import work as rates
from placer.search.run import Run
from placer.solvers.held import Held
from placer.solvers.highs_status import STATUS
from placer.solvers.solution import LpSolution, Settings, Solution, Status
from placer.solvers.watch import Event, wait
from placer.stdout import native_output_dropped

__all__ = ["LinearMaster", "solve"]

logger = logging.getLogger(__name__)

Callback = highspy.cb.HighsCallbackType
CALLBACKS = (
    Callback.kCallbackMipImprovingSolution,
    Callback.kCallbackMipInterrupt,
    Callback.kCallbackSimplexInterrupt,
    Callback.kCallbackIpmInterrupt,
)

ENUMERATION = 1 << 16
"""Presolve rule of HiGHS that is switched off: what it fixes may drop "exactly one of these", and a worse
point is then called optimal (HiGHS#3216)."""
LARGEST = 1e12
"""Larger coefficients and bounds (but infinite ones) are not passed on: HiGHS rejects them, or errs."""


def solve(
    program: Program,
    run: Run,
    settings: Settings | None = None,
    *,
    start: FloatArray | None = None,
    on_incumbent: Callable[[FloatArray], None] | None = None,
    on_progress: Callable[[float | None, float | None, int], None] | None = None,
) -> Solution:
    """Solve a mixed-integer program.

    Parameters
    ----------
    program
        The program.
    run
        Its limits and stop button are obeyed.
    settings
        How to solve.
    start
        A point to start from, ``(n,)``; columns that are nan are filled in by a linear program.  It is used
        when it is feasible, and the log says so.
    on_incumbent
        Called with each improving point, and at the end with the best one, in the calling thread.
    on_progress
        Called with the best objective, the best bound and the number of nodes when they improve.

    Returns
    -------
    Solution
    """
    settings = settings or Settings()
    began = time.perf_counter()
    if program.largest > LARGEST:
        logger.warning("the program has coefficients up to %g and is not passed on", program.largest)
        return Solution(status=Status.FAILED)
    highs = _load(program)
    _configure(highs, settings, run)
    held = Held(program, settings)
    start = _completed(program, start, run)
    start_used = held.take_start(start)
    if start is not None and start_used:
        point = highspy.HighsSolution()
        point.col_value = start.tolist()
        highs.setSolution(point)

    def on_event(event: Event) -> None:
        if event.values is not None and held.take(event.values) and on_incumbent is not None:
            on_incumbent(held.point())
        changed = held.take_bound(event.bound, event.nodes) or event.values is not None
        if changed and on_progress is not None:
            on_progress(held.objective, held.bound, held.nodes)

    status = _settled(highs, run, settings, held, on_event)
    if held.values is not None and on_incumbent is not None:
        on_incumbent(held.values)
    return held.solution(status, time.perf_counter() - began, start_used)


def _settled(
    highs: highspy.Highs, run: Run, settings: Settings, held: Held, on_event: Callable[[Event], None]
) -> Status:
    """Solve, and once more in another way where the first end is in doubt."""
    status = _attempt(highs, run, settings, held, on_event)
    doubtful = status is Status.FAILED or (status is Status.INFEASIBLE and settings.confirm)
    if doubtful and run.stopped() is None:
        _go_another_way(highs, settings, run)
        held.forget_bound()
        status = _attempt(highs, run, settings, held, on_event)
    if status is Status.FAILED:
        held.forget_bound()
    return status


def _go_another_way(highs: highspy.Highs, settings: Settings, run: Run) -> None:
    """Solve again from the beginning, with presolve where it was off and without where it was on."""
    logger.info("solving again in another way")
    presolved = highs.getOptionValue("presolve")[1] != "off"
    highs.clearSolver()
    highs.setOptionValue("presolve", "off" if presolved else "choose")
    highs.setOptionValue("random_seed", settings.seed + 1)
    if run.remaining is not None:
        highs.setOptionValue("time_limit", highs.getRunTime() + run.remaining)


def _attempt(
    highs: highspy.Highs,
    run: Run,
    settings: Settings,
    held: Held,
    on_event: Callable[[Event], None],
) -> Status:
    """Run HiGHS once, take what it holds at the end, and check what it claims."""
    stop = _run(highs, run, on_event, memory_limit_mb=settings.memory_limit_mb)
    status = _status(highs, stop)
    info = highs.getInfo()
    nodes = max(held.nodes, int(info.mip_node_count))
    if info.primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible):
        held.take(np.array(highs.getSolution().col_value))
    if held.program.integer.any():
        held.take_bound(info.mip_dual_bound, nodes)
    elif status is Status.OPTIMAL:
        held.take_bound(info.objective_function_value, nodes)
    searched = status in (Status.OPTIMAL, Status.INFEASIBLE, Status.NOTHING_BETTER)
    if settings.cutoff is not None and searched and held.misses(settings.cutoff):
        # The search skipped what the cutoff excludes, so what it holds then is no optimum.
        held.take_bound(settings.cutoff, nodes)
        return Status.NOTHING_BETTER
    if status is Status.OPTIMAL and not held.proves(settings.gap):
        logger.info("HiGHS claims optimality at %s without a point that has it", held.bound)
        return Status.FAILED
    if held.contradicted or (status is Status.INFEASIBLE and held.values is not None):
        logger.info("HiGHS claims a bound of %s (%s) above a point", held.claimed, status)
        return Status.FAILED
    return status


def _completed(program: Program, start: FloatArray | None, run: Run) -> FloatArray | None:
    """Fill in the columns of a start that are nan, at the least cost; they stay 0 if that is impossible."""
    if start is None or not np.isnan(start).any():
        return start
    highs = _load(program.fixed(start))
    if run.remaining is not None:
        highs.setOptionValue("time_limit", run.remaining)
    _run(highs, run)
    if highs.getModelStatus() == highspy.HighsModelStatus.kOptimal:
        return np.where(np.isnan(start), np.array(highs.getSolution().col_value), start)
    return np.nan_to_num(start)


def _load(program: Program) -> highspy.Highs:
    """Pass a program to a silent HiGHS, columns and rows at once and row-wise."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = program.columns, program.rows
    lp.col_cost_, lp.offset_ = program.cost, program.offset
    lp.col_lower_, lp.col_upper_ = program.lower, program.upper
    lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = program.row_start.astype(np.int32)
    lp.a_matrix_.index_ = program.row_index.astype(np.int32)
    lp.a_matrix_.value_ = program.row_value
    if program.integer.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(i)] for i in program.integer]
    with native_output_dropped():  # HiGHS 1.16 writes a banner before any option can silence it
        highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    if highs.passModel(lp) == highspy.HighsStatus.kError:
        raise ValueError("HiGHS rejects the program: bounds, coefficients or indices are malformed")
    return highs


def _configure(highs: highspy.Highs, settings: Settings, run: Run) -> None:
    options: dict[str, float | int | str | bool] = {
        "mip_rel_gap": settings.gap,
        "mip_abs_gap": 1e-9,
        "threads": settings.threads,
        "random_seed": settings.seed,
        "mip_feasibility_tolerance": settings.feasibility,
        "primal_feasibility_tolerance": min(settings.feasibility, 1e-7),
        "mip_min_logging_interval": 0.2,
        "presolve_rule_off": ENUMERATION,
    }
    if run.remaining is not None:
        options["time_limit"] = run.remaining
    if settings.cutoff is not None:
        options["objective_bound"] = settings.cutoff
    if settings.target is not None:
        options["objective_target"] = settings.target
    if settings.node_limit is not None:
        options["mip_max_nodes"] = settings.node_limit
    for name, value in (*options.items(), *settings.extra):
        if highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise ValueError(f"HiGHS does not take option {name} = {value!r}")


def _status(highs: highspy.Highs, stop: Stop | None) -> Status:
    model = highs.getModelStatus()
    status = STATUS.get(model.name, Status.FAILED)
    if status is Status.FAILED:
        logger.warning("HiGHS stopped with %s", highs.modelStatusToString(model))
    if status is Status.INTERRUPTED and stop is not None:
        return Status.LIMIT if stop is Stop.FINISHED else Status(stop.value)
    return status


@dataclass
class _Ear:
    """Hears what HiGHS says in its thread, and tells it to stop when that is asked or the work is done.

    Parameters
    ----------
    news
        Where points and bounds go.
    asked
        Set when HiGHS is to stop.
    size
        Columns, rows and entries.
    work_left_s
        Work that may be done, in nominal seconds.
    """

    news: queue.SimpleQueue[Event | BaseException | None]
    asked: threading.Event
    size: int
    work_left_s: float
    work_s: float = 0.0
    exhausted: bool = False
    bound: float = -np.inf

    def __call__(self, kind: Any, message: str, out: Any, reply: Any, data: Any) -> None:
        if self.asked.is_set():
            reply.user_interrupt = True
        if kind == Callback.kCallbackMipInterrupt:
            self.work_s += self.size * (rates.NODE_CHECK_S if out.mip_node_count > 0 else rates.ROOT_CHECK_S)
            if self.work_s >= self.work_left_s:
                reply.user_interrupt = self.exhausted = True
        if kind == Callback.kCallbackMipImprovingSolution:
            self.news.put(Event(np.array(out.mip_solution), out.mip_dual_bound, out.mip_node_count))
        elif kind == Callback.kCallbackMipInterrupt and out.mip_dual_bound > self.bound:
            self.bound = out.mip_dual_bound
            self.news.put(Event(None, self.bound, out.mip_node_count))


def _run(
    highs: highspy.Highs,
    run: Run,
    on_event: Callable[[Event], None] | None = None,
    *,
    memory_limit_mb: float | None = None,
) -> Stop | None:
    """Run HiGHS in a worker thread until it ends or is stopped, and count its work.

    HiGHS asks at fixed points of its search whether to go on: a limit on the work stops it at the same point
    every time.  How much work it was is known in the end, from the iterations.

    Returns
    -------
    Stop or None
        Why it was asked to stop; None when it was not.
    """
    size = highs.getNumCol() + highs.getNumRow() + highs.getNumNz()
    work_left = np.inf if run.work_left is None else run.work_left
    ear = _Ear(queue.SimpleQueue(), threading.Event(), size, work_left)

    def work() -> None:
        try:
            highs.run()
            highspy.Highs.resetGlobalScheduler(False)  # belongs to this thread, which ends here
        except BaseException as error:
            ear.news.put(error)
        finally:
            ear.news.put(None)

    highs.setCallback(ear, None)
    for kind in CALLBACKS:
        highs.startCallback(kind)
    worker = threading.Thread(target=work, name="highs", daemon=True)
    worker.start()
    try:
        stop = wait(ear.news, ear.asked, run, on_event, memory_limit_mb)
    finally:
        ear.asked.set()
        worker.join()
        highs.setCallback(None, None)
    iterations = max(0, highs.getInfo().simplex_iteration_count)
    if on_event is not None:  # an integer program
        run.spend(size * rates.PRESOLVE_S + (size + rates.MIP_ENTRIES) * rates.MIP_ITERATION_S * iterations)
    else:
        run.spend(size * rates.SIMPLEX_ITERATION_S * iterations)
    return Stop.WORK_LIMIT if ear.exhausted and stop is None else stop


class LinearMaster:
    """A linear program that is solved again and again while columns are added or bounds change.

    Parameters
    ----------
    program
        The first program; integrality is ignored.
    threads, seed
        As in `Settings`.
    """

    def __init__(self, program: Program, *, threads: int = 1, seed: int = 0) -> None:
        self._highs = _load(replace(program, integer=np.zeros(program.columns, dtype=np.bool_)))
        self._highs.setOptionValue("threads", threads)
        self._highs.setOptionValue("random_seed", seed)

    def add_columns(
        self,
        cost: FloatArray,
        lower: FloatArray,
        upper: FloatArray,
        start: IntArray,
        row: IntArray,
        value: FloatArray,
    ) -> None:
        """Add p columns, j with the rows ``row[start[j] : start[j + 1]]``, ``start`` is ``(p + 1,)``."""
        self._highs.addCols(
            len(cost),
            np.asarray(cost, dtype=np.float64),
            np.asarray(lower, dtype=np.float64),
            np.asarray(upper, dtype=np.float64),
            len(row),
            np.asarray(start[:-1], dtype=np.int32),
            np.asarray(row, dtype=np.int32),
            np.asarray(value, dtype=np.float64),
        )

    def change_column_bounds(self, columns: IntArray, lower: FloatArray, upper: FloatArray) -> None:
        """Set new bounds on some columns."""
        self._highs.changeColsBounds(len(columns), np.asarray(columns, dtype=np.int32), lower, upper)

    def solve(self, run: Run) -> LpSolution:
        """Solve from the last basis, within the run's time; the iterations are its work."""
        highs = self._highs
        if run.remaining is not None:
            highs.setOptionValue("time_limit", highs.getRunTime() + run.remaining)
        stop = _run(highs, run)
        status = _status(highs, stop)
        if status is not Status.OPTIMAL:
            return LpSolution(status=status)
        solution = highs.getSolution()
        return LpSolution(
            status=status,
            objective=float(highs.getInfo().objective_function_value),
            values=np.array(solution.col_value),
            row_dual=np.array(solution.row_dual),
        )
