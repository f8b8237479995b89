"""Upper bounds where links bind (the program: `formulations.serving.passages`).

For a target F let ω(f) be what passing a flow f through one layer is worth at least, such that Σ ω(f_i) >= 1
for all flows f_i that sum to F.  All layers of a plan need Σ_i k_i ω(f_i) >= L: device i, which passes f_i
through k_i layers, contributes k_i ω(f_i), at most v_i = max_k k·ω(τ_i(k)).  ω is a step function whose steps
end at the rates of devices; it comes from a packing program,

    minimise Σ_i v_i + ε Σ_s ω_s   with v_i >= k·ω_s where τ_i(k) is step s,
                                   and Σ ω >= 1 over the steps of every cover.

The steps are the modes of a device.  Where Σ v_i exceeds L by little, few are left: one that loses more than
that is in no plan of flow F.  The second term makes steps worth little that no plan can make use of.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from formulations.serving import passages
from formulations.serving.passages import Modes
from placer.arrays import FloatArray
from placer.layered_flow.covers import cheapest_cover
from placer.layered_flow.flow_problem import FlowProblem
from placer.layered_flow.flow_search import Search
from placer.layered_flow.worths import Packing
from placer.search.run import Run
from placer.solvers.highs import solve
from placer.solvers.solution import Settings, Status
from placer.tolerances import BOUND_TOLERANCE, EQUAL, FEASIBILITY

__all__ = ["is_excluded", "limit_by_links"]

WORK_S = 10.0
"""Work for one target, in nominal seconds."""
LITTLE = 1e-4
"""ε, as a share of L over the number of steps."""
MODES = 10
"""Modes of a device that are told apart; neighbours are merged beyond that."""
TARGETS = 8
"""Targets that are tried."""


def limit_by_links(search: Search) -> None:
    """Exclude flows between the best plan and the bound: half way, then the least, then by bisection."""
    if search.problem.strong(search.upper).all():
        return
    search.phase = "links"
    low, least = search.value, search.value * (1 + search.precision)
    flow = (low + search.upper) / 2
    for _ in range(TARGETS):
        if search.over or not low < flow < search.upper:
            return
        if is_excluded(search.problem, flow, search.run, search.seed):
            search.limit(flow)
        else:
            low = flow
        flow = least if low == search.value and flow > least else (low + search.upper) / 2


def is_excluded(problem: FlowProblem, flow: float, run: Run, seed: int = 0) -> bool:
    """Whether no plan is proven to pass a flow; False where that stays open."""
    found = _worths(problem, flow, run)
    if found is None:
        return False
    modes = _modes(problem, flow, *found)
    if modes is None:
        return True
    program = passages.build(problem.layers, problem.links / flow, modes)
    settings = Settings(
        gap=0.0, target=-1.0 + BOUND_TOLERANCE, feasibility=FEASIBILITY, seed=seed, confirm=True
    )
    solution = solve(program, run.part(work=WORK_S, quiet=True), settings)
    if solution.status is Status.INFEASIBLE:
        return True
    return solution.bound is not None and solution.bound > -1.0 + 2 * BOUND_TOLERANCE


def _worths(problem: FlowProblem, flow: float, run: Run) -> tuple[FloatArray, FloatArray] | None:
    """Return where the steps of ω end, and what they are worth, ``(S,)``; None when the run is over."""
    rates = [np.minimum(problem.useful[kind[0]], flow) for kind in problem.kinds]
    steps = np.unique(np.concatenate(rates))
    steps = steps[steps > 0]
    counts = np.array([float(len(kind)) for kind in problem.kinds])
    packing = Packing(np.append(counts, np.full(len(steps), LITTLE * problem.layers / len(steps))))
    for t, rate in enumerate(rates):
        for k in (np.flatnonzero(rate > 0) + 1).tolist():
            uses = np.zeros(len(counts) + len(steps))
            uses[t], uses[len(counts) + np.searchsorted(steps, rate[k - 1])] = 1.0, -k
            packing.add(0.0, uses)
    while (point := packing.solve(run)) is not None:
        worth = point[1][len(counts) :]
        cover = cheapest_cover(list(steps[:, None]), list(worth[:, None]), [None] * len(steps), flow)
        if cover.price >= 1 - BOUND_TOLERANCE:
            return steps, worth / min(1.0, cover.price)
        uses = np.zeros(len(counts) + len(steps))
        for s, _ in cover.devices:
            uses[len(counts) + s] += 1.0
        packing.add(1.0, uses)
    return None


def _modes(problem: FlowProblem, flow: float, steps: FloatArray, worth: FloatArray) -> Modes | None:
    """Return the modes that a plan of this flow may use, flows as shares of it, rounded outwards.

    None when even all devices together are worth too little.
    """
    every: list[list[list[float]]] = []
    for kind in problem.kinds:
        lengths = [problem.best_length(kind[0], step * (1 - EQUAL)) for step in steps.tolist()]
        lows = [0.0, *steps.tolist()]
        each = zip(lows, steps.tolist(), lengths, worth.tolist(), strict=False)
        every.append([[low, high, k, k * omega] for low, high, k, omega in each if k])
    most = [max((mode[3] for mode in modes), default=0.0) for modes in every]
    slack = sum(len(kind) * best for kind, best in zip(problem.kinds, most, strict=True)) - problem.layers
    if slack < -BOUND_TOLERANCE * problem.layers:
        return None
    rows = []
    for kind, modes, best in zip(problem.kinds, every, most, strict=True):
        left = [mode for mode in modes if best - mode[3] <= slack + BOUND_TOLERANCE * problem.layers]
        rows += [[float(i), *mode] for i in kind for mode in _merged(left)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    low, high = table[:, 1] / flow * (1 - EQUAL), np.minimum(1.0, table[:, 2] / flow * (1 + EQUAL))
    return Modes(table[:, 0].astype(np.int64), low, high, table[:, 3], table[:, 4])


def _merged(modes: list[list[float]]) -> list[list[float]]:
    """Merge steps that follow one another: those worth the same, and those that differ least if many."""
    modes = [list(mode) for mode in modes]
    while len(modes) > 1:
        apart = [abs(a[3] - b[3]) if a[1] == b[0] else np.inf for a, b in pairwise(modes)]
        place = int(np.argmin(apart))
        if apart[place] > EQUAL and (len(modes) <= MODES or apart[place] == np.inf):
            break
        a, b = modes[place : place + 2]
        modes[place : place + 2] = [[a[0], b[1], max(a[2], b[2]), max(a[3], b[3])]]
    return modes
