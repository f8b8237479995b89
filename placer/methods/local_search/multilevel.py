"""Annealing on several levels: items that pay much for being apart move as one, first many, then fewer.

Items on the same device are merged two by two, again and again; annealing begins where few are left and goes
on level by level.  Single moves take a block of items over a ridge of transfers only by luck.
Source: multilevel hypergraph partitioning (Karypis et al., "Multilevel hypergraph partitioning", 1999), with
annealing in place of local refinement.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.methods.local_search.polish import Polish
from placer.reductions.problem import Problem
from placer.reductions.throughput_merges import merge_items
from placer.search.run import Run
from placer.search.work import MERGE_ENTRY_S

__all__ = ["anneal_levels", "matching"]

FEWEST = 40
"""Items that are not merged further."""
SHRINKING = 0.9
"""Share of the items that merging has to leave at most, else it ends."""
LARGEST_NET = 12
"""Items of a net that still says what belongs together."""
LARGEST_SHARE = 1 / 6
"""Part of an accelerator's share of the work, and of its memory, that merged items have at most."""
LEVEL_MOVES, LEVEL_MOVES_PER_ITEM = 500_000, 4000
"""Moves on each level, at most."""
LAST_HEAT = 0.25
"""Temperature of the items themselves, relative to that of merged ones."""


def anneal_levels(polish: Polish, lower_ms: float, run: Run, *, reach: float, heat: float) -> bool:
    """Anneal from the best plan on all levels; see `Polish.anneal`.

    Returns
    -------
    bool
        Whether the best plan improved.
    """
    if polish.best is None:
        return False
    before, device = polish.best_ms, polish.best.copy()
    levels = [(polish, np.arange(len(device)))]  # with the place of each item of the problem
    steps: list[IntArray] = []
    while levels[-1][0].problem.size > FEWEST and run.stopped() is None:
        finer, place = levels[-1]
        leader = matching(finer.problem, device, polish.rng, run)
        leaders, label = np.unique(leader, return_inverse=True)
        if len(leaders) > SHRINKING * len(label):
            break
        coarse = merge_items(finer.problem, leader, polish.options.communication, contiguous=False)
        device, place = device[leaders], label[place]
        levels.append((_level(polish, coarse, place), place))
        steps.append(label)
    for (level, _), label in zip(levels[:0:-1], steps[::-1], strict=True):
        level.offer(device)
        moves = min(LEVEL_MOVES, LEVEL_MOVES_PER_ITEM * level.problem.size)
        level.anneal(device, lower_ms, run, moves=moves, reach=reach, heat=heat)
        device = (device if level.best is None else level.best)[label]
    moves = min(2 * LEVEL_MOVES, LEVEL_MOVES_PER_ITEM // 2 * polish.problem.size)
    heat *= LAST_HEAT if steps else 1.0
    polish.anneal(polish.descend(device, run), lower_ms, run, moves=moves, reach=reach, heat=heat)
    return polish.best_ms < before


def _level(polish: Polish, problem: Problem, place: IntArray) -> Polish:
    """Return the annealing of merged items; ``place`` says where each item of the first level is."""
    level = Polish(problem, polish.options, lambda device: polish.objective_ms(device[place]))
    level.rng, level.forward_share = polish.rng, polish.forward_share
    return level


def matching(problem: Problem, device: IntArray, rng: np.random.Generator, run: Run) -> IntArray:
    """Merge items of the same device two by two, those first that share the most costly nets.

    Parameters
    ----------
    problem
        N items.
    device
        Of each item, ``(N,)``.
    rng
        For what is about as good.
    run
        Its work is counted.

    Returns
    -------
    leader : (N,) array
        The first item of each item's pair; itself for items without a partner.
    """
    N = problem.size
    first, second, weight = _pairs(problem)
    run.spend(MERGE_ENTRY_S * (N + len(problem.net_items)))
    work = np.where(np.isfinite(problem.time_ms), problem.time_ms, 0.0).sum(axis=0).mean(axis=1)
    work /= max(work.sum(), 1e-300)
    limits = np.array([d.memory_limit_bytes for d in problem.instance.devices])
    small = work[first] + work[second] <= LARGEST_SHARE / len(limits)
    small &= problem.memory_bytes[first] + problem.memory_bytes[second] <= LARGEST_SHARE * limits.min()
    rating = weight / ((work[first] + 1 / N) * (work[second] + 1 / N)) ** 0.25
    rating *= rng.uniform(0.5, 1.0, len(rating))
    chosen = np.flatnonzero(small & (device[first] == device[second]))
    chosen = chosen[np.argsort(-rating[chosen], kind="stable")]
    partner = np.arange(N)
    for i, j in zip(first[chosen].tolist(), second[chosen].tolist(), strict=True):
        if partner[i] == i and partner[j] == j:
            partner[i], partner[j] = j, i
    return np.minimum(np.arange(N), partner)


def _pairs(problem: Problem) -> tuple[IntArray, IntArray, FloatArray]:
    """Return pairs of items that share nets, and what those cost, each net's cost spread over its pairs."""
    size = np.diff(problem.net_start)
    net = np.repeat(np.arange(problem.nets), size)
    cost = problem.net_cost_ms.mean(axis=1) / np.maximum(1, size - 1)
    keys, weights = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for k in range(1, LARGEST_NET):
        i, j = problem.net_items[:-k], problem.net_items[k:]
        both: BoolArray = (net[:-k] == net[k:]) & (size[net[k:]] <= LARGEST_NET)
        i, j = i[both], j[both]
        keys.append(np.minimum(i, j) * problem.size + np.maximum(i, j))
        weights.append(cost[net[k:][both]])
    key, which = np.unique(np.concatenate(keys), return_inverse=True)
    shared = np.zeros(len(key))
    np.add.at(shared, which, np.concatenate(weights))
    return key // problem.size, key % problem.size, shared
