"""A balanced graph partition with few transfers across, as a general-purpose partitioner sees the problem.

The paper's baseline is Scotch; here it is METIS through ``pymetis``.  A partitioner balances work and
minimises the *sum* of cut transfers; it knows neither memory limits nor contiguity, so that its parts are
mended: under contiguity the parts are lined up and items pulled into an order-respecting place, then
items move until the memory limits hold.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np

from placer.arrays import IntArray
from placer.errors import UsageError
from placer.instance.instance import Instance
from placer.methods.local_search.local_search import Search, items_to_move
from placer.methods.starts.pipelines import (
    adjacency,
    in_wanted_order,
    item_place,
    shares,
    stage,
    topological_rank,
    work_ms,
)
from placer.options import Options
from placer.plans.status import Stop
from placer.reductions.problem import Problem
from placer.search.run import Outcome, Run
from placer.stdout import native_output_dropped

__all__ = ["solve"]

SCALE = 1_000_000
"""Work and transfers are whole numbers for METIS; their largest sum is this."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Partition, line up, mend.

    Raises
    ------
    UsageError
        When pymetis is not installed.
    """
    problem = items_to_move(instance, options)
    share = shares(problem)
    order = np.flatnonzero(share >= share.max() / 1000)  # METIS wants no part that is all but empty
    part = _metis(problem, share[order] / share[order].sum(), options.seed)
    place = item_place(problem, topological_rank(instance))
    # Parts take the places of the devices they were cut for, in the order of the graph within a class.
    mean = [place[part == k].mean() if (part == k).any() else 1.0 for k in range(len(order))]
    lined_up = np.argsort(mean, kind="stable")
    at = np.zeros(len(order), dtype=np.int64)
    at[lined_up] = np.arange(len(order))
    rest = np.setdiff1d(np.arange(len(share)), order)
    sequence = in_wanted_order(problem, np.concatenate([order[lined_up], rest]))
    start = stage(problem, sequence, at[part])
    if start is None:
        return Outcome(Stop.FINISHED, message="pins and types leave no contiguous plan along the parts")
    search = Search(problem, options, run)
    search.descend(start, only_mend=True)
    stop = run.stopped() or Stop.FINISHED
    plan = search.best.plan
    if plan is None:
        return Outcome(stop, message="the partition could not be mended to respect memory limits")
    moved = int((problem.start(plan) != start).sum())
    return Outcome(stop, plan, stats={"items_moved_for_memory": moved})


def _metis(problem: Problem, share: list[float] | np.ndarray, seed: int) -> IntArray:
    """Part of each item, ``(N,)``; part k is to hold ``share[k]`` of the work."""
    try:
        pymetis = import_module("pymetis")
    except ImportError:
        raise UsageError("method partition needs METIS: pip install pymetis") from None
    if len(share) == 1 or problem.size == 1:
        return np.zeros(problem.size, dtype=np.int64)
    start, neighbours, weight = _graph(problem)
    work = work_ms(problem)
    settings = pymetis.Options()
    settings.seed = seed
    with native_output_dropped():  # METIS prints remarks on small graphs
        _, part = pymetis.part_graph(
            len(share),
            pymetis.CSRAdjacency(start, neighbours),
            vweights=_whole(work),
            eweights=np.maximum(1, _whole(weight)),
            tpwgts=[float(x) for x in share],
            recursive=False,
            options=settings,
        )
    return np.array(part, dtype=np.int64)


def _graph(problem: Problem) -> tuple[IntArray, IntArray, np.ndarray]:
    """Undirected graph in compressed form: each net joins its producer with each consumer."""
    sizes = np.diff(problem.net_start)
    net = np.repeat(np.arange(problem.nets), sizes)
    producer = np.repeat(problem.net_items[problem.net_start[:-1]], sizes)
    cost = problem.net_cost_ms.max(axis=1, initial=0.0)[net]
    joined = producer != problem.net_items
    u, w, cost = producer[joined], problem.net_items[joined], cost[joined]
    key, inverse = np.unique(np.minimum(u, w) * problem.size + np.maximum(u, w), return_inverse=True)
    weight = np.bincount(inverse, weights=cost, minlength=len(key))
    low, high = key // problem.size, key % problem.size
    source, target = np.concatenate([low, high]), np.concatenate([high, low])
    start, neighbours = adjacency(problem.size, source, target)
    return start, neighbours, np.concatenate([weight, weight])[np.argsort(source, kind="stable")]


def _whole(values: np.ndarray) -> IntArray:
    total = values.sum()
    return np.round(values * (SCALE / total if total > 0 else 0.0)).astype(np.int64)
