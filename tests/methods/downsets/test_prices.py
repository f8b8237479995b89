"""Prices of the measures: how close they come to the best ones."""

import numpy as np
import pytest

from placer.methods.downsets.measures import prices


def value(mu: np.ndarray, time: np.ndarray, count: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        cost = np.where(np.isinf(time), np.inf, mu[:, None] * np.where(np.isinf(time), 0.0, time))
    return float(cost.min(axis=0).sum() / (mu @ count))


@pytest.mark.parametrize("seed", range(20))
def test_two_types_are_priced_best(seed: int) -> None:
    """Against a fine grid; some items run on one type only, some take no time."""
    rng = np.random.default_rng(seed)
    time = rng.lognormal(0, 1, (2, 30))
    time[rng.random((2, 30)) < 0.1] = 0.0
    time[0, :3], time[1, 3:5] = np.inf, np.inf
    count = rng.integers(1, 5, 2).astype(float)
    grid = max(
        value(np.array([share, 1 - share]), time, count) for share in np.linspace(1e-6, 1 - 1e-6, 5001)
    )
    assert value(prices(time, count), time, count) >= grid * (1 - 1e-9)


def test_a_type_that_runs_nothing_or_takes_no_time() -> None:
    time = np.array([[1.0, 2.0, 3.0], [np.inf, np.inf, np.inf], [0.0, np.inf, 6.0]])
    mu = prices(time, np.ones(3))
    assert np.isfinite(mu).all()
    assert mu @ np.ones(3) == pytest.approx(1.0)
    assert value(mu, time, np.ones(3)) > 0
