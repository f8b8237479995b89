"""The knapsack over open nets against every walk through small random tables of transitions."""

import itertools

import numpy as np
import pytest

from placer.methods.downsets.kernels import open_nets

BUCKETS = 12
ITEMS = 5


def filled(first, source, goal, takes, load, profit, states):
    """Best profit by bucket in state 0 at the end, and the best set that ends at a bucket."""
    table = np.zeros((2, int(states.max()), BUCKETS))
    choice = np.zeros((len(profit), int(states.max()), BUCKETS), dtype=np.uint8)
    open_nets.fill(first, source, goal, takes, load, profit, states, table, choice)

    def best_set(bucket):
        taken = np.zeros(len(profit), dtype=np.int64)
        open_nets.trace(first, source, goal, takes, load, choice, bucket, taken)
        return taken

    return table[len(profit) % 2, 0], best_set


def random_steps(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Transitions as ``fill`` wants them: from each state, leaving out or taking leads to some state."""
    rows, first, widths, before = [], [0], [], 1
    for i in range(ITEMS):
        width = int(rng.integers(1, 4)) if i < ITEMS - 1 else 1
        pairs = list(itertools.product(range(before), (0, 1)))
        goals = np.concatenate([np.arange(width), rng.integers(0, width, size=max(0, len(pairs) - width))])
        rows += [
            (a, int(z), take, int(rng.integers(0, 4)))
            for (a, take), z in zip(pairs, rng.permutation(goals), strict=False)
        ]
        first.append(len(rows))
        before = width
        widths.append(width)
    table = np.array(rows, dtype=np.int64)
    return np.array(first), *(np.ascontiguousarray(column) for column in table.T), np.array(widths)


def walks(first, source, goal, takes, load) -> list[tuple[int, tuple[int, ...]]]:
    """Total load and choices of all walks."""
    ends = [(0, 0, ())]
    for i in range(len(first) - 1):
        ends = [
            (int(goal[r]), total + int(load[r]), (*chosen, int(takes[r])))
            for state, total, chosen in ends
            for r in range(first[i], first[i + 1])
            if source[r] == state
        ]
    return [(total, chosen) for _, total, chosen in ends]


@pytest.mark.parametrize("seed", range(15))
def test_best_profit_and_its_set(seed):
    rng = np.random.default_rng(seed)
    first, source, goal, takes, load, states = random_steps(rng)
    profit = rng.integers(0, 16, size=ITEMS) / 4
    best, best_set = filled(first, source, goal, takes, load, profit, states)
    every = walks(first, source, goal, takes, load)
    for bucket in range(BUCKETS):
        worths = [float(np.dot(chosen, profit)) for total, chosen in every if total == bucket]
        assert best[bucket] == max(worths, default=-np.inf)
        if worths:
            assert np.dot(best_set(bucket), profit) == best[bucket]
    assert np.isfinite(best).any()
