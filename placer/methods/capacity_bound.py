"""The bound by capacity: what devices can do and hold together, before any method runs.

Methods see memory device by device; that it is short in total, so that much work must go where it is slow,
none of them sees at once.  The linear program proves its bound by its values alone, whatever the solver's
tolerances; where items that are alike leave few columns, the program over whole items proves more.
"""

from __future__ import annotations

import numpy as np

from formulations import capacity as programs
from formulations.capacity import Capacity, CapacityProgram, Course
from placer.arrays import FloatArray
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.options import Objective, Options, Schedule
from placer.plans.status import Stop
from placer.reductions.problem import Problem, contract
from placer.search.run import Outcome, Run
from placer.tolerances import BOUND_MARGIN, EQUAL, MEMORY_TOLERANCE

__all__ = ["bound_ms", "solve"]

FIRST_WORK_S = 0.2
"""Before any method runs, for the program over whole items, in nominal seconds."""
ENTRIES = {Objective.THROUGHPUT: 1_000_000, Objective.LATENCY: 60_000}
"""Entries of the largest linear program that is solved: about a second."""
FEW = 200
"""Columns up to which whole items are looked at even where memory does not bind parts of items."""
SPREAD = 1e6
"""Coefficients that far apart are left to the linear program, whose bound does not depend on tolerances."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Bound the objective within the limits of a run; no plan is looked for."""
    return Outcome(run.stopped() or Stop.FINISHED, bound_ms=bound_ms(instance, options, run))


def bound_ms(instance: Instance, options: Options, run: Run) -> float | None:
    """Return a lower bound in ms on time per sample or makespan; None where memory cannot be short.

    Parameters
    ----------
    instance
        An instance that is settled (`placer.plans.in_flight.settled`).
    options
        Any; other objectives have no bound by capacity.
    run
        Its limits are obeyed.
    """
    if options.objective not in ENTRIES:
        return None
    problem = contract(instance, contiguous=False)
    kinds = interchangeable(
        instance.devices, problem.allowed, lambda d: (d.class_index, d.memory_limit_bytes)
    )
    capacity = _capacity(problem, kinds)
    if not capacity.may.any(axis=1).all() or not _may_be_short(capacity):
        return None
    throughput = options.objective is Objective.THROUGHPUT
    if throughput:
        capacity = capacity.grouped()
    time = capacity.time_ms.sum(axis=0).min(axis=1)
    unit = max(float(time.max()), float((time * capacity.items).sum()) / float(capacity.devices.sum()))
    if unit <= 0.0 or capacity.may.sum() > ENTRIES[options.objective]:
        return None
    if throughput:
        gpipe = options.schedule is Schedule.GPIPE and instance.is_training
        built = programs.throughput(capacity, unit, gpipe=gpipe)
    else:
        built = programs.latency(capacity, _course(problem, kinds), unit)
    if len(built.program.row_value) > ENTRIES[options.objective]:
        return None
    bound = _bound(built, options, run) * unit
    run.report(bound_ms=bound, phase="capacity")
    return bound


def _bound(built: CapacityProgram, options: Options, run: Run) -> float:
    """Return the bound of the linear program, and where memory binds that over whole items, in its units."""
    # A tenth of a second, for graphs that memory is short for.
    from placer.solvers import highs
    from placer.solvers.linear_program import solve_linear
    from placer.solvers.solution import Settings, Status

    program = built.program
    dual = solve_linear(program, run).row_dual
    if dual is None:
        return 0.0
    bound = max(0.0, program.dual_bound(dual) * (1 - EQUAL))
    promising = program.columns <= FEW or bool(dual[built.memory].any())
    if program.largest > SPREAD or not promising or run.stopped() is not None:
        return bound
    settings = Settings(gap=options.gap / 2, threads=options.threads, seed=options.seed)
    found = highs.solve(program, run, settings)
    if found.status is Status.FAILED or found.bound is None:
        return bound
    return max(bound, found.bound - BOUND_MARGIN)


def _capacity(problem: Problem, kinds: list[list[int]]) -> Capacity:
    """Return the items and kinds of a problem; where an item does not fit, it may not go."""
    first = [problem.instance.devices[members[0]] for members in kinds]
    limit = np.array([d.memory_limit_bytes for d in first]) * (1 + 2 * MEMORY_TOLERANCE)
    share = problem.memory_share(limit)
    may = problem.allowed[:, [d.index for d in first]] & (share <= 1)
    time = problem.time_ms[:, :, [d.class_index for d in first]]
    return Capacity(
        time_ms=np.where(may, time, np.inf),
        share=share,
        items=np.ones(problem.size, dtype=np.int64),
        devices=np.array([len(members) for members in kinds], dtype=np.int64),
    )


def _may_be_short(capacity: Capacity) -> bool:
    """Whether some kind cannot hold all that may go there; else memory binds only device by device."""
    return any(
        float(share @ capacity.items) > devices
        for own, devices in zip(capacity.share.T, capacity.devices, strict=True)
        for share in programs.packings(own)
    )


def _course(problem: Problem, kinds: list[list[int]]) -> Course:
    """Return how one sample runs."""
    instance = problem.instance
    first = [instance.devices[members[0]] for members in kinds]
    classes = [d.class_index for d in first]
    time: FloatArray = instance.class_time_ms[:, classes]
    return Course(
        item=problem.item,
        time_ms=np.where(np.isfinite(time), time, 0.0),
        edges=instance.edges,
        transfer_ms=instance.class_transfer_ms[:, classes],
        accelerators=np.array([not d.is_host for d in first], dtype=np.bool_),
    )
