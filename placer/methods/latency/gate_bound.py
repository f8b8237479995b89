"""The bound around gates: what waits for one node, and what another waits for, shares what is left.

The gates are chosen once; wherever they are in a plan, one of the programs says what it takes at least.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import inf

import numpy as np

from formulations.latency.gates import HOST, Gate, build
from formulations.latency.latency_problem import LatencyProblem
from formulations.program import Program
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.tolerances import EQUAL, PROGRAM_MARGIN

__all__ = ["bound_ms", "solve"]

Nodes = tuple[int | None, int | None]
"""The two gates; None for only one."""

ENTRIES = 200_000
"""Entries of the largest program that is solved."""
TRIAL = 0.3
"""Share of the work that is left which one program may take."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Bound the latency of one sample for plans no worse than the one that the run starts from."""
    best = Incumbent(instance, options, run)
    best.follow(run)
    problem = LatencyProblem.of(instance, options.pieces)
    upper = min(best.value, problem.safe_upper_ms)
    if upper > 0.0 and np.isfinite(problem.least_ms).all():
        for gates in _pairs(problem):
            if best.is_within(options.gap) or run.stopped() is not None:
                break
            best.raise_bound(bound_ms(problem, gates, upper, options, run), "gates")
    return best.outcome(run.stopped() or Stop.FINISHED)


def _pairs(problem: LatencyProblem) -> Iterator[Nodes]:
    """Yield gates: those with the most work between them, and those with the most work after or before."""
    reach = np.where(np.eye(problem.n, dtype=np.bool_), 0.0, problem.reaches)
    work = problem.least_ms
    between = (reach * work) @ reach
    first, last = np.unravel_index(int(np.argmax(between)), between.shape)
    if between[first, last] > 0.0:
        yield int(first), int(last)
    yield int(np.argmax(reach @ work)), None
    yield None, int(np.argmax(work @ reach))


def _cases(
    problem: LatencyProblem, first: int | None, last: int | None, upper_ms: float
) -> Iterator[tuple[Gate | None, Gate | None]]:
    """Yield all places of the gates that plans may have which end in time."""
    within = np.asarray(problem.hosts_within(upper_ms).any(axis=1))

    def places(node: int | None) -> list[Gate | None]:
        if node is None:
            return [None]
        kinds = np.flatnonzero(np.isfinite(problem.time_ms[node])).tolist()
        return [Gate(node, kind) for kind in ([HOST] if within[node] else []) + kinds]

    for a in places(first):
        for z in places(last):
            counts = [len(devices) for devices in problem.kinds]
            taken = [g.kind for g in (a, z) if g is not None and g.kind != HOST]
            if problem.pieces > 1 or all(taken.count(kind) <= counts[kind] for kind in taken):
                yield a, z
    if first is not None and last is not None:
        both = np.flatnonzero(problem.reach[first] & problem.reach[:, last])
        mates = tuple(both[both != first].tolist())
        for kind in np.flatnonzero(np.isfinite(problem.time_ms[both]).all(axis=0)).tolist():
            yield Gate(first, kind, mates), None


def bound_ms(problem: LatencyProblem, gates: Nodes, upper_ms: float, options: Options, run: Run) -> float:
    """Return the least that plans take which end by ``upper_ms``, wherever the gates are; that if none do.

    First come linear programs, then integer ones where these say least.
    """
    from placer.solvers import highs
    from placer.solvers.linear_program import solve_linear
    from placer.solvers.solution import Settings, Status

    waiting: list[tuple[float, int, Program | None]] = []
    for place, (first, last) in enumerate(_cases(problem, *gates, upper_ms)):
        program = build(problem, first, last, upper_ms)
        if len(program.row_value) > ENTRIES or run.stopped() is not None:
            return 0.0
        found = solve_linear(program, run)
        bound = inf if found.status is Status.INFEASIBLE else 0.0
        if found.row_dual is not None:
            bound = program.dual_bound(found.row_dual) * (1 - EQUAL)
        waiting.append((bound, place, program))
    heapq.heapify(waiting)
    settings = Settings(gap=options.gap / 2, threads=options.threads, seed=options.seed)
    while waiting:
        least, place, untried = waiting[0]
        if untried is None or least >= 1.0 or run.stopped() is not None:
            break
        solution = highs.solve(untried, run.part(work=run.portion(TRIAL, inf)), settings)
        if solution.status is Status.INFEASIBLE:
            least = inf
        elif solution.bound is not None:
            least = max(least, solution.bound - PROGRAM_MARGIN)
        heapq.heapreplace(waiting, (least, place, None))
    return min([1.0, *(least for least, *_ in waiting)]) * upper_ms
