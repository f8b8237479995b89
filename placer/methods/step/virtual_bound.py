"""Lower bounds on the step of pipelines with virtual stages.

*Largest load.*  Some device does all its work for each of the m microbatches.  Of the k P + 1 heaviest items,
some device holds k + 1; and where devices differ or memory is short, plans that need not be contiguous and
count less memory are a relaxation (column generation).

*Paths.*  Each path through the graph of passes is at least as short as the step, and linear in the loads of
virtual stages: a path p passes c_p^F(j) forward and c_p^B(j) backward passes of virtual stage j.  So any
weights y_p ≥ 0 with Σ y_p = 1 prove
    T ≥ Σ_i min_{j, c} (Σ_p y_p c_p^F(j)) f_{ic} + (Σ_p y_p c_p^B(j)) b_{ic}
over items i with times f, b on devices of class c, wherever they go.  The best weights are those of a linear
program, to which the longest path at its own dual loads is added until that is no longer.
"""

from __future__ import annotations

import numpy as np

from formulations.program import Program
from placer.arrays import FloatArray
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.methods.colgen import colgen
from placer.options import Objective, Options, Recompute
from placer.plans.interleaved import passes_end_ms, states_in_flight, warm_up
from placer.plans.status import Stop
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.solvers.highs import LinearMaster
from placer.solvers.solution import Status
from placer.tolerances import CERTAIN, EQUAL

__all__ = ["heaviest_load", "largest_load", "longest_path", "path_bound", "relaxed_load"]

TYPES = 6
"""Kinds of items, by their share of backward work, that the linear program tells apart."""
PATHS = 600
"""Paths in it at most."""
CLOSE = 1e-3
"""Relative distance between the longest path and the program at which it ends."""
PASS_S = 2e-6
"""Nominal seconds for a pass of a rank when the longest path is looked for."""


def heaviest_load(problem: Problem, ranks: int) -> float:
    """Return a bound on the largest load of P devices per microbatch, in ms."""
    return largest_load(_least_ms(problem), ranks)


