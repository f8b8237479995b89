"""Labels along a diagram against every walk through small random diagrams."""

import numpy as np
import pytest

from placer.methods.colgen.kernels import set_labels
from tests.methods.colgen.kernels.test_knapsack import LOWEST, SEEDS, UNITS, random_diagram, walks

ROWS = 500


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_label(seed: int) -> None:
    """Under three limits, for several values that are known already, with weights that say little or much."""
    rng = np.random.default_rng(seed)
    offset, target = random_diagram(rng)
    states, steps = len(target), len(offset) - 2
    need = np.ascontiguousarray(rng.integers(0, 6, (states, 2, 3)).astype(float))
    # Any weight that no set within the limits exceeds: here the first resource, rounded down.
    weight = np.floor(need[:, :, 0] / 2).astype(np.int64)
    value = rng.integers(-3, 9, steps).astype(np.int32)
    limit = np.array([2.0 * UNITS - 1, *rng.integers(3, 18, 2)])
    capacity = UNITS - 1
    table = np.empty((states + 1, UNITS), dtype=np.int32)
    set_labels.completions(offset, target, weight, value, table)
    found = []
    for choices, passed in walks(offset, target):
        places = tuple(np.array(passed).T)
        worth = int(np.array(choices) @ value)
        if weight[places].sum() <= capacity:
            assert table[0, capacity] >= worth
            if (need[places].sum(axis=0) <= limit).all():
                found.append(worth)
    best = max(found, default=LOWEST)
    for least in (LOWEST + 1, best - 1, best, best + 3):
        place, worth = np.empty((ROWS, 5), dtype=np.int64), np.empty(ROWS, dtype=np.int32)
        used, head = np.empty((ROWS, 3)), np.empty(states + 1, dtype=np.int64)
        labels = set_labels.Labels(place, worth, used, head, np.array([10**6, 0]))
        sets, prices = set_labels.Sets(offset, target, need), set_labels.Prices(weight, value, table)
        row = set_labels.best_label(sets, prices, labels, limit, least)
        if least >= best or not found:
            assert row == -1
            continue
        assert worth[row] == best
        choices = []
        while place[row, 0] >= 0:
            choices.append(int(place[row, 1]))
            row = place[row, 0]
        assert int(np.array(choices[::-1]) @ value) == best


def test_gives_up() -> None:
    """Where there is no room for a label more."""
    offset, target = random_diagram(np.random.default_rng(0))
    states, steps = len(target), len(offset) - 2
    weight, value = np.zeros((states, 2), dtype=np.int64), np.ones(steps, dtype=np.int32)
    table = np.empty((states + 1, 1), dtype=np.int32)
    set_labels.completions(offset, target, weight, value, table)
    labels = set_labels.Labels(
        *(np.empty((2, 5), dtype=np.int64), np.empty(2, dtype=np.int32), np.empty((2, 1))),
        *(np.empty(states + 1, dtype=np.int64), np.array([10**6, 0])),
    )
    sets = set_labels.Sets(offset, target, np.zeros((states, 2, 1)))
    prices = set_labels.Prices(weight, value, table)
    assert set_labels.best_label(sets, prices, labels, np.ones(1), 0) == -2
