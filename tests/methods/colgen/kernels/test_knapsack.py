"""The knapsacks over a diagram against every walk through small random diagrams."""

import itertools

import numpy as np
import pytest

from placer.methods.colgen.kernels import knapsack

SEEDS = range(12)
LOWEST = -(2**30)
"""Values below are those of nothing possible."""
UNITS = 9
"""Capacities 0..UNITS - 1 are looked at."""


def random_diagram(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and targets of a diagram of five steps with up to four states each."""
    widths = [1, *rng.integers(1, 5, size=4).tolist(), 1]
    offset = np.concatenate([[0], np.cumsum(widths)])
    target = [
        rng.integers(offset[step + 1], offset[step + 2], size=2)
        for step in range(5)
        for _ in range(widths[step])
    ]
    return offset, np.array(target)


def walks(offset: np.ndarray, target: np.ndarray) -> list[tuple[tuple[int, ...], list[tuple[int, int]]]]:
    """All choices by step, each with the transitions (state, choice) that it passes."""
    out = []
    for choices in itertools.product((0, 1), repeat=len(offset) - 2):
        state, passed = 0, []
        for choice in choices:
            passed.append((state, choice))
            state = int(target[state, choice])
        out.append((choices, passed))
    return out


def one_capacity(offset, target, weight, price, value):
    """Best value by capacity, and the choices for each."""
    taken = np.zeros((len(target), UNITS), dtype=np.uint8)
    layers = np.empty((2, int(np.diff(offset).max()), UNITS), dtype=np.int32)
    best = knapsack.best_values(offset, target, weight, price, value, taken, layers)
    return best, lambda r: knapsack.follow(offset, target, weight, taken, r)


def two_capacities(offset, target, forward, backward, value):
    """Best value by pair of capacities, and the choices for each."""
    taken = np.zeros((len(target), UNITS, UNITS), dtype=np.uint8)
    layers = np.empty((2, int(np.diff(offset).max()), UNITS, UNITS), dtype=np.int32)
    best = knapsack.best_box_values(offset, target, forward, backward, value, taken, layers)
    return best, lambda i, j: knapsack.follow_box(offset, target, forward, backward, taken, i, j)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_capacity(seed):
    rng = np.random.default_rng(seed)
    offset, target = random_diagram(rng)
    weight = rng.integers(0, 5, size=(len(target), 2))
    weight[rng.random(weight.shape) < 0.1] = UNITS + 3  # forbidden
    value = rng.integers(-3, 10, size=5).astype(np.int32)
    price = rng.integers(0, 4, size=weight.shape).astype(np.int32)
    best, follow = one_capacity(offset, target, weight, price, value)
    passed_by = dict(walks(offset, target))
    worth = {c: int(np.dot(c, value)) - sum(price[p] for p in passed) for c, passed in passed_by.items()}
    found = [(sum(weight[p] for p in passed), choices) for choices, passed in passed_by.items()]
    seen = 0
    for r in range(UNITS):
        worths = [worth[choices] for load, choices in found if load <= r]
        if worths:
            seen += 1
            assert best[r] == max(worths)
            chosen = tuple(int(c) for c in follow(r))
            assert sum(weight[p] for p in passed_by[chosen]) <= r
            assert worth[chosen] == best[r]
        else:
            assert best[r] <= LOWEST + 100
    assert seen or min(load for load, _ in found) >= UNITS


@pytest.mark.parametrize("seed", SEEDS)
def test_two_capacities(seed):
    rng = np.random.default_rng(seed)
    offset, target = random_diagram(rng)
    forward, backward = rng.integers(0, 4, size=(2, len(target), 2))
    forward[rng.random(forward.shape) < 0.1] = UNITS + 1
    value = rng.integers(-3, 10, size=5).astype(np.int32)
    best, follow = two_capacities(offset, target, forward, backward, value)
    found = [
        (sum(forward[p] for p in passed), sum(backward[p] for p in passed), int(np.dot(choices, value)))
        for choices, passed in walks(offset, target)
    ]
    for i, j in itertools.product(range(UNITS), repeat=2):
        worths = [worth for f, b, worth in found if f <= i and b <= j]
        if worths:
            assert best[i, j] == max(worths)
            assert np.dot(follow(i, j), value) == best[i, j]
        else:
            assert best[i, j] <= LOWEST + 100