def largest_load(times_ms: FloatArray, ranks: int) -> float:
    """Return a bound on the largest load of P devices, by the times of items that stay whole, in ms."""
    times = np.sort(times_ms)[::-1]
    sums = np.concatenate([[0.0], np.cumsum(times)])
    k = np.arange((len(times) - 1) // ranks + 1)
    pigeonholes = sums[k * ranks + 1] - sums[k * (ranks - 1)]
    return float(max(pigeonholes.max(), times.sum() / ranks)) * CERTAIN


def _least_ms(problem: Problem) -> FloatArray:
    """Time of each item where it takes least, both directions, ``(N,)``."""
    times = problem.time_ms.sum(axis=0)[:, problem.instance.device_class]
    return np.asarray(np.where(problem.allowed, times, np.inf).min(axis=1))


def relaxed_load(instance: Instance, options: Options, ranks: int, run: Run) -> tuple[float, bool]:
    """Bound the largest load over plans that need not be contiguous; and say whether there are none.

    On average over a period, a chunk of a rank keeps at least so many microbatches; that much memory counts.
    """
    count = options.microbatches or instance.training.microbatches
    share = 0.0
    if options.recompute is Recompute.NONE:
        flights = [
            states_in_flight(rank, ranks, options.virtual_stages, count).least for rank in range(ranks)
        ]
        share = min(flights)
    hosts = tuple(d.name for d in instance.devices if d.is_host)
    relaxed = instance.replace(
        memory_bytes=instance.memory_bytes + share * instance.activation_bytes,
        activation_bytes=0.0 * instance.activation_bytes,
        forbid=tuple((*names, *hosts) for names in instance.forbid),
        constraints=Constraints(),
        order=(),
        servers=(),
    )
    plain = options.model_copy(
        update={
            "objective": Objective.THROUGHPUT,
            "contiguous": False,
            "virtual_stages": 1,
            "recompute": Recompute.NONE,
            "method": "colgen",
        }
    )
    outcome = colgen.solve(relaxed, plain, run)
    return outcome.bound_ms or 0.0, outcome.stop is Stop.INFEASIBLE


def path_bound(problem: Problem, ranks: int, chunks: int, microbatches: int, run: Run) -> float:
    """Return the best bound on the step that mixtures of paths prove, in ms."""
    least = problem.time_ms[:, :, problem.instance.device_class]
    least = np.where(problem.allowed, least, np.inf)
    work = _by_type(least[:, np.arange(problem.size), least.sum(axis=0).argmin(axis=1)])
    master = _Master(work, chunks * ranks)
    best, share = 0.0, np.full((len(work), chunks * ranks), 1.0 / (chunks * ranks))
    while len(master.paths) < PATHS and run.stopped() is None:
        loads = (work.T @ share).reshape(2, chunks, ranks)
        run.spend(PASS_S * 2 * ranks * microbatches * chunks)
        path = longest_path(loads, microbatches)
        length = float((path * loads).sum())
        if length <= master.value * (1 + CLOSE):
            break
        master.add(path.reshape(2, -1))
        solved = master.solve(run)
        if solved is None:
            break
        share, weights = solved
        mixed = np.tensordot(weights, np.array(master.paths), axes=1)
        best = max(best, _proven(mixed, problem))
    return best * CERTAIN


def _by_type(times: FloatArray) -> FloatArray:
    """Sum up items with alike shares of backward work, ``(K, 2)`` from ``(2, N)``."""
    forward, backward = times
    total = forward + backward
    ratio = np.round(backward / np.where(total > 0, total, 1.0), 6)
    kinds = np.unique(ratio)
    if len(kinds) > TYPES:
        kinds = np.unique(np.quantile(ratio, np.linspace(0, 1, TYPES)))
    of = np.abs(ratio[:, None] - kinds).argmin(axis=1)
    return np.stack([np.bincount(of, x, len(kinds)) for x in (forward, backward)], axis=1)


def _proven(mixed: FloatArray, problem: Problem) -> float:
    """Bound by one mixture of paths, ``(2, V P)``: each item goes where that counts it least."""
    total = 0.0
    devices = problem.instance.device_class
    for forward, backward, allowed in zip(*problem.time_ms, problem.allowed, strict=True):
        usable = np.unique(devices[allowed])
        cost = np.outer(forward[usable], mixed[0]) + np.outer(backward[usable], mixed[1])
        total += float(cost.min())
    return total


class _Master:
    """The best mixture of paths: maximise Σ_k z_k, z_k ≤ Σ_p y_p c_p(j) · w_k for all k, j, Σ_p y_p = 1."""

    def __init__(self, work: FloatArray, stages: int) -> None:
        self.work, self.scale = work, max(float(work.sum()), 1e-300)
        self.paths: list[FloatArray] = []
        self.value = 0.0
        types = len(work)
        rows = types * stages
        self._master = LinearMaster(
            Program(
                cost=np.full(types, -1.0),
                lower=np.zeros(types),
                upper=np.full(types, np.inf),
                integer=np.zeros(types, dtype=np.bool_),
                row_start=np.concatenate([np.arange(rows + 1), [rows]]).astype(np.int64),
                row_index=np.repeat(np.arange(types), stages),
                row_value=np.ones(rows),
                row_lower=np.append(np.full(rows, -np.inf), 1.0),
                row_upper=np.append(np.zeros(rows), 1.0),
            )
        )

    def add(self, path: FloatArray) -> None:
        """Add a path, ``(2, V P)``."""
        self.paths.append(path)
        entries = np.append(-(self.work @ path).ravel() / self.scale, 1.0)
        rows = np.flatnonzero(entries)
        self._master.add_columns(
            np.zeros(1), np.zeros(1), np.full(1, np.inf), np.array([0, len(rows)]), rows, entries[rows]
        )

    def solve(self, run: Run) -> tuple[FloatArray, FloatArray] | None:
        """Return shares of the types in virtual stages, ``(K, V P)``, and weights of paths, ``(p,)``."""
        point = self._master.solve(run)
        if point.status is not Status.OPTIMAL or point.row_dual is None or point.values is None:
            return None
        self.value = -float(point.objective or 0.0) * self.scale
        share = np.abs(point.row_dual[:-1]).reshape(len(self.work), -1)
        weights = np.maximum(point.values[len(self.work) :], 0.0)
        total = weights.sum()
        if total <= 0:
            return None
        share /= np.maximum(share.sum(axis=1, keepdims=True), EQUAL)
        return share, weights / total


def longest_path(load_ms: FloatArray, microbatches: int) -> FloatArray:
    """Count the passes of each virtual stage on a longest path, ``(2, V, P)``."""
    _, chunks, ranks = load_ms.shape
    ends = passes_end_ms(load_ms, microbatches)
    last = microbatches * chunks - 1
    counts = np.zeros((2, chunks, ranks))
    rank = int(ends[1][:, last].argmax())
    step: tuple[int, int, int] | None = (1, rank, last)
    while step is not None:
        way, rank, k = step
        chunk = k // ranks % chunks
        counts[way, chunks - 1 - chunk if way else chunk, rank] += 1
        before = _before(way, rank, k, ranks, chunks, microbatches)
        step = max(before, key=lambda task: ends[task[0]][task[1], task[2]], default=None)
    return counts


def _before(
    way: int, rank: int, k: int, ranks: int, chunks: int, microbatches: int
) -> list[tuple[int, int, int]]:
    """List what a pass waits for: the pass of its rank before it, and where its data come from."""
    passes, warm = microbatches * chunks, warm_up(rank, ranks, chunks, microbatches)
    around = k // ranks % chunks > 0
    out = []
    if way == 0:
        own = (1, rank, k - warm - 1) if k > warm else (0, rank, k - 1)
        if rank or around:
            out.append((0, rank - 1, k) if rank else (0, ranks - 1, k - ranks))
    else:
        own = (0, rank, warm + k) if warm + k < passes else (1, rank, k - 1) if k else (0, rank, passes - 1)
        if rank < ranks - 1 or around:
            out.append((1, rank + 1, k) if rank < ranks - 1 else (1, 0, k - ranks))
    return [task for task in (own, *out) if task[2] >= 0]
