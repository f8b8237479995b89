"""Search and proof by the program over ranges: whole where it is small, else around the best plan."""

from __future__ import annotations

import random

import numpy as np

from formulations.serving import ranges
from formulations.serving.ranges import RangeProgram
from placer.arrays import IntArray
from placer.layered_flow.flow_problem import FlowProblem, Ranges
from placer.layered_flow.flow_search import Search
from placer.solvers.highs import solve
from placer.solvers.solution import Settings, Status
from placer.tolerances import BOUND_TOLERANCE, FEASIBILITY

__all__ = ["Model", "improve", "is_possible", "prove"]

WHOLE = 6_000
"""Ranges and passages of a program that is solved with all boundaries."""
PART = 1_500
"""Ranges and passages of a program around a plan."""
PART_WORK_S = 8.0
"""Work for such a program, in nominal seconds."""
FRUITLESS = 6
"""Such programs in a row without a better plan, after which the search ends."""


class Model:
    """The program over ranges for a problem: devices of a kind counted where links tell none apart.

    Parameters
    ----------
    problem
        The problem.
    upper
        An upper bound on the flow.
    """

    def __init__(self, problem: FlowProblem, upper: float) -> None:
        self.problem, self.upper = problem, upper
        strong = problem.strong(upper)
        alike = bool(strong.all())
        self.members = problem.kinds if alike else [[i] for i in range(problem.n)]
        first = [kind[0] for kind in self.members]
        self.rates = [problem.useful[i] for i in first]
        self.counts = np.array([len(kind) for kind in self.members])
        # Devices of one kind are linked as any two devices are, so what links the first of each serves.
        ends = np.array([*first, problem.n])
        self.links = problem.links[np.ix_(ends, ends)]
        self.group = np.zeros(len(first), dtype=np.int64) if alike else _groups(strong[:-1, :-1])

    def size(self, boundaries: int) -> float:
        """Estimate ranges and passages with so many boundaries evenly spread."""
        share = boundaries / (self.problem.layers + 1)
        ranges_ = sum(share * len(rate) for rate in self.rates) * boundaries
        linked = self.links[:-1, :-1] > 0
        return ranges_ + int((linked & (self.group[:, None] != self.group[None, :])).sum()) * boundaries

    def build(self, boundaries: IntArray) -> RangeProgram:
        """Build the program over some boundaries."""
        return ranges.build(self.rates, self.counts, self.links, self.group, boundaries, self.upper)

    def held(self, plan: Ranges) -> dict[tuple[int, int, int], int]:
        """Return how many devices of each kind are on each range."""
        found: dict[tuple[int, int, int], int] = {}
        for kind, devices in enumerate(self.members):
            for i in devices:
                if i in plan:
                    key = (kind, *plan[i])
                    found[key] = found.get(key, 0) + 1
        return found

    def plan(self, held: dict[tuple[int, int, int], int]) -> Ranges:
        """Give the ranges of each kind to its devices."""
        free = [list(devices) for devices in self.members]
        return {
            free[kind].pop(0): (s, e) for (kind, s, e), count in sorted(held.items()) for _ in range(count)
        }


def _groups(strong: np.ndarray) -> IntArray:
    """Divide devices into groups within which every link carries all that may come."""
    groups: list[list[int]] = []
    group = np.zeros(len(strong), dtype=np.int64)
    both = strong & strong.T
    for i in range(len(strong)):
        place = next((g for g, members in enumerate(groups) if both[i, members].all()), len(groups))
        if place == len(groups):
            groups.append([])
        groups[place].append(i)
        group[i] = place
    return group


def is_possible(search: Search) -> bool | None:
    """Look for any plan, with every rate and link the same; None when that stays open."""
    problem = search.problem
    same = FlowProblem(
        problem.layers,
        problem.names,
        tuple((rate > 0).astype(np.float64) for rate in problem.useful),
        (problem.links > 0).astype(np.float64),
    )
    model = Model(same, 1.0)
    if model.size(problem.layers + 1) > WHOLE:
        return None
    made = model.build(np.arange(problem.layers + 1))
    solution = solve(made.program, search.run, Settings(target=-0.99, seed=search.seed, confirm=True))
    if solution.objective is not None and solution.objective < -0.5 and solution.values is not None:
        search.offer(model.plan(made.held(solution.values)))
        return True
    return False if solution.status is Status.OPTIMAL else None


def prove(search: Search, threads: int) -> bool:
    """Solve the whole program if it is small; return whether it was."""
    model = Model(search.problem, search.upper)
    if model.size(search.problem.layers + 1) > WHOLE:
        return False
    search.phase = "whole program"
    _solve(search, model, np.arange(search.problem.layers + 1), threads, work=None)
    return True


def improve(search: Search, threads: int) -> None:
    """Solve programs whose boundaries are those of the best plan and some others, drawn at random."""
    rng, layers = random.Random(search.seed), search.problem.layers
    model, fruitless = Model(search.problem, search.upper), 0
    search.phase = "around the plan"
    most = next(b for b in range(layers + 1, 1, -1) if b == 2 or model.size(b) <= PART)
    while not search.over and fruitless < FRUITLESS and search.ranges:
        used = {0, layers, *(end for range_ in search.ranges.values() for end in range_)}
        others = [b for b in range(layers + 1) if b not in used]
        near = sorted(others, key=lambda b: rng.random() * min(abs(b - u) for u in used))
        boundaries = np.array(sorted([*used, *near[: max(most - len(used), len(used) // 4)]]))
        before = search.value
        _solve(search, model, boundaries, threads, work=PART_WORK_S)
        fruitless = 0 if search.value > before * (1 + BOUND_TOLERANCE) else fruitless + 1


def _solve(search: Search, model: Model, boundaries: IntArray, threads: int, work: float | None) -> None:
    """Solve a program from the best plan on; its bound counts where all boundaries are there."""
    made = model.build(boundaries)
    whole = len(boundaries) == search.problem.layers + 1
    start = made.point(model.held(search.ranges)) if search.ranges else None

    def on_progress(objective: float | None, bound: float | None, nodes: int) -> None:
        if whole and bound is not None:
            search.limit(-bound * model.upper * (1 + BOUND_TOLERANCE))

    solution = solve(
        made.program,
        search.run.part(work=work, quiet=True),
        Settings(gap=search.gap / 2, threads=threads, seed=search.seed, feasibility=FEASIBILITY),
        start=start,
        on_incumbent=lambda values: _offer(search, model, made, values),
        on_progress=on_progress,
    )
    if whole and solution.bound is not None:
        search.limit(-solution.bound * model.upper * (1 + BOUND_TOLERANCE))


def _offer(search: Search, model: Model, made: RangeProgram, values: np.ndarray) -> None:
    search.offer(model.plan(made.held(values)))
